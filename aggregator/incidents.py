"""The aggregator's incidents: refused calls, rejected updates and what the aggregator did itself.

They have a table of their own in the journal's SQLite file. To record one costs the same however
many there are, and an enemy can neither fill the disk nor push out what others did:

1. The same incident again is counted in its row.
2. Each organization has its own rows, and so have strangers. When an organization has too many, its
   oldest row goes.
3. Each organization can write so many rows a second. Beyond that an incident is only counted.

Incidents that no row shows any more, or never did, are in `Omitted`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import sqlalchemy as sql
from sqlalchemy.dialects.sqlite import insert

from rescind.daemon import Journal

STRANGER = "unknown"
"""The organization of incidents by callers without a membership."""
AGGREGATOR = "aggregator"
"""The organization of entries about the aggregator's own work."""

_LONGEST_REASON = 1000
"""Characters of a reason that are kept. The longest of our own sentences has about 600; a reason may
also quote what a caller sent."""

_metadata = sql.MetaData()
_incidents = sql.Table(
    "incidents",
    _metadata,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("organization", sql.String, nullable=False),
    sql.Column("code", sql.String, nullable=False),
    sql.Column("what", sql.String, nullable=False),
    sql.Column("round", sql.Integer, nullable=False),
    sql.Column("time", sql.Integer, nullable=False),
    sql.Column("count", sql.Integer, nullable=False),
    sql.Column("last_time", sql.Integer, nullable=False),
    sql.UniqueConstraint("organization", "code", "what", "round"),
    sql.Index("incidents_by_age", "organization", "last_time", "id"),
    # Ids grow for ever, so that they keep the order of arrival although rows are deleted.
    sqlite_autoincrement=True,
)
_numbers = sql.Table(
    "incident_numbers",
    _metadata,
    sql.Column("organization", sql.String, primary_key=True),
    sql.Column("rows", sql.Integer, nullable=False),
    sql.Column("dropped", sql.Integer, nullable=False),
    sql.Column("counted", sql.Integer, nullable=False),
)


@dataclass(frozen=True)
class Incident:
    """A refused call, a rejected update, a refused attestation, or an act of the aggregator.

    Attributes:
        organization: EIP-55 address, `STRANGER` or `AGGREGATOR`.
        code: The error's or the rejection's code.
        what: The reason.
        round: The round that was current; 0 if there was none, or the chain did not answer.
        time: Unix seconds of the first time, by the chain's clock.
        count: How often it happened in that round.
        last_time: Unix seconds of the last time.
    """

    organization: str
    code: str
    what: str
    round: int
    time: int
    count: int = 1
    last_time: int = 0


@dataclass(frozen=True)
class Omitted:
    """The incidents of an organization that the table does not show.

    Attributes:
        dropped: How many the rows stood for that newer ones pushed out.
        counted: How many came so fast that they were counted and not written.
    """

    dropped: int = 0
    counted: int = 0


@dataclass(frozen=True)
class IncidentLimits:
    """How much each organization, and all strangers together, can write.

    Attributes:
        rows: Rows kept.
        burst: Rows that can be written at once.
        per_second: Rows that can be written in the long run.
    """

    rows: int = 500
    burst: int = 50
    per_second: float = 1.0


@dataclass(frozen=True)
class _Allowance:
    """The rows that an organization can still write: a token bucket."""

    tokens: float
    at: float
    counted: int = 0

    def refilled(self, limits: IncidentLimits, now: float) -> Self:
        tokens = min(float(limits.burst), self.tokens + (now - self.at) * limits.per_second)
        return replace(self, tokens=tokens, at=now)


