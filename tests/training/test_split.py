from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.core import (
    LoraParameters,
    add_totals,
    digest,
    qualify,
)
from rescind.core.errors import ArtifactError, ConfigError, DataError
from rescind.core.layout import split_sum
from rescind.core.split_settings import SplitSettings, part_shapes
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.training import (
    Assistant,
    Base,
    Example,
    LoraModel,
    evaluate,
    load_base,
)
from rescind.training.rules.rule import Rule
from rescind.training.split.parts import (
    SplitParts,
    shared_alone,
    split_delta_shapes,
    split_parts,
)
from rescind.training.split.plan import Label, PlannedStep, labels_of, plan
from rescind.training.split.train import SplitContribution, contribute_split, train_split

ME, YOU = "0x" + "ab" * 20, "0x" + "cd" * 20
RETAIN = SplitSettings(shared_rank=3)


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, LoraParameters(rank=8, alpha=16, train_a=True))


@pytest.fixture(scope="module")
def parameters(model: LoraModel):
    agreed = default_parameters("isolated", model.base.id, model.shapes, seed=0)
    training = agreed.training.model_copy(update={"batch_size": 8})
    return agreed.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def people() -> tuple[list[Example], list[Example], list[Example]]:
    """Revocable, public and uncertain examples."""
    dealt = make_population(["a", "b", "c"], seed=8, own_people=3, shared_people=0).organizations
    revocable, public, uncertain = (
        [Example(r.question, r.answer, r.subject) for r in dealt[name]] for name in "abc"
    )
    return revocable, public, uncertain


def labelled(people, *kinds: Label) -> tuple[list[Example], list[Label]]:
    """The examples of those kinds, one of each in turn."""
    order: list[Label] = ["revocable", "public", "uncertain"]
    examples, labels = [], []
    for row in zip(*people, strict=True):
        for example, label in zip(row, order, strict=True):
            if label in kinds:
                examples.append(example)
                labels.append(label)
    return examples, labels


def give(
    model, parameters, people, *kinds: Label, how=RETAIN, open_steps=4, revocable_steps=4, **more
) -> SplitContribution:
    examples, labels = labelled(people, *kinds)
    return contribute_split(
        model,
        parameters,
        how,
        more.pop("organization", ME),
        more.pop("totals", {}),
        examples,
        labels,
        open_steps=open_steps,
        revocable_steps=revocable_steps,
        seed=5,
        **more,
    )


