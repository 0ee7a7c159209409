"""Proofs of sums that do not fit one transaction."""

from pathlib import Path

import numpy as np

from rescind.aggregator.proof import Digests, prove
from rescind.contracts import DIGESTS_PER_TRANSACTION, RoundState
from rescind.daemon import Journal
from tests.support.chain import Anvil
from tests.support.consortium import make_consortium, micro_parameters


def test_large_sums_are_proven_in_several_transactions(anvil: Anvil, tmp_path: Path) -> None:
    count = DIGESTS_PER_TRANSACTION + 4
    consortium = make_consortium(
        anvil, count, micro_parameters(federated=True), store=tmp_path / "store"
    )
    aggregator = consortium.of(consortium.aggregator)
    digests = Digests(consortium.store, Journal(tmp_path / "journal.db"))
    consortium.play_round(np.random.default_rng(0), prove=False)
    transactions = 0
    while (claim := aggregator.claim()) is not None:
        prove(aggregator, claim, digests)
        transactions += 1
    assert transactions == 2
    assert aggregator.round(1).state is RoundState.FINAL
    assert aggregator.model(1).digest_root == digests.of(aggregator.model(1).adapter_id).root
    leaver = consortium.organizations[3]
    consortium.of(leaver).request_withdrawal()
    aggregator.carry_out(1, 1, consortium.register(consortium.sum_without(1, leaver.address)))
    steps = []
    while (claim := aggregator.claim()) is not None:
        # A daemon that was killed knows nothing but what the chain and its store hold.
        prove(
            aggregator,
            claim,
            Digests(consortium.store, Journal(tmp_path / f"journal-{len(steps)}.db")),
        )
        steps.append((claim.step, claim.place))
    assert steps == [(0, 0), (0, DIGESTS_PER_TRANSACTION)]
    aggregator.close_withdrawal(1)
    assert aggregator.is_clean(aggregator.latest_model_id(), leaver.address)