class Incidents:
    """The table of incidents. Threads and processes may record and read at the same time.

    Args:
        journal: The aggregator's journal, whose file holds the table.
        limits: How much each organization can write.
        clock: Seconds, for the rate. It need not be the time of day.
    """

    def __init__(
        self,
        journal: Journal,
        limits: IncidentLimits = IncidentLimits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        journal.create_tables(_metadata)
        self._journal, self._limits, self._clock = journal, limits, clock
        self._lock = threading.Lock()
        self._allowances: dict[str, _Allowance] = {}

    def admit(self, organization: str) -> bool:
        """Return whether another incident of an organization may be written; otherwise count it.

        Ask before you look up anything that an incident needs, so that a flood costs nothing.
        """
        now, limits = self._clock(), self._limits
        with self._lock:
            before = self._allowances.get(organization, _Allowance(float(limits.burst), now))
            current = before.refilled(limits, now)
            admitted = current.tokens >= 1
            self._allowances[organization] = (
                replace(current, tokens=current.tokens - 1)
                if admitted
                else replace(current, counted=current.counted + 1)
            )
            return admitted

    def add(self, incident: Incident) -> None:
        """Write an incident that was admitted. It is on the disk when this returns.

        Raises:
            StoreError: It cannot be written, for example because the disk is full.
        """
        row = replace(
            incident,
            what=incident.what[:_LONGEST_REASON],
            last_time=incident.last_time or incident.time,
        )
        counted = self._take_counted(row.organization)
        try:
            with self._journal.writing() as connection:
                if _insert(connection, row):
                    _rotate(connection, row.organization, self._limits.rows)
                if counted:
                    _note(connection, row.organization, counted=counted)
        except BaseException:
            self._return_counted(row.organization, counted)
            raise

    def newest(self, limit: int = 1000) -> list[Incident]:
        """Return the incidents that happened last, oldest first."""
        query = sql.select(_incidents).order_by(
            _incidents.c.last_time.desc(), _incidents.c.id.desc()
        )
        with self._journal.reading() as connection:
            rows = connection.execute(query.limit(limit)).all()
        return [
            Incident(
                row.organization,
                row.code,
                row.what,
                row.round,
                row.time,
                row._mapping["count"],  # a row's `count` is the method of tuples
                row.last_time,
            )
            for row in reversed(rows)
        ]

    def omitted(self) -> dict[str, Omitted]:
        """Return what the table does not show, by organization, if there is anything.

        Incidents that were counted are here as soon as another of the organization is written.
        """
        query = sql.select(_numbers).order_by(_numbers.c.organization)
        with self._journal.reading() as connection:
            rows = connection.execute(query).all()
        return {
            row.organization: Omitted(row.dropped, row.counted)
            for row in rows
            if row.dropped or row.counted
        }

    def _take_counted(self, organization: str) -> int:
        with self._lock:
            allowance = self._allowances.get(organization)
            if allowance is None or not allowance.counted:
                return 0
            self._allowances[organization] = replace(allowance, counted=0)
            return allowance.counted

    def _return_counted(self, organization: str, counted: int) -> None:
        if counted:
            with self._lock:
                allowance = self._allowances[organization]
                self._allowances[organization] = replace(
                    allowance, counted=allowance.counted + counted
                )


def _insert(connection: sql.Connection, incident: Incident) -> bool:
    """Write an incident, or count it in its row; return whether it has a new row."""
    statement = insert(_incidents).values(
        organization=incident.organization,
        code=incident.code,
        what=incident.what,
        round=incident.round,
        time=incident.time,
        count=incident.count,
        last_time=incident.last_time,
    )
    statement = statement.on_conflict_do_update(
        index_elements=["organization", "code", "what", "round"],
        set_={
            "count": _incidents.c.count + statement.excluded["count"],
            "last_time": statement.excluded.last_time,
        },
    )
    count = connection.execute(statement.returning(_incidents.c["count"])).scalar_one()
    return bool(count == incident.count)


def _rotate(connection: sql.Connection, organization: str, most: int) -> None:
    """Count a new row, and delete the organization's oldest if there are too many."""
    rows = _note(connection, organization, rows=1)
    if rows <= most:
        return
    oldest = (
        sql.select(_incidents.c.id)
        .where(_incidents.c.organization == organization)
        .order_by(_incidents.c.last_time, _incidents.c.id)
        .limit(1)
        .scalar_subquery()
    )
    deleted = sql.delete(_incidents).where(_incidents.c.id == oldest)
    dropped = connection.execute(deleted.returning(_incidents.c["count"])).scalar_one()
    _note(connection, organization, rows=-1, dropped=dropped)


def _note(
    connection: sql.Connection,
    organization: str,
    *,
    rows: int = 0,
    dropped: int = 0,
    counted: int = 0,
) -> int:
    """Add to the numbers of an organization and return how many rows it has."""
    statement = insert(_numbers).values(
        organization=organization, rows=rows, dropped=dropped, counted=counted
    )
    statement = statement.on_conflict_do_update(
        index_elements=["organization"],
        set_={
            name: _numbers.c[name] + statement.excluded[name]
            for name in ("rows", "dropped", "counted")
        },
    )
    total = connection.execute(statement.returning(_numbers.c["rows"])).scalar_one()
    return int(total)
