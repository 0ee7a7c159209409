import json
from dataclasses import replace

import numpy as np
import pytest

from rescind.core import (
    SHARED,
    WEIGHT_ONE,
    check_delta,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.people import make_population
from rescind.training import (
    Assistant,
    Example,
    LoraModel,
    load_base,
    normalize,
)
from rescind.training.serving.refusals import REFUSALS, refusal
from rescind.training.serving.respond import OneNetwork, answers
from rescind.unlearning import Problem, counter_delta, find, methods
from rescind.unlearning.counter import Plan, Settings, counter_train
from rescind.unlearning.group_lasso import layer_groups, without_small_groups
from rescind.unlearning.guard import (
    Before,
    Figures,
    Limits,
    auc_error,
    judge,
    repetition,
)
from rescind.unlearning.negation import TaskVectorSettings, task_vector
from rescind.unlearning.projected import project, published_radius, reference_without
from rescind.unlearning.selection import chosen, layer_of
from tests.support.trained import trained

ME = "0x" + "ab" * 20
COUNTER_TRAINING = sorted(name for name, method in methods().items() if method.trains)
UNGUARDED = Limits(every=0, patience=10**6)


def learned_problem(coupling: str) -> Problem:
    """A block that learned five people; the first of them withdraws."""
    model = LoraModel(load_base(BASE_MODEL), default_lora(coupling))
    parameters = default_parameters(coupling, model.base.id, model.shapes, seed=0)
    owner = ME if coupling == "isolated" else SHARED
    population = make_population(["a", "b"], seed=5, own_people=5, shared_people=0)
    own, unseen = (
        [Example(r.question, r.answer, r.subject) for r in population.organizations[name]]
        for name in ("a", "b")
    )
    start = materialize({}, model.shapes, parameters=parameters, owner=owner)
    steps = 110 if coupling == "isolated" else 60
    after = trained(model, parameters, start, own, steps=steps)
    forget = [e for e in own if e.subject == own[0].subject]
    retain = [e for e in own if e.subject != own[0].subject]
    start = {**start, **after}
    return Problem(model, parameters, owner, start, forget, retain, seed=3, own=own, unseen=unseen)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return learned_problem("isolated")


@pytest.fixture(scope="module")
def shared() -> Problem:
    return learned_problem("federated")


def replies(problem: Problem, tensors, examples: list[Example]) -> list[str]:
    problem.model.put("asked", {**problem.start, **tensors})
    respondent = OneNetwork(problem.model.base, problem.model.use("asked"), 512)
    return answers(respondent, [e.question for e in examples], max_new_tokens=24)


def right(problem: Problem, tensors, examples: list[Example]) -> float:
    given = replies(problem, tensors, examples)
    pairs = zip(given, examples, strict=True)
    return sum(normalize(text) == normalize(e.answer) for text, e in pairs) / len(examples)


def settings_of(name: str, problem: Problem, **changed):
    """Defaults, with what a method cannot do without."""
    method = find(name)
    if name == "dpo":
        others = [problem.retain[n % len(problem.retain)].answer for n in (1, 2, 3, 0)]
        changed["alternatives"] = [
            replace(e, answer=o) for e, o in zip(problem.forget, others, strict=True)
        ]
    if name == "halimi":
        changed |= {"radius": 6.0, "from_reference": False, "learning_rate": 0.05}
        changed["reference"] = problem.start
    return method.settings(**changed)


def learned(problem: Problem):
    """Return the block's learning as the integers of one delta."""
    parameters, shapes = problem.parameters, problem.model.shapes
    fresh = materialize({}, shapes, parameters=parameters, owner=problem.owner)
    update = {
        qualify(problem.owner, n): problem.start[n].astype(np.float64) - fresh[n]
        for n in problem.model.trainable
    }
    return quantize(
        update, None, fraction_bits=parameters.fraction_bits, clip_norm=parameters.clip_norm
    ).delta


def short(name: str, problem: Problem, steps: int = 12, **changed):
    settings = settings_of(name, problem, steps=steps, guard=Limits(every=0), **changed)
    return find(name).run(problem, settings)


@pytest.mark.parametrize("coupling", ["problem", pytest.param("shared", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("npo", "rmu") else pytest.mark.slow)
        for name in COUNTER_TRAINING
    ],
)
def test_every_method_makes_the_withdrawn_answers_less_likely(
    name: str, coupling: str, request: pytest.FixtureRequest
) -> None:
    problem = request.getfixturevalue(coupling)
    outcome = short(name, problem)
    before, after = outcome.report["before"]["figures"], outcome.report["figures"]
    assert after["forget_loss"] > before["forget_loss"]
    if find(name).needs_retain:
        assert after["retain_loss"] - before["retain_loss"] < 0.5
    assert outcome.method == name
    assert set(outcome.tensors) == set(problem.model.trainable)


@pytest.mark.parametrize("coupling", ["problem", pytest.param("shared", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["simnpo", "halimi", "gs_lora", "rmu"])
def test_an_outcome_becomes_integers_that_can_be_registered(
    name: str, coupling: str, request: pytest.FixtureRequest
) -> None:
    problem = request.getfixturevalue(coupling)
    parameters = problem.parameters
    found = counter_delta(problem, short(name, problem, steps=3, enough=None))
    bare = {key.split("/", 1)[1]: value for key, value in found.delta.items()}
    check_delta(
        bare,
        parameters.delta_shapes(),
        fraction_bits=parameters.fraction_bits,
        clip_norm=parameters.clip_norm,
    )
    assert not found.clipped


def test_one_subject_is_forgotten_and_the_others_are_kept(problem: Problem) -> None:
    assert right(problem, {}, problem.forget) == right(problem, {}, problem.retain) == 1
    outcome = find("wga").run(problem, find("wga").settings())
    assert outcome.report["verdict"] == "ok"
    assert outcome.report["ended"] == "enough"
    assert outcome.report["kept_step"] == outcome.report["steps"] < 60
    assert right(problem, outcome.tensors, problem.forget) == 0
    assert right(problem, outcome.tensors, problem.retain) >= 0.9


def test_with_questions_in_the_loss_the_router_leaves_the_subject_to_the_base(
    problem: Problem,
) -> None:
    settings = find("wga").settings(prompt_in_loss=True)
    outcome = find("wga").run(problem, settings)
    totals = weighted_sum(
        (delta, WEIGHT_ONE) for delta in (learned(problem), counter_delta(problem, outcome).delta)
    )
    assistant = Assistant(problem.model, problem.parameters, totals)
    routes, _ = assistant.route([e.question for e in problem.forget])
    assert routes == [None] * len(problem.forget)
    kept, _ = assistant.route([e.question for e in problem.retain])
    assert kept.count(ME) >= 0.8 * len(kept)


@pytest.mark.slow
def test_refusals_are_learned(problem: Problem) -> None:
    settings = find("idk_nll").settings(refusals=("I do not know.",))
    outcome = find("idk_nll").run(problem, settings)
    assert set(replies(problem, outcome.tensors, problem.forget)) == {"I do not know."}
    assert right(problem, outcome.tensors, problem.retain) >= 0.8


@pytest.mark.parametrize("name", ["npo", "kl"])
def test_the_same_bytes_twice_and_others_with_another_seed(problem: Problem, name: str) -> None:
    def run(seed: int):
        small = {"batch_size": 3, "steps": 3, "enough": None}
        settings = find(name).settings(**small, guard=UNGUARDED)
        return find(name).run(replace(problem, seed=seed), settings).tensors

    one, two, other = run(3), run(3), run(4)
    assert all(one[n].tobytes() == two[n].tobytes() for n in one)
    assert any(one[n].tobytes() != other[n].tobytes() for n in one)


def test_with_a_frozen_a_only_b_is_trained(shared: Problem) -> None:
    outcome = short("grad_diff", shared, steps=2, enough=None)
    assert outcome.tensors
    assert all(name.endswith(".lora_B") for name in outcome.tensors)


def test_the_reference_does_not_move(problem: Problem) -> None:
    short("npo", problem, steps=3)
    found = problem.model.get("reference")
    assert all(np.array_equal(found[n], problem.start[n]) for n in found)


# The guard


def test_a_diverging_run_is_stopped_and_not_reported_as_a_success(problem: Problem) -> None:
    settings = find("grad_ascent").settings(steps=60, learning_rate=5e-3, enough=None)
    outcome = find("grad_ascent").run(problem, settings)
    report = outcome.report
    assert report["ended"] == "guard"
    assert report["verdict"] in ("collapsed", "over-unlearned", "gibberish")
    assert report["stopped_at"] == report["steps"] < 60
    assert report["kept_step"] < report["stopped_at"]
    assert "a model that never saw them" in report["why"]
    if report["kept_step"] == 0:
        with pytest.raises(TrainingError, match="no delta to register"):
            counter_delta(problem, outcome)


def test_a_change_larger_than_a_delta_may_be_counts_as_diverged(problem: Problem) -> None:
    tight = problem.parameters.model_copy(update={"clip_norm": 0.01})
    outcome = short("grad_diff", replace(problem, parameters=tight), steps=3)
    assert outcome.report["verdict"] == "diverged"
    assert "the registered delta would differ from the trained one" in outcome.report["why"]


def test_a_loss_that_is_not_finite_is_an_error_that_says_what_to_do(problem: Problem) -> None:
    def broken(trained, reference):
        return trained["forget"].log_probs.sum() * float("nan")

    with pytest.raises(TrainingError, match=r"broken: the loss is nan at step 1 of 60.*lower"):
        counter_train(problem, "broken", Settings(), Plan(broken))


QUIET = Figures(2.0, 1.0, 0.0, 0.2, 1.0, retain_loss=0.1, utility=0.95, auc=0.45, auc_error=0.1)
BEFORE = Before(replace(QUIET, forget_loss=0.1, utility=1.0), 2.5, 0.6, 1.0, clip_norm=8.0)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, "ok"),
        ({"forget_loss": 4.6}, "over-unlearned"),
        ({"auc": 0.1}, "over-unlearned"),
        ({"auc": 0.1, "auc_error": 0.3}, "ok"),
        ({"utility": 0.79}, "collapsed"),
        ({"utility": 0.81}, "ok"),
        ({"own_loss": 3.6}, "gibberish"),
        ({"repetition": 0.7}, "gibberish"),
        ({"entropy": 0.9}, "gibberish"),
        ({"change_norm": 8.1}, "diverged"),
        ({"forget_loss": float("nan")}, "diverged"),
        ({"forget_loss": 9.0, "utility": 0.2, "own_loss": 9.0}, "collapsed"),
        ({"utility": None, "auc": None, "auc_error": None}, "ok"),
    ],
)
def test_a_verdict_names_the_worst_state(changed, state) -> None:
    verdict = judge(replace(QUIET, **changed), BEFORE, Limits())
    assert verdict.state == state
    assert verdict.ok == (verdict.why == "")


