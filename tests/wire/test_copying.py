"""Uploads of artifacts that differ in a part from one that was sent before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.wire import MOST_PIECE_BYTES, BadMessage, SizedArtifact
from rescind.wire.copying import common_ends
from tests.wire.handler import Wire

FIRST = bytes(range(256)) * (MOST_PIECE_BYTES // 128)
NOISE = slice(5 * 2**20, 5 * 2**20 + 2**16)


def with_other_noise(byte: int) -> bytes:
    """Return the first artifact with other bytes in one place."""
    return FIRST[: NOISE.start] + bytes([byte]) * 2**16 + FIRST[NOISE.stop :]


@given(
    st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=9)
)
def test_common_ends_are_equal_longest_and_apart(
    start: bytes, ours: bytes, theirs: bytes, end: bytes
) -> None:
    data, other = start + ours + end, start + theirs + end
    first, last = common_ends(data, other)
    if len(data) != len(other):
        assert (first, last) == (0, 0)
        return
    assert first + last <= len(data)
    assert data[:first] == other[:first]
    assert data[len(data) - last :] == other[len(data) - last :]
    assert data == other or data[first] != other[first]
    assert data == other or data[len(data) - last - 1] != other[len(data) - last - 1]


def test_only_what_changed_is_sent_again(wire: Wire) -> None:
    second = with_other_noise(7)
    with wire.client() as client:
        client.upload(FIRST)
        before = client.sent_bytes
        artifact = client.upload(second, FIRST)
        assert wire.handler.uploads[artifact.artifact_id] == second
        assert 2**16 <= client.sent_bytes - before < 2**16 + 2**10
        assert all(length <= MOST_PIECE_BYTES for _, length in wire.handler.copied)


def test_everything_is_sent_where_the_earlier_artifact_is_not_kept(wire: Wire) -> None:
    second = with_other_noise(7)
    with wire.client() as client:
        artifact = client.upload(second, FIRST)
        assert wire.handler.uploads[artifact.artifact_id] == second
        assert client.sent_bytes >= len(second)


def test_an_earlier_artifact_of_another_size_is_not_asked_for(wire: Wire) -> None:
    with wire.client() as client:
        client.upload(FIRST)
        client.upload(FIRST + b"more", FIRST)
    assert wire.handler.copied == []


def test_an_upload_that_was_cut_goes_on_where_copying_ended(wire: Wire) -> None:
    second = with_other_noise(7)
    artifact = SizedArtifact.of(second)
    with wire.client() as client:
        client.upload(FIRST)
        wire.handler.uploads[artifact.artifact_id] = second[: NOISE.start + 100]
        before = client.sent_bytes
        client.upload(second, FIRST)
        assert wire.handler.uploads[artifact.artifact_id] == second
        assert client.sent_bytes - before < 2**16


@pytest.mark.parametrize("length", [0, MOST_PIECE_BYTES + 1])
def test_a_copied_piece_is_as_large_as_a_sent_one_at_most(wire: Wire, length: int) -> None:
    from rescind.wire.generated import rescind_pb2 as pb

    message = pb.CopiedPiece(artifact_id=b"a" * 32, length=length, source_id=b"b" * 32)
    with wire.client() as client, pytest.raises(BadMessage, match=f"{length} bytes"):
        client.copy_piece(message)
