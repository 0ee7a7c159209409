"""The sparse Merkle tree: one root has one answer for each key."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rescind.ledger import ProofInvalid
from rescind.ledger.sparse_tree import DEPTH, EMPTY_ROOT, Fork, PathProof, SparseTree

short = st.integers(0, 40)
"""Few keys, so that asked and held ones meet; `near` lets them share long prefixes."""


def near(number: int) -> bytes:
    """Return one of a few keys that agree in up to 30 of their first 32 digits."""
    return (number.to_bytes(2, "big").rjust(14 + number % 3, b"\x77")).ljust(32, b"\x99")


def holds(root: bytes, proof: PathProof, key: bytes) -> bool | None:
    """Return what a proof shows about a key; None if it shows nothing."""
    try:
        proof.check(key)
        return proof.inside if proof.root(key) == root else None
    except ProofInvalid:
        return None


class AgainstDict(RuleBasedStateMachine):
    """A tree says of every key what a dict says."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[bytes, bool] = {}

    @rule(number=short, far=st.booleans())
    def add(self, number: int, far: bool) -> None:
        key = hashlib.sha256(bytes([number])).digest() if far else near(number)
        self.held[key] = True

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        if self.held:
            del self.held[data.draw(st.sampled_from(sorted(self.held)))]

    @invariant()
    def agrees(self) -> None:
        tree = SparseTree(self.held)
        for number in range(0, 40, 3):
            for key in (hashlib.sha256(bytes([number])).digest(), near(number)):
                proof = PathProof.from_json(json.loads(json.dumps(tree.prove(key).to_json())))
                assert holds(tree.root, proof, key) is (key in self.held)


AgainstDict.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
TestAgainstDict = AgainstDict.TestCase


@settings(max_examples=60, deadline=None)
@given(st.sets(short, max_size=12), st.sets(short, max_size=12))
def test_a_root_belongs_to_one_set(first: set[int], second: set[int]) -> None:
    trees = [SparseTree(map(near, each)) for each in (first, second)]
    assert (trees[0].root == trees[1].root) == (first == second)
    assert SparseTree(reversed([near(each) for each in first])).root == trees[0].root


@settings(max_examples=80, deadline=None)
@given(st.sets(short, min_size=1, max_size=12), short, st.data())
def test_no_rearranged_proof_gives_the_other_answer(
    held: set[int], asked: int, data: st.DataObject
) -> None:
    tree, key = SparseTree(map(near, held)), near(asked)
    proof = tree.prove(key)
    forks = list(proof.forks)
    other = data.draw(
        st.sampled_from(
            [
                replace(proof, inside=not proof.inside),
                PathProof(tuple(forks[:-1]), not proof.inside),
                PathProof(tuple(reversed(forks)), not proof.inside),
                PathProof((*forks, Fork(DEPTH - 1, {0: b"\0" * 32})), not proof.inside),
                replace(tree.prove(near(data.draw(short))), inside=not proof.inside),
            ]
        )
    )
    assert holds(tree.root, other, key) in (None, proof.inside)


def changed_forks() -> list[PathProof]:
    tree = SparseTree(map(near, range(12)))
    proof = tree.prove(near(3))
    first, *rest = proof.forks
    digit = int(near(3).hex()[first.depth], 16)
    some = next(iter(first.siblings.values()))
    return [
        PathProof((first, first, *rest), inside=True),
        PathProof((*rest, first), inside=True),
        PathProof((replace(first, siblings={}), *rest), inside=True),
        PathProof((replace(first, siblings={**first.siblings, digit: some}), *rest), inside=True),
        PathProof((replace(first, siblings={16: some}), *rest), inside=True),
        PathProof((replace(first, siblings={(digit + 1) % 16: b"short"}), *rest), inside=True),
        PathProof((replace(first, depth=DEPTH), *rest), inside=True),
        PathProof((Fork(-1, first.siblings), *rest), inside=True),
    ]


@pytest.mark.parametrize("proof", changed_forks())
def test_a_proof_that_is_not_in_canonical_form_is_refused(proof: PathProof) -> None:
    with pytest.raises(ProofInvalid):
        proof.check(near(3))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"inside": 1, "forks": []},
        {"inside": True, "forks": {}},
        {"inside": True, "forks": [], "more": 1},
        {"inside": True, "forks": [{"depth": True, "siblings": {}}]},
        {"inside": True, "forks": [{"depth": 0, "siblings": {"10": "ab" * 32}}]},
        {"inside": True, "forks": [{"depth": 0, "siblings": {"A": "ab" * 32}}]},
        {"inside": True, "forks": [{"depth": 0, "siblings": {"a": "AB" * 32}}]},
        {"inside": True, "forks": [{"depth": 0, "siblings": {"a": "ab " * 32}}]},
        {"inside": True, "forks": [{"depth": 0, "siblings": {}}] * (DEPTH + 1)},
    ],
)
def test_a_document_that_is_not_a_path_is_refused(document: object) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        PathProof.from_json(document)


def test_keys_that_share_a_path_are_refused() -> None:
    with pytest.raises(ProofInvalid, match="same first 16 bytes"):
        SparseTree([b"a" * 16 + b"b" * 16, b"a" * 16 + b"c" * 16])


def test_the_roots_are_those_of_the_format() -> None:
    """Golden vectors: another implementation must come to the same roots."""
    assert SparseTree([]).root == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "dbc1b4c900ffe48d575b5da5c638040125f65db0fe3e24494b76ea986457d986"
    key = bytes(range(32))
    by_hand = hashlib.sha256(b"\x00" + key).digest()
    for depth in reversed(range(32)):
        digit = int(key.hex()[depth], 16)
        bitmap = (1 << digit).to_bytes(2, "big")
        by_hand = hashlib.sha256(b"\x01" + bytes([depth]) + bitmap + by_hand).digest()
    assert SparseTree([key]).root == by_hand
    assert by_hand.hex() == "36bd09a6d9624b635825b3d1f3d265b040c8da080741f8567bfe18deb490feaf"
    three = [hashlib.sha256(bytes([number])).digest() for number in range(3)]
    assert (
        SparseTree(three).root.hex()
        == "3f32e13c44086dd4a6d757923dc2ab67326827ba32d6b7d75a478c9304ad82bf"
    )