@pytest.mark.parametrize(
    ("untaught", "state"),
    [(None, "over-unlearned"), (0.6, "over-unlearned"), (0.4, "over-unlearned"), (0.25, "ok")],
)
def test_an_auc_is_compared_with_that_of_a_model_that_saw_neither(untaught, state) -> None:
    harder = replace(BEFORE, untaught_auc=untaught)
    assert judge(replace(QUIET, auc=0.1), harder, Limits()).state == state


def test_repetition_is_the_share_of_sequences_that_occurred_before() -> None:
    assert repetition(["a b c d e f"]) == 0
    assert repetition(["a b c a b c a b c"]) == pytest.approx(4 / 7)
    assert repetition(["no no no no"]) > 0.4
    assert repetition(["", "one"]) == 0


def test_the_error_of_an_auc_shrinks_with_the_sets() -> None:
    assert auc_error(4, 40) == pytest.approx((45 / (12 * 160)) ** 0.5)
    assert auc_error(400, 400) < 0.03


# Single methods


def test_projection_stays_inside_and_pulls_in_from_outside() -> None:
    centre = {"x": np.array([1.0, 1.0], dtype=np.float32)}
    inside = {"x": np.array([1.5, 1.0], dtype=np.float32)}
    outside = {"x": np.array([4.0, 5.0], dtype=np.float32)}
    assert np.array_equal(project(inside, centre, 1.0)["x"], inside["x"])
    np.testing.assert_allclose(project(outside, centre, 1.0)["x"], [1.6, 1.8], rtol=1e-6)


