"""An assistant with heads: which questions they answer, and what is measured of them."""

from dataclasses import replace

import numpy as np
import pytest

from rescind.core import qualify
from rescind.core.errors import DataError
from rescind.core.features import HiddenFeatures, feature_rows
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics_noise import GaussianNoise
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.training import Assistant, Example, Turn, evaluate
from rescind.training.features import HiddenRows
from rescind.training.heads import solve
from rescind.training.serving.heads import skills_of
from rescind.training.serving.refusals import REFUSALS
from rescind.training.serving.respond import token_scores
from rescind.training.serving.suppression import Names, SuppressedAssistant, Suppression
from tests.support.hybrid import (
    ABOUT_CARDS,
    ABOUT_LOANS,
    AGREED,
    DESK,
    ROWS,
    hybrid,
    statistics_of,
    summed_statistics,
    with_statistics,
)
from tests.support.serving import random_totals, tiny
from tests.support.serving_chain import AURORA, BOREALIS, NAMES

pytestmark = pytest.mark.trains
FACT = "Where was Ada Lovelace born?"
OWNERS = (AURORA, BOREALIS)


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    model, parameters = tiny()
    agreed = hybrid(parameters)
    return Assistant(model, agreed, with_statistics(random_totals(agreed, OWNERS), OWNERS))


def test_heads_answer_questions_of_their_task_and_the_router_has_the_others(assistant) -> None:
    cards, fact, loans = assistant.ask_many([ABOUT_CARDS, FACT, ABOUT_LOANS], max_new_tokens=4)
    assert (cards.text, loans.text) == ("cards and PINs", "loans")
    assert (cards.task, cards.organization, cards.gains) == ("desk", None, {})
    assert fact.task is None
    assert set(fact.gains) == set(OWNERS)
    assert assistant.skills.head_ids == {"desk": solve(statistics_of(OWNERS)).id}
    assert assistant.ask(Example(ABOUT_LOANS, "", "", turns=(Turn("user", FACT),))).text == "loans"


def test_the_evidence_of_a_head_has_its_labels_and_no_block(assistant) -> None:
    evidence = assistant.ask(ABOUT_CARDS).evidence
    shown = evidence.to_dict(NAMES)
    assert shown["blocks"] == []
    assert shown["router"] is None
    assert shown["reason"].startswith("The head of the task 'desk', solved from 5 rows, gives")
    assert shown["head"]["task"] == "desk"
    assert shown["head"]["rows"] == 5
    labels = shown["head"]["labels"]
    assert [each["label"] for each in labels] == ["cards and PINs", "loans"]
    assert [each["answered"] for each in labels] == [True, False]
    assert shown["head"]["margin"] == pytest.approx(labels[0]["score"] - labels[1]["score"])
    assert assistant.ask(FACT).evidence.to_dict(NAMES)["head"] is None


def test_the_perplexity_leaves_out_what_heads_answer(assistant) -> None:
    rows = [Example(ABOUT_CARDS, "Cards and PINs", ""), Example(FACT, "London", "")]
    both = evaluate(assistant, rows)
    assert both.items[0].right
    assert [item.task for item in both.items] == ["desk", None]
    assert both.perplexity == pytest.approx(evaluate(assistant, rows[1:]).perplexity)
    assert evaluate(assistant, rows[:1]).perplexity is None


def test_measured_as_a_respondent_questions_of_heads_go_to_the_base(assistant) -> None:
    rows = [Example(FACT, "London", ""), Example(ABOUT_CARDS, "cards and PINs", "")]
    groups = [indices for _, indices in assistant.groups(rows)]
    assert sorted(index for indices in groups for index in indices) == [0, 1]
    assert groups[0] == [1]
    model, parameters = tiny()
    bare = Assistant(model, parameters, None)
    [expected] = token_scores(bare, rows[1:])
    assert token_scores(assistant, rows)[1].log_probs == pytest.approx(expected.log_probs, abs=1e-4)


def test_a_document_that_begins_like_a_question_is_not_one(assistant) -> None:
    document = Example("", ABOUT_CARDS, "", document=True)
    assert assistant.answers_of_heads([document]) == {}


def test_without_statistics_in_the_totals_the_router_has_every_question() -> None:
    model, parameters = tiny()
    agreed = hybrid(parameters)
    blocks = Assistant(model, agreed, random_totals(agreed, OWNERS))
    assert blocks.skills is None
    assert blocks.ask_many([ABOUT_CARDS], max_new_tokens=2)[0].task is None
    alone = Assistant(model, agreed, summed_statistics(OWNERS))
    assert alone.blocks == ()
    assert alone.ask(ABOUT_CARDS).text == "cards and PINs"


