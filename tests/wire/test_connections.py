"""Connections are shared out by address and certificate, and silent ones are closed."""

import fcntl
import random
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import grpc
import pytest

from rescind.wire import AggregatorClient, Limits
from rescind.wire.connections import Connections, ConnectionWatch, Endpoint, endpoint
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from tests.support.file_locks import another_process_can_lock
from tests.wire.served import Consortium, channel, made_consortium

HOUR = 3600.0
LIMITS = Limits(silent_seconds=30, certificate_connections=2, address_share=4)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connections(clock: Clock) -> Connections:
    return Connections(LIMITS, 12, clock)


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return made_consortium(tmp_path)


def hosts(*names: str) -> list[Endpoint]:
    """Return connections from these addresses, each on a port of its own."""
    return [(name, 1000 + number) for number, name in enumerate(names)]


def test_a_connection_without_a_call_is_closed_after_a_while(
    connections: Connections, clock: Clock
) -> None:
    silent, calling = hosts("10.0.0.1", "10.0.0.2")
    assert connections.excess([silent, calling]) == []
    with connections.calling("ipv4:10.0.0.2:1001", "aa"):
        clock.now += 31
        assert connections.excess([silent, calling]) == [silent]
        assert connections.excess([calling]) == []
    clock.now += HOUR
    assert connections.excess([calling]) == []
    # The port is used again, by a caller that is silent.
    connections.excess([])
    assert connections.excess([calling]) == []
    clock.now += 31
    assert connections.excess([calling]) == [calling]


def test_a_certificate_keeps_the_connections_that_it_uses(
    connections: Connections, clock: Clock
) -> None:
    held = hosts("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
    with ExitStack() as stack:
        stack.enter_context(connections.calling("ipv4:10.0.0.1:1000", "aa"))
        for place, name in ((2, "aa"), (3, "aa"), (4, "bb")):
            clock.now += 1
            with connections.calling(f"ipv4:10.0.0.{place}:{999 + place}", name):
                pass
        assert connections.excess(held) == [held[1]]


@pytest.mark.parametrize(
    ("addresses", "closed"),
    [
        (["10.0.0.1"] * 3, 0),
        (["10.0.0.1"] * 5, 2),
        (["10.0.0.1", "10.0.0.2", "10.0.0.3"] * 3, 0),
        ([f"2001:db8:0:1::{n}" for n in range(5)], 2),
        ([f"2001:db8:0:{n}::1" for n in range(5)], 0),
        (["unix"] * 4, 1),
    ],
)
def test_an_address_holds_a_share_of_the_connections(
    connections: Connections, addresses: Sequence[str], closed: int
) -> None:
    assert len(connections.excess(hosts(*addresses))) == closed


def test_of_one_address_those_who_call_stay(connections: Connections, clock: Clock) -> None:
    held = hosts(*["10.0.0.1"] * 6)
    for each in held:
        connections.excess(held[: held.index(each) + 1])
        clock.now += 1
    with connections.calling("ipv4:10.0.0.1:1005", "aa"):
        pass
    # Of the silent ones the newest are closed: a flood does not push out those who came before.
    assert held[5] not in connections.excess(held)
    assert set(connections.excess(held)) == {held[2], held[3], held[4]}


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        ("ipv4:127.0.0.1:40000", ("127.0.0.1", 40000)),
        ("ipv6:%5B::1%5D:40000", ("::1", 40000)),
        ("ipv6:[fe80::1%25eth0]:7", ("fe80::1", 7)),
        ("ipv6:%5B::ffff:10.0.0.1%5D:7", ("10.0.0.1", 7)),
        ("unix:/tmp/socket", ("unix:/tmp/socket", 0)),
        ("", ("", 0)),
    ],
)
def test_a_peer_is_read_as_grpc_writes_it(peer: str, expected: Endpoint) -> None:
    assert endpoint(peer) == expected