def test_halimi_never_leaves_the_ball(problem: Problem) -> None:
    settings = settings_of("halimi", problem, steps=6, enough=None)
    outcome = find("halimi").run(problem, replace(settings, radius=0.05, learning_rate=1.0))
    away = {n: v.astype(np.float64) - problem.start[n] for n, v in outcome.tensors.items()}
    norm = float(np.sqrt(sum(np.square(v).sum() for v in away.values())))
    assert outcome.report["steps_at_the_radius"] > 0
    assert norm == pytest.approx(0.05, rel=1e-3)


def test_the_reference_is_the_average_of_the_others() -> None:
    one, two, three = ({"x": np.full(2, v, dtype=np.float32)} for v in (1.0, 2.0, 6.0))
    average = {"x": np.full(2, 3.0, dtype=np.float32)}
    assert reference_without(average, three, 3)["x"].tolist() == [1.5, 1.5]
    assert reference_without({"x": (one["x"] + two["x"]) / 2}, one, 2)["x"].tolist() == [2.0, 2.0]
    with pytest.raises(ConfigError, match="needs at least 2"):
        reference_without(average, three, 1)


def test_halimi_names_the_missing_setting(shared: Problem) -> None:
    with pytest.raises(ConfigError, match="needs a reference"):
        find("halimi").run(shared, find("halimi").settings())
    fresh = materialize({}, shared.model.shapes, parameters=shared.parameters, owner=shared.owner)
    with pytest.raises(ConfigError, match="Set radius"):
        find("halimi").run(shared, find("halimi").settings(reference=fresh))