def test_a_task_without_rows_has_no_head() -> None:
    model, parameters = tiny()
    empty = {n: np.zeros_like(v) for n, v in summed_statistics(OWNERS).items()}
    assistant = Assistant(model, hybrid(parameters), empty)
    assert assistant.skills is not None
    assert assistant.skills.head_ids == {}
    assert assistant.ask_many([ABOUT_CARDS], max_new_tokens=2)[0].task is None


def test_a_guard_refuses_what_a_head_would_say_of_the_withdrawn(assistant) -> None:
    named = Suppression(Names(bytes(16)).including("Ada Holm"))
    question = DESK.question("The card of Ada Holm is lost")
    guarded = SuppressedAssistant(assistant, named)
    assert guarded.ask(question).text in REFUSALS
    assert guarded.ask(ABOUT_CARDS).text == "cards and PINs"
    # A head is solved from the sum of all, so no part of it can be left out.
    removed = SuppressedAssistant(assistant, Suppression(organizations=frozenset({AURORA})))
    answer = removed.ask(ABOUT_CARDS)
    assert answer.text in REFUSALS
    assert answer.task is None
    assert answer.evidence.is_guarded


def test_noise_needs_the_number_of_organizations() -> None:
    _, parameters = tiny()
    task = DESK.model_copy(update={"row_square": 40})
    noise = GaussianNoise(epsilon=50, delta=1e-5, postings=1)
    noisy = StatisticsParameters(tasks={"desk": task}, noise=noise)
    agreed = hybrid(parameters).model_copy(update={"statistics": noisy})
    totals = summed_statistics(OWNERS, noisy)
    with pytest.raises(DataError, match="how many organizations are in the sum"):
        skills_of(agreed, totals)
    three = {**dict.fromkeys(OWNERS, 0), "0xcc": 2}
    two, others = (skills_of(agreed, totals, each) for each in (dict.fromkeys(OWNERS, 0), three))
    assert two is not None
    assert others is not None
    assert two.head_ids != others.head_ids


def test_hidden_features_are_those_of_the_base_whichever_block_answered_last() -> None:
    model, parameters = tiny()
    config = model.base.model.config
    features = HiddenFeatures(
        base_model_id=model.base.id, width=config.hidden_size, layers=(1,), scale=64
    )
    task = Task(prompt=DESK.prompt, labels=DESK.labels, features=features, max_rows=100)
    agreed = hybrid(parameters, StatisticsParameters(tasks={"desk": task}))
    rows = [row for own in ROWS.values() for row in own]
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    bare = Assistant(model, parameters, None)
    bare.bare()
    source = HiddenRows(model.base)
    sums = task.collect(texts, labels, feature_rows(features, texts, source))
    totals = random_totals(agreed, OWNERS) | {
        qualify("statistics", f"desk.{name}"): value for name, value in sums.tensors().items()
    }
    assistant = Assistant(model, agreed, totals)
    assistant.network(AURORA)
    given = [assistant.ask(task.question(text)) for text in texts]
    assert [answer.text for answer in given] == labels
    before = given[0].evidence.head.scores
    assistant.network(BOREALIS)
    assert assistant.ask(task.question(texts[0])).evidence.head.scores == before


def test_tasks_are_told_apart_by_their_prompts() -> None:
    model, parameters = tiny()
    mood = Task(
        prompt="Is this friendly? {text} Answer in a word.",
        features=NgramFeatures(buckets=63),
        labels=("no", "yes"),
        max_rows=100,
    )
    agreed = StatisticsParameters(tasks={"desk": DESK, "mood": mood})
    own = mood.collect(["Thanks a lot", "You are useless"], ["yes", "no"])
    totals = summed_statistics(OWNERS) | {
        qualify("statistics", f"mood.{name}"): value for name, value in own.tensors().items()
    }
    assistant = Assistant(model, hybrid(parameters, agreed), totals)
    answers = assistant.ask_many([mood.question("Thanks a lot"), ABOUT_LOANS])
    assert [(each.task, each.text) for each in answers] == [("mood", "yes"), ("desk", "loans")]


def test_heads_that_were_solved_before_are_taken(assistant) -> None:
    model, _ = tiny()
    skills = replace(assistant.skills, skills={"desk": assistant.skills.skills["desk"]})
    again = Assistant(model, assistant.parameters, summed_statistics(OWNERS), skills=skills)
    assert again.skills.skills["desk"].head is assistant.skills.skills["desk"].head
    assert AGREED.tasks["desk"] == assistant.skills.skills["desk"].task
