"""The server of the tiny base model as OpenAI's client sees it, over a chain that the test scripts."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from rescind.core.errors import ConfigError
from rescind.serving.asked import Asked, Limits, Sampling
from rescind.serving.jobs import Delta, Done, Failed, Routed
from rescind.serving.requests import ApiKeys
from rescind.serving.server import ServeOptions
from rescind.training import Turn
from tests.support.serving import ADAPTER, Stage, stage
from tests.support.serving_chain import AURORA

ASK: list[Any] = [{"role": "user", "content": "Where was Ada Lovelace born?"}]
pytestmark = pytest.mark.trains


@pytest.fixture(scope="module")
def opened() -> Iterator[Stage]:
    with stage() as running:
        yield running


@pytest.fixture
def server(opened: Stage) -> Stage:
    reader = opened.source.reader
    reader.head, reader.reaches, reader.salt = 1, True, ""
    reader.stale.clear()
    opened.source.missing.clear()
    opened.watch.check()
    return opened


def test_an_answer_says_which_model_and_which_block_answered(server: Stage) -> None:
    create = server.client().chat.completions.with_raw_response.create
    raw = create(model="dev-net/aurora", messages=ASK, max_tokens=6)
    answer = raw.parse()
    assert raw.headers["x-rescind-answered-by"] == AURORA
    assert raw.headers["x-rescind-organization"] == "aurora"
    assert raw.headers["x-rescind-model"] == "1"
    assert raw.headers["x-rescind-adapter"] == ADAPTER
    assert int(raw.headers["x-rescind-block"]) == server.source.reader.block
    assert answer.model == "dev-net-1/aurora"
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.completion_tokens <= 6


@pytest.mark.parametrize("model", ["dev-net", "dev-net-1", "dev-net/borealis", "dev-net-base"])
def test_pieces_of_a_stream_are_the_whole_answer(server: Stage, model: str) -> None:
    create = server.client().chat.completions.create
    whole = create(model=model, messages=ASK, max_tokens=8)
    pieces = list(
        create(
            model=model,
            messages=ASK,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-1].usage == whole.usage
    assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert {piece.id for piece in pieces} == {pieces[0].id}
    assert len(pieces) > 3


def test_a_text_is_continued_from_characters_or_tokens(server: Stage) -> None:
    create = server.client().completions.create
    prompt = "Question: Where was Ada born?\nAnswer:"
    tokens = server.models._planner.base.tokenizer.encode(prompt, add_special_tokens=False)
    by_text = create(model="dev-net-base", prompt=prompt, max_tokens=5)
    by_tokens = create(model="dev-net-base", prompt=tokens, max_tokens=5)
    assert by_text.choices[0].text == by_tokens.choices[0].text
    streamed = create(model="dev-net-base", prompt=tokens, max_tokens=5, stream=True)
    assert "".join(piece.choices[0].text for piece in streamed) == by_text.choices[0].text


def test_a_conversation_is_written_by_the_consortiums_rules(server: Stage) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where was Ada born?"},
        {"role": "assistant", "content": "In Oslo."},
        {"role": "user", "content": "And when?"},
    ]
    written = (
        "Be brief.\nQuestion: Where was Ada born?\nAnswer: In Oslo.\nQuestion: And when?\nAnswer:"
    )
    chat = server.client().chat.completions.create(
        model="dev-net-base", messages=messages, max_tokens=6
    )
    plain = server.client().completions.create(model="dev-net-base", prompt=written, max_tokens=6)
    assert chat.choices[0].message.content == plain.choices[0].text.strip()
    assert chat.usage == plain.usage


def test_a_seed_repeats_an_answer_and_a_stop_sequence_ends_it(server: Stage) -> None:
    create = server.client().completions.create

    def sampled(seed: int) -> str:
        done = create(
            model="dev-net-base", prompt="The", max_tokens=12, temperature=1.5, top_p=0.9, seed=seed
        )
        return done.choices[0].text

    assert sampled(1) == sampled(1)
    assert len({sampled(seed) for seed in range(4)}) > 1
    prompt = "Question: Where?\nAnswer:"
    whole = create(model="dev-net-base", prompt=prompt, max_tokens=12).choices[0].text
    stop = whole[len(whole) // 2 :][:3]
    cut = create(model="dev-net-base", prompt=prompt, max_tokens=12, stop=[stop]).choices[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_withdrawn_model_is_refused_and_the_next_one_takes_its_place(server: Stage) -> None:
    create, reader = server.client().chat.completions.create, server.source.reader
    reader.stale.add(1)
    server.watch.check()
    for name in ("dev-net", "dev-net-1", "dev-net-1/aurora", "dev-net-2"):
        with pytest.raises(openai.InternalServerError, match="was withdrawn") as error:
            create(model=name, messages=ASK)
        assert error.value.status_code == 503
        assert error.value.code == "model_not_in_use"
    assert [card.id for card in server.client().models.list()] == ["dev-net-base"]
    assert server.web.get("/health").status_code == 503
    assert create(model="dev-net-base", messages=ASK, max_tokens=2).choices
    planner = server.models._planner
    assert [n for n in planner._lora._peft.peft_config if n.startswith("block_")] == []
    reader.head = 2
    server.watch.check()
    assert create(model="dev-net", messages=ASK, max_tokens=2).model == "dev-net-2"
    with pytest.raises(openai.NotFoundError, match="Model 1 is not served any more: model 2"):
        create(model="dev-net-1", messages=ASK)
    with pytest.raises(openai.NotFoundError, match="has no block of 'aurora'"):
        create(model="dev-net/aurora", messages=ASK)
    assert [n for n in planner._lora._peft.peft_config if n.startswith("block_0xaa")] == []


def test_a_later_round_takes_over_once_its_files_are_there(server: Stage) -> None:
    create, source = server.client().chat.completions.create, server.source
    source.missing.add(2)
    source.reader.head = 2
    server.watch.check()
    assert create(model="dev-net", messages=ASK, max_tokens=2).model == "dev-net-1"
    server.clock.seconds += 601
    server.watch.check()
    with pytest.raises(openai.InternalServerError, match=r"files of model 2 are not there yet"):
        create(model="dev-net", messages=ASK, max_tokens=2)
    source.missing.clear()
    server.watch.check()
    assert create(model="dev-net", messages=ASK, max_tokens=2).model == "dev-net-2"


def test_a_chain_that_is_away_too_long_stops_the_answers(server: Stage) -> None:
    create, reader = server.client().chat.completions.create, server.source.reader
    reader.reaches = False
    server.watch.check()
    server.clock.seconds += 299
    assert create(model="dev-net", messages=ASK, max_tokens=2).choices
    server.clock.seconds += 2
    with pytest.raises(openai.InternalServerError, match="not known whether model 1 is still"):
        create(model="dev-net", messages=ASK, max_tokens=2)
    reader.reaches = True
    server.watch.check()
    assert create(model="dev-net", messages=ASK, max_tokens=2).choices


def test_a_model_that_a_reorganization_changed_is_loaded_again(server: Stage) -> None:
    before = server.watch.served
    server.source.reader.salt = "other"
    server.watch.check()
    assert server.watch.served != before
    assert server.client().models.retrieve("dev-net-1").id == "dev-net-1"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "invalid_json"),
        (b"[" * 10_000, {}, 400, "invalid_json"),
        (b"\xff", {}, 400, "invalid_json"),
        (b"{}", {"content-type": "text/plain"}, 415, "invalid_type"),
        (b"x" * (2**20 + 1), {}, 413, "body_too_large"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_openais_form(
    server: Stage, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    sent = {"content-type": "application/json"} | headers
    answer = server.web.post("/v1/chat/completions", content=body, headers=sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert server.web.get("/v1/nothing").json()["error"]["message"]
    assert server.web.get("/v1/completions").status_code == 405


def test_prompts_and_answers_have_a_limit(server: Stage) -> None:
    create = server.client().chat.completions.create
    long = [{"role": "user", "content": "word " * 20_000}]
    with pytest.raises(openai.BadRequestError, match="takes at most") as error:
        create(model="dev-net", messages=long)
    assert error.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="at most 64 tokens"):
        create(model="dev-net", messages=ASK, max_tokens=65)
    with pytest.raises(openai.BadRequestError, match="not in the vocabulary"):
        server.client().completions.create(model="dev-net", prompt=[10**9])


def asked(**sampling: Any) -> Asked:
    turns = (Turn("user", "Where was Ada born?"),)
    return Asked("dev-net", Sampling(**sampling), messages=turns)


def test_a_client_that_leaves_ends_its_answer_and_a_full_queue_refuses(server: Stage) -> None:
    async def leave() -> list[str]:
        # The worker is kept busy, so that what comes after waits.
        release = asyncio.Event()
        loop = asyncio.get_running_loop()
        blocked = loop.run_in_executor(
            None,
            server.models._worker.call,
            lambda: asyncio.run_coroutine_threadsafe(release.wait(), loop).result(),
        )
        waiting = [server.models.ask(asked()) for _ in range(server.models._worker._most_waiting)]
        with pytest.raises(Exception, match="are waiting already"):
            server.models.ask(asked())
        for events in waiting[1:]:
            task = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        again = server.models.ask(asked())
        release.set()
        await blocked
        kinds = [type(event).__name__ async for event in waiting[0]]
        assert [type(event) async for event in again][-1] is Done
        return kinds

    kinds = asyncio.run(leave())
    assert kinds[0] == "Routed"
    assert kinds[-1] == "Done"
    assert server.models.waiting == 0


def test_a_withdrawal_cuts_the_answer_that_is_being_made(server: Stage) -> None:
    async def cut() -> list[object]:
        events = server.models.ask(asked(max_tokens=64, temperature=2.0, seed=5))
        result: list[object] = []
        async for event in events:
            result.append(event)
            if len(result) == 2:
                server.source.reader.stale.add(1)
                await asyncio.to_thread(server.watch.check)
        return result

    events = asyncio.run(cut())
    assert isinstance(events[0], Routed)
    assert isinstance(events[1], Delta)
    assert isinstance(events[-1], Failed)
    assert "was withdrawn" in events[-1].error.message


def test_a_stream_that_is_cut_ends_with_an_error_for_the_client(server: Stage) -> None:
    from rescind.serving.answers import Form, pieces
    from rescind.serving.errors import not_in_use

    async def texts() -> list[str]:
        async def events() -> Any:
            yield Delta("a")
            yield Failed(not_in_use("withdrawn"))

        routed = Routed(None, "base", "m")
        return [text async for text in pieces(Form(chat=True), routed, events())]

    last = asyncio.run(texts())[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "model_not_in_use"


def test_a_key_is_asked_for_everywhere_but_for_health() -> None:
    with stage(keys=ApiKeys(["a-secret-of-16-chars", "another-secret-key"])) as server:
        for key in ("a-secret-of-16-chars", "another-secret-key"):
            assert server.client(key).models.list().data
        with pytest.raises(openai.AuthenticationError, match="API key is missing or wrong"):
            server.client("wrong").chat.completions.create(model="dev-net", messages=ASK)
        assert server.web.get("/metrics").status_code == 401
        assert server.web.get("/health").status_code == 200


def test_a_server_that_others_can_reach_needs_a_key() -> None:
    ServeOptions(host="::1").check()
    ServeOptions(host="0.0.0.0", keys=ApiKeys(["x" * 16])).check()
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigError, match="--api-key-file"):
            ServeOptions(host=host).check()


def test_counts_are_there_for_prometheus(server: Stage) -> None:
    server.client().models.list()
    text = server.web.get("/metrics").text
    assert 'rescind_serve_requests_total{route="/v1/models",status="200"}' in text
    assert "rescind_serve_serving 1" in text


def test_limits_bound_a_slow_body() -> None:
    from starlette.requests import Request

    from rescind.serving.requests import read_json

    async def never() -> Any:
        await asyncio.Event().wait()

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(Exception, match="was not complete after 0 s"):
        asyncio.run(read_json(Request(scope, never), Limits(body_seconds=0.01)))
