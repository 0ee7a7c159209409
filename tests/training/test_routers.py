from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rescind.core import (
    LoraParameters,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.core.features import HiddenFeatures
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics, WrongReference
from rescind.core.statistics import RowStatistics
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.training import (
    Assistant,
    Example,
    LoraModel,
    load_base,
)
from rescind.training.routers import (
    AdditiveRouter,
    ArrowRouter,
    LikelihoodRouter,
    PrototypeRouter,
    Router,
    RouterMisfit,
    prototypes,
    state_bytes,
)
from rescind.training.routers.additive import question_features
from rescind.training.routers.arrow import singular_directions
from rescind.training.routers.hidden import mean_hidden, module_inputs
from rescind.training.routers.likelihood import prompt_losses
from rescind.training.routers.scoring import threshold
from tests.support.trained import trained

NAMES = tuple("0x" + digit * 40 for digit in "abc")
NUMBERS = {name: number for number, name in enumerate(NAMES)}
Make = Callable[[], Router]


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), LoraParameters(rank=4, alpha=8, train_a=True))


@pytest.fixture(scope="module")
def parameters(model: LoraModel):
    lora = LoraParameters(rank=4, alpha=8, train_a=True)
    agreed = default_parameters("isolated", model.base.id, model.shapes, seed=0)
    return agreed.model_copy(update={"lora": lora})


@pytest.fixture(scope="module")
def population():
    return make_population(NAMES, seed=3, own_people=3, shared_people=0, held_out_people=30)


@pytest.fixture(scope="module")
def examples(population) -> dict[str, list[Example]]:
    return {
        name: [Example(r.question, r.answer, r.subject) for r in rows]
        for name, rows in population.organizations.items()
    }


@pytest.fixture(scope="module")
def totals(model: LoraModel, parameters, examples):
    """Three trained blocks."""
    result: dict[str, np.ndarray] = {}
    for name, rows in examples.items():
        start = materialize({}, model.shapes, parameters=parameters, owner=name)
        after = trained(model, parameters, start, rows, steps=40)
        update = {qualify(name, n): v.astype(np.float64) - start[n] for n, v in after.items()}
        delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
        result |= weighted_sum([(delta, 10_000)])
    return result


@pytest.fixture(scope="module")
def reference(population) -> list[str]:
    return [row.question for row in population.held_out[:80]]


@pytest.fixture(scope="module")
def outside(population) -> list[str]:
    return [row.question for row in population.held_out[80:]]


@pytest.fixture(scope="module")
def posted(model: LoraModel, examples) -> dict[str, np.ndarray]:
    return {
        name: prototypes(model.base, model.use(None), rows, per_subject=True)
        for name, rows in examples.items()
    }


def agreed(model: LoraModel, kind: str) -> RouterStatistics:
    """Return a router of n-grams, or of hidden states."""
    features = NgramFeatures(buckets=511)
    if kind == "hidden":
        features = HiddenFeatures(base_model_id=model.base.id, width=128, layers=(0, 1), scale=64)
    return RouterStatistics(features=features, max_members=4)


class BareBlocks:
    """The attributes of blocks that features of questions need."""

    def __init__(self, model: LoraModel) -> None:
        self.base = model.base
        self.bare = lambda: model.use(None)


@pytest.fixture(scope="module")
def summed(model: LoraModel, examples) -> dict[str, dict[str, RowStatistics]]:
    """Return the statistics that organizations post for an additive router, by kind of features."""
    blocks = BareBlocks(model)
    return {
        kind: {
            name: agreed(model, kind).collect(
                question_features(
                    agreed(model, kind).features, blocks, [e.question for e in examples[name]]
                ),
                NUMBERS[name],
            )
            for name in NAMES
        }
        for kind in ("ngrams", "hidden")
    }


@pytest.fixture(
    params=[
        "likelihood",
        "arrow",
        "arrow without reference",
        "prototypes",
        "plain prototypes",
        "additive ngrams",
        "additive hidden",
    ]
)
def make(request, posted, reference, model, summed) -> Make:
    """Return a factory of new routers of one kind."""
    kinds: dict[str, Make] = {
        "likelihood": LikelihoodRouter,
        "arrow": lambda: ArrowRouter(reference, directions=4),
        "arrow without reference": ArrowRouter,
        "prototypes": lambda: PrototypeRouter(posted, reference),
        "plain prototypes": lambda: PrototypeRouter(posted),
    }
    for kind in ("ngrams", "hidden"):
        own = agreed(model, kind)
        known = question_features(own.features, BareBlocks(model), reference)
        kinds[f"additive {kind}"] = lambda kind=kind, own=own, known=known: AdditiveRouter(
            own, summed[kind], NUMBERS, known
        )
    return kinds[request.param]


