"""A note of every byte of a ledger's SQLite file: SQLite does not read some of them, and does not notice
when they change."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any

from rescind.core.canonical_json import canonical_json
from rescind.core.files import write_atomically
from rescind.ledger.block_macs import BLOCK, macs_of
from rescind.ledger.database import FILE, SEAL, Database
from rescind.ledger.keyring import Secrets
from rescind.ledger.log_state import read_log_state


class Seal:
    """Of a ledger in a folder. MACs of 16 bytes over blocks of 64 KiB, bound to their place and to the
    number of changes that the ledger had seen."""

    def __init__(self, database: Database, secrets: Secrets) -> None:
        assert database.folder is not None
        self._database, self._secrets = database, secrets
        self._path = database.folder / SEAL

    def write(self) -> None:
        """Nothing is written while a reader keeps the write-ahead log from being folded in."""
        if not self._database.fold():
            return
        changes = self._changes()
        text = {"changes": changes, "blocks": self._blocks(changes)}
        sealed = canonical_json({**text, "mac": self._secrets.mac(text).hex()})
        write_atomically(self._path, sealed, mode=0o600)

    def check(self) -> Iterator[str]:
        """What differs; nothing when the ledger was written to since, or was not closed properly."""
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
        known = self._parse(content)
        if known is None:
            yield f"{self._path} is damaged, or another ledger's"
            return
        changes = self._changes()
        if known["changes"] < changes:
            return
        if known["changes"] > changes:
            yield f"{FILE} has seen {changes} changes, {SEAL} is of {known['changes']}: it is an older state"
            return
        found = self._blocks(changes)
        if self._changes() != changes:
            return
        if len(found) != len(known["blocks"]):
            yield f"{FILE} has {len(found)} blocks of 64 KiB, {len(known['blocks'])} were sealed"
        for place, (now, before) in enumerate(zip(found, known["blocks"], strict=False)):
            if now != before:
                first = place * BLOCK
                yield f"bytes {first} to {first + BLOCK - 1} of {FILE} are not those that were sealed"

    def _parse(self, content: bytes) -> dict[str, Any] | None:
        try:
            found = json.loads(content)
            text = {"changes": found["changes"], "blocks": found["blocks"]}
            sealed = canonical_json({**text, "mac": self._secrets.mac(text).hex()})
        except (ValueError, KeyError, TypeError):
            return None
        return text if hmac.compare_digest(sealed, content) else None

    def _changes(self) -> int:
        with self._database.reading() as connection:
            return read_log_state(connection).changes

    def _blocks(self, changes: int) -> list[str]:
        return macs_of(self._database.file, self._secrets.hashing, f"seal|{changes}")
