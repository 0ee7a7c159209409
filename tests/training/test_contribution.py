from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    LoraParameters,
    Past,
    RoundSum,
    encode,
    split_owner,
)
from rescind.core.errors import ConfigError, TrainingError
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.forgetting.history import (
    Entry,
    History,
    Task,
    TrainedDelta,
    extend,
)
from rescind.forgetting.replay import replay
from rescind.training import (
    Base,
    Example,
    LoraModel,
    RoundTraining,
    load_base,
)
from rescind.training.engine.contribution import contribute

A, B, C = (f"0x{letter * 40}" for letter in "abc")
STEPS = 4
ENTRIES = [Entry(number, organization, STEPS) for number in (1, 2, 3) for organization in (A, B, C)]


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def data() -> Mapping[str, list[Example]]:
    population = make_population(["a", "b", "c"], seed=3)
    held = population.organizations
    return {
        organization: [Example(r.question, r.answer, r.subject) for r in held[name][:16]]
        for organization, name in ((A, "a"), (B, "b"), (C, "c"))
    }


def agreed(
    model: LoraModel, coupling: Any, *, rule: Any = None, server: Any = None
) -> ConsortiumParameters:
    defaults = default_parameters(coupling, model.base.id, model.shapes, seed=7)
    document = defaults.model_dump(mode="json") | {"lora": model.lora.model_dump(mode="json")}
    if rule:
        document["training"] |= {"rule": rule, "steps_per_round": STEPS}
    if server:
        document["server"] = server
    return ConsortiumParameters.model_validate(document)


class Trainer:
    def __init__(
        self, model: LoraModel, parameters: ConsortiumParameters, data: Mapping[str, list[Example]]
    ) -> None:
        self.model, self.parameters, self.data = model, parameters, data

    def __call__(self, task: Task) -> TrainedDelta:
        entry = task.entry
        contribution = contribute(
            self.model,
            self.parameters,
            entry.organization,
            entry.round_id,
            task.adapter,
            self.data[entry.organization],
            task.residual,
            RoundTraining(steps=entry.steps),
            past=task.past,
        )
        return TrainedDelta(contribution.quantized.delta, contribution.quantized.residual)


