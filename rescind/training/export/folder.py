"""The folder of an export: written whole or not at all, and never over anything else."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from rescind.core import StoreFull, sync_folder
from rescind.core.errors import ConfigError, RescindError
from rescind.core.exports import MARK, Export

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OS_ERROR = re.compile(r"os error (\d+)")


@contextmanager
def new_export(target: Path, facts: Mapping[str, Any], *, needed_bytes: int = 0) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `target` once the block ends without an error.

    The folder gets a mark that names the adapter and the files (`rescind.core.exports`). It has the
    mark from the start, so that a node erases an export that was interrupted, too.

    Args:
        target: The folder to write. It may be missing, be empty, or hold an earlier export of the
            same owner and kind.
        facts: The content of the mark, with "adapter", "owner" and "kind".
        needed_bytes: Refuse at once where the disk has less room.

    Raises:
        ConfigError: `target` holds something else, or may not be written.
        StoreFull: The disk is full.
    """
    target = target.resolve()
    check_target(target, facts)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(target.parent, needed_bytes)
        part.mkdir()
        Export(part, facts["adapter"], (), {**facts, "unfinished": True}).save()
        yield part
        names = tuple(
            path.relative_to(part).as_posix()
            for path in sorted(part.rglob("*"))
            if path.is_file() and path.name != MARK
        )
        Export(part, facts["adapter"], names, facts).save()
        _flush(part)
        _replace(target, part)
    except (OSError, SafetensorError) as error:
        if not _concerns(error, target, part):
            raise
        raise _failure(error, target) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_target(target: Path, facts: Mapping[str, Any]) -> None:
    """Check that an export may be written to a folder.

    Raises:
        ConfigError: It is not a folder, or holds files that are not an earlier export of the same
            owner and kind.
    """
    if not target.exists() and not target.is_symlink():
        return
    if not target.is_dir():
        raise ConfigError(f"{target} is not a folder. Choose a new folder.")
    entries = {path.name for path in target.iterdir()}
    if not entries:
        return
    earlier = Export.read(target)
    if earlier is None:
        raise ConfigError(f"{target} is not empty, and not an export. Choose a new folder.")
    for name, what in (("kind", "kind"), ("owner", "owner")):
        if earlier.facts.get(name) != facts.get(name):
            raise ConfigError(
                f"{target} holds an export of another {what}: {earlier.facts.get(name)}. "
                "Choose a new folder."
            )
    own = {name.partition("/")[0] for name in (*earlier.files, MARK)}
    if entries - own:
        raise ConfigError(
            f"{target} holds files that no export wrote, for example {min(entries - own)}. Choose a "
            "new folder."
        )


def _check_room(parent: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(parent).free
    if free < needed_bytes:
        raise StoreFull(
            f"The export takes about {needed_bytes / 2**20:.0f} MiB, and {parent} has room for "
            f"{free / 2**20:.0f} MiB. Free some disk space or choose a folder on another disk."
        )


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _replace(target: Path, part: Path) -> None:
    """Move the new folder to its place. An earlier export is there until the new one is complete."""
    if not target.exists() or not any(target.iterdir()):
        part.rename(target)
    else:
        old = target.with_name(f"{part.name}.old")
        target.rename(old)
        try:
            part.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old)
    sync_folder(target.parent)


def _concerns(error: OSError | SafetensorError, target: Path, part: Path) -> bool:
    """Return whether an error is about what was written, and not about what was read."""
    name = getattr(error, "filename", None)
    if isinstance(name, str | bytes):
        path = Path(os.fsdecode(name)).absolute()
        return path.is_relative_to(part) or target.is_relative_to(path) or path == target
    return getattr(error, "errno", None) is not None or bool(_OS_ERROR.search(str(error)))


def _failure(error: OSError | SafetensorError, target: Path) -> RescindError:
    """Return the error to raise for a failed write."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None and (coded := _OS_ERROR.search(str(error))):
        number = int(coded[1])
    said = os.strerror(number) if number else str(error)
    if number in _NO_ROOM:
        return StoreFull(
            f"There is no room for the export in {target.parent}. Nothing was written. Free some "
            "disk space or choose a folder on another disk."
        )
    return ConfigError(
        f"The export cannot be written to {target}: {said}. Nothing was written. Choose a folder "
        "that you may write to."
    )
