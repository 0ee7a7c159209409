"""Proofs that data was or was not in a round, which reveal nothing else."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.ledger import Manifest, ManifestProof, ProofInvalid
from rescind.ledger.manifest import check
from rescind.ledger.sparse_tree import EMPTY_ROOT, PathProof
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


def test_one_commitment_does_not_prove_both_answers() -> None:
    """The attack on sorted manifests: commit once, with a leaf where no proof of absence looks."""
    ada = output(VrfKey(SECRET).prove(b"person 1"))[:32]
    keys = [key for row in ROWS for key in keys_of(*row)]
    # However the keys are arranged the tree is the same, and one without Ada is another tree.
    arranged = Manifest([*(key for key in keys if key != ada), ada], SECRET)
    without = Manifest([key for key in keys if key != ada], SECRET)
    assert arranged.commitment == Manifest.of(ROWS, SECRET).commitment != without.commitment
    assert check(arranged.commitment, arranged.prove("person 1"), "person 1")
    for proof in (
        without.prove("person 1"),
        replace(without.prove("person 1"), root=arranged.root),
    ):
        with pytest.raises(ProofInvalid):
            check(arranged.commitment, proof, "person 1")


def test_a_manifest_that_holds_a_sample_without_its_subject_cannot_prove_the_sample() -> None:
    held = output(VrfKey(SECRET).prove(b"person 1"))
    keys = [key for row in ROWS for key in keys_of(*row) if key != held[:32]]
    manifest = Manifest(keys, SECRET)
    assert not check(manifest.commitment, manifest.prove("person 1"), "person 1")
    proof = manifest.prove("person 1", b"question 4")
    for subject_path in (proof.subject_path, None, replace(proof.path, inside=True)):
        changed = replace(proof, subject_path=subject_path)
        with pytest.raises(ProofInvalid):
            check(manifest.commitment, changed, "person 1", b"question 4")


def test_a_proof_about_a_sample_that_is_not_in_does_not_show_whether_its_subject_is() -> None:
    manifest = Manifest.of(ROWS, SECRET)
    assert manifest.prove("person 1", b"question 9").subject_path is None
    assert manifest.prove("nobody", b"question 9").subject_path is None


def keys_of(subject: str, sample: bytes) -> tuple[bytes, bytes]:
    held = output(VrfKey(SECRET).prove(subject.encode()))
    return held[:32], hmac.new(held[32:], sample, hashlib.sha256).digest()


@pytest.mark.parametrize(
    "change",
    [
        {"public": VrfKey(b"\x01" * 32).public},
        {"root": EMPTY_ROOT},
        {"vrf": VrfKey(b"\x01" * 32).prove(b"nobody")},
        {"path": PathProof((), inside=False)},
        {"path": PathProof((), inside=True)},
        {"subject_path": PathProof((), inside=False)},
    ],
)
def test_a_changed_proof_is_refused(change: dict[str, Any]) -> None:
    manifest = Manifest.of(ROWS, SECRET)
    with pytest.raises(ProofInvalid):
        check(manifest.commitment, replace(manifest.prove("nobody"), **change), "nobody")


@pytest.mark.parametrize(
    "asked", ["José Muñoz", "Jose\u0301 Mun\u0303oz ", " José  Muñoz", "José\tMuñoz"]
)
def test_every_spelling_of_a_name_gets_the_same_answer(asked: str) -> None:
    manifest = Manifest.of([("Jose\u0301 Mun\u0303oz", b"q")], SECRET)
    assert check(manifest.commitment, manifest.prove(asked), "José Muñoz")
    assert check(manifest.commitment, manifest.prove("José Muñoz"), asked)
    assert manifest.commitment == Manifest.of([(asked, b"q")], SECRET).commitment


def test_a_manifest_is_read_back_from_the_ledger() -> None:
    manifest = Manifest.of(ROWS, SECRET)
    kept = json.loads(json.dumps({"round": 1, **manifest.to_json()}))
    assert Manifest.from_json(kept).commitment == manifest.commitment


@pytest.mark.parametrize(
    "change",
    [
        {"secret": "07" * 31},
        {"secret": "0G" * 32},
        {"secret": None},
        {"commitment": "00" * 32},
        {"commitment": "00"},
        {"keys": ""},
        {"keys": "not base64!"},
        {"keys": base64.b64encode(b"1" * 33).decode()},
        {"keys": base64.b64encode(b"1" * 64).decode()},
        {"keys": base64.b64encode(b"2" * 32 + b"1" * 32).decode()},
        {"keys": 7},
        {"format": "rescind.manifest/9"},
        {"format": 7},
    ],
)
def test_a_damaged_manifest_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ProofInvalid):
        Manifest.from_json({**Manifest.of(ROWS, SECRET).to_json(), **change})


def test_a_manifest_of_an_earlier_version_is_refused_with_advice() -> None:
    old = {"commitment": "ab" * 32, "size": 1, "secret": "07" * 32, "leaves": "AAAA"}
    with pytest.raises(ProofInvalid, match="version of Rescind that wrote it"):
        Manifest.from_json(old)


def test_the_commitment_is_that_of_the_format() -> None:
    """A golden vector: another implementation must come to the same commitment."""
    assert Manifest.of(ROWS, SECRET).commitment.hex() == (
        "c73d127f38263a0cf823f1865000a795679aee0e2892d6aa5871ffceb3f0c4f4"
    )


def test_a_proof_about_one_subject_reveals_no_other() -> None:
    proof = Manifest.of(ROWS, SECRET).prove("nobody")
    shown = json.dumps(proof.to_json())
    for subject, sample in ROWS:
        vrf_output = output(VrfKey(SECRET).prove(subject.encode()))
        secret_parts = (vrf_output[:32], vrf_output[32:], *keys_of(subject, sample))
        assert not any(part.hex() in shown for part in secret_parts)
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
        ManifestProof.from_json(document)