def without(tensors: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {n: v for n, v in tensors.items() if not n.startswith(name)}


def test_after_a_drop_a_router_equals_one_that_never_had_the_organization(
    model: LoraModel, parameters, totals, examples, outside, make: Make
) -> None:
    asked = [e.question for rows in examples.values() for e in rows] + outside
    had = Assistant(model, parameters, totals, router=make())
    had.drop(NAMES[1].upper().replace("X", "x"))
    choices, state = had.router.route(asked), had.router.state()
    never = Assistant(model, parameters, without(totals, NAMES[1]), router=make())
    assert choices == never.router.route(asked)
    other = never.router.state()
    assert state.keys() == other.keys()
    assert all(state[name].tobytes() == other[name].tobytes() for name in state)
    assert had.router.organizations == never.router.organizations == (NAMES[0], NAMES[2])
    assert not any(NAMES[1] in name for name in state)


def test_a_dropped_block_is_no_longer_in_the_model(model: LoraModel, parameters, totals) -> None:
    assistant = Assistant(model, parameters, totals)
    assistant.drop(NAMES[0])
    assistant.drop(NAMES[0])
    assert assistant.blocks == NAMES[1:]
    assert not any(value.any() for value in model.get(f"block_{NAMES[0]}").values())


def test_the_base_answers_when_every_block_is_dropped(
    model: LoraModel, parameters, totals, examples, make: Make
) -> None:
    assistant = Assistant(model, parameters, totals, router=make())
    for name in NAMES:
        assistant.drop(name)
    answer = assistant.ask(examples[NAMES[0]][0].question)
    assert answer.organization is None
    assert answer.gains == {}


def test_an_answer_comes_with_the_evidence_of_its_router(
    model: LoraModel, parameters, totals, examples, outside, make: Make
) -> None:
    assistant = Assistant(model, parameters, totals, router=make())
    for question in (examples[NAMES[0]][0].question, outside[0]):
        answer = assistant.ask(question)
        evidence = answer.evidence
        assert evidence is not None
        document = evidence.to_dict({})
        assert document["router"] == assistant.router.name
        assert {b["address"]: b["score"] for b in document["blocks"]} == answer.gains
        answered = [b["address"] for b in document["blocks"] if b["answered"]]
        assert answered == [answer.organization] * (answer.organization is not None)
        best = document["blocks"][0]
        above = document["threshold"] is None or best["score"] > document["threshold"]
        assert above == bool(answered)


def test_questions_go_to_the_block_that_was_trained_on_them(
    model: LoraModel, parameters, totals, examples, outside, make: Make
) -> None:
    assistant = Assistant(model, parameters, totals, router=make())
    asked = [(name, e.question) for name, rows in examples.items() for e in rows]
    routes, scores = assistant.route([question for _, question in asked])
    best = [max(by_block, key=lambda name: by_block[name]) for by_block in scores]
    right = np.mean([chosen == name for chosen, (name, _) in zip(best, asked, strict=True)])
    assert right > 0.5, f"chance is 0.33, found {right:.2f}"
    assert all(route in (None, chosen) for route, chosen in zip(routes, best, strict=True))


def test_the_default_router_routes_by_prompt_likelihood(
    model: LoraModel, parameters, totals, examples, outside
) -> None:
    """Written out: 6.5 nats over the base and a quarter of the base's surprise."""
    asked = [examples[name][0].question for name in NAMES] + outside[:8] + ["Is it raining?"]
    assistant = Assistant(model, parameters, totals)
    routes, gains = assistant.route(asked)
    bare = prompt_losses(model.base, model.use(None), asked)
    for index, route in enumerate(routes):
        losses = {
            name: bare[index] - prompt_losses(model.base, model.use(f"block_{name}"), asked)[index]
            for name in NAMES
        }
        best = max(losses, key=lambda name: losses[name])
        assert gains[index] == losses
        assert route == (best if losses[best] > max(6.5, 0.25 * bare[index]) else None)
    assert routes[:3] == list(NAMES)
    assert routes[3:] == [None] * 9


def test_with_a_reference_the_base_answers_questions_outside_all_data(
    model: LoraModel, parameters, totals, posted, reference
) -> None:
    for router in (ArrowRouter(reference), PrototypeRouter(posted, reference)):
        assistant = Assistant(model, parameters, totals, router=router)
        half = reference[len(reference) // 2 :]
        routes, _ = assistant.route(half)
        assert sum(route is not None for route in routes) <= 0.05 * len(half)
        always = type(router)(*([posted] if router.name == "prototypes" else []))
        routes, _ = Assistant(model, parameters, totals, router=always).route(half)
        assert None not in routes


def test_the_stated_share_of_questions_is_above_the_threshold() -> None:
    checks = {"a": np.arange(100.0), "b": np.zeros(100)}
    assert np.mean(checks["a"] > threshold(checks, 0.05)) == pytest.approx(0.05, abs=0.011)
    assert threshold(checks, 0.0) == 99
    assert threshold({"a": np.empty(0)}, 0.05) == -np.inf
    assert threshold({}, 0.05) == -np.inf


@pytest.mark.parametrize("count", [1, 2, 4])
def test_singular_directions_are_those_of_the_dense_product(count: int) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 12)).astype(np.float32)
    b = rng.standard_normal((9, 4)).astype(np.float32)
    directions = singular_directions({"m.lora_A": a, "m.lora_B": b}, count)["m"]
    _, sizes, right = np.linalg.svd(b.astype(float) @ a.astype(float))
    expected = sizes[:count, None] * right[:count]
    np.testing.assert_allclose(np.abs(directions), np.abs(expected), atol=1e-10)


