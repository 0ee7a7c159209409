"""Cosignatures on checkpoints of other logs.

A witness cosigns only a log that has grown since it was last cosigned, and never two roots of one
size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from rescind.core import make_private_folder, write_private
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import LedgerError
from rescind.core.json_text import parse_json
from rescind.ledger import merkle
from rescind.ledger.notes import (
    Checkpoint,
    LogKey,
    Signature,
    Verifier,
)

LOGS_EACH = 4
"""Logs of one member that a witness remembers: one, and those of a renewed or restored ledger."""


class CheckpointRefused(LedgerError):
    """A witness does not cosign a checkpoint.

    Attributes:
        size: The size at which the log was last cosigned; a proof must begin there.
    """

    code = "ledger-checkpoint-refused"

    def __init__(self, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.size = size


@dataclass(frozen=True)
class Witness:
    """A witness with its memory.

    Attributes:
        key: The key that cosigns.
        folder: Holds what was cosigned last, one file for each log. If it is lost, the witness
            starts over and would cosign a rewritten log.
        clock: The time in Unix seconds.
    """

    key: LogKey
    folder: Path
    clock: Callable[[], float] = time.time

    def cosign(
        self,
        checkpoint: Checkpoint,
        log: Verifier,
        old_size: int,
        proof: Sequence[bytes],
        organization: str = "",
    ) -> Signature:
        """Cosign a checkpoint.

        Args:
            checkpoint: The checkpoint, signed by its log.
            log: The log's public key.
            old_size: The size at which the log was last cosigned, 0 the first time.
            proof: The proof that the log of `old_size` is a prefix of this one; empty the first time.
            organization: The member that asks. Only LOGS_EACH logs of one member are remembered,
                because anyone can invent keys.

        Raises:
            NoteInvalid: The log's signature is missing or wrong.
            CheckpointRefused: The log is another one, or it has not only grown, or the member has
                had too many logs cosigned.
        """
        checkpoint.check_signed(log)
        if checkpoint.origin != log.name:
            raise CheckpointRefused(
                f"{log.name} signed a checkpoint of another log, {checkpoint.origin}"
            )
        size, root = self.seen(log)
        if old_size != size:
            raise CheckpointRefused(
                f"{checkpoint.origin} was last cosigned at size {size}, but the proof begins at "
                f"{old_size}: ask with a proof from {size}",
                size,
            )
        if size and not merkle.verify_consistency(
            size, checkpoint.size, proof, root, checkpoint.root
        ):
            raise CheckpointRefused(
                f"{checkpoint.origin} at size {checkpoint.size} does not continue what was "
                f"cosigned at size {size}: the log was rewritten, or the proof belongs to "
                f"another log",
                size,
            )
        if not self._path(log).exists():
            self._check_room(organization)
        self._keep(log, checkpoint, organization)
        return self.key.cosign(checkpoint, int(self.clock()))

    def seen(self, log: Verifier) -> tuple[int, bytes]:
        """Return size and root that were cosigned last, 0 and the empty root at first.

        Raises:
            LedgerError: The file that holds them is damaged.
        """
        path = self._path(log)
        if not path.exists():
            return 0, merkle.EMPTY_ROOT
        try:
            document = parse_json(path.read_bytes())
            if document["key"] != str(log):
                raise ValueError("it was written for another key")
            return int(document["size"]), bytes.fromhex(document["root"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LedgerError(f"{path} is damaged, so nothing is cosigned: {error}") from error

    def _check_room(self, organization: str) -> None:
        """Raise CheckpointRefused if no further log of a member may be remembered."""
        kept = [path for path in self.folder.glob("*.json") if _owner(path) == organization]
        if len(kept) >= LOGS_EACH:
            raise CheckpointRefused(
                f"{len(kept)} logs of {organization} were cosigned here already, the most for one "
                f"member. The witness can delete what it keeps of a log that is not used any more, "
                f"in {self.folder.name}."
            )

    def _keep(self, log: Verifier, checkpoint: Checkpoint, organization: str) -> None:
        make_private_folder(self.folder)
        document = {
            "key": str(log),
            "organization": organization,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
        }
        write_private(self._path(log), canonical_json(document))

    def _path(self, log: Verifier) -> Path:
        return self.folder / f"{sha256(str(log).encode()).hexdigest()[:32]}.json"


def _owner(path: Path) -> str:
    """Return the member whose log a file is about."""
    try:
        return str(parse_json(path.read_bytes()).get("organization", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise LedgerError(f"{path} is damaged, so nothing is cosigned: {error}") from error
