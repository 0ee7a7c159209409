"""Pieces of text add up to the whole text, with stop sequences and characters of several bytes."""

from collections.abc import Sequence

import pytest

from rescind.serving.text import TextStream


def decode(tokens: Sequence[int]) -> str:
    """A tokenizer of single bytes."""
    return bytes(tokens).decode("utf-8", "replace")


def streamed(text: str, *stops: str, strip: bool = True) -> tuple[list[str], TextStream]:
    stream = TextStream(decode, stops, strip=strip)
    pieces = []
    for byte in text.encode():
        pieces.append(stream.push(byte))
        if stream.stopped:
            break
    pieces.append(stream.finish())
    return [piece for piece in pieces if piece], stream


@pytest.mark.parametrize("text", ["plain", "añb", "日本 語", "a \n b", "🙂🙃"])
def test_characters_come_whole_and_in_order(text: str) -> None:
    pieces, _ = streamed(text)
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert len(pieces) > 1


def test_white_space_at_the_ends_is_left_out_of_answers_only() -> None:
    assert "".join(streamed("  a  b \n")[0]) == "a  b"
    assert "".join(streamed("  a  b \n", strip=False)[0]) == "  a  b \n"
    assert streamed("   ")[0] == []


@pytest.mark.parametrize(
    ("stops", "wanted"),
    [
        (("END",), "one EN two "),
        (("two", "END"), "one EN"),
        (("xyz",), "one EN two END three EN"),
        (("EN",), "one"),
    ],
)
def test_a_text_ends_before_its_first_stop_sequence(stops: tuple[str, ...], wanted: str) -> None:
    pieces, stream = streamed("one EN two END three EN", *stops)
    assert "".join(pieces) == wanted.rstrip()
    assert stream.stopped == (stops != ("xyz",))


def test_bytes_that_are_no_character_come_at_the_end() -> None:
    stream = TextStream(decode)
    assert stream.push(0x61) == "a"
    assert stream.push(0xE3) == ""
    assert stream.finish() == "\ufffd"
