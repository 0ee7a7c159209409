"""Rounding residuals: what quantization lost of each delta, kept for the delta after it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save

from rescind.core import StoreMissing, Term, write_private
from rescind.node.session import Session


def residual_of(session: Session, content: Iterable[Term]) -> dict[str, Any] | None:
    """Return the residual of the node's latest delta in a model; None if it has no delta there.

    Args:
        session: The node's session.
        content: The model's terms.

    Raises:
        StoreMissing: The residual's file is not there.
    """
    own = [t for t in content if t.round_id and t.organization == session.me]
    if not own:
        return None
    return residual_at(session, max(own, key=lambda term: term.round_id).artifact_id)


def residual_at(session: Session, artifact: str) -> dict[str, Any]:
    """Return the residual of one of the node's deltas.

    Raises:
        StoreMissing: The residual's file is not there.
    """
    path = _path(session, artifact)
    if not path.is_file():
        raise StoreMissing(
            f"The residual of your delta {artifact} is missing: {path}. "
            "Restore the file from a backup of the state folder."
        )
    return load_file(path)


def save_residual(session: Session, artifact: str, residual: dict[str, Any]) -> str:
    """Write the residual of a delta to the disk, and return its file's name."""
    path = _path(session, artifact)
    write_private(path, save(residual))
    return path.name


def delete_residual(session: Session, artifact: str) -> None:
    """Delete the residual of a delta, if there is one."""
    _path(session, artifact).unlink(missing_ok=True)


def _path(session: Session, artifact: str) -> Path:
    return session.config.node.state_dir / f"residual-{artifact}.safetensors"