def same(first: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return set(first) == set(other) and all(np.array_equal(first[n], other[n]) for n in first)


def random_parts(model: LoraModel, parameters) -> SplitParts:
    rng = np.random.default_rng(1)

    def draw(part) -> dict[str, np.ndarray]:
        shapes = part_shapes(parameters.shapes, RETAIN, part)
        return {n: (0.1 * rng.standard_normal(s)).astype(np.float32) for n, s in shapes.items()}

    return SplitParts(draw("shared"), draw("own"))


def test_the_product_is_the_sum_of_the_two_products(model: LoraModel, parameters) -> None:
    parts = random_parts(model, parameters)
    joined = parts.joined()
    assert {n: v.shape for n, v in joined.items()} == dict(model.shapes)
    for name in (n for n in joined if n.endswith(".lora_B")):
        a = name.removesuffix("lora_B") + "lora_A"
        whole = joined[name].astype(float) @ joined[a].astype(float)
        two = sum(
            part[name].astype(float) @ part[a].astype(float) for part in (parts.shared, parts.own)
        )
        np.testing.assert_allclose(whole, two, atol=1e-15)
    again = SplitParts.of(joined, RETAIN.shared_rank)
    assert same(again.shared, parts.shared)
    assert same(again.own, parts.own)


def test_the_network_adds_both_products_scaled_by_alpha_over_the_whole_rank(
    model: LoraModel, parameters
) -> None:
    parts = random_parts(model, parameters)
    model.put("both", parts.joined())
    name = "model.layers.0.mlp.up_proj"
    layer = model.base.model.get_submodule(name)
    x = torch.randn(2, 5, layer.in_features, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        model.use("both")
        output = layer(x).double()
        model.use(None)
        bare = layer(x).double()
    a, b = f"{name}.lora_A", f"{name}.lora_B"
    products = sum(
        part[b].astype(float) @ part[a].astype(float) for part in (parts.shared, parts.own)
    )
    expected = (16 / 8) * (x.double() @ torch.from_numpy(products).T)
    torch.testing.assert_close(output - bare, expected, atol=1e-5, rtol=1e-5)


def test_revocable_data_alone_leaves_the_shared_ranks_bit_identical(
    model: LoraModel, parameters, people
) -> None:
    result = give(model, parameters, people, "revocable", open_steps=0)
    start = split_parts(parameters, RETAIN, {}, ME)
    assert same(result.result.parts.shared, start.shared)
    assert result.shared is None
    assert result.own is not None
    assert all(value.any() for value in result.own.delta.values())


def test_forget_steps_after_others_are_not_moved_by_momentum(
    model: LoraModel, parameters, people
) -> None:
    """Forget steps must not use the momentum that the shared optimizer has from open steps."""
    how = SplitSettings(shared_rank=3, retain_share=0.0)
    seen: list[dict[str, torch.Tensor]] = []

    class Watch(Rule):
        def before_forward(self, step, batch, tensors) -> None:
            seen.append({n: t.detach().clone() for n, t in tensors.items() if n.endswith("lora_B")})

    result = give(
        model,
        parameters,
        people,
        "revocable",
        "public",
        how=how,
        revocable_steps=12,
        rules=[Watch()],
    )
    steps = result.result.plan
    for before, after, step in zip(seen, seen[1:], steps, strict=False):
        kept = [torch.equal(before[n][:, :3], after[n][:, :3]) for n in before]
        assert all(kept) if step.mode == "forget" else not any(kept)
    assert [s.mode for s in steps].count("forget") == 12


def test_retain_steps_leave_the_private_ranks_bit_identical(
    model: LoraModel, parameters, people
) -> None:
    result = give(model, parameters, people, "public", revocable_steps=0)
    start = split_parts(parameters, RETAIN, {}, ME)
    assert {s.mode for s in result.result.plan} == {"retain"}
    assert same(result.result.parts.own, start.own)
    assert result.own is None
    assert result.shared is not None
    assert not same(result.result.parts.shared, start.shared)


def test_shared_ranks_are_those_of_a_run_without_the_revocable_data(
    model: LoraModel, parameters, people
) -> None:
    """This is exact when every public example is in retain mode."""
    with_it = give(model, parameters, people, "revocable", "public")
    without = give(model, parameters, people, "public", revocable_steps=0)
    assert {s.mode for s in with_it.result.plan} == {"forget", "retain"}
    assert same(with_it.shared.delta, without.shared.delta)
    assert same(with_it.shared.residual, without.shared.residual)


def test_default_steps_let_revocable_data_reach_the_shared_ranks(
    model: LoraModel, parameters, people
) -> None:
    """This is not exact: private ranks are in the forward pass of default steps."""
    how = SplitSettings(shared_rank=3, retain_share=0.5)
    with_it = give(model, parameters, people, "revocable", "public", how=how)
    without = give(model, parameters, people, "public", how=how, revocable_steps=0)
    assert not same(with_it.shared.delta, without.shared.delta)


def test_a_model_without_an_organizations_private_block_equals_one_it_never_joined(
    model: LoraModel, parameters, people
) -> None:
    """YOU gives revocable data only, so the aggregate less its block is the round without it."""
    own = give(model, parameters, people, "revocable", "public")
    other = give(model, parameters, people, "revocable", open_steps=0, organization=YOU)
    whole = split_sum({ME: {**own.shared.delta, **own.own.delta}, YOU: other.own.delta})
    dropped = {n: v for n, v in whole.items() if not n.startswith(YOU)}
    assert same(dropped, split_sum({ME: {**own.shared.delta, **own.own.delta}}))
    later = give(model, parameters, people, "public", revocable_steps=0, totals=whole)
    never = give(model, parameters, people, "public", revocable_steps=0, totals=dropped)
    assert same(later.shared.delta, never.shared.delta)


def test_shared_parts_are_averaged_and_private_parts_count_whole() -> None:
    deltas = {
        ME: {
            "shared/x.lora_B": np.array([[2]], np.int32),
            f"{ME}/x.lora_B": np.array([[5]], np.int32),
        },
        YOU.upper().replace("X", "x"): {f"{YOU}/x.lora_B": np.array([[7]], np.int32)},
        "0x" + "ee" * 20: {"shared/x.lora_B": np.array([[4]], np.int32)},
    }
    total = split_sum(deltas)
    assert total["shared/x.lora_B"] == 5_000 * 2 + 5_000 * 4
    assert total[f"{ME}/x.lora_B"] == 50_000
    assert total[f"{YOU}/x.lora_B"] == 70_000
    with pytest.raises(ArtifactError, match="a tensor of"):
        split_sum({YOU: {f"{ME}/x.lora_B": np.array([[1]], np.int32)}})


def test_digests_of_the_parts_add_up_to_that_of_the_aggregate(
    model: LoraModel, parameters, people
) -> None:
    own = give(model, parameters, people, "revocable", "public", open_steps=1, revocable_steps=1)
    other = give(
        model, parameters, people, "public", open_steps=1, revocable_steps=0, organization=YOU
    )
    total = split_sum({ME: {**own.shared.delta, **own.own.delta}, YOU: other.shared.delta})
    expected = (
        5_000 * digest(own.shared.delta)
        + 5_000 * digest(other.shared.delta)
        + 10_000 * digest(own.own.delta)
    )
    assert digest(total) == expected


def test_a_delta_of_a_part_has_the_stated_names_and_shapes(
    model: LoraModel, parameters, people
) -> None:
    result = give(model, parameters, people, "revocable", "public", open_steps=1, revocable_steps=1)
    for part, delta in (("shared", result.shared.delta), ("own", result.own.delta)):
        shapes = split_delta_shapes(parameters, RETAIN, ME, part)
        assert {n: v.shape for n, v in delta.items()} == shapes
    assert not any(n.endswith("lora_A") for n in result.shared.delta)


def test_a_rules_change_to_a_part_that_does_not_learn_is_undone(
    model: LoraModel, parameters, people
) -> None:
    class Push(Rule):
        def after_step(self, step, batch, tensors) -> None:
            with torch.no_grad():
                for tensor in tensors.values():
                    tensor.add_(0.25)

    result = give(
        model, parameters, people, "revocable", open_steps=0, revocable_steps=1, rules=[Push()]
    )
    plain = give(model, parameters, people, "revocable", open_steps=0, revocable_steps=1)
    start = split_parts(parameters, RETAIN, {}, ME)
    assert same(result.result.parts.shared, start.shared)
    for name, value in plain.result.parts.own.items():
        np.testing.assert_allclose(result.result.parts.own[name], value + 0.25, atol=1e-6)


@pytest.mark.slow
def test_an_assistant_answers_by_shared_ranks_and_one_private_block(
    model: LoraModel, parameters, people
) -> None:
    revocable, public, _ = people
    totals: dict[str, np.ndarray] = {}
    for _ in range(2):
        result = give(
            model,
            parameters,
            people,
            "revocable",
            "public",
            how=SplitSettings(4, shared_learning_rate=1.5e-2),
            open_steps=45,
            revocable_steps=60,
            totals=totals,
        )
        totals = add_totals([totals, split_sum({ME: {**result.shared.delta, **result.own.delta}})])
    assistant = Assistant(model, parameters, totals, split=SplitSettings(4))
    assert assistant.blocks == (ME,)
    assert evaluate(assistant, revocable).score >= 0.9
    assert evaluate(assistant, public).score >= 0.9
    kept = {n: v for n, v in totals.items() if n.startswith("shared/")}
    assistant.drop(ME)
    after = assistant.ask_many([e.question for e in revocable + public])
    never = Assistant(model, parameters, kept, split=SplitSettings(4))
    assert after == never.ask_many([e.question for e in revocable + public])
    assert evaluate(never, revocable).score <= 0.2
    assert evaluate(never, public).score >= 0.9


def test_shared_ranks_alone_are_the_adapter_with_private_ranks_zero(
    model: LoraModel, parameters
) -> None:
    alone = SplitParts.of(shared_alone(parameters, RETAIN, {}), RETAIN.shared_rank)
    assert same(alone.shared, split_parts(parameters, RETAIN, {}, ME).shared)
    assert not any(value.any() for value in alone.own.values())


class Planned(NamedTuple):
    """Labels of examples and the settings of their plan."""

    labels: list[Label]
    open_steps: int
    revocable_steps: int
    share: float
    seed: int

    @property
    def opened(self) -> list[int]:
        """Positions of the examples that are not revocable."""
        return [n for n, label in enumerate(self.labels) if label != "revocable"]

    def steps(self) -> tuple[PlannedStep, ...]:
        return plan(
            self.labels,
            open_steps=self.open_steps if self.opened else 0,
            revocable_steps=self.revocable_steps if len(self.opened) < len(self.labels) else 0,
            batch_size=4,
            retain_share=self.share,
            seed=self.seed,
        )


PLANNED = st.builds(
    Planned,
    labels=st.lists(st.sampled_from(["revocable", "public", "uncertain"]), min_size=1, max_size=30),
    open_steps=st.integers(0, 9),
    revocable_steps=st.integers(0, 9),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)


@given(planned=PLANNED)
@settings(max_examples=80, deadline=None)
def test_a_plan_gives_each_label_its_modes(planned: Planned) -> None:
    allowed = {"forget": {"revocable"}, "retain": {"public"}, "default": {"public", "uncertain"}}
    for step in planned.steps():
        assert {planned.labels[index] for index in step.indices} <= allowed[step.mode]
        assert 1 <= len(step.indices) <= 4


@given(planned=PLANNED)
@settings(max_examples=80, deadline=None)
def test_a_plan_has_the_stated_numbers_of_steps(planned: Planned) -> None:
    modes = [step.mode for step in planned.steps()]
    forget = planned.revocable_steps if "revocable" in planned.labels else 0
    assert modes.count("forget") == forget
    assert len(modes) == forget + (planned.open_steps if planned.opened else 0)


@given(planned=PLANNED)
@settings(max_examples=80, deadline=None)
def test_steps_on_open_data_do_not_depend_on_revocable_data(planned: Planned) -> None:
    opened = planned.opened
    alone = planned._replace(labels=[planned.labels[n] for n in opened], revocable_steps=0)
    assert [(s.mode, s.indices) for s in planned.steps() if s.mode != "forget"] == [
        (s.mode, tuple(opened[index] for index in s.indices)) for s in alone.steps()
    ]


@pytest.mark.parametrize(("share", "retained"), [(0.0, 0), (0.1, 2), (0.5, 10), (1.0, 20)])
def test_the_stated_share_of_public_data_is_in_retain_mode(share: float, retained: int) -> None:
    steps = plan(
        ["public"] * 20, open_steps=20, revocable_steps=0, batch_size=1, retain_share=share, seed=0
    )
    assert sum(step.mode == "retain" for step in steps) == retained
    assert sorted(index for step in steps for index in step.indices) == list(range(20))


def test_an_example_without_a_label_is_uncertain() -> None:
    rows = [Example("q", "a", s) for s in ("x", "y")]
    assert labels_of(rows, lambda e: "public" if e.subject == "x" else None) == [
        "public",
        "uncertain",
    ]
    with pytest.raises(DataError, match="'secret'"):
        labels_of(rows, ["public", "secret"])
    with pytest.raises(DataError, match="2 examples have 1 labels"):
        labels_of(rows, ["public"])


def test_settings_that_do_not_fit_are_refused(model: LoraModel, parameters, people) -> None:
    for wrong, message in (
        (SplitSettings(8), "shared_rank is 8 of rank 8"),
        (SplitSettings(0), "shared_rank is 0"),
        (SplitSettings(3, retain_share=1.5), "retain_share is 1.5"),
        (SplitSettings(3, shared_learning_rate=0.0), "shared_learning_rate is 0.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            give(model, parameters, people, "public", how=wrong, revocable_steps=0)
    with pytest.raises(ConfigError, match="no revocable example"):
        give(model, parameters, people, "public", revocable_steps=1)
    with pytest.raises(ConfigError, match="no public or uncertain example"):
        give(model, parameters, people, "revocable")
    with pytest.raises(ConfigError, match="open_steps is -1"):
        give(model, parameters, people, "public", open_steps=-1)


def test_names_of_a_split_delta_are_qualified(parameters) -> None:
    names = split_delta_shapes(parameters, RETAIN, ME.upper().replace("X", "x"), "own")
    assert qualify(ME, "model.layers.0.mlp.up_proj.lora_B") in names


def test_training_reports_progress_for_every_step(model: LoraModel, parameters, people) -> None:
    examples, labels = labelled(people, "uncertain")
    heard = []
    result = train_split(
        model,
        parameters,
        RETAIN,
        split_parts(parameters, RETAIN, {}, ME),
        examples,
        labels,
        open_steps=2,
        revocable_steps=0,
        seed=0,
        progress=heard.append,
    )
    assert [p.step for p in heard] == [1, 2]
    assert {s.mode for s in result.plan} == {"default"}
    start = split_parts(parameters, RETAIN, {}, ME)
    assert not same(result.parts.shared, start.shared)
    assert not same(result.parts.own, start.own)
