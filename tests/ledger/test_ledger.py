import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pymerkle import InmemoryTree

from ledger import (
    Ledger,
    LedgerDamaged,
    LedgerKeyError,
    create_key,
    load_key,
    merkle,
)


def brute_root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(brute_root(leaves[:split]), brute_root(leaves[split:]))


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_roots_and_proofs_agree_with_brute_force(data: list[bytes], draw: st.DataObject) -> None:
    leaves = [merkle.leaf_hash(item) for item in data]
    subtree, size = merkle.subtrees_of(leaves), len(leaves)
    root = merkle.root(size, subtree)
    assert root == brute_root(leaves)
    index = draw.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(index, size, subtree)
    assert merkle.verify_inclusion(leaves[index], index, size, proof, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, proof, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, [*proof, root], root)
    first = draw.draw(st.integers(1, size))
    path = merkle.consistency_proof(first, size, subtree)
    assert merkle.verify_consistency(first, size, path, brute_root(leaves[:first]), root)
    assert not merkle.verify_consistency(first, size, path, merkle.leaf_hash(b"other"), root)


@given(st.lists(st.binary(min_size=1, max_size=8), min_size=1, max_size=30))
def test_roots_agree_with_pymerkle(data: list[bytes]) -> None:
    oracle = InmemoryTree(algorithm="sha256")
    for item in data:
        oracle.append_entry(item)
    leaves = [merkle.leaf_hash(item) for item in data]
    assert merkle.root(len(data), merkle.subtrees_of(leaves)) == oracle.get_root()


def test_a_duplicated_last_leaf_is_another_tree() -> None:
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(3)]
    doubled = [*leaves, leaves[-1]]
    assert merkle.root(3, merkle.subtrees_of(leaves)) != merkle.root(4, merkle.subtrees_of(doubled))


@pytest.fixture
def key(tmp_path: Path) -> bytes:
    return create_key(tmp_path / "ledger.key")


@pytest.fixture
def filled(tmp_path: Path, key: bytes) -> Path:
    with Ledger.create(tmp_path / "ledger", key) as ledger:
        for number in range(7):
            ledger.append("decision", {"round": number, "why": "secret reason"}, key=f"d/{number}")
    return tmp_path / "ledger"


def test_an_idempotency_key_is_appended_once(filled: Path, key: bytes) -> None:
    with Ledger.open(filled, key) as ledger:
        again = ledger.append("decision", {"round": 99}, key="d/3")
        assert (again.index, again.new, ledger.size) == (3, False, 7)
        assert ledger.record(3).payload["round"] == 3


def test_proofs_from_the_stored_tree_verify(filled: Path, key: bytes) -> None:
    with Ledger.open(filled, key) as ledger:
        extra = ledger.append("manifest", {"root": "00"})
        proof = ledger.inclusion_proof(extra.index, 8)
        assert merkle.verify_inclusion(extra.leaf_hash, extra.index, 8, proof, ledger.root())
        path = ledger.consistency_proof(7, 8)
        assert merkle.verify_consistency(7, 8, path, ledger.root(7), ledger.root())


def test_nothing_is_readable_without_the_key(filled: Path, tmp_path: Path) -> None:
    assert b"secret reason" not in (filled / "ledger.db").read_bytes()
    other = create_key(tmp_path / "other.key")
    with Ledger.open(filled, other) as ledger:
        report = ledger.verify()
    assert {problem.index for problem in report.problems} >= set(range(7))


def test_a_sound_ledger_matches_its_anchors(filled: Path, key: bytes) -> None:
    with Ledger.open(filled, key) as ledger:
        anchors = [(size, ledger.root(size).hex()) for size in (1, 5, 7)]
        assert ledger.verify(anchors).sound
        assert not ledger.verify([(9, "00" * 32)]).sound
        assert not ledger.verify([(5, "00" * 32)]).sound


def test_every_flipped_byte_is_found(filled: Path, key: bytes) -> None:
    for name in ("ledger.db", "ledger.seal"):
        path = filled / name
        original = path.read_bytes()
        step = max(1, len(original) // 150)
        places = range(0, len(original), step)
        for place in places:
            path.write_bytes(
                original[:place] + bytes([original[place] ^ 0x01]) + original[place + 1 :]
            )
            assert not _sound(filled, key), f"{name}: byte {place} was changed unnoticed"
            (filled / "ledger.db-wal").unlink(missing_ok=True)
            (filled / "ledger.db-shm").unlink(missing_ok=True)
        path.write_bytes(original)
    assert _sound(filled, key)


def _sound(folder: Path, key: bytes) -> bool:
    try:
        return Ledger.open(folder, key).verify().sound
    except LedgerDamaged:
        return False


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    create_key(path)
    path.chmod(0o644)
    with pytest.raises(LedgerKeyError, match="chmod 600"):
        load_key(path)
    path.chmod(0o600)
    assert len(load_key(path)) == 32


_APPENDER = """
import sys
import warnings
from pathlib import Path
from ledger import Ledger, load_key
ledger = Ledger.open(Path(sys.argv[1]), load_key(Path(sys.argv[2])))
number = 0
while True:
    ledger.append("decision", {"round": number}, key=f"k/{number}")
    print(number, flush=True)
    number += 1
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, key: bytes) -> None:
    Ledger.create(tmp_path / "l", key).close()
    process = subprocess.Popen(
        [sys.executable, "-c", _APPENDER, str(tmp_path / "l"), str(tmp_path / "ledger.key")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(25)][-1]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with Ledger.open(tmp_path / "l", key) as ledger:
        assert ledger.size > acknowledged
        assert ledger.verify().sound
        assert [r.payload["round"] for r in ledger.records()] == list(range(ledger.size))
