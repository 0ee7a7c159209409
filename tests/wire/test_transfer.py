"""Uploads and downloads over a real server, on links that are slow or fail."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import ArtifactMalformed, ArtifactStore, encode
from rescind.wire import (
    Admission,
    AggregatorClient,
    AggregatorUnavailable,
    BadMessage,
    CertificateAuthority,
    HeldBytes,
    Limits,
    SizedArtifact,
    TransferGivenUp,
    WrongHash,
    serve,
)
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.grpc_client import CALL_SECONDS
from rescind.wire.transfer import (
    FIRST_PIECE_BYTES,
    LEAST_PIECE_BYTES,
    MOST_PIECE_BYTES,
    Pace,
    ReceivedPiece,
    piece_message,
)
from tests.wire.handler import Wire, identity
from tests.wire.relay import Relay, relayed

DATA = bytes(range(256)) * 8192  # 2 MiB


@contextmanager
def through_relay(running: Wire, **options: float) -> Iterator[tuple[AggregatorClient, Relay]]:
    port = int(running.address.rpartition(":")[2])
    with (
        relayed(port) as relay,
        AggregatorClient(f"localhost:{relay.port}", running.tls, **options) as client,
    ):
        yield client, relay


def play(bytes_per_second: float, pieces: int, *, late: int = 0) -> tuple[Pace, float]:
    """Send pieces over a link of some speed, and return the pace and the time that it took."""
    pace, passed = Pace(30.0), 0.0
    for _ in range(pieces):
        seconds = pace.size / bytes_per_second
        if seconds > pace.deadline(pace.size):
            passed += pace.deadline(pace.size)
            pace.failed()
            late += 1
        else:
            passed += seconds
            pace.took(pace.size, seconds)
    assert late <= 1
    return pace, passed


@pytest.mark.parametrize(
    ("kbit_per_second", "least", "most"),
    [
        (8, LEAST_PIECE_BYTES, LEAST_PIECE_BYTES),
        (256, FIRST_PIECE_BYTES // 2, 2 * FIRST_PIECE_BYTES),
        (10_000, 2**19, 2**20),
        (1_000_000, MOST_PIECE_BYTES, MOST_PIECE_BYTES),
    ],
)
def test_pieces_adapt_to_the_link(kbit_per_second: int, least: int, most: int) -> None:
    pace, _ = play(kbit_per_second * 1000 / 8, 20)
    assert least <= pace.size <= most
    assert pace.under_way == (3 if pace.size >= 2**20 else 1)


def test_a_link_that_becomes_slow_costs_one_deadline() -> None:
    pace, _ = play(10**8, 20)
    assert pace.size == MOST_PIECE_BYTES
    pace.failed()
    assert pace.size <= FIRST_PIECE_BYTES
    assert pace.size / 1000 < pace.deadline(pace.size)


def test_a_piece_is_serialized_as_protobuf_does() -> None:
    for length in (1, 127, 128, 2**14, 2**21):
        data = bytes(length)
        expected = pb.Piece(artifact_id=b"\x01" * 32, offset=7, data=data).SerializeToString()
        assert piece_message("01" * 32, 7, memoryview(data)) == expected


_FORMS = st.tuples(
    st.binary(max_size=40),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=300),
    st.binary(max_size=8),
)


@given(parts=_FORMS, cut=st.integers(0, 400), known=st.booleans())
def test_a_piece_is_read_as_protobuf_reads_it(
    parts: tuple[bytes, int, bytes, bytes], cut: int, known: bool
) -> None:
    artifact_id, offset, data, rest = parts
    if known:
        artifact_id, rest = bytes(32), b""
    written = pb.Piece(artifact_id=artifact_id, offset=offset, data=data).SerializeToString()
    for message in (written, written + rest, written[:cut], rest + written):
        try:
            expected = pb.Piece.FromString(message)
        except DecodeError:
            with pytest.raises(DecodeError):
                ReceivedPiece.parse(message)
            continue
        piece = ReceivedPiece.parse(message)
        assert (piece.artifact_id, piece.offset) == (expected.artifact_id, expected.offset)
        assert bytes(piece.data) == expected.data


def test_the_bytes_of_a_piece_are_not_copied() -> None:
    message = piece_message("01" * 32, 7, memoryview(bytes(2**21)))
    assert ReceivedPiece.parse(message).data.obj is message


def test_an_upload_works_on_a_slow_link(wire: Wire) -> None:
    data = DATA[: 2**17]
    with through_relay(wire, seconds=30.0) as (client, relay):
        relay.bytes_per_second = 64_000
        client.upload(data)
    assert wire.handler.uploads[SizedArtifact.of(data).artifact_id] == data


@pytest.mark.slow
def test_an_upload_works_at_8_kbit_per_second(wire: Wire) -> None:
    data = DATA[: 3 * 2**15]
    with through_relay(wire) as (client, relay):
        relay.bytes_per_second = 1000
        client.upload(data)
    assert wire.handler.uploads[SizedArtifact.of(data).artifact_id] == data
    assert sum(length for _, length in wire.handler.pieces) == len(data)


def test_an_upload_goes_on_where_a_cut_connection_left_it(wire: Wire) -> None:
    with through_relay(wire, patience=20.0) as (client, relay):
        cut = threading.Event()

        def cut_once() -> None:
            held = wire.handler.uploads.get(SizedArtifact.of(DATA).artifact_id, b"")
            if len(held) > 2**18 and not cut.is_set():
                cut.set()
                relay.cut()

        client.on_piece = cut_once
        client.upload(DATA)
    assert cut.is_set()
    assert wire.handler.uploads[SizedArtifact.of(DATA).artifact_id] == DATA
    assert sum(length for _, length in wire.handler.pieces) == len(DATA)


def test_an_upload_on_a_connection_that_drops_all_bytes_goes_on_over_another(
    wire: Wire,
) -> None:
    with through_relay(wire, seconds=1.0, patience=60.0) as (client, relay):
        silenced = threading.Event()

        def silence_once() -> None:
            held = wire.handler.uploads.get(SizedArtifact.of(DATA).artifact_id, b"")
            if len(held) > 2**19 and not silenced.is_set():
                silenced.set()
                relay.silence()

        client.on_piece = silence_once
        client.upload(DATA)
        assert relay.opened >= 2  # more on a machine that is too busy to answer in time
    assert silenced.is_set()
    assert wire.handler.uploads[SizedArtifact.of(DATA).artifact_id] == DATA


def test_an_upload_goes_on_after_the_server_was_started_again(wire: Wire) -> None:
    address = wire.address.replace("localhost", "127.0.0.1")
    tls = wire.server_tls
    with wire.client() as client:
        client = AggregatorClient(wire.address, wire.tls, patience=20.0)
        stopped = threading.Event()

        def restart_once() -> None:
            held = wire.handler.uploads.get(SizedArtifact.of(DATA).artifact_id, b"")
            if len(held) > 2**18 and not stopped.is_set():
                stopped.set()
                wire.server.stop(0)
                wire.server = serve(wire.handler, address, tls)

        client.on_piece = restart_once
        client.upload(DATA)
        client.close()
    assert stopped.is_set()
    assert sum(length for _, length in wire.handler.pieces) == len(DATA)


def test_an_upload_is_given_up_when_its_time_is_over(wire: Wire) -> None:
    with through_relay(wire) as (client, relay):
        client.describe()
        relay.silence()
        client.until = time.monotonic() + 0.5
        began = time.monotonic()
        with pytest.raises((TransferGivenUp, AggregatorUnavailable)):
            client.upload(DATA)
        assert time.monotonic() - began < CALL_SECONDS
        client.until = None
        client.upload(DATA)


def test_an_upload_that_is_told_to_slow_down_does_not_send_smaller_pieces(wire: Wire) -> None:
    wire.server.stop(0)
    limits = Limits(calls_per_second=40.0, burst=4)
    wire.server = serve(
        wire.handler, wire.address.replace("localhost", "127.0.0.1"), wire.server_tls, limits=limits
    )
    data = DATA * 4
    with AggregatorClient(wire.address, wire.tls, patience=30.0) as client:
        client.upload(data)
    assert wire.handler.uploads[SizedArtifact.of(data).artifact_id] == data
    sizes = [length for _, length in wire.handler.pieces]
    assert len(sizes) > limits.burst
    assert sizes[:-1] == sorted(sizes[:-1])


def test_a_named_artifact_is_sent_under_its_name(wire: Wire) -> None:
    with wire.client() as client:
        assert client.upload(DATA, artifact_id="ab" * 32) == SizedArtifact("ab" * 32, len(DATA))
    # The aggregator hashes what it holds before it takes a submission.
    assert wire.handler.uploads["ab" * 32] == DATA


class Forgetful:
    """Takes every piece, and holds nothing of it."""

    max_artifact_bytes = 2**30

    def __init__(self) -> None:
        self.pieces = 0

    def admit(self, _: bytes) -> Admission:
        return Admission("member")

    def begin_upload(self, _: str, __: SizedArtifact) -> int:
        return 0

    def put_piece(self, _: str, __: str, offset: int, data: bytes) -> int:
        self.pieces += 1
        return 0 if self.pieces % 2 else offset + len(data)


def test_an_upload_to_a_server_that_forgets_what_it_was_sent_is_given_up(tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path / "ca", "test authority")
    tls = [identity(tmp_path / name, authority, name) for name in ("aggregator", "member")]
    handler = Forgetful()
    server = serve(handler, "127.0.0.1:0", tls[0])
    try:
        with (
            AggregatorClient(f"localhost:{server.port}", tls[1], patience=0.3) as client,
            pytest.raises(TransferGivenUp, match="but has held no more than"),
        ):
            client.upload(bytes(2**20))
    finally:
        server.stop(0)
    assert handler.pieces > 1


def test_a_download_goes_on_after_the_node_was_started_again(
    wire: Wire,
    tmp_path: Path,
) -> None:
    digest = SizedArtifact.of(DATA).artifact_id
    wire.handler.published[digest] = DATA

    class Stopped(Exception):
        pass

    def stop_midway() -> None:
        if sum(length for _, length in wire.handler.served) > 2**19:
            raise Stopped

    with AggregatorClient(wire.address, wire.tls, downloads=tmp_path / "parts") as client:
        client.on_piece = stop_midway
        with pytest.raises(Stopped):
            client.download(digest, 2**22)
    served = max(offset for offset, _ in wire.handler.served)
    wire.handler.served.clear()
    with AggregatorClient(wire.address, wire.tls, downloads=tmp_path / "parts") as client:
        assert client.download(digest, 2**22) == DATA
    assert min(offset for offset, _ in wire.handler.served) > served
    assert not list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("kept", [False, True])
def test_bytes_that_the_receiver_has_are_not_fetched(
    wire: Wire,
    tmp_path: Path,
    kept: bool,
) -> None:
    digest = SizedArtifact.of(DATA).artifact_id
    wire.handler.published[digest] = DATA
    store = ArtifactStore(tmp_path / "store")
    held = [HeldBytes(begin, DATA[begin : begin + 2**19]) for begin in (2**20, 2**16, 3 * 2**19)]
    parts = tmp_path / "parts" if kept else None
    with AggregatorClient(wire.address, wire.tls, downloads=parts) as client:
        client.download_into(store, digest, 2**22, held, len(DATA))
        assert store.get(digest) == DATA
        asked = sorted(wire.handler.served)
        assert sum(length for _, length in asked) == len(DATA) - 3 * 2**19
        assert not any(h.begin <= offset < h.end for h in held for offset, _ in asked)
        store.delete(digest)
        with pytest.raises(WrongHash, match="another artifact"):
            client.download_into(store, digest, 2**22, [HeldBytes(5, b"wrong")], len(DATA))
        client.download_into(store, digest, 2**22)
        assert store.get(digest) == DATA
        with pytest.raises(BadMessage, match="at most 10"):
            client.download_into(store, digest, 10)
    assert not parts or not [path for path in parts.iterdir() if path.name != digest]


def test_a_header_is_fetched_alone_and_not_again(wire: Wire, tmp_path: Path) -> None:
    data = encode({"layer": np.arange(2**18)})
    digest = SizedArtifact.of(data).artifact_id
    wire.handler.published[digest] = data
    with AggregatorClient(wire.address, wire.tls, downloads=tmp_path / "parts") as client:
        head = client.download_head(digest, 4096)
        assert data.startswith(head)
        assert b"data_offsets" in head
        with pytest.raises(ArtifactMalformed, match="are enough"):
            client.download_head(digest, 16)
        store = ArtifactStore(tmp_path / "store")
        client.download_into(store, digest, 2**22)
    assert sum(length for _, length in wire.handler.served[:-1]) < len(data)
    assert store.get(digest) == data


def test_a_piece_without_bytes_or_of_too_many_is_refused(wire: Wire) -> None:
    key, certificate, authority = wire.tls.read()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    with grpc.secure_channel(wire.address, credentials) as channel:
        put = channel.unary_unary("/rescind.v1.Aggregator/PutPiece")
        get = channel.unary_unary("/rescind.v1.Aggregator/GetPiece")
        piece = pb.Piece(artifact_id=b"\x01" * 32, offset=2**62)
        wanted = pb.PieceRequest(artifact_id=b"\x01" * 32, length=2**62)
        large = replace_data(piece, MOST_PIECE_BYTES + 1)
        for call, message in ((put, piece), (put, large), (get, wanted)):
            with pytest.raises(grpc.RpcError, match="at least 1 and at most"):
                call(message.SerializeToString(), timeout=30)


def replace_data(piece: pb.Piece, length: int) -> pb.Piece:
    return pb.Piece(artifact_id=piece.artifact_id, offset=0, data=bytes(length))