def test_all_directions_together_measure_the_size_of_the_blocks_output() -> None:
    rng = np.random.default_rng(1)
    a = rng.standard_normal((3, 7)).astype(np.float32)
    b = rng.standard_normal((5, 3)).astype(np.float32)
    x = rng.standard_normal(7)
    directions = singular_directions({"m.lora_A": a, "m.lora_B": b}, 3)["m"]
    assert np.linalg.norm(directions @ x) == pytest.approx(
        np.linalg.norm(b.astype(float) @ a.astype(float) @ x)
    )


def test_a_zero_block_has_no_direction(model: LoraModel) -> None:
    zeros = {"m.lora_A": np.ones((2, 5), np.float32), "m.lora_B": np.zeros((4, 2), np.float32)}
    assert not singular_directions(zeros, 1)["m"].any()
    with pytest.raises(RouterMisfit, match=r"no 'm\.lora_B'"):
        singular_directions({"m.lora_A": zeros["m.lora_A"]}, 1)


def test_prototypes_are_means_of_questions(model: LoraModel, examples) -> None:
    rows = examples[NAMES[0]]
    bare = model.use(None)
    hidden = mean_hidden(model.base, bare, [e.question for e in rows], layer=0)
    means = prototypes(model.base, bare, rows)
    np.testing.assert_allclose(means, [hidden.mean(axis=0)])
    each = prototypes(model.base, bare, rows, per_subject=True)
    assert each.shape == (3, hidden.shape[1])
    first = [i for i, e in enumerate(rows) if e.subject == rows[0].subject]
    np.testing.assert_allclose(each[0], hidden[first].mean(axis=0))
    with pytest.raises(DataError, match="no examples"):
        prototypes(model.base, bare, [])
    with pytest.raises(TrainingError, match="hidden states 0 to 3, not 9"):
        prototypes(model.base, bare, rows, layer=9)


def test_padding_does_not_change_hidden_states(model: LoraModel, examples) -> None:
    asked = [examples[NAMES[0]][0].question, "Why is it that this question is so very long, Ada?"]
    bare = model.use(None)
    for layer in (0, -1):
        together = mean_hidden(model.base, bare, asked, layer=layer)[0]
        alone = mean_hidden(model.base, bare, asked[:1], layer=layer)[0]
        np.testing.assert_allclose(together, alone, atol=1e-5)


