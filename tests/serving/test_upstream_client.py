"""Streams of other servers, whatever pieces they come in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from rescind.core.errors import ConfigError
from rescind.serving import ApiError
from rescind.serving.upstream_client import UpstreamClient, _documents, _refused, piece_of


def documents(*chunks: bytes) -> list[Any]:
    async def sent() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    async def read() -> list[Any]:
        return [document async for document in _documents(sent())]

    return asyncio.run(read())


def test_events_are_read_across_chunks_with_every_kind_of_line_end_inside() -> None:
    text = 'data: {"a": "x\u2028y\x85"}\r\n\r\n: a comment\nevent: x\ndata:{"b": 2}\n\ndata: [DONE]\nno'
    data = text.encode()
    wanted = [{"a": "x\u2028y\x85"}, {"b": 2}]
    for size in (1, 3, 1000):
        assert documents(*(data[i : i + size] for i in range(0, len(data), size))) == wanted


@pytest.mark.parametrize("data", [b"data: {\n", b"data: " + b"x" * 2**21])
def test_a_stream_that_is_not_json_is_an_error_of_the_other_server(data: bytes) -> None:
    with pytest.raises(ApiError) as error:
        documents(data)
    assert error.value.status == 502


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"choices": [{"text": "a", "finish_reason": None}]}, ("a", None)),
        ({"choices": [{"text": "", "finish_reason": "length"}]}, ("", "length")),
        ({"choices": []}, ("", None)),
    ],
)
def test_a_piece_has_text_and_an_end(document: object, wanted: Sequence[object]) -> None:
    assert piece_of(document) == wanted


@pytest.mark.parametrize("document", [{"error": {"message": "m"}}, {}, [], 3, {"choices": [3]}])
def test_a_piece_that_is_none_is_an_error_of_the_other_server(document: object) -> None:
    with pytest.raises(ApiError) as error:
        piece_of(document)
    assert error.value.status == 502


def test_refusals_of_old_and_new_servers_are_passed_on_with_their_words() -> None:
    for text in ('{"error": {"message": "too long"}}', '{"message": "too long"}', "too long"):
        assert (_refused(400, text).status, "too long" in _refused(400, text).message) == (
            400,
            True,
        )
    assert _refused(404, "").status == 503
    assert _refused(429, "").status == 429
    assert _refused(500, "").status == _refused(401, "").status == 502


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://", "file:///etc/passwd"])
def test_an_address_that_is_not_http_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL of HTTP"):
        UpstreamClient(url)
