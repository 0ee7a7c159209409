"""A node checks a claimed sum of deltas against their digests."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.contracts import Claim, ModelKind, SumTerm
from rescind.core import ZERO_DIGEST, Digest, digest
from rescind.daemon import Journal
from rescind.node.facts import ClaimCheck
from rescind.node.watch import check_claim
from rescind.wire import AggregatorUnavailable

ADAPTER = "ad" * 32
WINDOW, DEADLINE = 300, 1000


def digest_of(seed: int) -> Digest:
    values = np.random.default_rng(seed).integers(-900, 900, 4096, dtype=np.int32)
    return digest({"shared/tensor": values})


class Scene:
    """A claim of the sum of two deltas with coefficients 2 and 3, and an aggregator with digests."""

    def __init__(self, folder: Path, claimed: Digest, aggregate: Digest | None) -> None:
        self.terms = [(digest_of(1), 2), (digest_of(2), 3)]
        self.claimed, self.now = claimed, 0
        self.challenges: list[tuple[int, list[bytes], list[Any]]] = []
        self.demands = 0
        digests = [*(part for part, _ in self.terms), claimed]
        digests += [aggregate] if aggregate is not None else []
        kind = ModelKind.REMOVAL if aggregate is None else ModelKind.ROUND
        claim = Claim(kind, 1, 0, DEADLINE, 0, 0, False, "", ADAPTER, claimed.root, "")
        terms = [SumTerm("", part.root, coefficient) for part, coefficient in self.terms]
        consortium = SimpleNamespace(
            claim=lambda: claim,
            claim_terms=lambda: [terms[:1], terms[1:]],
            aggregate_of=lambda round_id: SimpleNamespace(
                digest_root=getattr(aggregate, "root", "")
            ),
            model=lambda model_id: SimpleNamespace(digest_root=ZERO_DIGEST.root),
            challenge_seconds=lambda: WINDOW,
            chain=SimpleNamespace(now=lambda: self.now),
            demand_proof=self.demand_proof,
            challenge=lambda *arguments: self.challenges.append(arguments),
        )
        client = SimpleNamespace(digest={part.root: part for part in digests}.__getitem__)
        self.session: Any = SimpleNamespace(
            consortium=consortium, client=client, journal=Journal(folder / "node.db")
        )

    def demand_proof(self) -> None:
        self.demands += 1

    def withhold_digests(self) -> None:
        def unavailable(root: str) -> Digest:
            raise AggregatorUnavailable("no answer")

        self.session.client.digest = unavailable

    def answer(self) -> str | None:
        check = ClaimCheck.find(self.session.journal, ADAPTER, self.claimed.root)
        return check.answer if check else None


SUM = 2 * digest_of(1) + 3 * digest_of(2)


@pytest.mark.parametrize("aggregate", [None, SUM])
def test_a_right_sum_is_not_challenged(tmp_path: Path, aggregate: Digest | None) -> None:
    scene = Scene(tmp_path, SUM, aggregate)
    check_claim(scene.session)
    assert scene.answer() == "right"
    assert not scene.challenges


def test_a_wrong_sum_is_challenged_at_a_word_that_differs(tmp_path: Path) -> None:
    claimed = SUM + digest_of(3)
    scene = Scene(tmp_path, claimed, None)
    check_claim(scene.session)
    assert scene.answer() == "challenged"
    [(word, words, siblings)] = scene.challenges
    assert len(words) == len(siblings) == 4, "two terms, the source and the claimed digest"
    assert words[-1] == claimed.to_bytes()[32 * word : 32 * word + 32]
    assert words[-1] != SUM.to_bytes()[32 * word : 32 * word + 32]


def test_a_wrong_aggregate_of_a_round_is_challenged(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SUM, SUM + digest_of(3))
    check_claim(scene.session)
    assert scene.answer() == "challenged"
    [(_, words, _)] = scene.challenges
    assert len(words) == 5, "two terms, the aggregate, the source and the claimed digest"


def test_a_node_waits_for_digests_in_the_first_half_of_the_window(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SUM, None)
    scene.withhold_digests()
    scene.now = DEADLINE - WINDOW // 2 - 1
    with pytest.raises(AggregatorUnavailable):
        check_claim(scene.session)
    assert scene.answer() is None


def test_a_proof_is_demanded_if_digests_are_missing_in_the_second_half(tmp_path: Path) -> None:
    scene = Scene(tmp_path, SUM, None)
    scene.withhold_digests()
    scene.now = DEADLINE - WINDOW // 2
    check_claim(scene.session)
    assert scene.demands == 1
    assert scene.answer() == "demanded"
