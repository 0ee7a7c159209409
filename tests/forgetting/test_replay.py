"""Replays, replacements and recoveries of a small consortium."""

from pathlib import Path

import numpy as np
import pytest

from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    encode,
    l2_norm,
    owner,
    qualify,
    quantize,
)
from rescind.core.errors import ConfigError, DataError
from rescind.daemon import Journal
from rescind.forgetting.history import (
    Entry,
    History,
    Task,
    TrainedDelta,
    extend,
)
from rescind.forgetting.replay import (
    calibrated_replay,
    recovery,
    replacement,
    replay,
    subject_replay,
)
from tests.support.consortium import micro_parameters

A, B, C = (f"0x{letter * 40}" for letter in "abc")


class Learner:
    """Moves a fixed share of the way from the adapter to an organization's target.

    Every delta depends on the whole adapter and on the residual.
    """

    def __init__(self, parameters: ConsortiumParameters, data: dict[str, int]) -> None:
        self.parameters, self.data, self.tasks = parameters, data, []

    def __call__(self, task: Task) -> TrainedDelta:
        self.tasks.append(task.entry.key)
        block_owner = owner(self.parameters.layout, task.entry.organization)
        target = np.random.default_rng(self.data[task.entry.organization])
        adapter, unit = task.adapter, 2.0**16 * 10_000
        update = {}
        for bare, shape in self.parameters.delta_shapes().items():
            name = qualify(block_owner, bare)
            parent = adapter[name] / unit if name in adapter else np.zeros(shape)
            update[name] = (target.normal(size=shape) - parent) * 0.001 * task.entry.steps
        quantized = quantize(update, task.residual, fraction_bits=16, clip_norm=100.0)
        return TrainedDelta(quantized.delta, quantized.residual)


def plan(organizations: tuple[str, ...], rounds: int = 3) -> list[Entry]:
    late = {C: 2}
    return [
        Entry(number, organization, 50 + 10 * number)
        for number in range(1, rounds + 1)
        for organization in organizations
        if number >= late.get(organization, 1)
    ]


@pytest.fixture(params=["isolated", "federated"])
def parameters(request: pytest.FixtureRequest) -> ConsortiumParameters:
    return micro_parameters(federated=request.param == "federated")


@pytest.fixture
def learner(parameters: ConsortiumParameters) -> Learner:
    return Learner(parameters, {A: 1, B: 2, C: 3})


@pytest.fixture
def history(parameters: ConsortiumParameters, learner: Learner, tmp_path: Path) -> History:
    empty = History(parameters, ArtifactStore(tmp_path / "store"))
    return extend(empty, plan((A, B, C)), learner)


def run_of(history: History, learner: Learner, organizations: tuple[str, ...]) -> History:
    return extend(History(history.parameters, history.store), plan(organizations), learner)


@pytest.mark.parametrize("removed", [A, B, C])
def test_a_replay_is_bit_for_bit_the_run_without_the_organization(
    history: History, learner: Learner, removed: str
) -> None:
    others = tuple(organization for organization in (A, B, C) if organization != removed)

    replayed = replay(history, removed, learner)

    expected = run_of(history, learner, others)
    assert encode(replayed.adapter()) == encode(expected.adapter())
    assert replayed.entries == expected.entries


def test_removal_equals_a_replay_only_in_the_isolated_coupling(
    history: History, learner: Learner
) -> None:
    removed = encode(history.without(A).adapter())
    same = removed == encode(replay(history, A, learner).adapter())

    assert same == (history.parameters.coupling == "isolated")


def test_the_first_round_of_the_organization_is_not_trained_again(
    history: History, learner: Learner
) -> None:
    learner.tasks.clear()

    replay(history, C, learner)

    assert all(key.startswith("000003/") for key in learner.tasks)


@pytest.mark.parametrize("parameters", ["federated"], indirect=True)
def test_an_interrupted_replay_continues_after_its_last_delta(
    history: History, learner: Learner, tmp_path: Path
) -> None:
    class Interruption(Exception):
        pass

    class FailsAfterTwo:
        left = 2

        def __call__(self, task: Task) -> TrainedDelta:
            self.left -= 1
            if self.left < 0:
                raise Interruption
            return learner(task)

    journal = Journal(tmp_path / "replay.db")
    with pytest.raises(Interruption):
        replay(history, A, FailsAfterTwo(), journal=journal)
    learner.tasks.clear()

    finished = replay(history, A, learner, journal=journal)

    assert len(learner.tasks) == 3 - 1
    assert encode(finished.adapter()) == encode(replay(history, A, learner).adapter())


@pytest.mark.parametrize("parameters", ["federated"], indirect=True)
def test_a_journal_of_another_start_is_not_used(
    history: History, learner: Learner, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "replay.db")
    replay(history, A, learner, journal=journal)

    other = replay(history, B, learner, journal=journal)

    assert encode(other.adapter()) == encode(replay(history, B, learner).adapter())


def test_a_replacement_changes_the_deltas_of_one_organization_only(
    history: History, learner: Learner
) -> None:
    without_subject = Learner(history.parameters, {**learner.data, A: 77})

    replaced = replacement(history, A, without_subject)

    assert [e for e in replaced.entries if e.organization != A] == [
        e for e in history.entries if e.organization != A
    ]
    assert all(
        new.artifact_id != old.artifact_id
        for new, old in zip(replaced.of(A), history.of(A), strict=True)
    )


def test_a_subject_replay_is_bit_for_bit_the_run_without_the_subject(
    history: History, learner: Learner
) -> None:
    without_subject = Learner(history.parameters, {**learner.data, A: 77})

    replayed = subject_replay(history, A, without_subject)

    expected = run_of(history, without_subject, (A, B, C))
    assert encode(replayed.adapter()) == encode(expected.adapter())


def test_a_replacement_equals_the_run_without_the_subject_only_in_the_isolated_coupling(
    history: History, learner: Learner
) -> None:
    without_subject = Learner(history.parameters, {**learner.data, A: 77})

    replaced = replacement(history, A, without_subject)

    expected = run_of(history, without_subject, (A, B, C))
    same = encode(replaced.adapter()) == encode(expected.adapter())
    assert same == (history.parameters.coupling == "isolated")


def test_calibrated_deltas_have_the_length_of_the_deltas_they_replace(
    history: History, learner: Learner
) -> None:
    erased = calibrated_replay(history, A, learner, share=0.2)

    for new in erased.entries:
        old = next(e for e in history.entries if e.key == new.key)
        lengths = [l2_norm(history.load(e.artifact_id)) for e in (new, old)]
        assert lengths[0] == pytest.approx(lengths[1], rel=0.05)
        assert lengths[0] <= lengths[1]
    assert A not in erased.organizations


def test_a_calibrated_replay_rejects_a_share_of_steps_above_one(
    history: History, learner: Learner
) -> None:
    with pytest.raises(ConfigError, match="share of steps is 2"):
        calibrated_replay(history, A, learner, share=2)


def test_recovery_adds_rounds_of_the_remaining_organizations(
    history: History, learner: Learner
) -> None:
    recovered = recovery(history, A, learner, rounds=2, steps=40)

    assert recovered.rounds == [1, 2, 3, 4, 5]
    assert recovered.organizations == [B, C]
    assert {e.steps for e in recovered.entries if e.round_id > 3} == {40}


def test_a_replay_rejects_an_organization_that_never_contributed(
    history: History, learner: Learner
) -> None:
    with pytest.raises(DataError, match="has not contributed to any round"):
        replay(history, "0x" + "d" * 40, learner)
