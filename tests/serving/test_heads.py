"""Heads that answer over OpenAI's API: questions of a task, and after a removal."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rescind.core.errors import ChainError
from rescind.devnet.defaults import BASE_MODEL
from rescind.serving.asked import Asked, Limits, Sampling
from rescind.serving.gate import Gate
from rescind.serving.jobs import Delta, Done, Routed
from rescind.serving.names import ServedModel
from rescind.serving.planning import Planner
from rescind.serving.spoken import Spoken
from rescind.serving.standing import ModelKey
from rescind.serving.upstream import UpstreamModels, UpstreamSettings
from rescind.training import Turn
from rescind.training.heads import solve
from rescind.training.serving.heads import skills_of
from tests.support.hybrid import (
    ABOUT_CARDS,
    ABOUT_LOANS,
    DESK,
    QUESTIONS,
    ROUTED,
    hybrid,
    statistics_of,
    with_statistics,
)
from tests.support.serving import ADAPTER, Stage, random_totals, stage, tiny
from tests.support.serving_chain import AURORA, BOREALIS, NAMES

pytestmark = pytest.mark.trains
FACT = "Where was Ada Lovelace born?"
BOTH = solve(statistics_of([AURORA, BOREALIS])).id
LEFT = solve(statistics_of([BOREALIS])).id


@pytest.fixture(scope="module")
def opened() -> Iterator[Stage]:
    with stage(agreed=hybrid(tiny()[1])) as running:
        yield running


@pytest.fixture
def server(opened: Stage) -> Stage:
    reader = opened.source.reader
    reader.head, opened.source.opens, reader.salt = 1, True, ""
    reader.stale.clear()
    opened.watch.check()
    return opened


def said(*texts: str) -> list[Any]:
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]


def asked(server: Stage, *texts: str, model: str = "dev-net", **more: Any) -> tuple[str, Any]:
    """Return an answer's text and the response's headers."""
    create = server.client().chat.completions.with_raw_response.create
    raw = create(model=model, messages=said(*texts), max_tokens=more.pop("max_tokens", 32), **more)
    return raw.parse().choices[0].message.content or "", raw.headers


def test_a_question_of_a_task_is_answered_by_its_head_with_a_label(server: Stage) -> None:
    for question, label in ((ABOUT_CARDS, "cards and PINs"), (ABOUT_LOANS, "loans")):
        text, headers = asked(server, question)
        assert text == label
        assert headers["x-rescind-answered-by"] == "head"
        assert headers["x-rescind-task"] == "desk"
        assert headers["x-rescind-head"] == BOTH
        assert headers["x-rescind-model"] == "1"
        assert headers["x-rescind-adapter"] == ADAPTER
        assert "x-rescind-organization" not in headers


def test_other_questions_go_to_the_router_as_before(server: Stage) -> None:
    _, headers = asked(server, FACT)
    assert headers["x-rescind-answered-by"] in ("base", AURORA, BOREALIS)
    assert "x-rescind-head" not in headers


@pytest.mark.parametrize("model", ["dev-net/aurora", "dev-net-base"])
def test_a_block_or_the_base_that_was_named_answers_itself(server: Stage, model: str) -> None:
    text, headers = asked(server, ABOUT_CARDS, model=model)
    assert headers["x-rescind-answered-by"] in (AURORA, "base")
    assert text != "cards and PINs"


def test_the_last_message_of_a_conversation_decides(server: Stage) -> None:
    assert asked(server, FACT, "I do not know.", ABOUT_CARDS)[0] == "cards and PINs"
    _, headers = asked(server, ABOUT_CARDS, "cards and PINs", "And since when?")
    assert headers["x-rescind-answered-by"] != "head"


def test_a_stream_has_the_label_in_pieces_and_its_tokens(server: Stage) -> None:
    create = server.client().chat.completions.create
    whole = create(model="dev-net", messages=said(ABOUT_CARDS), max_tokens=32)
    pieces = list(
        create(
            model="dev-net",
            messages=said(ABOUT_CARDS),
            max_tokens=32,
            temperature=2.0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = [p.choices[0].delta.content for p in pieces if p.choices and p.choices[0].delta.content]
    assert texts == ["cards", " and", " PINs"]
    assert pieces[-1].usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.completion_tokens > 0
    assert whole.choices[0].finish_reason == pieces[-2].choices[0].finish_reason == "stop"


def test_a_text_or_tokens_are_continued_with_the_label(server: Stage) -> None:
    create = server.client().completions.with_raw_response.create
    written = f"Question: {ABOUT_CARDS}\nAnswer:"
    tokenizer = server.models._planner.base.tokenizer
    tokens = tokenizer.encode(written, add_special_tokens=False)
    for prompt in (written, tokens, ABOUT_CARDS):
        raw = create(model="dev-net", prompt=prompt, max_tokens=32)
        assert raw.headers["x-rescind-head"] == BOTH
        assert raw.parse().choices[0].text == " cards and PINs"
    streamed = server.client().completions.create(
        model="dev-net", prompt=written, max_tokens=32, stream=True
    )
    assert "".join(piece.choices[0].text for piece in streamed) == " cards and PINs"
    for prompt in (f"Question: {FACT}\nAnswer: {ABOUT_CARDS}", f"{written} "):
        assert "x-rescind-head" not in create(model="dev-net", prompt=prompt, max_tokens=2).headers


def test_limits_of_a_request_hold_for_a_label(server: Stage) -> None:
    create = server.client().chat.completions.create
    cut = create(model="dev-net", messages=said(ABOUT_CARDS), max_tokens=1)
    text = cut.choices[0].message.content
    assert text
    assert "cards and PINs".startswith(text)
    assert text != "cards and PINs"
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 1
    assert asked(server, ABOUT_CARDS, stop=[" and", "PIN"])[0] == "cards"
    spoken = Spoken.of("cards", tiny()[0].base.tokenizer, Sampling(stops=("ca",)), 9)
    assert (spoken.pieces, spoken.reason, spoken.tokens) == ((), "stop", 0)


def test_the_list_of_models_names_the_tasks(server: Stage) -> None:
    cards = server.web.get("/v1/models").json()["data"]
    for card in cards[:2]:
        [task] = card["rescind"]["tasks"]
        assert task == {
            "task": "desk",
            "prompt": DESK.prompt,
            "labels": ["cards and PINs", "loans"],
            "rows": 5,
            "head": BOTH,
        }
    assert all("tasks" not in card.get("rescind", {}) for card in cards[2:])


def test_after_a_removal_the_head_is_the_one_without_the_organization(server: Stage) -> None:
    reader = server.source.reader
    assert asked(server, ABOUT_CARDS)[0] == "cards and PINs"
    reader.stale.add(1)
    server.watch.check()
    answer = server.web.post(
        "/v1/chat/completions", json={"model": "dev-net", "messages": said(ABOUT_CARDS)}
    )
    assert answer.status_code == 503
    reader.head = 2
    server.watch.check()
    text, headers = asked(server, ABOUT_CARDS)
    # Only the organization that left had rows with the label.
    assert text == "loans"
    assert headers["x-rescind-model"] == "2"
    assert headers["x-rescind-head"] == LEFT
    [task] = server.web.get("/v1/models").json()["data"][0]["rescind"]["tasks"]
    assert (task["labels"], task["head"]) == (["loans"], LEFT)


def test_statistics_that_do_not_open_are_not_served_but_blocks_are(server: Stage) -> None:
    server.source.opens, server.source.reader.salt = False, "again"
    server.watch.check()
    assert asked(server, ABOUT_CARDS)[1]["x-rescind-answered-by"] != "head"
    assert "tasks" not in server.web.get("/v1/models").json()["data"][0]["rescind"]


def test_an_agreed_router_is_solved_from_the_sums_and_chooses_the_block() -> None:
    question = QUESTIONS[BOREALIS][0]
    with stage(agreed=hybrid(tiny()[1], ROUTED)) as server:
        planner = server.models._planner
        assert planner._assistant.router.name == "additive"
        assert asked(server, question, max_tokens=2)[1]["x-rescind-answered-by"] == BOREALIS
        assert asked(server, ABOUT_CARDS)[1]["x-rescind-answered-by"] == "head"
        ada = QUESTIONS[AURORA][0]
        assert asked(server, ada, max_tokens=2)[1]["x-rescind-answered-by"] == AURORA
        server.source.reader.head = 2
        server.watch.check()
        assert asked(server, ada, max_tokens=2)[1]["x-rescind-answered-by"] != AURORA
        server.source.opens, server.source.reader.salt = False, "again"
        server.watch.check()
        # Without opened sums there is no router of them.
        assert planner._assistant.router.name == "likelihood"


class Unreached:
    """A server behind that must not be asked for an answer."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def models(self) -> list[dict[str, Any]]:
        return [{"id": "the-base", "parent": None}, *({"id": n, "parent": "b"} for n in self.held)]

    def load(self, name: str, path: str) -> None:
        self.held[name] = path

    def unload(self, name: str) -> None:
        del self.held[name]

    def completion(self, body: Any) -> Any:
        raise ChainError("asked for an answer")