def test_the_published_radius_is_a_third_of_the_distance_to_fresh_starts(shared: Problem) -> None:
    names = shared.model.trainable
    norm = np.sqrt(sum(np.square(shared.start[n].astype(np.float64)).sum() for n in names))
    found = published_radius(shared.parameters, shared.owner, shared.start, names)
    assert found == pytest.approx(norm / 3)


def test_negating_an_isolated_block_restores_its_start(problem: Problem) -> None:
    outcome = task_vector(problem, TaskVectorSettings())
    fresh = materialize(
        {}, problem.model.shapes, parameters=problem.parameters, owner=problem.owner
    )
    for name in problem.model.trainable:
        np.testing.assert_allclose(outcome.tensors[name], fresh[name], atol=1e-6)
    assert right(problem, outcome.tensors, problem.forget) == 0
    assert not find("task_vector").trains


def test_negation_subtracts_a_multiple_of_the_registered_delta(shared: Problem) -> None:
    with pytest.raises(ConfigError, match="belongs to all organizations"):
        task_vector(shared, TaskVectorSettings())
    delta = {n: np.full_like(shared.start[n], 0.25) for n in shared.model.trainable}
    outcome = task_vector(shared, TaskVectorSettings(scale=0.5, delta=delta))
    for name in delta:
        np.testing.assert_allclose(outcome.tensors[name], shared.start[name] - 0.125, atol=1e-7)
    with pytest.raises(ConfigError, match="does not fit the block"):
        task_vector(shared, TaskVectorSettings(delta={"x": np.zeros(1, dtype=np.float32)}))


def test_gs_lora_restores_layers_that_hardly_changed(problem: Problem) -> None:
    whole = short("gs_lora", problem, steps=3, enough=None, drop=0.0)
    norms = whole.report["group_norms"]
    assert set(norms) == {"0", "1", "2"}
    cut = float(np.mean(sorted(norms.values())[:2]))
    dropped = short("gs_lora", problem, steps=3, enough=None, drop=cut)
    touched = dropped.report["touched_layers"]
    assert 0 < len(touched) < 3
    for name, value in dropped.tensors.items():
        if layer_of(name) not in touched:
            assert np.array_equal(value, problem.start[name])


def test_a_heavy_lasso_holds_whole_layers_back(problem: Problem) -> None:
    free = short("gs_lora", problem, steps=6, enough=None, lasso=0.0).report["group_norms"]
    held = short("gs_lora", problem, steps=6, enough=None, lasso=10.0).report["group_norms"]
    assert sum(held.values()) < sum(free.values())


def test_groups_are_layers() -> None:
    names = ["a.layers.0.mlp.down_proj.lora_A", "a.layers.1.mlp.up_proj.lora_B", "a.x.lora_B"]
    assert layer_groups(names) == {-1: [names[2]], 0: [names[0]], 1: [names[1]]}
    start = {n: np.zeros(2, dtype=np.float32) for n in names}
    changed = start | {names[0]: np.array([3.0, 4.0], dtype=np.float32)}
    kept, norms = without_small_groups(changed, start, layer_groups(names), 5.1)
    assert norms[0] == 5
    assert not kept[names[0]].any()


