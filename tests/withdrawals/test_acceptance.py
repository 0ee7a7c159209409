"""A model's files are accepted only if they open to what the chain registered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rescind.core import (
    OPENING_BYTES,
    SHARED,
    Opening,
    artifact_id,
    commit,
    decode_openings,
    digest,
    encode,
    encode_openings,
    point_hash,
    sum_points,
)
from rescind.wire import SizedArtifact
from rescind.withdrawals import (
    RecordedModel,
    accept,
    accept_files,
    most_opening_bytes,
)
from tests.support.consortium import micro_parameters
from tests.support.recorded_model import PEOPLE, A, B, C, nudged, scene, split_scene

FOREIGN_POINT = commit(digest({"0xdd/x": np.arange(8, dtype=np.int32)}))


@pytest.mark.parametrize("federated", [False, True])
def test_files_that_open_are_accepted(federated: bool) -> None:
    files = scene(federated=federated)
    accepted = files.accept()
    assert accepted.complete
    assert accepted.served(files.tensors).keys() == files.tensors.keys()
    assert accepted.sentence() == "model 7 is accepted: all its tensors open"


def test_a_changed_block_is_left_out_and_the_others_are_served() -> None:
    files = scene()
    files.tensors = nudged(files.tensors, B.lower())
    accepted = files.accept()
    assert accepted.servable
    assert not accepted.complete
    assert accepted.left_out == (B.lower(),)
    assert {name.split("/")[0] for name in accepted.served(files.tensors)} == {A.lower(), C.lower()}
    assert "accepted without 0xbb" in accepted.sentence()
    assert "not the weighted sum" in accepted.sentence()


def test_a_point_without_an_opening_spoils_only_its_own_block() -> None:
    accepted = scene(changed={(2, C): FOREIGN_POINT}).accept()
    assert accepted.left_out == (C.lower(),)
    (check,) = [each for each in accepted.owners if not each.opened]
    assert "another commitment than the registered points" in check.problem


def test_a_shared_model_that_does_not_open_is_refused() -> None:
    files = scene(federated=True)
    files.tensors = nudged(files.tensors, SHARED)
    accepted = files.accept()
    assert not accepted.servable
    assert accepted.left_out == (SHARED,)
    assert not accepted.served(files.tensors)
    assert accepted.sentence().startswith("model 7 is refused: the tensors of shared")


def test_private_and_shared_ranks_are_opened_each_against_its_part() -> None:
    files = split_scene()
    accepted = files.accept()
    assert accepted.complete
    assert {each.owner for each in accepted.owners} == {SHARED, *(p.lower() for p in PEOPLE)}


def test_private_ranks_that_do_not_open_are_left_out_alone() -> None:
    files = split_scene()
    files.tensors = nudged(files.tensors, B.lower())
    accepted = files.accept()
    assert (accepted.servable, accepted.left_out) == (True, (B.lower(),))


def test_a_model_whose_shared_ranks_do_not_open_is_refused() -> None:
    files = split_scene()
    files.tensors = nudged(files.tensors, SHARED)
    accepted = files.accept()
    assert not accepted.servable
    assert accepted.sentence().startswith("model 7 is refused: the tensors of shared")


def test_a_block_without_tensors_or_opening_is_left_out() -> None:
    files = scene()
    files.tensors = {n: v for n, v in files.tensors.items() if not n.startswith(A.lower())}
    del files.openings[B.lower()]
    accepted = files.accept()
    assert accepted.left_out == (A.lower(), B.lower())
    assert "missing" in accepted.owners[0].problem
    assert accepted.owners[1].problem == f"there is no opening of {B.lower()}"


def test_a_file_with_the_block_of_a_removed_organization_is_refused() -> None:
    files = scene()
    kept = tuple(each for each in files.record.entries if each.organization != B)
    total = sum_points([(files.record.points[each.point_hash], each.weight) for each in kept])
    files.record = replace(files.record, entries=kept, commitments=(point_hash(total),))
    accepted = files.accept()
    assert not accepted.servable
    assert accepted.problem == (
        f"the adapter has tensors of {B.lower()}, which is not in the model's content"
    )


def test_an_opening_of_a_foreign_owner_is_refused() -> None:
    files = scene()
    files.openings["0xdd"] = Opening.build("0xdd", [])
    assert "names 0xdd" in files.accept().problem


def test_a_commitment_that_is_not_the_sum_of_the_content_is_refused() -> None:
    files = scene()
    files.record = replace(files.record, commitments=("00" * 32,))
    assert "its commitment on chain is 0000000000000000" in files.accept().problem


def test_tensors_above_the_norm_bound_are_not_served() -> None:
    files = scene()
    files.parameters = files.parameters.model_copy(update={"clip_norm": 1e-9, "max_rounds": 1})
    accepted = files.accept()
    assert len(accepted.left_out) == len(PEOPLE)
    assert "L2 norm" in accepted.owners[0].problem


def test_the_sum_of_one_round_is_checked_without_a_commitment() -> None:
    files = scene(federated=True)
    assert not accept(
        files.record.of_round(1), files.parameters, files.tensors, files.openings
    ).servable


def test_bytes_that_are_not_files_are_refused_with_the_reason() -> None:
    files = scene()
    adapter, opening = encode(files.tensors), encode_openings(files.openings.values())
    assert accept_files(files.record, files.parameters, adapter, opening).complete
    refused = accept_files(files.record, files.parameters, adapter, adapter)
    assert "is refused" in refused.sentence()
    assert set(refused.left_out) == {each.lower() for each in PEOPLE}
    assert not accept_files(files.record, files.parameters, b"x", opening).servable


@pytest.mark.parametrize("place", [0, 20, 200, -1])
def test_a_damaged_file_is_refused_as_damaged_wherever_it_is(place: int) -> None:
    files = scene()
    whole, opening = encode(files.tensors), encode_openings(files.openings.values())
    damaged = bytearray(whole)
    damaged[place] ^= 1
    refused = accept_files(
        files.record, files.parameters, bytes(damaged), opening, artifact_id(whole)
    )
    assert not refused.servable
    assert f"not to {artifact_id(whole)}: delete the file and fetch it again" in refused.problem


def test_openings_of_the_most_members_pass_every_limit() -> None:
    """32 KiB for each of 1,024 owners, more than their adapter has."""
    parameters = micro_parameters(max_members=1_024, max_artifact_bytes=2**26)
    names = [f"0x{number:040x}" for number in range(1_024)]
    data = encode_openings(Opening(name, bytes(OPENING_BYTES)) for name in names)
    limit = most_opening_bytes(parameters)
    assert 2**25 < len(data) < limit
    SizedArtifact.from_wire(SizedArtifact.of(data).to_wire(), max_bytes=limit)
    assert list(decode_openings(data, max_bytes=limit)) == names


def test_the_base_model_alone_is_accepted() -> None:
    record = RecordedModel(0, (), (point_hash(bytes(128)),), {})
    accepted = accept(record, micro_parameters(), {}, {})
    assert accepted.complete
    assert not accepted.served({})