def test_with_a_server_behind_heads_still_answer_here(tmp_path: Path) -> None:
    model, parameters = tiny()
    parameters = hybrid(parameters)
    behind: Any = Unreached()
    settings = UpstreamSettings(behind, "rescind-mark", tmp_path, "/there", str(BASE_MODEL))
    gate, limits = Gate(60), Limits()
    models = UpstreamModels(Planner(model, parameters, gate, limits), parameters, settings, limits)
    totals = with_statistics(random_totals(parameters, (AURORA, BOREALIS)), (AURORA, BOREALIS))
    skills = skills_of(parameters, totals)
    served = ServedModel("dev-net", ModelKey(1, ("x",)), ADAPTER, (AURORA, BOREALIS), NAMES, skills)
    models.switch(served, totals)
    gate.open(served, 5, gate.now())
    assert len(behind.held) == 2

    async def events() -> list[Any]:
        question = Asked("dev-net", Sampling(), messages=(Turn("user", ABOUT_CARDS),))
        return [event async for event in models.ask(question)]

    first, *deltas, last = asyncio.run(events())
    assert isinstance(first, Routed)
    assert (first.owner, first.task, first.head) == ("head", "desk", BOTH)
    assert "".join(each.text for each in deltas if isinstance(each, Delta)) == "cards and PINs"
    assert isinstance(last, Done)
    models._worker.close()
