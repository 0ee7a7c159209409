"""No cheat is paid more than honest training: real deltas, the aggregator's checks and scores, a real chain.

All organizations train honestly in the first round. In the second one organization cheats; the chain is
taken back after each cheat, so all of them meet the same round. tests/agents/test_conduct.py is of the game.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch

from rescind.agents.payout import credit
from rescind.aggregator.checks import Verdict, judge
from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.digests import Digests
from rescind.aggregator.scoring import BenchmarkScorer
from rescind.contracts import Account, ContractRefused, Parts
from rescind.core import (
    Coupling,
    encode,
    initial,
    owner,
    qualify,
)
from rescind.daemon import ModelSection
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import LoraModel, RoundTraining, load_base
from rescind.training.engine.contribution import contribute
from tests.support.chain import Anvil
from tests.support.consortium import SALT, ChainConsortium, make_consortium

pytestmark = pytest.mark.slow
STEPS = 40
Delta = dict[str, np.ndarray]


@dataclass
class Scene:
    """Two rounds of honest deltas, and the consortium that plays them.

    Attributes:
        record: The consortium.
        scorer: The aggregator's scorer.
        first: Each organization's honest delta of the first round.
        second: Each organization's honest delta of the second round.
        stale: The cheat's delta of the second round, trained from where the first one started.
        digests: Digests of the artifacts in the consortium's store.
    """

    record: ChainConsortium
    scorer: BenchmarkScorer
    first: dict[str, Delta]
    second: dict[str, Delta]
    stale: Delta
    digests: Digests

    @property
    def cheat(self) -> Account:
        return self.record.organizations[-1]

    @property
    def victim(self) -> Account:
        return self.record.organizations[0]

    def parent(self) -> Delta:
        reader = self.record.of()
        return dict(self.record.sum_of(reader.content(reader.latest_model_id())))

    def play(self, deltas: dict[str, Delta]) -> dict[str, int]:
        """Play a round as the aggregator does.

        Returns:
            Each organization's pay, in wei.

        Raises:
            ContractRefused: The chain does not take an update.
        """
        record, aggregator = self.record, self.record.of(self.record.aggregator)
        registered = {address: record.register(delta) for address, delta in deltas.items()}
        round_id = self._reveal(registered)
        verdicts = {
            address: self._verdict(address, round_id, parts)
            for address, parts in registered.items()
        }
        accepted = {name: deltas[name] for name, each in verdicts.items() if each.accepted}
        rejected = {name: each.reason for name, each in verdicts.items() if each.reason is not None}
        scores = self.scorer.score(accepted, self.parent())
        available = aggregator.reward_available()
        record.judge(round_id, scores, rejected)
        record.fold()
        paid = {
            a.address: aggregator.claimable(a.address, [round_id]) for a in record.organizations
        }
        expected = credit(available, available, list(scores.values()))
        assert [paid[name] for name in scores] == expected, "the game's credit is not the chain's"
        return paid

    def _reveal(self, registered: Mapping[str, Parts]) -> int:
        """Play a round up to its judgement, and return its number."""
        record, aggregator = self.record, self.record.of(self.record.aggregator)
        aggregator.open_round()
        round_id = aggregator.current_round_id()
        for account in record.organizations:
            if account.address in registered:
                record.of(account).commit(round_id, registered[account.address], SALT)
            else:
                record.of(account).sit_out(round_id)
        aggregator.close_commits(round_id)
        for account in record.organizations:
            if account.address in registered:
                record.of(account).reveal(round_id, registered[account.address], SALT)
        aggregator.close_reveals(round_id)
        return round_id

    def _verdict(self, address: str, round_id: int, parts: Parts) -> Verdict:
        return judge(
            address,
            parts.artifact_ids[0],
            self.record.store,
            self.digests,
            self.record.parameters,
            submitted=True,
            point_hash=parts.point_hashes[0],
            member=0,
            round_id=round_id,
        )

    @cached_property
    def all_honest(self) -> dict[str, int]:
        return self.second_round(self.second[self.cheat.address])

    def second_round(self, cheat: Delta | None) -> dict[str, int]:
        honest = {w: d for w, d in self.second.items() if w != self.cheat.address}
        with self.record.anvil.rewound():
            return self.play(honest if cheat is None else {**honest, self.cheat.address: cheat})


@pytest.fixture(scope="module", params=["isolated", "federated"])
def scene(request, tmp_path_factory, running_anvil: Anvil) -> Iterator[Scene]:
    coupling: Coupling = request.param
    torch.set_num_threads(1)
    folder: Path = tmp_path_factory.mktemp("cheats")
    corpus, base = generated(3, seed=1), load_base(BASE_MODEL)
    model = LoraModel(base, default_lora(coupling))
    parameters = default_parameters(coupling, base.id, model.shapes, seed=1)
    section = EvaluationSection(data=folder / "benchmark.jsonl")
    settings = ModelSection(path=str(BASE_MODEL), device="cpu")
    scorer = BenchmarkScorer(section, settings, parameters, corpus.shared)
    with running_anvil.rewound():
        record = make_consortium(running_anvil, 3, parameters)
        addresses = [account.address for account in record.organizations]
        rows = dict(zip(addresses, corpus.organizations.values(), strict=True))

        def train(organization: str, round_id: int, start: Delta) -> Delta:
            contribution = contribute(
                model,
                parameters,
                organization,
                round_id,
                start,
                list(rows[organization]),
                None,
                RoundTraining(steps=STEPS),
            )
            return dict(contribution.quantized.delta)

        first = {organization: train(organization, 1, {}) for organization in rows}
        scene = Scene(record, scorer, first, {}, {}, Digests(record.store))
        scene.play(first)
        parent = scene.parent()
        scene.second = {organization: train(organization, 2, parent) for organization in rows}
        scene.stale = train(scene.cheat.address, 2, {})
        yield scene


def test_honest_training_is_paid(scene: Scene) -> None:
    assert sum(scene.all_honest.values()) > 0


def earns_no_more(scene: Scene, cheat: Delta) -> dict[str, int]:
    paid = scene.second_round(cheat)
    assert paid[scene.cheat.address] <= scene.all_honest[scene.cheat.address]
    others = [value for organization, value in paid.items() if organization != scene.cheat.address]
    assert paid[scene.cheat.address] <= max(others)
    return paid


def test_a_zero_delta_is_refused_by_the_chain(scene: Scene) -> None:
    cheat = {name: np.zeros_like(v) for name, v in scene.stale.items()}
    with pytest.raises(ContractRefused, match="Infinity"):
        scene.second_round(cheat)


def test_a_delta_next_to_zero_earns_nothing(scene: Scene) -> None:
    cheat = _touched(
        {name: np.zeros_like(v) for name, v in scene.second[scene.cheat.address].items()}
    )
    assert earns_no_more(scene, cheat)[scene.cheat.address] == 0


@pytest.mark.parametrize("seed", range(2))
def test_a_random_delta_earns_nothing(scene: Scene, seed: int) -> None:
    rng = np.random.default_rng(seed)
    typical = {name: max(1.0, float(np.abs(v).mean())) for name, v in scene.stale.items()}
    cheat = {
        name: np.round(rng.normal(0, typical[name], v.shape)).astype(v.dtype)
        for name, v in scene.stale.items()
    }
    assert earns_no_more(scene, cheat)[scene.cheat.address] == 0


def test_a_delta_with_its_signs_flipped_earns_nothing(scene: Scene) -> None:
    cheat = {name: -v for name, v in scene.second[scene.cheat.address].items()}
    assert earns_no_more(scene, cheat)[scene.cheat.address] == 0


def test_a_delta_of_an_earlier_round_is_refused_by_the_chain(scene: Scene) -> None:
    with pytest.raises(ContractRefused, match="PointSeenBefore"):
        scene.second_round(scene.first[scene.cheat.address])


def test_an_earlier_delta_with_one_number_changed_earns_no_more(scene: Scene) -> None:
    cheat = _touched(scene.first[scene.cheat.address])
    earns_no_more(scene, cheat)


def test_a_delta_from_an_outdated_start_earns_no_more(scene: Scene) -> None:
    earns_no_more(scene, scene.stale)


def _touched(delta: Delta) -> Delta:
    changed = {name: value.copy() for name, value in delta.items()}
    name = max(changed)
    changed[name].flat[0] += 1
    return changed


def _as_own(scene: Scene, delta: Delta) -> Delta:
    """Return the cheat's delta that ends where the victim's delta does.

    In a layout of blocks their starting points differ.
    """
    parameters = scene.record.parameters
    if parameters.layout != "blocks":
        return delta
    own, victims = (owner("blocks", a.address) for a in (scene.cheat, scene.victim))
    parent, result = scene.parent(), {}
    for bare, shape in parameters.shapes.items():
        own_start, victim_start = (
            initial(
                parameters.seed, organization, bare, shape, fraction_bits=parameters.fraction_bits
            )
            + parent.get(qualify(organization, bare), np.zeros(shape, np.int64)) // 10_000
            for organization in (own, victims)
        )
        name = qualify(victims, bare)
        result[qualify(own, bare)] = (victim_start + delta.get(name, 0) - own_start).astype(
            np.int32
        )
    return result


def test_a_copy_of_the_round_before_earns_no_more(scene: Scene) -> None:
    """A copy of a delta that was revealed in the round before: commitments leave no other to copy."""
    cheat = _touched(_as_own(scene, scene.first[scene.victim.address]))
    earns_no_more(scene, cheat)


def test_a_copy_of_anothers_unchanged_block_earns_nothing(scene: Scene) -> None:
    """It is so close to the victim's new block that both are one player, but it adds nothing."""
    if scene.record.parameters.layout != "blocks":
        pytest.skip("a shared layout has no blocks")
    paid = earns_no_more(scene, _touched(_as_own(scene, {})))
    assert paid == {**scene.second_round(None), scene.cheat.address: 0}


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_scaled_copy_earns_no_more_than_honest_training(scene: Scene, scale: float) -> None:
    first = scene.first[scene.victim.address]
    scaled = {name: np.rint(scale * value).astype(np.int32) for name, value in first.items()}
    earns_no_more(scene, _touched(_as_own(scene, scaled)))


def test_a_copy_made_in_time_earns_no_more_than_the_original(scene: Scene) -> None:
    """As if the commitment had hidden nothing: the copy shares what the original is worth."""
    cheat = _touched(_as_own(scene, scene.second[scene.victim.address]))
    paid = scene.second_round(cheat)
    assert paid[scene.cheat.address] <= paid[scene.victim.address]


def test_two_names_earn_no_more_than_one(scene: Scene) -> None:
    """Victim and cheat are one: what both are paid for one update, against what one would be."""
    alone = scene.second_round(None)
    cheat = _touched(_as_own(scene, scene.second[scene.victim.address]))
    both = scene.second_round(cheat)
    slack = 1 + max(alone.values()) // 1000  # scores are whole numbers of ten thousand
    assert (
        both[scene.victim.address] + both[scene.cheat.address]
        <= alone[scene.victim.address] + slack
    )
    assert encode(cheat) != encode(scene.second[scene.victim.address])
