"""Closed forms on the shipped base model: a block of four people that must forget one."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from rescind.core import HIDING, LoraParameters, WrongShape, materialize
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.training import (
    Example,
    LoraModel,
    answer_loss_per_example,
    load_base,
)
from rescind.training.moments import feature_moments
from rescind.unlearning import Outcome, Problem, counter_delta, find
from rescind.unlearning.closed_form import (
    FisherMeasure,
    NothingSelected,
    PartialSettings,
    PostedMismatch,
    RedirectSettings,
    SsdSettings,
    combine,
    decode,
    partial,
    posted_fisher,
    posted_moments,
    redirect,
    ssd,
)
from rescind.unlearning.closed_form.measure import activations, fisher
from tests.support.trained import trained

ME = "0x" + "ab" * 20


def learned(train_a: bool) -> Problem:
    model = LoraModel(load_base(BASE_MODEL), LoraParameters(rank=8, alpha=16, train_a=train_a))
    rows = make_population(["a"], seed=5, own_people=4).organizations["a"]
    own = [Example(r.question, r.answer, r.subject) for r in rows]
    agreed = default_parameters("isolated", model.base.id, model.shapes, seed=0)
    rate = 5e-3 if train_a else 1.5e-2
    parameters = agreed.model_copy(
        update={
            "lora": model.lora,
            "training": agreed.training.model_copy(update={"learning_rate": rate}),
        }
    )
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    start |= trained(model, parameters, start, own, steps=75)
    forget = [e for e in own if e.subject == own[0].subject]
    retain = [e for e in own if e.subject != own[0].subject]
    return Problem(model, parameters, ME, start, forget, retain, 0, own=own)


@pytest.fixture(scope="module")
def trained_a() -> Problem:
    return learned(True)


@pytest.fixture(scope="module")
def frozen_a() -> Problem:
    return learned(False)


@pytest.fixture(params=["trained_a", "frozen_a"])
def problem(request: pytest.FixtureRequest) -> Problem:
    return request.getfixturevalue(request.param)


def rises(problem: Problem, outcome: Outcome) -> tuple[float, float]:
    """By how much the loss of what is to be forgotten and of the rest went up, nats a token."""
    length = problem.parameters.training.max_length
    losses = []
    for tensors in (problem.start, {**problem.start, **outcome.tensors}):
        problem.model.put("judged", tensors)
        losses.append(
            [
                answer_loss_per_example(problem.model, "judged", list(rows), length).mean()
                for rows in (problem.forget, problem.retain)
            ]
        )
    return losses[1][0] - losses[0][0], losses[1][1] - losses[0][1]


def each_subject(problem: Problem) -> Iterator[Problem]:
    own = list(problem.own)
    for subject in dict.fromkeys(example.subject for example in own):
        yield replace(
            problem,
            forget=[e for e in own if e.subject == subject],
            retain=[e for e in own if e.subject != subject],
        )


LABEL_FREE = FisherMeasure(label_free=True)
CASES = {
    "ssd": (ssd, SsdSettings(selection=2)),
    "label-free ssd": (ssd, SsdSettings(selection=1.5, measure=LABEL_FREE)),
    "partial": (partial, PartialSettings(threshold=1.5)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_subject_is_forgotten_more_than_the_others(problem: Problem, name: str) -> None:
    """On average over the four: by how much depends on the subject."""
    run, settings = CASES[name]
    if isinstance(settings, SsdSettings):
        everything = posted_fisher(problem, problem.own, settings.measure)
        settings = replace(settings, posted=(everything,))
    outcomes = [(one, run(one, settings)) for one in each_subject(problem)]
    forgotten, spoiled = np.mean([rises(one, outcome) for one, outcome in outcomes], axis=0)
    assert forgotten > 1.1 * spoiled
    assert forgotten > 0.02
    for one, outcome in outcomes:
        assert set(outcome.tensors) == set(problem.model.trainable)
        assert not counter_delta(one, outcome).clipped


@pytest.mark.parametrize("target", ["direction", "activation", "base"])
@pytest.mark.parametrize("positions", ["last-prompt", "answer"])
def test_redirecting_a_block_whose_a_is_trained_forgets_one_and_keeps_the_rest(
    trained_a: Problem, target: str, positions: str
) -> None:
    outcome = redirect(trained_a, RedirectSettings(target=target, positions=positions))
    forgotten, spoiled = rises(trained_a, outcome)
    assert forgotten > 0.2
    assert forgotten > 10 * spoiled
    (module,) = outcome.report["modules"].values()
    assert module["left"] < 0.9
    assert outcome.report["changes_a"]


def test_the_report_says_that_a_frozen_a_allows_little_redirection(
    frozen_a: Problem,
) -> None:
    outcome = redirect(frozen_a, RedirectSettings())
    (module,) = outcome.report["modules"].values()
    assert module["left_unconstrained"] < 0.3 < 0.8 < module["left"]
    assert module["relative_error"] > 0.9
    changed = [n for n, v in outcome.tensors.items() if not np.array_equal(v, frozen_a.start[n])]
    assert changed == [f"{name}.lora_B" for name in outcome.report["modules"]]
    forgotten, spoiled = rises(frozen_a, outcome)
    assert max(forgotten, spoiled) < 0.2


def test_chosen_layers_are_edited_and_refused_questions_may_be_given(trained_a: Problem) -> None:
    refusals = tuple(f"What is the use of thing {n}?" for n in range(4))
    settings = RedirectSettings(layers=(2, 0), refusals=refusals, c=1)
    report = redirect(trained_a, settings).report
    assert (report["layers"], report["refusals"]) == ([0, 2], 4)
    assert [name.split(".")[2] for name in report["modules"]] == ["0", "2"]


def test_the_same_problem_gives_the_same_bytes(trained_a: Problem) -> None:
    for run, settings in (CASES["ssd"], CASES["partial"], (redirect, RedirectSettings())):
        one, other = run(trained_a, settings), run(trained_a, settings)
        assert one.report == other.report
        assert all(np.array_equal(one.tensors[n], other.tensors[n]) for n in one.tensors)


def length(problem: Problem) -> int:
    return problem.parameters.training.max_length


def test_a_fisher_is_the_mean_of_squared_gradients_of_each_pair(trained_a: Problem) -> None:
    model, rows = trained_a.model, list(trained_a.forget)
    found = fisher(model, trained_a.start, rows, max_length=length(trained_a))
    assert set(found) == set(model.trainable)
    squares = {name: np.zeros(value.shape) for name, value in found.items()}
    for row in rows:
        each = fisher(model, trained_a.start, [row], max_length=length(trained_a))
        squares = {name: squares[name] + each[name].astype(float) / len(rows) for name in each}
    for name, value in found.items():
        np.testing.assert_allclose(value, squares[name], rtol=1e-4, atol=1e-12)
    together = fisher(
        model,
        trained_a.start,
        rows,
        max_length=length(trained_a),
        measure=FisherMeasure(batch_size=len(rows)),
    )
    assert sum(v.sum() for v in together.values()) < sum(v.sum() for v in found.values())


def test_where_b_is_zero_the_fisher_of_a_is_zero(trained_a: Problem) -> None:
    fresh = materialize({}, trained_a.model.shapes, parameters=trained_a.parameters, owner=ME)
    found = fisher(trained_a.model, fresh, trained_a.forget[:2], max_length=length(trained_a))
    assert not any(value.any() for name, value in found.items() if name.endswith("lora_A"))
    assert all(value.any() for name, value in found.items() if name.endswith("lora_B"))


def test_moments_are_those_of_the_features_of_a(trained_a: Problem) -> None:
    """The first layer's queries see nothing but embeddings, so theirs can be worked out."""
    model, row = trained_a.model, trained_a.forget[0]
    found, count = feature_moments(
        model, trained_a.start, [row], max_length=length(trained_a), positions="all"
    )
    tokens = model.base.tokenizer.encode(f"Question: {row.question}\nAnswer: {row.answer}")
    inner = model.base.model.model
    with torch.inference_mode():
        x = inner.layers[0].input_layernorm(inner.embed_tokens(torch.tensor(tokens)))
    features = trained_a.start["model.layers.0.self_attn.q_proj.lora_A"] @ x.numpy().T
    assert count == len(tokens)
    np.testing.assert_allclose(
        found["model.layers.0.self_attn.q_proj"],
        features @ features.T / count,
        rtol=1e-4,
        atol=1e-6,
    )