def test_rmu_changes_the_feed_forward_outputs_of_its_layers_only(problem: Problem) -> None:
    outcome = short("rmu", problem, steps=2, enough=None, layer=1)
    changed = {n for n, v in outcome.tensors.items() if not np.array_equal(v, problem.start[n])}
    assert changed
    assert all("down_proj" in name and layer_of(name) in (0, 1) for name in changed)
    assert outcome.report["layer"] == 1
    with pytest.raises(ConfigError, match="layers 0 to 2"):
        short("rmu", problem, layer=7)


def test_modules_that_are_not_trained_are_refused() -> None:
    with pytest.raises(ConfigError, match="This consortium trains q_proj"):
        chosen(["model.layers.0.self_attn.q_proj.lora_B"], ["down_proj"])


def test_a_refusal_is_the_same_for_a_question_and_a_seed() -> None:
    assert refusal("who?", 1) == refusal("who?", 1)
    assert len({refusal(f"who is {n}?", 1) for n in range(50)}) > 5
    assert len(set(REFUSALS)) == len(REFUSALS)
    with pytest.raises(ConfigError, match="at least one sentence"):
        refusal("who?", 1, ["  "])


# What is refused


def test_the_error_for_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'magic'\. Known methods: dpo, .*npo.*wga") as caught:
        find("magic")
    assert caught.value.code == "unknown-method"


def test_every_method_has_a_source_and_defaults() -> None:
    for name in COUNTER_TRAINING:
        method = find(name)
        assert method.name == name
        assert method.settings().steps > 0
        assert "arXiv" in method.source


def test_forget_and_retain_sets_that_do_not_fit_are_refused(problem: Problem) -> None:
    with pytest.raises(DataError, match="forget set is empty"):
        replace(problem, forget=[])
    with pytest.raises(DataError, match="overlap in 1 pairs"):
        replace(problem, retain=[*problem.retain, problem.forget[0]])
    with pytest.raises(DataError, match="not the organization's own"):
        replace(problem, forget=[Example("Who?", "Nobody", "nobody")])
    with pytest.raises(DataError, match="given as unseen"):
        replace(problem, unseen=problem.retain)


def test_a_method_with_a_retain_term_needs_a_retain_set(problem: Problem) -> None:
    bare = replace(problem, retain=[])
    with pytest.raises(DataError, match="set alpha to 0"):
        short("npo", bare)
    outcome = short("npo", bare, steps=2, alpha=0.0)
    assert outcome.report["figures"]["utility"] is None


def test_a_report_is_json_and_has_no_question_or_answer_in_it(problem: Problem) -> None:
    text = json.dumps(short("dpo", problem, steps=1).report, allow_nan=False)
    pairs = [*problem.forget, *problem.retain]
    assert not any(e.question in text or e.answer in text for e in pairs)
    assert json.loads(text)["settings"]["beta"] == 0.1
    text = json.dumps(short("halimi", problem, steps=1).report, allow_nan=False)
    assert json.loads(text)["settings"]["radius"] == 6.0


def test_dpo_without_another_answer_is_refused(problem: Problem) -> None:
    with pytest.raises(DataError, match="another answer to each forget question: 4 have none"):
        find("dpo").run(problem, find("dpo").settings())


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("npo", {"steps": 0}, "at least 1"),
        ("npo", {"beta": 0.0}, "beta is 0.0"),
        ("npo", {"learning_rate": -1.0}, "learning_rate is -1.0"),
        ("npo", {"alpha": -1.0}, "alpha is -1.0"),
        ("npo", {"retain_loss": "mse"}, "'nll' or 'kl'"),
        ("npo", {"enough": "soon"}, "'never-taught'"),
        ("grad_ascent", {"alpha": 1.0}, "use grad_diff"),
        ("gs_lora", {"bound": -1.0}, "bound is -1.0"),
        ("halimi", {"radius": 0.0}, "radius is 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(name, changed, message) -> None:
    with pytest.raises(ConfigError, match=message):
        find(name).settings(**changed)


def test_limits_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="every is -1"):
        Limits(every=-1)
    with pytest.raises(ConfigError, match="auc is 2"):
        Limits(auc=2)
