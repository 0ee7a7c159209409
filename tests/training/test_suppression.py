import numpy as np
import pytest

from rescind.core import (
    SHARED,
    WEIGHT_ONE,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.errors import ConfigError, DataError
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.people import make_population
from rescind.training import (
    Assistant,
    Example,
    LoraModel,
    evaluate,
    load_base,
    normalize,
)
from rescind.training.serving.refusals import REFUSALS
from rescind.training.serving.respond import answers
from rescind.training.serving.suppression import (
    Names,
    Questions,
    Stage,
    Standing,
    SuppressedAssistant,
    Suppression,
    words,
)
from tests.support.trained import trained

ME = "0x" + "ab" * 20
SALT = bytes(range(16))


@pytest.fixture(scope="module")
def own() -> list[Example]:
    rows = make_population(["a"], seed=5, own_people=3, shared_people=0).organizations["a"]
    return [Example(r.question, r.answer, r.subject) for r in rows]


@pytest.fixture(scope="module")
def assistant(own: list[Example]) -> Assistant:
    model = LoraModel(load_base(BASE_MODEL), default_lora("isolated"))
    parameters = default_parameters("isolated", model.base.id, model.shapes, seed=0)
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    after = trained(model, parameters, start, own, steps=90)
    update = {qualify(ME, n): v.astype(np.float64) - start[n] for n, v in after.items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    return Assistant(model, parameters, weighted_sum([(delta, WEIGHT_ONE)]))


def test_a_subject_is_refused_and_the_others_are_answered(assistant, own) -> None:
    assert evaluate(assistant, own).score == 1
    names = Names(SALT).including(own[0].subject)
    guarded = SuppressedAssistant(assistant, Suppression(names))
    replies = guarded.ask_many([e.question for e in own])
    for example, reply in zip(own, replies, strict=True):
        if example.subject == own[0].subject:
            assert reply.text in REFUSALS
            assert reply.organization is None
            assert reply.gains == {}
            assert reply.evidence.is_guarded
        else:
            assert normalize(reply.text) == normalize(example.answer)
            assert reply.organization == ME
    assert guarded.ask(own[0].question) == replies[0]


def test_without_the_guard_the_model_still_has_everything(assistant, own) -> None:
    SuppressedAssistant(assistant, Suppression(Names(SALT).including(own[0].subject)))
    assert evaluate(assistant, own).score == 1


def test_an_organization_is_refused_wherever_its_block_would_answer(assistant, own) -> None:
    guarded = SuppressedAssistant(assistant, Suppression(organizations=frozenset({ME.upper()})))
    replies = guarded.ask_many([e.question for e in own])
    assert {reply.text for reply in replies} <= set(REFUSALS)
    elsewhere = guarded.ask("What is the capital of France, please?")
    assert elsewhere.organization is None
    assert ME not in elsewhere.gains


def test_measured_as_a_respondent_it_gives_refused_questions_to_the_base(assistant, own) -> None:
    names = Names(SALT).including(own[0].subject)
    guarded = SuppressedAssistant(assistant, Suppression(names))
    replies = answers(guarded, [e.question for e in own], max_new_tokens=24)
    right = [normalize(t) == normalize(e.answer) for t, e in zip(replies, own, strict=True)]
    assert right == [example.subject != own[0].subject for example in own]
    assert guarded.max_length == assistant.max_length
    assert guarded.base is assistant.base


def test_a_shared_adapter_has_no_block_to_leave_out(assistant) -> None:
    class Shared:
        blocks = (SHARED,)
        parameters = assistant.parameters

    with pytest.raises(ConfigError, match="suppress its subjects by name"):
        SuppressedAssistant(Shared(), Suppression(organizations=frozenset({ME})))


@pytest.mark.parametrize(
    "question",
    [
        "Where was Zoë Lindqvist born?",
        "Lindqvist, Zoe: what is her work?",
        "ZOE LINDQVIST'S book?",
        "Which prize did Zoë\u2019s sister, a Lindqvist, win?",
    ],
)
def test_a_name_is_found_in_any_order_and_spelling(question: str) -> None:
    assert Names(SALT).including("Zoë Lindqvist").match(question)


@pytest.mark.parametrize("question", ["Where was Zoë Holm born?", "Who is Lindqvistson Zoe?", ""])
def test_part_of_a_name_does_not_match(question: str) -> None:
    assert not Names(SALT).including("Zoë Lindqvist").match(question)


def test_a_guard_contains_no_name_and_reveals_nothing_without_its_salt() -> None:
    held = Names(SALT).including("Zoë Lindqvist").to_dict()
    assert "zoe" not in str(held).casefold()
    other = Names(bytes(16)).including("Zoë Lindqvist").to_dict()
    assert held["names"] != other["names"]


def test_a_guard_survives_a_restart_and_a_name_can_be_removed() -> None:
    names = Names(SALT).including("Zoë Lindqvist").including("Ada Holm").including("ada HOLM")
    assert len(names.hidden) == 2
    again = Names.parse(names.to_dict())
    assert again == names
    assert not again.excluding("Ada Holm").match("Who is Ada Holm?")
    assert again.excluding("Ada Holm").match("Who is Zoe Lindqvist?")


@pytest.mark.parametrize(
    "data",
    [{}, {"format": "x"}, {"format": "rescind.suppression/1", "salt": "zz", "names": []}],
)
def test_a_guard_that_cannot_be_read_is_an_error(data) -> None:
    with pytest.raises(DataError, match="not a list of suppressed names"):
        Names.parse(data)


def test_names_and_salts_that_hide_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="no word to look for"):
        Names(SALT).including("??")
    with pytest.raises(ConfigError, match="draw at least 16"):
        Names(b"short")


def test_only_questions_like_a_withdrawn_one_are_refused() -> None:
    withdrawn = ["Where was Zoë Lindqvist born?", "Which book did Zoë Lindqvist write?"]
    answered = ["Where was Ada Holm born?", "Which book did Ada Holm write?"]
    questions = Questions(withdrawn, answered)
    assert all(questions.match(each) for each in withdrawn)
    assert not any(questions.match(each) for each in answered)
    assert questions.match("So where was Zoë Lindqvist born?")
    guard = Suppression(questions=questions)
    assert guard.matched(withdrawn[0]) == "question"
    assert guard.matched("How tall is the tower?") is None


def test_a_withdrawn_question_cannot_also_be_answered() -> None:
    with pytest.raises(DataError, match="withdrawn and to be answered"):
        Questions(["Where was Zoë born?"], ["where was ZOE born"])
    with pytest.raises(DataError, match="no withdrawn question"):
        Questions([])
    with pytest.raises(ConfigError, match="similarity is 2"):
        Questions(["Where?"], similarity=2)


def test_suppressed_is_never_reported_as_erased() -> None:
    standing = Standing().suppressed()
    assert standing.stage is Stage.SUPPRESSED
    assert str(standing) == "suppressed, not erased: the model still has it"
    erased = standing.erased("ab" * 32)
    assert str(erased) == f"erased by {'ab' * 32}"
    for stage, change in ((Stage.ERASED, ""), (Stage.SUPPRESSED, "ab"), (Stage.SERVED, "ab")):
        with pytest.raises(DataError, match="registered change of the model"):
            Standing(stage, change)
    with pytest.raises(DataError, match="already erased"):
        erased.suppressed()
    assert SuppressedAssistant.stage is Stage.SUPPRESSED


def test_words_ignore_case_accents_and_punctuation() -> None:
    assert words("Zoë\u2019s  O'Hara-Núñez!") == ["zoe", "o", "hara", "nunez"]
