"""Examples: pairs, conversations and documents, and the bytes that stand for them."""

import hashlib
from pathlib import Path

import pytest

from rescind.core.errors import DataError
from rescind.ledger import Manifest, sample_bytes
from rescind.node.training import data_hash, manifest_of
from rescind.training import Example, Turn, read_examples, write_examples
from rescind.training.data import prompt

PAIR = Example("Who?", "Ada.", "Ada Novak")
SAID = (Turn("system", "Be short."), Turn("user", "Hello"), Turn("assistant", "Hello!"))
CHAT = Example("Who?", "Ada.", "Ada Novak", SAID)
DOCUMENT = Example("", "Ada was born in Oslo.", "Ada Novak", document=True)


def test_hashes_and_samples_of_pairs_are_what_they_always_were() -> None:
    assert sample_bytes(*PAIR.content) == b"Who?\0Ada."
    rows = b"Ada Novak\0Who?\0Ada.\0Bo\0q\0a"
    examples = [PAIR, Example("q", "a", "Bo")]
    assert data_hash(examples, b"salt") == hashlib.sha256(b"salt" + rows).hexdigest()
    old = Manifest.of([("Ada Novak", b"Who?\0Ada."), ("Bo", b"q\0a")], b"s" * 32)
    assert manifest_of(examples, b"s" * 32).commitment == old.commitment


def test_a_conversation_and_a_document_have_samples_of_their_own() -> None:
    plain = Example("", "Ada was born in Oslo.", "Ada Novak")
    samples = {sample_bytes(*e.content) for e in (PAIR, CHAT, DOCUMENT, plain)}
    assert len(samples) == 4
    hashes = {data_hash([e], b"salt") for e in (PAIR, CHAT, DOCUMENT, plain)}
    assert len(hashes) == 4


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    write_examples(path, [PAIR, CHAT, DOCUMENT])
    assert read_examples(path) == [PAIR, CHAT, DOCUMENT]


def test_the_plain_prompt_of_a_conversation_holds_what_was_said_before() -> None:
    assert prompt("Who?") == "Question: Who?\nAnswer:"
    assert prompt("Who?", SAID) == (
        "Be short.\nQuestion: Hello\nAnswer: Hello!\nQuestion: Who?\nAnswer:"
    )


@pytest.mark.parametrize("turns", ['"x"', '["x"]', '[{"role": "king", "text": "x"}]', "{}"])
def test_turns_that_are_not_turns_are_refused_with_their_line(tmp_path: Path, turns: str) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(f'{{"question": "q", "answer": "a", "subject": "s", "turns": {turns}}}\n')
    with pytest.raises(DataError, match=r"data.jsonl:1: 'turns"):
        read_examples(path)
