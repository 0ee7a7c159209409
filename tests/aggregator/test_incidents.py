"""Incidents: none is lost, none costs more than the first, and no one pushes out another's."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sql

from rescind.aggregator.facts import open_journal
from rescind.aggregator.incidents import STRANGER, Incident, IncidentLimits, Incidents, Omitted
from rescind.aggregator.session import AggregatorSession
from rescind.core.errors import StoreError

MEMBER, OTHER = "0xA", "0xB"
PLENTY = IncidentLimits(rows=100_000, burst=100_000)


def incident(number: int, organization: str = MEMBER, *, time: int = 0) -> Incident:
    return Incident(organization, "bad-signature", f"reason {number}", 3, time or 1_000 + number)


def record(table: Incidents, each: Incident) -> None:
    if table.admit(each.organization):
        table.add(each)


def test_incidents_are_there_after_a_restart(tmp_path: Path) -> None:
    record(Incidents(open_journal(tmp_path)), incident(1))
    assert Incidents(open_journal(tmp_path)).newest() == [
        Incident(MEMBER, "bad-signature", "reason 1", 3, 1_001, count=1, last_time=1_001)
    ]


def test_incidents_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    """Each thread has a connection of its own, as processes do."""
    open_journal(tmp_path)

    def work(thread: int) -> None:
        table = Incidents(open_journal(tmp_path), PLENTY)
        for number in range(10):
            record(table, incident(100 * thread + number))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.what for each in Incidents(open_journal(tmp_path)).newest()}) == 80


@pytest.mark.slow
def test_incidents_of_two_processes_are_all_kept(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from rescind.aggregator.facts import open_journal\n"
        "from rescind.aggregator.incidents import Incident, Incidents\n"
        "table = Incidents(open_journal(Path(sys.argv[1])))\n"
        "for n in range(20):\n"
        "    assert table.admit('0xA')\n"
        "    table.add(Incident('0xA', 'late', 'same', 1, n))\n"
        "    table.add(Incident('0xA', 'late', f'{sys.argv[2]} {n}', 1, n))\n"
    )
    open_journal(tmp_path)
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in "ab"
    ]
    assert [process.wait(300) for process in processes] == [0, 0]
    rows = Incidents(open_journal(tmp_path)).newest()
    assert len(rows) == 41
    assert [each.count for each in rows if each.what == "same"] == [40]


def test_the_same_incident_again_is_counted_in_its_row(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path))
    for time in (5, 6, 9):
        record(table, incident(1, time=time))
    assert table.newest() == [
        Incident(MEMBER, "bad-signature", "reason 1", 3, 5, count=3, last_time=9)
    ]


def test_old_rows_go_and_their_number_is_kept(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path), IncidentLimits(rows=3))
    record(table, incident(0))
    record(table, incident(0))
    for number in range(1, 6):
        record(table, incident(number))
    assert [each.what for each in table.newest()] == ["reason 3", "reason 4", "reason 5"]
    assert table.omitted() == {MEMBER: Omitted(dropped=4)}


def test_a_stranger_pushes_out_no_incident_of_a_member(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path), IncidentLimits(rows=3, burst=100))
    record(table, incident(1))
    record(table, incident(1, OTHER))
    for number in range(20):
        record(table, incident(number, STRANGER))
    kept = [each.organization for each in table.newest()]
    assert sorted(kept) == [MEMBER, OTHER, STRANGER, STRANGER, STRANGER]


def test_a_flood_is_counted_and_not_written(tmp_path: Path) -> None:
    now = [0.0]
    limits = IncidentLimits(burst=5, per_second=1.0)
    table = Incidents(open_journal(tmp_path), limits, clock=lambda: now[0])
    for number in range(1_000):
        record(table, incident(number, STRANGER))
    assert len(table.newest()) == 5
    assert table.admit(MEMBER)

    now[0] = 2.0
    record(table, incident(2_000, STRANGER))
    assert table.omitted() == {STRANGER: Omitted(counted=995)}


def test_the_count_of_a_flood_survives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    limits = IncidentLimits(burst=1, per_second=1.0)
    table = Incidents(open_journal(tmp_path), limits, clock=lambda: now[0])
    for number in range(4):
        record(table, incident(number))
    with monkeypatch.context() as patched:
        patched.setattr("rescind.aggregator.incidents._insert", _full_disk)
        now[0] = 1.0
        with pytest.raises(StoreError, match="disk is full"):
            record(table, incident(5))
    now[0] = 2.0
    record(table, incident(6))
    assert table.omitted() == {MEMBER: Omitted(counted=3)}


def _full_disk(*_: object) -> bool:
    raise sql.exc.OperationalError("insert", {}, Exception("database or disk is full"))


def test_an_incident_costs_the_same_with_thirty_thousand_rows(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    table = Incidents(journal, PLENTY)
    first = _steps(journal, lambda: table.add(incident(0)))
    with journal.writing() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 30009) "
            "INSERT INTO incidents (organization, code, what, round, time, count, last_time) "
            "SELECT '0xA', 'late', 'row ' || i, 1, i, 1, i FROM n"
        )
    assert _steps(journal, lambda: table.add(incident(1))) < 3 * first
    rotating = Incidents(journal, IncidentLimits(rows=2))
    assert _steps(journal, lambda: rotating.add(incident(2))) < 5 * first


def _steps(journal: object, act: Callable[[], None]) -> int:
    """Return how many instructions of SQLite's machine an act takes, in tens."""
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    engine = journal._engine

    def watch(connection: object, *_: object) -> None:
        connection.set_progress_handler(count, 10)

    sql.event.listen(engine, "connect", watch)
    try:
        act()
    finally:
        sql.event.remove(engine, "connect", watch)
    return steps[0]


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path))
    table.add(Incident(MEMBER, "late", "x" * 1_000_000, 1, 1))
    assert len(table.newest()[0].what) == 1_000


