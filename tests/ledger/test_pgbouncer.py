"""A ledger behind PgBouncer, which gives each transaction another session."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.engine.url import make_url

from rescind.core.errors import LedgerError
from rescind.ledger import Ledger, LedgerDamaged, LocalKey, shred
from tests.support.pgbouncer import pooled, program
from tests.support.postgres import Cluster

MASTER = LocalKey(bytes(32))


@pytest.mark.slow
@pytest.mark.skipif(
    program() is None, reason="pgbouncer is not installed: apt-get install pgbouncer"
)
def test_a_ledger_works_behind_pgbouncer_in_transaction_mode(cluster: Cluster) -> None:
    with pooled(cluster) as port:
        first, second = (
            make_url(cluster.new()).set(port=port).render_as_string(hide_password=False)
            for _ in range(2)
        )
        # psycopg prepares a statement at its fifth use; the URL may even ask for it sooner.
        for url in (first, f"{second}?prepare_threshold=1"):
            Ledger.create(url, MASTER).close()
        with Ledger.open(first, MASTER) as one, Ledger.open(second, MASTER) as other:

            def append(number: int) -> None:
                for ledger in (one, other):
                    ledger.append("decision", {"round": number}, subject=f"person {number % 3}")

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(append, range(20)))
            for ledger in (one, other):
                assert ledger.size == 20
                assert ledger.verify().sound
                assert len(list(ledger.records(subject="person 1"))) == 7
                assert shred(ledger, "person 1").records == 7
                assert ledger.verify().sound


def test_a_database_that_does_not_answer_is_not_called_damaged() -> None:
    with pytest.raises(LedgerError, match="cannot read") as refused:
        Ledger.open("postgresql://rescind@127.0.0.1:1/x", MASTER)
    assert not isinstance(refused.value, LedgerDamaged)