def test_activations_with_and_without_the_block_differ_by_its_product(trained_a: Problem) -> None:
    module = "model.layers.0.mlp.down_proj"
    take = {"max_length": length(trained_a), "positions": "answer"}
    seen = activations(
        trained_a.model, trained_a.start, trained_a.forget, module, "model.layers.0", **take
    )
    weight = trained_a.model.base.model.get_submodule(module).base_layer.weight.numpy()
    b, a = (trained_a.start[f"{module}.lora_{x}"] for x in "BA")
    np.testing.assert_allclose(seen.outputs, (weight + 2 * b @ a) @ seen.inputs, atol=1e-4)
    with pytest.raises(ConfigError, match="questions alone"):
        activations(trained_a.model, None, ["who?"], module, "model.layers.0", **take)


def test_two_posted_fishers_combine_to_that_of_all_their_data(frozen_a: Problem) -> None:
    rows = list(frozen_a.own)
    parts = [posted_fisher(frozen_a, part) for part in (rows[:5], rows[5:])]
    whole = posted_fisher(frozen_a, rows)
    found = combine([decode(part.encode()) for part in parts])
    assert (found.count, found.point) == (whole.count, whole.point)
    for name, value in whole.tensors.items():
        np.testing.assert_allclose(found.tensors[name], value, rtol=1e-4, atol=1e-12)
    alone = replace(frozen_a, retain=[], own=None)
    by_post = ssd(alone, SsdSettings(selection=2, posted=tuple(parts)))
    by_data = ssd(frozen_a, SsdSettings(selection=2))
    gaps = [np.abs(by_post.tensors[n] - by_data.tensors[n]).max() for n in by_data.tensors]
    assert np.median(gaps) < 1e-4
    assert by_post.report["posted"] == sorted(part.id for part in parts)