class Chain:
    """A chain that counts how often it is asked, or does not answer."""

    def __init__(self, *, answers: bool) -> None:
        self.answers, self.asked = answers, 0
        self.chain = self.clock = self

    def current_round_id(self) -> int:
        self.asked += 1
        if not self.answers:
            raise StoreError("no answer")
        return 7

    def now(self) -> int:
        return 1_700_000_000

    def without_a_node(self) -> int:
        return 1_700_000_001


def session_with(table: Incidents, chain: Chain) -> AggregatorSession:
    return SimpleNamespace(incidents=table, consortium=chain)


def test_a_flood_does_not_ask_the_chain(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path), IncidentLimits(burst=3), clock=lambda: 0.0)
    chain = Chain(answers=True)
    for number in range(200):
        AggregatorSession.record_incident(
            session_with(table, chain), STRANGER, "not-a-member", f"certificate {number}"
        )
    assert (chain.asked, len(table.newest())) == (3, 3)


def test_what_the_aggregator_finds_itself_is_written_during_a_flood(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path), IncidentLimits(burst=1), clock=lambda: 0.0)
    session = session_with(table, Chain(answers=True))
    for number in range(5):
        AggregatorSession.record_incident(session, MEMBER, "late", f"call {number}")
    AggregatorSession.record_incident(session, MEMBER, "out_of_bounds", "left out", at_will=False)
    assert [each.code for each in table.newest()] == ["late", "out_of_bounds"]


def test_an_incident_is_written_when_the_chain_does_not_answer(tmp_path: Path) -> None:
    table = Incidents(open_journal(tmp_path))
    AggregatorSession.record_incident(
        session_with(table, Chain(answers=False)), MEMBER, "late", "x"
    )
    [written] = table.newest()
    assert (written.round, written.what) == (0, "x")
    assert written.time == 1_700_000_001
