"""Agreed statistics: their parts, tensors, limits, and agreements that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from rescind.core import HIDING, STATISTICS, ConsortiumParameters, OutOfBounds, block
from rescind.core.canonical_json import canonical_json
from rescind.core.contributed import check_contributed
from rescind.core.errors import ConfigError
from rescind.core.expected import expected_delta
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics import NotRowSums
from rescind.core.statistics_noise import GaussianNoise, Posting
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.core.statistics_tensors import (
    contributed_tensors,
    kept_statistics,
    named_statistics,
    solvable_statistics,
    with_noise,
)
from rescind.training.heads import solve
from tests.support.consortium import hybrid_parameters, micro_parameters

ME = "0x" + "aB" * 20
TEXTS, LABELS = (
    ["My card is lost", "The bill is wrong", "Card blocked"],
    ["cards", "billing", "cards"],
)


def agreed() -> StatisticsParameters:
    statistics = hybrid_parameters().statistics
    assert statistics is not None
    return statistics


def contribution() -> dict[str, np.ndarray]:
    rows = agreed().tasks["desk"].collect(TEXTS, LABELS)
    return contributed_tensors(agreed(), {"desk": rows})


def test_a_hybrid_contribution_has_a_delta_and_statistics() -> None:
    delta, sums = hybrid_parameters().parts
    assert (delta.rule, delta.owner(ME)) == ("block", ME.lower())
    assert (sums.rule, sums.owner(ME)) == ("latest", STATISTICS)
    assert delta.shapes == hybrid_parameters().delta_shapes()
    assert set(sums.shapes) == {"desk.gram", "desk.moments", HIDING}


def test_other_couplings_have_one_part() -> None:
    assert [part.rule for part in micro_parameters().parts] == ["block"]
    (shared,) = micro_parameters(federated=True).parts
    assert (shared.rule, shared.owner(ME)) == ("share", "shared")


def test_the_document_of_other_couplings_does_not_name_statistics() -> None:
    assert b"statistics" not in micro_parameters().canonical_bytes()
    document = hybrid_parameters().canonical_bytes()
    assert ConsortiumParameters.parse(document) == hybrid_parameters()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"hiding": False}, "Set hiding to true"),
        ({"server": {"name": "fedadam"}}, "needs the server 'fedavg'"),
        ({"statistics": None}, "and only there"),
        ({"coupling": "isolated"}, "and only there"),
        ({"max_artifact_bytes": 40_000}, "max_artifact_bytes is 40000"),
    ],
    ids=["no hiding", "an optimizer", "no statistics", "another coupling", "too small"],
)
def test_agreements_that_do_not_fit_are_refused(changes: dict[str, object], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        hybrid_parameters(**changes)


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("{text}", "at least 7"),
        ("Which desk?", "must hold {text} once"),
        ("{text} or {text}?", "must hold {text} once"),
        (" Which desk: {text}", "no space at its ends"),
    ],
)
def test_prompts_that_tell_nothing_apart_are_refused(prompt: str, what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Task(prompt=prompt, labels=("a", "b"))


def test_two_tasks_need_prompts_that_differ() -> None:
    one = Task(prompt="Desk: {text}", labels=("a", "b"))
    other = Task(prompt="Desk: {text}!", labels=("a", "b"))
    with pytest.raises(ValidationError, match="can have the form of task"):
        StatisticsParameters(tasks={"one": one, "two": other})


def test_a_question_of_a_task_gives_its_text_back() -> None:
    task = agreed().tasks["desk"]
    assert task.text_of(task.question("  My card is lost ")) == "My card is lost"
    assert task.text_of("Where does Ada live?") is None
    assert task.text_of("Which desk answers:") is None


def test_a_contribution_passes_its_check_and_gives_the_rows_back() -> None:
    tensors = contribution()
    parameters = hybrid_parameters()
    specs = {name: (value.dtype, value.shape) for name, value in tensors.items()}
    assert set(specs) == set(expected_delta(parameters, ME, 1).shapes)
    assert {dtype for dtype, _ in specs.values()} == {np.dtype(np.int32)}
    check_contributed(tensors, parameters, 1, 0)
    rows = named_statistics(agreed(), block(tensors, STATISTICS))["desk"]
    assert (rows.rows, rows.counts.tolist()) == (3, [1, 2])


def test_the_same_rows_never_give_the_same_contribution() -> None:
    one, other = contribution(), contribution()
    hiding = f"{STATISTICS}/{HIDING}"
    assert (one[hiding] != other[hiding]).any()
    assert all((one[name] == other[name]).all() for name in one if name != hiding)


def test_large_features_make_64_bit_statistics() -> None:
    task = agreed().tasks["desk"].model_copy(update={"max_rows": 2**31})
    assert agreed().dtype == "I32"
    assert StatisticsParameters(tasks={"desk": task}).dtype == "I64"


def test_an_organization_with_too_few_rows_contributes_none() -> None:
    task = Task(**{**agreed().tasks["desk"].model_dump(), "min_rows": 4})
    few = StatisticsParameters(tasks={"desk": task})
    tensors = contributed_tensors(few, kept_statistics(few, {"desk": task.collect(TEXTS, LABELS)}))
    assert named_statistics(few, block(tensors, STATISTICS))["desk"].rows == 0
    check_contributed(tensors, hybrid_parameters(statistics=few.model_dump(mode="json")), 1, 0)
    full = contribution()
    with pytest.raises(OutOfBounds, match="fewer than 4 posts"):
        check_contributed(full, hybrid_parameters(statistics=few.model_dump(mode="json")), 1, 0)


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("desk.moments", 7, NotRowSums),
        ("desk.gram", -500, OutOfBounds),
        (HIDING, 2**24, OutOfBounds),
    ],
)
def test_made_up_statistics_are_refused(name: str, change: int, error: type[Exception]) -> None:
    tensors = contribution()
    tensors[f"{STATISTICS}/{name}"] += np.int32(change)
    with pytest.raises(error):
        check_contributed(tensors, hybrid_parameters(), 1, 0)


def noisy() -> StatisticsParameters:
    noise = GaussianNoise(epsilon=2.0, delta=1e-6, person_rows=2)
    task = Task(**{**agreed().tasks["desk"].model_dump(), "row_square": 16})
    return StatisticsParameters(tasks={"desk": task}, noise=noise)


def test_statistics_with_the_agreed_noise_pass_and_can_be_solved() -> None:
    statistics = noisy()
    parameters = hybrid_parameters(statistics=statistics.model_dump(mode="json"))
    rows = {"desk": statistics.tasks["desk"].collect(TEXTS, LABELS)}
    posted = with_noise(statistics, rows, bytes(32), Posting(1, "00" * 32))
    tensors = contributed_tensors(statistics, posted)
    check_contributed(tensors, parameters, 1, 0)
    assert (tensors[f"{STATISTICS}/desk.gram"] != rows["desk"].gram).any()
    sums = {name: value.astype(np.int64) for name, value in block(tensors, STATISTICS).items()}
    assert solve(solvable_statistics(statistics, sums, 1)["desk"]).weights.any()
    with pytest.raises(OutOfBounds):
        check_contributed(tensors, hybrid_parameters(), 1, 0)


def test_noise_and_cross_validation_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="noise needs ridge 'trace'"):
        StatisticsParameters(
            tasks={"desk": noisy().tasks["desk"]}, noise=noisy().noise, ridge="gcv"
        )


def test_noise_without_a_bound_of_a_row_is_refused() -> None:
    with pytest.raises(ValidationError, match="row_square of 'desk'"):
        StatisticsParameters(tasks=agreed().tasks, noise=GaussianNoise(epsilon=1.0, delta=1e-6))


def test_features_of_another_base_are_refused() -> None:
    document = agreed().model_dump(mode="json")
    document["tasks"]["desk"]["features"] = {
        "kind": "hidden", "base_model_id": "ee" * 32, "width": 8, "layers": [1]
    }  # fmt: skip
    with pytest.raises(ValidationError, match="reads hidden states of base model ee"):
        hybrid_parameters(statistics=document)


def routed() -> StatisticsParameters:
    small = NgramFeatures(buckets=31)
    router = RouterStatistics(features=small, reference="ab" * 32, max_rows=100, max_members=64)
    return StatisticsParameters(tasks=agreed().tasks, router=router)


def test_a_router_s_sums_are_refused_in_another_member_s_column() -> None:
    statistics = routed()
    assert statistics.router is not None
    rows = {"router": statistics.router.collect(statistics.router.features.of(TEXTS), 3)}
    tensors = contributed_tensors(statistics, rows)
    parameters = hybrid_parameters(statistics=statistics.model_dump(mode="json"))
    check_contributed(tensors, parameters, 1, 3)
    with pytest.raises(OutOfBounds, match="the column of member 3"):
        check_contributed(tensors, parameters, 1, 4)


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"reference": None}, "id of its public reference"), ({"max_members": 8}, "columns for 8")],
)
def test_a_router_that_does_not_fit_is_refused(changes: dict[str, object], what: str) -> None:
    document = routed().model_dump(mode="json")
    document["router"] |= changes
    with pytest.raises(ValidationError, match=what):
        hybrid_parameters(statistics=document)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (["cafe\u0301", "caf\u00e9"], r"not in Unicode form NFC: write 'caf\\xe9'"),
        (["cards", "cards "], "white space at an end or in a row"),
        ([" ", "cards"], "of white space alone"),
        (["cards", "cards\u200b"], r"the invisible character U\+200B"),
        (["ca\x00rds", "loans"], r"the control character U\+0000"),
        (["cards", "\uff43ards"], r"'cards' and '\\uff43ards' read alike"),
        (["Cards", "cards"], "read alike"),
        (["", "cards"], "at least 1 character"),
        (["a" * 1025, "b"], "at most 1024 characters"),
        (["cards"], "at least 2 items"),
        (["loans", "cards"], "ascending order"),
    ],
)
def test_labels_that_readers_cannot_tell_apart_are_refused(labels: list[str], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Task(prompt="Which? {text}", labels=tuple(labels), features=NgramFeatures(buckets=31))


def test_a_label_may_begin_like_another() -> None:
    Task(prompt="Which? {text}", labels=("cards", "cards and PINs"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Say {text}", "{text} now"),
        ("Which {text}", "Which desk {text}"),
        ("A {text} B", "A {text}"),
    ],
)
def test_prompts_that_one_question_can_fit_together_are_refused(first: str, second: str) -> None:
    one, other = (Task(prompt=each, labels=("a", "b")) for each in (first, second))
    for tasks in ({"x": one, "y": other}, {"x": other, "y": one}):
        with pytest.raises(ValidationError, match="can have the form of task 'y', too"):
            StatisticsParameters(tasks=tasks)


def test_a_prompt_with_a_hidden_character_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"the control character U\+0000"):
        Task(prompt="Wh\x00ich? {text}", labels=("a", "b"))


def test_a_refused_document_says_where_and_why_in_one_line() -> None:
    document = hybrid_parameters().model_dump(mode="json")
    document["statistics"]["tasks"]["desk"]["labels"] = ["cards", "cards "]
    with pytest.raises(ConfigError) as why:
        ConsortiumParameters.parse(canonical_json(document))
    assert str(why.value).startswith(
        "consortium parameters: statistics.tasks.desk.labels: the label 'cards '"
    )


@pytest.mark.parametrize(("epsilon", "delta"), [(5e-324, 5e-324), (1e-9, 1e-12)])
def test_noise_that_cannot_be_drawn_is_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(ValidationError, match="agree on a larger epsilon or delta"):
        GaussianNoise(epsilon=epsilon, delta=delta)
