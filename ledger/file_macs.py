"""MACs of every byte of a ledger's SQLite file.

SQLite does not read some bytes of its file and does not notice when they change.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

from rescind.core import write_private
from rescind.core.canonical_json import canonical_json
from rescind.core.json_text import parse_json
from rescind.ledger.block_macs import BLOCK, macs_of
from rescind.ledger.database import FILE, SEAL, Database
from rescind.ledger.keyring import Secrets
from rescind.ledger.log_state import read_log_state


class Seal:
    """The file of MACs beside a ledger's SQLite file.

    It holds MACs of 16 bytes over blocks of 64 KiB, bound to their index and to the number of
    changes that the ledger had seen.
    """

    def __init__(self, database: Database, secrets: Secrets) -> None:
        assert database.folder is not None
        self._database, self._secrets = database, secrets
        self._path = database.folder / SEAL

    def write(self) -> None:
        """Write the file, unless a reader keeps the write-ahead log from being folded in."""
        if not self._database.fold():
            return
        changes = self._changes()
        text = {"changes": changes, "blocks": self._blocks(changes)}
        sealed = canonical_json({**text, "mac": self._secrets.mac(text).hex()})
        write_private(self._path, sealed)

    def check(self) -> Iterator[str]:
        """Yield what differs from the file of MACs, one line for each difference.

        Nothing is compared when the ledger was written to since, or was not closed properly.
        """
        wal = self._database.file.with_name(f"{FILE}-wal")
        if wal.exists() and wal.stat().st_size:
            return
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            yield f"{self._path} cannot be read: {error.strerror}"
            return
        sealed = self._parse(content)
        if sealed is None:
            yield f"{self._path} is damaged, or belongs to another ledger"
            return
        changes = self._changes()
        if sealed["changes"] < changes:
            return
        if sealed["changes"] > changes:
            yield (
                f"{FILE} is an older state: it has seen {changes} changes, and {SEAL} was written "
                f"after {sealed['changes']}"
            )
            return
        macs = self._blocks(changes)
        if self._changes() != changes:
            return
        if len(macs) != len(sealed["blocks"]):
            yield (
                f"{FILE} has {len(macs)} blocks of 64 KiB, but {SEAL} was written for "
                f"{len(sealed['blocks'])}"
            )
        for index, (now, before) in enumerate(zip(macs, sealed["blocks"], strict=False)):
            if now != before:
                first = index * BLOCK
                last = first + BLOCK - 1
                yield f"bytes {first} to {last} of {FILE} have changed since it was sealed"

    def _parse(self, content: bytes) -> dict[str, Any] | None:
        try:
            document = parse_json(content)
            text = {"changes": document["changes"], "blocks": document["blocks"]}
            sealed = canonical_json({**text, "mac": self._secrets.mac(text).hex()})
        except (ValueError, KeyError, TypeError):
            return None
        return text if hmac.compare_digest(sealed, content) else None

    def _changes(self) -> int:
        with self._database.reading() as connection:
            return read_log_state(connection).changes

    def _blocks(self, changes: int) -> list[str]:
        return macs_of(self._database.file, self._secrets.hashing, f"seal|{changes}")
