"""Bodies of requests: what is read, and what is refused with the name of the parameter."""

from typing import Any

import pytest

from rescind.serving import ApiError
from rescind.serving.bodies import read_chat, read_completion
from rescind.serving.names import ServedModel, Target, listing, prefix_of, resolve
from rescind.serving.standing import ModelKey

HELLO = [{"role": "user", "content": "hello"}]


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "messages": HELLO} | changes


def test_a_conversation_is_read_with_parts_and_developer_messages() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "name": "x"},
        {"role": "user", "content": "d"},
    ]
    asked, wishes = read_chat(
        chat(
            messages=messages, stop="x", max_tokens=5, max_completion_tokens=7, stream=True, seed=3
        )
    )
    assert [(turn.role, turn.text) for turn in asked.messages] == [
        ("system", "Be brief."),
        ("user", "ab"),
        ("assistant", "c"),
        ("user", "d"),
    ]
    assert (asked.sampling.max_tokens, asked.sampling.stops, asked.sampling.seed) == (7, ("x",), 3)
    assert wishes.stream
    assert not wishes.include_usage


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
        ),
        ({"n": 2}, "n"),
        ({"n": "1"}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": 5}}, "logit_bias"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stream": "maybe"}, "stream"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as error:
        read_chat(chat(**changes))
    assert error.value.status == 400
    assert (error.value.param or "").startswith(param)


def test_values_that_ask_for_nothing_and_unknown_names_are_taken() -> None:
    read_chat(
        chat(n=1, logprobs=False, tools=[], tool_choice="none", presence_penalty=0.0, user="me",
             response_format={"type": "text"}, some_new_thing=[1], temperature=None, stop=None)
    )  # fmt: skip


@pytest.mark.parametrize("body", [None, [], "text", 3, {}])
def test_a_body_that_is_not_a_request_is_refused(body: object) -> None:
    for read in (read_chat, read_completion):
        with pytest.raises(ApiError) as error:
            read(body)
        assert error.value.status == 400


def test_a_prompt_is_a_text_or_tokens() -> None:
    for prompt, text, tokens in (
        ("a b", "a b", None),
        (["a b"], "a b", None),
        ([3, 4], None, (3, 4)),
        ([[3, 4]], None, (3, 4)),
    ):
        asked, _ = read_completion({"model": "m", "prompt": prompt})
        assert (asked.text, asked.tokens, asked.sampling.max_tokens) == (text, tokens, 16)
    for prompt in ("", [], [[]], ["a", "b"], [-1], [1.5], [True], None, {}):
        with pytest.raises(ApiError) as error:
            read_completion({"model": "m", "prompt": prompt})
        assert (error.value.param or "").startswith("prompt"), prompt


def served(**names: str) -> ServedModel:
    organizations = {f"0x{name}": title for name, title in names.items()}
    return ServedModel("net", ModelKey(3, ("c",)), "ad", tuple(organizations), organizations)


def test_names_choose_the_routed_model_a_block_or_the_base() -> None:
    model = served(aa="North Clinic", bb="South")
    assert resolve("net", model) == resolve("net-3", model) == Target("routed")
    for name in ("net/0xAA", "net-3/0xaa", "net-3/North Clinic"):
        assert resolve(name, model) == Target("block", "0xaa")
    assert resolve("net-base", model) == Target("base")
    for name in ("other", "net-3/East", "net-4", "net-2", "net/", "net-3/"):
        with pytest.raises(ApiError) as error:
            resolve(name, model)
        assert error.value.status == 404
    with pytest.raises(ApiError, match="Model 2 is not served any more: model 3 took its place"):
        resolve("net-2/South", model)


def test_organizations_that_share_a_name_are_asked_by_their_address() -> None:
    model = served(aa="Twin", bb="Twin")
    with pytest.raises(ApiError, match="shares its name"):
        resolve("net/Twin", model)
    ids = [card["id"] for card in listing("net", model, 0)]
    assert ids == ["net", "net-3", "net-3/0xaa", "net-3/0xbb", "net-base"]


def test_a_shared_adapter_has_no_blocks_to_ask() -> None:
    model = ServedModel("net", ModelKey(3, ("c",)), "ad", ("shared",))
    assert resolve("net", model) == Target("routed")
    with pytest.raises(ApiError):
        resolve("net/shared", model)
    assert [card["id"] for card in listing("net", model, 0)] == ["net", "net-3", "net-base"]


def test_a_consortiums_name_becomes_a_prefix() -> None:
    assert prefix_of("Ärzte & Co") == "rzte-co"
    assert prefix_of("日本") == "rescind"