@contextmanager
def held_from(address: str, port: int, number: int) -> Iterator[list[socket.socket]]:
    """Open connections from an address of this machine, and send nothing on them."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port), 10, source_address=(address, 0))
            )
            for _ in range(number)
        ]


def still_open(held: Sequence[socket.socket]) -> int:
    """Return how many connections the server has not closed."""
    count = 0
    for each in held:
        each.setblocking(False)
        try:
            count += bool(each.recv(4096))
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


def wait_until_open(held: Sequence[socket.socket], most: int) -> None:
    deadline = time.monotonic() + 60
    while still_open(held) > most:
        assert time.monotonic() < deadline, f"{still_open(held)} connections stay open"
        time.sleep(0.02)


def test_one_address_that_fills_all_connections_does_not_keep_others_out(
    consortium: Consortium,
) -> None:
    limits = Limits(connections=8, silent_seconds=HOUR, watch_seconds=0.05, handshake_seconds=3600)
    with consortium.serving(limits) as port, held_from("127.0.0.9", port, 8) as held:
        wait_until_open(held, 2)
        with AggregatorClient(f"localhost:{port}", consortium.tls["member"]) as client:
            assert client.describe().chain_id == 31337
        assert still_open(held) == 2


def test_silent_connections_are_closed_and_those_in_use_go_on(consortium: Consortium) -> None:
    limits = Limits(silent_seconds=0.3, watch_seconds=0.05, handshake_seconds=3600)
    with (
        consortium.serving(limits) as port,
        AggregatorClient(f"localhost:{port}", consortium.tls["member"]) as client,
        channel(port, consortium.tls["slow"]) as slow,
    ):
        client.describe()
        pending = rpc.AggregatorStub(slow).GetModel.future(pb.ModelId(model_id=1))
        assert consortium.handler.begun.acquire(timeout=60)
        with held_from("127.0.0.1", port, 4) as held:
            wait_until_open(held, 0)
        consortium.handler.may_go_on.set()
        assert pending.result(60).model_id == 1
        assert client.describe().chain_id == 31337


def test_connections_of_one_certificate_beyond_its_limit_are_closed(
    consortium: Consortium,
) -> None:
    limits = Limits(certificate_connections=2, watch_seconds=0.05)
    with consortium.serving(limits) as port, ExitStack() as stack:
        channels = [stack.enter_context(channel(port, consortium.tls["member"])) for _ in range(5)]
        lost = []
        for each in channels:
            rpc.AggregatorStub(each).Describe(pb.DescribeRequest(), timeout=60)
            each.subscribe(lambda state: lost.append(state is grpc.ChannelConnectivity.IDLE))
        deadline = time.monotonic() + 60
        while sum(lost) < 3:
            assert time.monotonic() < deadline, lost
            time.sleep(0.02)
        # The channels connect again when they are used.
        rpc.AggregatorStub(channels[0]).Describe(pb.DescribeRequest(), timeout=60)


def test_garbage_and_huge_headers_end_their_own_connection_only(consortium: Consortium) -> None:
    key, certificate, authority = consortium.tls["stranger"].paths
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(str(certificate), str(key))
    context.set_alpn_protocols(["h2"])
    rng = random.Random(0)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    # Settings with a length of 16 MiB; an endless header; a window that grows beyond 31 bits.
    frames = [
        b"\xff\xff\xff\x04\x00\x00\x00\x00\x00",
        b"\x00\x40\x00\x01\x00\x00\x00\x00\x01" + b"\x40" * 2**14,
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff" * 3,
        rng.randbytes(5000),
    ]
    with consortium.serving() as port:
        for sent in (b"", b"GET / HTTP/1.1\r\n\r\n", rng.randbytes(5000)):
            with socket.create_connection(("127.0.0.1", port), 30) as plain:
                plain.sendall(sent)
        for sent in (b"", *frames, *(preface + each for each in frames)):
            with (
                socket.create_connection(("127.0.0.1", port), 30) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secured,
                suppress(OSError),
            ):
                secured.sendall(sent)
                secured.recv(100)
        with channel(port, consortium.tls["member"]) as opened:
            stub = rpc.AggregatorStub(opened)
            for metadata in ([("x", "a" * 2**20)], [(f"x{n}", "a") for n in range(5000)]):
                with pytest.raises(grpc.RpcError) as refused:
                    stub.Describe(pb.DescribeRequest(), timeout=60, metadata=metadata)
                assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert stub.Describe(pb.DescribeRequest(), timeout=60).chain_id == 31337


def test_a_look_leaves_the_file_locks_of_the_process_alone(
    connections: Connections, tmp_path: Path
) -> None:
    """SQLite relies on them: without them another process deletes its write-ahead log."""
    path = tmp_path / "locked"
    with path.open("w") as file, socket.create_server(("127.0.0.1", 0)) as server:
        fcntl.lockf(file, fcntl.LOCK_EX)
        ConnectionWatch(connections, server.getsockname()[1], HOUR).look()
        assert not another_process_can_lock(path)


def test_a_look_closes_no_socket_and_finds_the_connections(connections: Connections) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(socket.create_connection(address))
            accepted = [stack.enter_context(server.accept()[0]) for _ in range(3)]
            watch = ConnectionWatch(Connections(LIMITS, 8), address[1], HOUR)
            assert watch.look() == 1, "a fourth of eight may come from one address"
            assert all(each.fileno() >= 0 and each.getsockname() for each in accepted)
