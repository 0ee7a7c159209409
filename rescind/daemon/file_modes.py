"""Check the modes of a daemon's files before it starts: no other user may read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import structlog

from rescind.core import demand_secret, narrow_file, narrow_folder
from rescind.core.redaction import shown_url
from rescind.daemon.config import IdentitySettings

_OWNER_ONLY = 0o077
_NAMED = 5
"""Paths that the log line names; the count has all."""


def keep_new_files_private() -> None:
    """Let this process create files that only its owner can read.

    The umask of a daemon: it covers files of libraries too, such as temporary ones.
    """
    os.umask(_OWNER_ONLY)


def check_config_mode(path: Path, *urls: str | None) -> None:
    """Log a warning if other users can read a configuration file with a key or a password in it.

    The file is not mended: programs that manage configurations set modes of their own.

    Args:
        path: The TOML file.
        urls: The URLs in it.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007 and any(url and shown_url(url) != url.rstrip("/") for url in urls):
        structlog.get_logger().warning(
            "other users can read the key or password of a URL",
            file=str(path),
            run=f"chmod 600 {path}",
        )


def check_file_modes(
    folders: Sequence[Path],
    identity: IdentitySettings,
    *,
    private: Sequence[Path] = (),
    secrets: Sequence[Path] = (),
) -> None:
    """Close a daemon's files to other users, and refuse keys that others can read.

    State and private data are mended, because only this daemon needs them; the log names what was
    open. A key or password that was open may be known to others, so that is for the operator.

    Args:
        folders: The daemon's folders of durable state.
        identity: The [identity] section.
        private: Files or folders with private data.
        secrets: More files that must be secret, such as the ledger's key.

    Raises:
        FileModeRefused: Other users can read a secret, or state that belongs to another user.
    """
    for secret in (identity.keystore, identity.password_file, identity.tls_key, *secrets):
        demand_secret(secret)
    opened = [path for folder in folders for path in narrow_folder(folder)]
    for path in private:
        opened += narrow_folder(path) if path.is_dir() else [path] if narrow_file(path) else []
    if opened:
        structlog.get_logger().warning(
            "other users could read these files, closed them",
            files=[str(path) for path in opened[:_NAMED]],
            count=len(opened),
        )
