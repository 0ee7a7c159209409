"""Cosigning checkpoints of others: only of logs that have grown since, and never two roots of one size."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError
from rescind.core.files import write_atomically
from rescind.ledger import merkle
from rescind.ledger.notes import (
    Checkpoint,
    LogKey,
    Signature,
    Verifier,
)


class CheckpointRefused(LedgerError):
    """`size`: of the log when it was last cosigned; a proof must begin there."""

    code = "ledger-checkpoint-refused"

    def __init__(self, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True)
class Witness:
    """`folder`: holds what was cosigned last, a file for each log; losing it means starting over."""

    key: LogKey
    folder: Path
    clock: Callable[[], float] = time.time

    def cosign(
        self, checkpoint: Checkpoint, log: Verifier, old_size: int, proof: Sequence[bytes]
    ) -> Signature:
        """`proof`: that the log of `old_size` is the beginning of this one, empty the first time. Raises
        NoteInvalid, CheckpointRefused."""
        checkpoint.check_signed(log)
        if checkpoint.origin != log.name:
            raise CheckpointRefused(f"{log.name} has signed a checkpoint of {checkpoint.origin}")
        size, root = self.seen(log)
        if old_size != size:
            raise CheckpointRefused(
                f"{checkpoint.origin} was last cosigned at size {size}, the proof begins at {old_size}",
                size,
            )
        if size and not merkle.verify_consistency(
            size, checkpoint.size, proof, root, checkpoint.root
        ):
            raise CheckpointRefused(
                f"{checkpoint.origin} at size {checkpoint.size} is no continuation of what was cosigned at "
                f"size {size}: it was rewritten, or the proof is another one's",
                size,
            )
        self._keep(log, checkpoint)
        return self.key.cosign(checkpoint, int(self.clock()))

    def seen(self, log: Verifier) -> tuple[int, bytes]:
        """Size and root that were cosigned last. Raises LedgerError when the note of it is damaged."""
        path = self._path(log)
        if not path.exists():
            return 0, merkle.EMPTY_ROOT
        try:
            it = json.loads(path.read_bytes())
            if it["key"] != str(log):
                raise ValueError("it is of another key")
            return int(it["size"]), bytes.fromhex(it["root"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{path} is damaged, nothing is cosigned: {error}") from error

    def _keep(self, log: Verifier, checkpoint: Checkpoint) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        told = {"key": str(log), "size": checkpoint.size, "root": checkpoint.root.hex()}
        write_atomically(self._path(log), canonical_json(told), mode=0o600)

    def _path(self, log: Verifier) -> Path:
        return self.folder / f"{sha256(str(log).encode()).hexdigest()[:32]}.json"