@pytest.mark.parametrize("run", [partial, redirect])
def test_posted_moments_replace_the_data_to_keep(frozen_a: Problem, run) -> None:
    kind = PartialSettings if run is partial else RedirectSettings
    where = kind().keep_positions
    rows = list(frozen_a.retain)
    parts = tuple(posted_moments(frozen_a, part, where) for part in (rows[:5], rows[5:]))
    by_post = run(replace(frozen_a, retain=[]), kind(posted=parts))
    by_data = run(frozen_a, kind())
    for name, value in by_data.tensors.items():
        np.testing.assert_allclose(by_post.tensors[name], value, rtol=1e-2, atol=1e-3)


def test_posted_moments_of_another_a_are_refused(trained_a: Problem) -> None:
    one = posted_moments(trained_a, trained_a.retain[:2], "answer")
    moved = {n: v * np.float32(2) if n.endswith("A") else v for n, v in trained_a.start.items()}
    with pytest.raises(PostedMismatch, match="has point"):
        partial(replace(trained_a, start=moved), PartialSettings(posted=(one,)))
    with pytest.raises(PostedMismatch, match="has kind 'fisher'"):
        partial(
            trained_a, PartialSettings(posted=(posted_fisher(trained_a, trained_a.retain[:2]),))
        )
    with pytest.raises(PostedMismatch, match="has owner"):
        partial(trained_a, PartialSettings(posted=(replace(one, owner="shared"),)))
    short = replace(one, tensors=dict(list(one.tensors.items())[1:]))
    with pytest.raises(WrongShape, match="lack the tensor"):
        partial(trained_a, PartialSettings(posted=(short,)))


def test_impossible_requests_are_refused_with_a_reason(frozen_a: Problem) -> None:
    with pytest.raises(NothingSelected, match=r"4 is the most there can be\): set selection below"):
        ssd(frozen_a, SsdSettings())
    with pytest.raises(NothingSelected, match="set threshold below that"):
        partial(frozen_a, PartialSettings(threshold=1e6))
    alone = replace(frozen_a, retain=[], own=None)
    for method in map(find, ("ssd", "partial", "redirect")):
        with pytest.raises(DataError, match="posted"):
            method.run(alone, method.settings())
    with pytest.raises(ConfigError, match=r"no layer 9\. Choose from the layers 0 to 2"):
        redirect(frozen_a, RedirectSettings(layers=(9,)))
    with pytest.raises(ConfigError, match=r"ends in 'mlp\.c_proj'"):
        redirect(frozen_a, RedirectSettings(projection="mlp.c_proj"))
    with pytest.raises(DataError, match="nothing to measure on"):
        fisher(frozen_a.model, frozen_a.start, [], max_length=64)
    with pytest.raises(DataError, match="max_length"):
        fisher(frozen_a.model, frozen_a.start, frozen_a.forget, max_length=8)
    broken = {n: np.full_like(v, np.nan) for n, v in frozen_a.start.items()}
    with pytest.raises(TrainingError):
        ssd(replace(frozen_a, start=broken), SsdSettings())


def test_a_fisher_leaves_out_the_noise_for_hiding(frozen_a: Problem) -> None:
    hiding = replace(frozen_a, parameters=frozen_a.parameters.model_copy(update={"hiding": True}))
    assert HIDING in hiding.parameters.delta_shapes()
    one = posted_fisher(hiding, hiding.own)
    assert HIDING not in ssd(hiding, SsdSettings(selection=2, posted=(one,))).tensors


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (PartialSettings, {"threshold": 0}, "threshold is 0"),
        (PartialSettings, {"ridge": -1}, "ridge is -1"),
        (PartialSettings, {"positions": "some"}, "positions is 'some'"),
        (RedirectSettings, {"target": "moon"}, "target is 'moon'"),
        (RedirectSettings, {"c": 0}, "c is 0"),
        (RedirectSettings, {"eta": -1}, "eta is -1"),
        (RedirectSettings, {"ridge": 0}, "ridge is 0"),
        (RedirectSettings, {"layers": ()}, "layers is empty"),
        (FisherMeasure, {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_settings_out_of_range_are_refused(kind: type, wrong: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**wrong)
