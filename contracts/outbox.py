"""The outbox of a key: every transaction that it signed, durable before the first broadcast.

A daemon and the commands of its operator send from one key. They share one SQLite file beside the
keystore: a nonce is chosen, signed and written under the file's lock, so two processes never sign
different calls with one nonce, and a restart finds the bytes that were sent.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.contracts.outbox_tables import FIELDS, FORMAT, KEPT, TABLES, outgoing_of
from rescind.contracts.outgoing import Call, Outcome, Outgoing, SendState, Version
from rescind.core import ensure_private
from rescind.core.errors import StoreError
from rescind.core.sqlite import is_damaged, is_locked, locked_advice, prepare_sqlite


@dataclass(frozen=True)
class Plan:
    """Several transactions of one key that belong together, such as a deployment.

    Attributes:
        number: Its number in the outbox.
        nonce: The nonce of its first transaction.
    """

    number: int
    nonce: int


class Outbox:
    """The transactions of a key, on every chain.

    Args:
        path: The SQLite file, which is created with mode 0600; None for a key without a file, whose
            transactions are remembered as long as the process.

    Raises:
        StoreError: The file cannot be opened, or another version of rescind wrote it.
    """

    process = uuid.uuid4().hex
    """Names this process in the transactions that it signs."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self.waiting: list[int] = []
        """Numbers of the transactions for which a caller in this process waits."""
        with self._translated("open"):
            self._database = self._open()
        weakref.finalize(self, self._database.close)

    @property
    def durable(self) -> bool:
        """The outbox outlives the process."""
        return self.path is not None

    def _open(self) -> sqlite3.Connection:
        if self.path is not None:
            # SQLite gives the files beside this one (-wal, -shm) the mode of this one.
            ensure_private(self.path)
        name = ":memory:" if self.path is None else str(self.path.absolute())
        database = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
        if self.path is not None:
            prepare_sqlite(database, self.path, StoreError)
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            raise StoreError(
                f"{self.path} has format {version}, but this version of rescind reads {FORMAT}. Run "
                "the version of rescind that wrote it."
            )
        if version == 0:
            database.executescript(f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version={FORMAT};COMMIT;")
        return database

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock of all processes; what the block writes is on the disk when it ends.

        Raises:
            StoreError: It cannot be written, for example because the disk is full.
        """
        with self._lock, self._translated("write"):
            if self._depth:
                yield
                return
            self._database.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if is_locked(error):
                raise StoreError(locked_advice(str(self.path))) from None
            advice = " Restore it from a backup." if is_damaged(error) else ""
            raise StoreError(f"cannot {verb} the outbox {self.path}: {error}.{advice}") from None
        except OSError as error:
            raise StoreError(
                f"cannot {verb} the outbox {self.path}: {error.strerror}. The transactions of a "
                "key are kept beside its keystore, so that folder must be writable: where the keystore "
                "is mounted read-only, name a symbolic link to it that is in a writable folder."
            ) from error

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with self._lock, self._translated("read"):
            return self._database.execute(statement, values).fetchall()

    # Reading

    def find(
        self, chain: str, address: str, where: str = "1", *values: Any, order: str = "nonce, number"
    ) -> list[Outgoing]:
        """Return transactions of an account on a chain.

        Args:
            chain: The chain's identity.
            address: The account.
            where: A condition in SQL; `values` fill its question marks.
            values: See `where`.
            order: The order, in SQL.
        """
        rows = self._rows(
            f"SELECT {FIELDS} FROM outgoing WHERE chain = ? AND address = ? AND ({where}) "
            f"ORDER BY {order}",
            chain,
            address,
            *values,
        )
        return [self._outgoing(row) for row in rows]

    def get(self, number: int) -> Outgoing:
        """Return a transaction by its number."""
        (row,) = self._rows(f"SELECT {FIELDS} FROM outgoing WHERE number = ?", number)
        return self._outgoing(row)

    def open(self, chain: str, address: str) -> list[Outgoing]:
        """Return the transactions that are not known to be final, ascending by nonce."""
        return self.find(chain, address, "state = 'open'")

    def unreported(self, chain: str, address: str, call: Call, label: str) -> list[Outgoing]:
        """Return the transactions whose outcome the caller of the same call never learned.

        With a label the transaction of that label counts, whatever was reported.
        """
        if label:
            return self.find(chain, address, "label = ? AND state != 'dropped'", label)
        return self.find(
            chain,
            address,
            "call = ? AND label = '' AND NOT reported AND state != 'dropped'",
            call.id,
        )

    def next_nonce(self, chain: str, address: str) -> int:
        """Return the nonce after the greatest that a transaction here holds; 0 if there is none."""
        ((nonce,),) = self._rows(
            "SELECT MAX(nonce) FROM outgoing WHERE chain = ? AND address = ? AND state != 'dropped'",
            chain,
            address,
        )
        return 0 if nonce is None else nonce + 1

    def accounts(self) -> list[tuple[str, str]]:
        """Return the chains and the accounts on them that have transactions here."""
        return self._rows("SELECT DISTINCT chain, address FROM outgoing")

    def chains(self, chain_id: int) -> list[str]:
        """Return the identities of the chains with one id, the last used first."""
        rows = self._rows(
            "SELECT chain FROM outgoing WHERE chain LIKE ? GROUP BY chain ORDER BY MAX(number) DESC",
            f"{chain_id}/%",
        )
        return [chain for (chain,) in rows]

    def _outgoing(self, row: Any) -> Outgoing:
        versions = self._rows(
            "SELECT tx_hash, raw, max_fee, tip, legacy, cancels, block, signed_at FROM version "
            "WHERE outgoing = ? ORDER BY rowid",
            row[0],
        )
        return outgoing_of(row, versions)

    # Writing

    def add(
        self,
        chain: str,
        address: str,
        call: Call,
        *,
        label: str,
        nonce: int,
        gas: int,
        by_daemon: bool,
        version: Version,
        reported: bool = False,
    ) -> Outgoing:
        """Write a transaction with its first version, and return it."""
        with self.exclusive():
            number = self._database.execute(
                "INSERT INTO outgoing (chain, address, call, label, recipient, data, value, nonce, gas,"
                " state, reported, process, by_daemon) VALUES (?,?,?,?,?,?,?,?,?,'open',?,?,?)",
                (
                    chain,
                    address,
                    call.id,
                    label,
                    call.recipient,
                    call.data,
                    str(call.value),
                    nonce,
                    gas,
                    reported,
                    self.process,
                    by_daemon,
                ),
            ).lastrowid
            assert number is not None
            self.add_version(number, version)
            self._prune(chain, address)
            return self.get(number)

    def add_version(self, number: int, version: Version) -> None:
        """Write another version of a transaction."""
        fees = version.fees
        with self.exclusive():
            self._database.execute(
                "INSERT OR IGNORE INTO version VALUES (?,?,?,?,?,?,?,?,?)",
                (
                    version.tx_hash,
                    number,
                    version.raw,
                    str(fees.max_fee),
                    str(fees.tip),
                    fees.legacy,
                    version.cancels,
                    version.block,
                    version.signed_at,
                ),
            )

    def move(self, number: int, nonce: int, version: Version) -> None:
        """Give a transaction another nonce, because its own belongs to another wallet's transaction."""
        with self.exclusive():
            self._database.execute("DELETE FROM version WHERE outgoing = ?", (number,))
            self._database.execute(
                "UPDATE outgoing SET nonce = ? WHERE number = ?", (nonce, number)
            )
            self.add_version(number, version)

    def settle(self, number: int, state: SendState, outcome: Outcome) -> None:
        """Write that a transaction is final."""
        with self.exclusive():
            self._database.execute(
                "UPDATE outgoing SET state=?, tx_hash=?, block=?, gas_used=?, created=?, succeeded=? "
                "WHERE number = ?",
                (
                    state.value,
                    outcome.tx_hash,
                    outcome.block,
                    outcome.gas_used,
                    outcome.created,
                    outcome.succeeded,
                    number,
                ),
            )

    def report(self, number: int) -> None:
        """Write that the outcome of a transaction reached its caller."""
        self._update(number, "reported = 1")

    def reopen(self, number: int) -> None:
        """Write that a transaction is not on the chain any more."""
        self._update(number, "state='open', tx_hash=NULL, block=NULL")

    def drop(self, number: int) -> None:
        """Write that a transaction can never be mined; its nonce is free."""
        self._update(number, "state = 'dropped'")

    def _update(self, number: int, change: str) -> None:
        with self.exclusive():
            self._database.execute(f"UPDATE outgoing SET {change} WHERE number = ?", (number,))

    def _prune(self, chain: str, address: str) -> None:
        """Delete old transactions whose outcome was reported, with their versions."""
        old = (
            "SELECT number FROM outgoing WHERE chain = ? AND address = ? AND reported AND label = '' "
            "AND state != 'open' AND number <= (SELECT MAX(number) FROM outgoing) - ?"
        )
        values = (chain, address, KEPT)
        self._database.execute(f"DELETE FROM version WHERE outgoing IN ({old})", values)
        self._database.execute(f"DELETE FROM outgoing WHERE number IN ({old})", values)

    # Plans

    def plan(self, chain: str, address: str, name: str, first_nonce: Callable[[], int]) -> Plan:
        """Return the open plan of a name, or a new one.

        Args:
            chain: The chain's identity.
            address: The account.
            name: Names the plan: the same plan again has the same name.
            first_nonce: Returns the nonce of a new plan's first transaction.
        """
        query = (
            "SELECT number, nonce FROM plan WHERE chain=? AND address=? AND name=? AND NOT closed"
        )
        for row in self._rows(query, chain, address, name):
            return Plan(*row)
        nonce = first_nonce()
        with self.exclusive():
            if not self._rows(query, chain, address, name):
                self._database.execute(
                    "INSERT INTO plan (chain, address, name, nonce, closed) VALUES (?,?,?,?,0)",
                    (chain, address, name, nonce),
                )
            return Plan(*self._rows(query, chain, address, name)[-1])

    def restart_plan(self, plan: Plan, nonce: int) -> Plan:
        """Give a plan of which nothing was sent yet another first nonce."""
        with self.exclusive():
            self._database.execute(
                "UPDATE plan SET nonce = ? WHERE number = ?", (nonce, plan.number)
            )
        return Plan(plan.number, nonce)

    def close_plan(self, plan: Plan) -> None:
        """Write that a plan is carried out, or cannot be carried out any more."""
        with self.exclusive():
            self._database.execute("UPDATE plan SET closed = 1 WHERE number = ?", (plan.number,))


_shared: weakref.WeakValueDictionary[str, Outbox] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def outbox_file(keystore: Path) -> Path:
    """Return the file of the outbox of a keystore, which lies beside it."""
    return keystore.with_name(f"{keystore.name}.outbox.sqlite")


def shared_outbox(path: Path | None, address: str) -> Outbox:
    """Return the one outbox of a key in this process.

    Args:
        path: The outbox's file; None for a key without a keystore.
        address: The key's address.
    """
    name = address if path is None else str(path.absolute())
    with _sharing:
        outbox = _shared.get(name)
        if outbox is None:
            outbox = _shared[name] = Outbox(path)
        return outbox
