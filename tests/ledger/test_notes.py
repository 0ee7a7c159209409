"""Checkpoints as others write them, and witnesses that are not fooled."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.ledger import (
    Checkpoint,
    CheckpointRefused,
    Ledger,
    LocalKey,
    LogKey,
    Verifier,
    Witness,
)
from rescind.ledger.notes import NoteInvalid, Signature
from rescind.ledger.witness import LOGS_EACH

# The example of golang.org/x/mod/sumdb/note.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
)


def test_a_signature_by_another_implementation_is_accepted() -> None:
    key, raw = Verifier.parse(GO_KEY), base64.b64decode(GO_SIGNATURE)
    assert str(key) == GO_KEY
    assert key.hash == raw[:4]
    key.check(raw[4:], GO_TEXT.encode())
    with pytest.raises(NoteInvalid, match="does not match the text"):
        key.check(raw[4:], GO_TEXT.upper().encode())


@pytest.fixture
def log() -> LogKey:
    return LogKey("rescind.ledger/aa", bytes(range(32)))


def test_a_checkpoint_round_trips(log: LogKey) -> None:
    note = log.checkpoint(7, bytes(32))
    again = Checkpoint.parse(str(note))
    assert again == note
    again.check_signed(log.verifier())
    assert str(note).splitlines()[:4] == ["rescind.ledger/aa", "7", "A" * 43 + "=", ""]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("\n7\n", "\n07\n", "not a valid log size"),
        ("\n7\n", "\n-7\n", "not a valid log size"),
        ("\n7\n", "\n" + "9" * 5000 + "\n", "not a valid log size"),
        ("\n7\n", "\n8\n", "does not match the text"),
        ("A=\n", "B=\n", "canonical"),
        ("rescind.ledger/aa\n7", "rescind ledger\n7", "not a valid key name"),
        ("\n\n", "\n", "not a checkpoint"),
        ("\N{EM DASH} ", "- ", "not a valid signature line"),
    ],
)
def test_a_changed_note_is_rejected(log: LogKey, before: str, after: str, said: str) -> None:
    text = str(log.checkpoint(7, bytes(32)))
    with pytest.raises(NoteInvalid, match=said):
        Checkpoint.parse(text.replace(before, after, 1)).check_signed(log.verifier())


def test_a_damaged_key_is_rejected(log: LogKey) -> None:
    good = str(log.verifier())
    for bad in ("", "a+b", good[:-2], good.replace("aa+", "ab+"), good + "AAAA", "x+00000000+AA=="):
        with pytest.raises(NoteInvalid):
            Verifier.parse(bad)


@pytest.fixture
def ledger(tmp_path: Path, key: LocalKey) -> Iterator[Ledger]:
    """A ledger of nine records."""
    with Ledger.create(tmp_path / "ledger", key) as ledger:
        for number in range(9):
            ledger.append("reward", {"round": number})
        yield ledger


@pytest.fixture
def witness(tmp_path: Path, ledger: Ledger) -> Witness:
    """A witness that has cosigned the ledger at size 4, at time 10^9."""
    witness = Witness(LogKey("rescind.witness/b", bytes(32)), tmp_path / "seen", clock=lambda: 1e9)
    witness.cosign(ledger.checkpoint(4), ledger.key.verifier(), 0, [])
    return witness


def test_a_cosigned_checkpoint_says_when(tmp_path: Path, ledger: Ledger) -> None:
    witness = Witness(LogKey("rescind.witness/b", bytes(32)), tmp_path / "seen", clock=lambda: 1e9)
    signature = witness.cosign(ledger.checkpoint(4), ledger.key.verifier(), 0, [])
    signed = ledger.checkpoint(4).with_signatures([signature])
    assert Checkpoint.parse(str(signed)).cosigned_at(witness.key.witness()) == 10**9


def test_a_witness_cosigns_a_log_that_grew(ledger: Ledger, witness: Witness) -> None:
    own = ledger.key.verifier()
    witness.cosign(ledger.checkpoint(9), own, 4, ledger.consistency_proof(4, 9))
    witness.cosign(ledger.checkpoint(9), own, 9, [])


def test_a_witness_refuses_a_log_whose_growth_is_not_proved(
    ledger: Ledger, witness: Witness
) -> None:
    with pytest.raises(CheckpointRefused, match="last cosigned at size 4") as refused:
        witness.cosign(ledger.checkpoint(9), ledger.key.verifier(), 0, [])
    assert refused.value.size == 4


def test_a_witness_refuses_a_log_that_shrank_or_changed(ledger: Ledger, witness: Witness) -> None:
    own = ledger.key.verifier()
    witness.cosign(ledger.checkpoint(9), own, 4, ledger.consistency_proof(4, 9))
    with pytest.raises(CheckpointRefused, match="does not continue"):
        witness.cosign(ledger.checkpoint(7), own, 9, [])
    forged = ledger.key.checkpoint(9, bytes(32))
    with pytest.raises(CheckpointRefused, match="does not continue"):
        witness.cosign(forged, own, 9, [])


def test_a_witness_refuses_what_the_log_did_not_sign(
    tmp_path: Path, key: LocalKey, ledger: Ledger, witness: Witness
) -> None:
    own = ledger.key.verifier()
    with Ledger.create(tmp_path / "other", key) as other:
        note = other.checkpoint()
    with pytest.raises(NoteInvalid, match="not signed by"):
        witness.cosign(note, own, 4, [])
    junk = Signature(own.name, own.hash, b"x" * 64)
    with pytest.raises(NoteInvalid):
        witness.cosign(Checkpoint(own.name, 9, ledger.root(), (junk,)), own, 4, [])


def test_a_witness_remembers_what_it_cosigned(
    tmp_path: Path, ledger: Ledger, witness: Witness
) -> None:
    own = ledger.key.verifier()
    again = Witness(witness.key, tmp_path / "seen")
    assert again.seen(own)[0] == 4
    next((tmp_path / "seen").iterdir()).write_text("{}")
    with pytest.raises(Exception, match="so nothing is cosigned"):
        again.seen(own)


def test_a_witness_keeps_few_files_for_a_member_that_invents_keys(
    tmp_path: Path, ledger: Ledger
) -> None:
    folder = tmp_path / "cosigned"
    witness = Witness(LogKey("rescind.witness/b", bytes(32)), folder, clock=lambda: 1e9)

    def ask(number: int, organization: str) -> None:
        invented = LogKey.of(f"{number:032x}", number.to_bytes(32, "big"))
        note = invented.checkpoint(1, bytes(32))
        witness.cosign(note, invented.verifier(), 0, [], organization)

    for number in range(LOGS_EACH):
        ask(number, "0xmallory")
    for number in range(LOGS_EACH, LOGS_EACH + 20):
        with pytest.raises(CheckpointRefused, match="4 logs of 0xmallory were cosigned here"):
            ask(number, "0xmallory")
    assert len(list(folder.iterdir())) == LOGS_EACH
    # Her own known logs and other members are served as before.
    known = LogKey.of(f"{0:032x}", bytes(32))
    witness.cosign(known.checkpoint(1, bytes(32)), known.verifier(), 1, [], "0xmallory")
    ask(99, "0xbela")


@pytest.mark.parametrize("text", ["a" * 10**6, "a+" * 10**5, "name+00000000+" + "A" * 10**6])
def test_a_long_text_that_is_no_key_is_not_repeated_whole(text: str) -> None:
    with pytest.raises(NoteInvalid) as refused:
        Verifier.parse(text)
    assert len(str(refused.value)) < 300
