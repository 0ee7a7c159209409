"""The daemon's proofs of sums that do not fit one transaction."""

from pathlib import Path

import numpy as np

from rescind.aggregator.proof import Digests, prove
from rescind.contracts import DIGESTS_PER_TRANSACTION, RoundState
from rescind.daemon import Journal
from tests.consortium import make_consortium, micro_parameters, start_anvil


def test_a_round_of_many_and_a_removal_are_proven_step_by_step(tmp_path: Path) -> None:
    count = DIGESTS_PER_TRANSACTION + 4
    with start_anvil() as anvil:
        it = make_consortium(
            anvil, count, micro_parameters(federated=True), store=tmp_path / "store"
        )
        boss = it.of(it.aggregator)
        digests = Digests(it.store, Journal(tmp_path / "journal.db"))
        it.play_round(np.random.default_rng(0), prove=False)
        transactions = 0
        while (claim := boss.claim()) is not None:
            prove(boss, claim, digests)
            transactions += 1
        assert transactions == 2
        assert boss.round(1).state is RoundState.FINAL
        assert boss.model(1).digest_root == digests.of(boss.model(1).adapter_id).root
        leaver = it.organizations[3]
        it.of(leaver).request_withdrawal()
        boss.carry_out(1, 1, it.register(it.sum_without(1, leaver.address)))
        steps = []
        while (claim := boss.claim()) is not None:
            # A daemon that was killed knows nothing but what the chain and its store hold.
            prove(boss, claim, Digests(it.store, Journal(tmp_path / f"journal-{len(steps)}.db")))
            steps.append((claim.step, claim.place))
        assert steps == [(0, 0), (0, DIGESTS_PER_TRANSACTION)]
        boss.close_withdrawal(1)
        assert boss.is_clean(boss.latest_model_id(), leaver.address)
