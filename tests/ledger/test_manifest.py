"""Proofs that data was or was not in a round, which reveal nothing else."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.ledger import Manifest, ManifestProof, ProofInvalid, merkle
from rescind.ledger.manifest import check
from rescind.ledger.vrf import VrfKey, output

SECRET = b"\x07" * 32
ROWS = [(f"person {n // 3}", f"question {n}".encode()) for n in range(12)]
names = st.sampled_from(["ada", "bela", "carlo", "dina"])
rows = st.lists(st.tuples(names, st.binary(max_size=3)), max_size=12)


@settings(max_examples=40)
@given(rows, names, st.binary(max_size=3))
def test_a_proof_shows_whether_data_is_in_the_manifest(
    held: list[tuple[str, bytes]], asked: str, what: bytes
) -> None:
    manifest = Manifest.of(held, SECRET)
    there = check(manifest.commitment, manifest.prove(asked), asked)
    assert there == any(subject == asked for subject, _ in held)
    proof = ManifestProof.from_json(json.loads(json.dumps(manifest.prove(asked, what).to_json())))
    assert check(manifest.commitment, proof, asked, what) == ((asked, what) in held)


def test_order_and_repetition_do_not_matter() -> None:
    again = Manifest.of([*reversed(ROWS), ROWS[0]], SECRET)
    assert again.commitment == Manifest.of(ROWS, SECRET).commitment
    assert again.commitment != Manifest.of(ROWS, b"\x08" * 32).commitment
    assert again.commitment != Manifest.of(ROWS[1:], SECRET).commitment


def test_presence_and_absence_cannot_be_forged() -> None:
    manifest = Manifest.of(ROWS, SECRET)
    absence, presence = manifest.prove("nobody"), manifest.prove("person 1")
    # Whoever holds the secret can prove any leaf; no choice of leaves denies who is there.
    every = [Manifest.of(ROWS, SECRET).prove(*row).leaves[0] for row in ROWS]
    ordered = sorted(every, key=lambda leaf: leaf.index)
    assert [leaf.index for leaf in ordered] == list(range(12))
    choices = [(), *((leaf,) for leaf in ordered), *pairwise(ordered)]
    choices += [(a, b) for a in ordered for b in ordered if b.index > a.index + 1]
    for leaves in choices:
        try:
            assert check(manifest.commitment, replace(presence, leaves=leaves), "person 1")
        except ProofInvalid:
            continue
    for leaves in choices:
        try:
            assert not check(manifest.commitment, replace(absence, leaves=leaves), "nobody")
        except ProofInvalid:
            continue


@pytest.mark.parametrize(
    "change",
    [
        {"public": VrfKey(b"\x01" * 32).public},
        {"size": 11},
        {"root": merkle.EMPTY_ROOT},
        {"vrf": VrfKey(b"\x01" * 32).prove(b"nobody")},
        {"leaves": ()},
    ],
)
def test_a_changed_proof_is_refused(change: dict[str, object]) -> None:
    manifest = Manifest.of(ROWS, SECRET)
    with pytest.raises(ProofInvalid):
        check(manifest.commitment, replace(manifest.prove("nobody"), **change), "nobody")


def test_a_proof_about_one_subject_reveals_no_other() -> None:
    proof = Manifest.of(ROWS, SECRET).prove("nobody")
    shown = json.dumps(proof.to_json())
    for number in range(4):
        vrf_output = output(VrfKey(SECRET).prove(f"person {number}".encode()))
        assert vrf_output[32:].hex() not in shown
    assert SECRET.hex() not in shown


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda values: st.lists(values) | st.dictionaries(st.text(max_size=6), values),
        max_leaves=8,
    )
)
def test_malformed_proofs_are_rejected(document: object) -> None:
    with pytest.raises(ProofInvalid):
        ManifestProof.from_json(document)  # type: ignore[arg-type]