def test_watching_a_module_leaves_no_hook_behind(model: LoraModel) -> None:
    name = "model.layers.0.self_attn.q_proj"
    ((places, mask, seen),) = module_inputs(model.base, model.use(None), [name], ["Who?", "Why?"])
    assert places == [0, 1]
    assert seen[name].shape[:2] == mask.shape
    assert not model.base.model.get_submodule(name)._forward_pre_hooks
    with pytest.raises(TrainingError, match=r"no module 'layers\.9'"):
        list(module_inputs(model.base, model.use(None), ["layers.9"], ["Who?"]))


def test_blocks_and_settings_that_a_router_cannot_use_are_refused(
    model: LoraModel, parameters, totals, posted, reference
) -> None:
    for router in (LikelihoodRouter(), ArrowRouter(), PrototypeRouter(posted)):
        with pytest.raises(RouterMisfit, match="call fit first"):
            router.route(["Who?"])
    with pytest.raises(RouterMisfit, match="posted no prototypes"):
        Assistant(model, parameters, totals, router=PrototypeRouter(without(posted, NAMES[0])))
    narrow = {name: value[:, :5] for name, value in posted.items()}
    with pytest.raises(RouterMisfit, match=r"expected \(means, 128\)"):
        Assistant(model, parameters, totals, router=PrototypeRouter(narrow, reference))
    with pytest.raises(ConfigError, match=r"false_rate is 1\.5"):
        ArrowRouter(reference, false_rate=1.5)
    with pytest.raises(ConfigError, match="directions is 0"):
        ArrowRouter(directions=0)
    with pytest.raises(ConfigError, match="The reference has 2 questions"):
        ArrowRouter(["a", "b"])


def test_prototypes_posted_later_count_from_the_next_fit(
    model: LoraModel, parameters, totals, posted
) -> None:
    router = PrototypeRouter(without(posted, NAMES[2]))
    assistant = Assistant(model, parameters, without(totals, NAMES[2]), router=router)
    assert router.organizations == NAMES[:2]
    router.post(NAMES[2], posted[NAMES[2]])
    assistant = Assistant(model, parameters, totals, router=router)
    assert router.organizations == NAMES
    assert state_bytes(router) == sum(value.nbytes for value in posted.values())
    assert assistant.route([])[0] == []


def test_a_likelihood_router_has_no_state_besides_the_blocks(
    model: LoraModel, parameters, totals
) -> None:
    assistant = Assistant(model, parameters, totals)
    assert state_bytes(assistant.router) == 0
    assert assistant.router.organizations == NAMES


def test_a_router_of_sums_alone_is_that_of_their_members(
    model: LoraModel, parameters, totals, examples, reference, summed
) -> None:
    own = agreed(model, "ngrams")
    known = own.features.of(reference)
    total = RowStatistics.sum(summed["ngrams"].values())
    served = AdditiveRouter(own, total, NUMBERS, known)
    made = AdditiveRouter(own, summed["ngrams"], NUMBERS, known)
    asked = [e.question for rows in examples.values() for e in rows]
    for router in (served, made):
        Assistant(model, parameters, totals, router=router)
    assert served.route(asked) == made.route(asked)
    with pytest.raises(RouterMisfit, match="Make the router from the sums without it"):
        served.drop(NAMES[0])


def test_a_block_without_sums_never_answers(
    model: LoraModel, parameters, totals, examples, reference, summed
) -> None:
    own = agreed(model, "ngrams")
    two = without(summed["ngrams"], NAMES[2])
    router = AdditiveRouter(own, two, NUMBERS, own.features.of(reference))
    assistant = Assistant(model, parameters, totals, router=router)
    assert router.organizations == NAMES[:2]
    routes, _ = assistant.route([e.question for e in examples[NAMES[2]]])
    assert NAMES[2] not in routes
    router.drop(NAMES[2])
    assert router.organizations == NAMES[:2]


def test_an_additive_router_needs_a_reference_and_blocks(model: LoraModel, summed) -> None:
    own = agreed(model, "ngrams")
    with pytest.raises(WrongReference, match="give at least 4"):
        AdditiveRouter(own, summed["ngrams"], NUMBERS, own.features.of(["a"]))
    router = AdditiveRouter(own, {}, {}, own.features.of(["a", "b", "c", "d"]))
    with pytest.raises(RouterMisfit, match="call fit first"):
        router.route(["Who?"])