@pytest.mark.parametrize(
    ("coupling", "lora"),
    [
        ("isolated", LoraParameters(rank=4, alpha=8, train_a=True)),
        pytest.param(
            "federated",
            LoraParameters(rank=4, alpha=8, train_a=False),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "federated",
            LoraParameters(rank=4, alpha=8, train_a=True),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "federated",
            LoraParameters(rank=4, alpha=8, train_a=True, alternate=True),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["blocks", "ffa", "fedit", "rolora"],
)
def test_replay_with_real_training_equals_a_run_without_the_organization(
    base: Base,
    data: Mapping[str, list[Example]],
    tmp_path: Path,
    coupling: str,
    lora: LoraParameters,
) -> None:
    model = LoraModel(base, lora)
    trainer = Trainer(model, agreed(model, coupling), data)
    empty = History(trainer.parameters, ArtifactStore(tmp_path))
    history = extend(empty, ENTRIES, trainer)

    replayed = replay(history, A, trainer)

    never = extend(empty, [e for e in ENTRIES if e.organization != A], trainer)
    assert encode(replayed.adapter()) == encode(never.adapter())
    assert encode(replayed.adapter()) != encode(history.adapter())


FFA = LoraParameters(rank=4, alpha=8, train_a=False)
ROLORA = LoraParameters(rank=4, alpha=8, train_a=True, alternate=True)


@pytest.mark.parametrize(
    ("lora", "choice"),
    [
        (ROLORA, {"rule": {"name": "scaffold"}, "server": {"name": "fedavgm"}}),
        pytest.param(FFA, {"server": {"name": "fedadam"}}, marks=pytest.mark.slow),
        pytest.param(FFA, {"rule": {"name": "proximal", "mu": 10.0}}, marks=pytest.mark.slow),
        pytest.param(FFA, {"rule": {"name": "scaffold"}}, marks=pytest.mark.slow),
        pytest.param(ROLORA, {"server": {"name": "fedadam"}}, marks=pytest.mark.slow),
        pytest.param(FFA, {"server": {"name": "fedavgm"}}, marks=pytest.mark.slow),
    ],
    ids=["rolora-scaffold-fedavgm", "fedadam", "proximal", "scaffold", "rolora-fedadam", "fedavgm"],
)
def test_replay_with_agreed_algorithms_equals_a_run_without_the_organization(
    base: Base,
    data: Mapping[str, list[Example]],
    tmp_path: Path,
    lora: LoraParameters,
    choice: dict[str, Any],
) -> None:
    model = LoraModel(base, lora)
    trainer = Trainer(model, agreed(model, "federated", **choice), data)
    empty = History(trainer.parameters, ArtifactStore(tmp_path))
    history = extend(empty, ENTRIES, trainer)

    replayed = replay(history, A, trainer)

    never = extend(empty, [e for e in ENTRIES if e.organization != A], trainer)
    assert encode(replayed.served()) == encode(never.served())
    assert encode(replayed.served()) != encode(history.served())
    plain = Trainer(model, agreed(model, "federated"), data)
    without_it = extend(History(plain.parameters, empty.store), ENTRIES, plain)
    assert encode(history.served()) != encode(without_it.served())


def test_a_proximal_term_keeps_a_round_near_its_start(
    base: Base, data: Mapping[str, list[Example]], tmp_path: Path
) -> None:
    model, empty = LoraModel(base, FFA), {}
    norms = []
    for mu in (0.0, 1e4):
        rule = {"name": "proximal", "mu": mu}
        parameters = agreed(model, "federated", rule=rule)
        training = RoundTraining(steps=12)
        contribution = contribute(model, parameters, A, 1, empty, data[A], None, training)
        norms.append(contribution.quantized.norm)
    assert norms[1] < 0.5 * norms[0]


def test_scaffold_steps_towards_the_common_update_and_away_from_the_own_one(
    base: Base, data: Mapping[str, list[Example]]
) -> None:
    model = LoraModel(base, FFA)
    parameters = agreed(model, "federated", rule={"name": "scaffold"})
    name = next(n for n in parameters.delta_shapes())
    shape = parameters.shapes[name]

    def first_step(past: Past) -> np.ndarray:
        training = RoundTraining(steps=STEPS)
        contribution = contribute(model, parameters, A, 2, {}, data[A], None, training, past=past)
        return contribution.quantized.delta[f"shared/{name}"].astype(float)

    own = {f"shared/{name}": np.full(shape, 1000, dtype=np.int32)}
    zeros = {f"shared/{name}": np.zeros(shape, dtype=np.int64)}
    plain = first_step(Past())
    drifted = first_step(Past((RoundSum(1, (A, B), zeros),), {1: own}))
    assert np.mean(drifted - plain) == pytest.approx(-1000, rel=0.2)


def test_scaffold_without_past_rounds_or_all_steps_is_refused(
    base: Base, data: Mapping[str, list[Example]]
) -> None:
    model = LoraModel(base, FFA)
    parameters = agreed(model, "federated", rule={"name": "scaffold"})
    with pytest.raises(TrainingError, match="Give `past`"):
        contribute(model, parameters, A, 1, {}, data[A], None, RoundTraining(steps=STEPS))
    training = RoundTraining(steps=2)
    with pytest.raises(TrainingError, match="train all 4 steps"):
        contribute(model, parameters, A, 1, {}, data[A], None, training, past=Past())


def test_factors_alternate_and_residuals_are_kept_for_the_next_turn(
    base: Base, data: Mapping[str, list[Example]], tmp_path: Path
) -> None:
    model = LoraModel(base, LoraParameters(rank=4, alpha=8, train_a=True, alternate=True))
    trainer = Trainer(model, agreed(model, "federated"), data)
    history = History(trainer.parameters, ArtifactStore(tmp_path))

    history = extend(history, ENTRIES, trainer)

    for entry in history.of(A):
        delta = history.load(entry.artifact_id)
        still = trainer.parameters.frozen_in(entry.round_id)
        for name, value in delta.items():
            assert (split_owner(name)[1] in still) == (not np.any(value)), (entry.round_id, name)
    third = history.task(Entry(4, A, 4)).residual
    assert third is not None
    assert {split_owner(name)[1] for name in third} == set(model.shapes)


def test_alternation_needs_both_factors_and_one_shared_adapter(base: Base) -> None:
    with pytest.raises(ValueError, match=r"set lora\.train_a to true"):
        LoraParameters(rank=4, alpha=8, train_a=False, alternate=True)
    model = LoraModel(base, LoraParameters(rank=4, alpha=8, train_a=True, alternate=True))
    with pytest.raises((ConfigError, ValueError), match="in blocks nothing is averaged"):
        agreed(model, "isolated")
