"""Contributions of several parts, each with its own rule, through the client."""

from __future__ import annotations

import numpy as np
import pytest

from rescind.contracts import Account, ContractRefused, Parts
from rescind.core import Digest, Opening, digest, point_hash
from tests.support.chain import Anvil
from tests.support.consortium import SALT, ChainConsortium, make_consortium

RULES = ("share", "block", "latest")


class ThreeParts:
    """A consortium whose contributions have a part of each rule."""

    def __init__(self, anvil: Anvil) -> None:
        self.consortium: ChainConsortium = make_consortium(anvil, rules=RULES)
        self.rng = np.random.default_rng(0)
        self.digests: dict[str, Digest] = {}

    def contribution(self, account: Account) -> Parts:
        deltas = [self.consortium.random_delta(account, self.rng) for _ in RULES]
        parts = [self.consortium.register(delta) for delta in deltas]
        for delta, part in zip(deltas, parts, strict=True):
            self.digests[part.point_hashes[0]] = digest(delta)
        return Parts(
            tuple(part.artifact_ids[0] for part in parts), tuple(part.points[0] for part in parts)
        )

    def play_round(self, *places: int) -> None:
        aggregator = self.consortium.of(self.consortium.aggregator)
        aggregator.open_round()
        number, revealed = aggregator.current_round_id(), {}
        for place, account in enumerate(self.consortium.organizations):
            client = self.consortium.of(account)
            if not client.may_contribute(account.address):
                continue
            if place in places:
                revealed[place] = self.contribution(account)
                client.commit(number, revealed[place], SALT)
            else:
                client.sit_out(number)
        aggregator.close_commits(number)
        for place, parts in revealed.items():
            self.consortium.of(self.consortium.organizations[place]).reveal(number, parts, SALT)
        aggregator.close_reveals(number)
        self.consortium.judge(number)
        self.consortium.fold(points=2, rows=1)
        self.check()

    def check(self) -> None:
        """Every part's commitment opens to the sum of its content."""
        public = self.consortium.of()
        model = public.model(public.latest_model_id())
        for part, commitment in enumerate(model.commitments):
            content = public.content(model.id, part)
            terms = [(self.digests[entry.point_hash], entry.weight) for entry in content]
            assert commitment == point_hash(Opening.build("all", terms).commitment)

    def entries(self, part: int) -> list[tuple[int, int, int]]:
        public = self.consortium.of()
        content = public.content(public.latest_model_id(), part)
        return [(entry.round_id, entry.member_number, entry.weight) for entry in content]


@pytest.fixture
def three(anvil: Anvil) -> ThreeParts:
    return ThreeParts(anvil)


def test_parts_of_each_rule_add_up_side_by_side(three: ThreeParts) -> None:
    three.play_round(0, 1, 2)
    three.play_round(1, 2)
    assert three.entries(0) == [(1, n, 3_333) for n in range(3)] + [(2, n, 5_000) for n in (1, 2)]
    assert three.entries(1) == [(1, n, 10_000) for n in range(3)] + [(2, n, 10_000) for n in (1, 2)]
    assert three.entries(2) == [(1, 0, 1), (2, 1, 1), (2, 2, 1)]

    leaver = three.consortium.organizations[1]
    three.consortium.of(leaver).request_withdrawal()
    three.consortium.remove(1)
    three.check()
    assert three.entries(0) == [(1, 0, 5_000), (1, 2, 5_000), (2, 2, 10_000)]
    assert three.entries(2) == [(1, 0, 1), (2, 2, 1)]
    three.play_round(0)
    assert three.entries(2) == [(2, 2, 1), (3, 0, 1)]


def test_a_contribution_has_all_parts(three: ThreeParts) -> None:
    account = three.consortium.organizations[0]
    client = three.consortium.of(account)
    three.consortium.of(three.consortium.aggregator).open_round()
    whole = three.contribution(account)
    short = Parts(whole.artifact_ids[:2], whole.points[:2])
    client.commit(1, short, SALT)
    for other in three.consortium.organizations[1:]:
        three.consortium.of(other).sit_out(1)
    client.close_commits(1)
    with pytest.raises(ContractRefused, match="WrongPartCount"):
        client.reveal(1, short, SALT)
