"""A real server under callers that hold it up, and clients on connections that fail."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from rescind.wire import (
    AggregatorClient,
    AggregatorUnavailable,
    BadMessage,
    CertificateAuthority,
    LedgerClient,
    Limits,
    NodeUnavailable,
    TlsFiles,
    TooManyCalls,
    serve_ledger,
)
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.limits import Callers
from tests.wire.handler import identity
from tests.wire.relay import relayed
from tests.wire.served import DESCRIBE, Consortium, channel, made_consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return made_consortium(tmp_path)


def hold_streams(opened: grpc.Channel, number: int) -> threading.Event:
    """Open calls whose message never comes, and return the event that ends them."""
    end = threading.Event()

    def silence() -> Iterator[bytes]:
        end.wait(60)
        yield from ()

    call = opened.stream_stream(DESCRIBE)
    streams = [call(silence()) for _ in range(number)]
    # The server has seen the streams once a later call on the same connection is answered.
    grpc.channel_ready_future(opened).result(10)
    end.streams = streams
    return end


def test_idle_streams_of_a_stranger_and_of_a_member_do_not_stop_another_member(
    consortium: Consortium,
) -> None:
    with consortium.serving() as port, ExitStack() as stack:
        for name in ("stranger", "slow"):
            for _ in range(3):
                opened = stack.enter_context(channel(port, consortium.tls[name]))
                stack.callback(hold_streams(opened, 24).set)
        with AggregatorClient(f"localhost:{port}", consortium.tls["member"]) as client:
            client.describe()
            began = time.monotonic()
            assert client.describe().chain_id == 31337
            assert time.monotonic() - began < 5


def test_one_certificate_cannot_take_all_threads(consortium: Consortium) -> None:
    limits = Limits(threads=4, working=2)
    with (
        consortium.serving(limits) as port,
        channel(port, consortium.tls["slow"]) as opened,
        AggregatorClient(f"localhost:{port}", consortium.tls["member"]) as client,
    ):
        stub = rpc.AggregatorStub(opened)
        calls = [stub.GetModel.future(pb.ModelId(model_id=1)) for _ in range(12)]
        for _ in range(2):
            assert consortium.handler.begun.acquire(timeout=30)
        # Calls that their caller gave up keep their threads busy, so they still count.
        for call in calls:
            call.cancel()
        calls = [stub.GetModel.future(pb.ModelId(model_id=1)) for _ in range(12)]
        assert client.model(7).model_id == 7
        assert not consortium.handler.begun.acquire(blocking=False)


def test_calls_beyond_the_limit_of_a_certificate_are_refused_with_a_clear_error(
    consortium: Consortium,
) -> None:
    limits = Limits(open_calls=4, working=1)
    with consortium.serving(limits) as port, channel(port, consortium.tls["slow"]) as opened:
        stub = rpc.AggregatorStub(opened)
        calls = [stub.GetModel.future(pb.ModelId(model_id=1)) for _ in range(4)]
        assert consortium.handler.begun.acquire(timeout=30)
        with (
            AggregatorClient(f"localhost:{port}", consortium.tls["slow"], patience=0.0) as client,
            pytest.raises(TooManyCalls, match="4 calls open"),
        ):
            client.model(2)
        consortium.handler.may_go_on.set()
        assert [call.result(30).model_id for call in calls] == [1] * 4


def test_a_client_waits_until_it_may_call_again(consortium: Consortium) -> None:
    limits = Limits(calls_per_second=4.0, burst=1)
    with (
        consortium.serving(limits) as port,
        AggregatorClient(f"localhost:{port}", consortium.tls["member"], patience=30.0) as client,
    ):
        assert [client.model(n).model_id for n in range(1, 5)] == [1, 2, 3, 4]


def test_the_message_of_a_stranger_is_not_read(consortium: Consortium) -> None:
    # A message that is too large, or that is no message, is an error only for a member.
    with consortium.serving() as port:
        for name, expected in (("stranger", "not-a-member"), ("member", "bad-message")):
            with channel(port, consortium.tls[name]) as opened:
                for raw in (b"\xff" * 64, bytes(2**19)):
                    with pytest.raises(grpc.RpcError) as caught:
                        opened.unary_unary("/rescind.v1.Aggregator/GetModel")(raw, timeout=30)
                    assert dict(caught.value.trailing_metadata())["rescind-error-code"] == expected
    assert not consortium.handler.asked


def test_a_message_that_never_comes_ends_its_call(consortium: Consortium) -> None:
    with (
        consortium.serving(Limits(read_seconds=0.2)) as port,
        channel(port, consortium.tls["member"]) as opened,
    ):
        end = hold_streams(opened, 1)
        (stream,) = end.streams
        with pytest.raises(grpc.RpcError, match="did not arrive"):
            next(stream)
        end.set()


def test_a_refused_certificate_pays_for_its_look_ups() -> None:
    now = [0.0]
    limits = Limits(calls_per_second=10.0, burst=100, refusal_cost=40)
    callers = Callers(limits, lambda: now[0])
    refused = 0
    for _ in range(1000):
        try:
            with callers.entered("stranger") as caller:
                callers.charge_refusal(caller)
        except TooManyCalls:
            refused += 1
    assert refused == 997
    with callers.entered("member"):
        pass
    now[0] = 0.2
    with callers.entered("stranger"):
        pass


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
@pytest.mark.parametrize("name", ["member", "stranger"])
def test_a_compressed_message_is_not_unpacked(
    consortium: Consortium, compression: grpc.Compression, name: str
) -> None:
    bomb = bytes(2**22)  # a thousandth of it is sent
    with consortium.serving() as port, channel(port, consortium.tls[name]) as opened:
        for method in pb.DESCRIPTOR.services_by_name["Aggregator"].methods:
            call = opened.unary_unary(f"/rescind.v1.Aggregator/{method.name}")
            with pytest.raises(grpc.RpcError) as refused:
                call(bomb, timeout=60, compression=compression)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
        plain = opened.unary_unary(DESCRIBE)
        if name == "member":
            assert plain(b"", timeout=60)


def test_a_compressed_reply_is_not_unpacked(consortium: Consortium) -> None:
    key, certificate, authority = consortium.tls["aggregator"].read()
    credentials = grpc.ssl_server_credentials([(key, certificate)], authority, True)
    bomb = pb.Description(parameters_id=bytes(2**25)).SerializeToString()

    class Bomb(grpc.GenericRpcHandler):
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(lambda *_: bomb)

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, [Bomb()], compression=grpc.Compression.Gzip)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        address = f"localhost:{port}"
        with (
            AggregatorClient(address, consortium.tls["member"], patience=0.1) as client,
            pytest.raises(BadMessage, match="disabled"),
        ):
            client.describe()
        server.stop(0).wait()


@pytest.mark.parametrize("reflected", [False, True])
def test_reflection_is_answered_only_in_a_devnet(consortium: Consortium, reflected: bool) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    question = reflection_pb2.ServerReflectionRequest(list_services="")
    with (
        consortium.serving(reflected=reflected) as port,
        channel(port, consortium.tls["stranger"]) as opened,
    ):
        stub = reflection_pb2_grpc.ServerReflectionStub(opened)
        answers = stub.ServerReflectionInfo(iter([question]))
        if reflected:
            names = [each.name for each in next(answers).list_services_response.service]
            assert "rescind.v1.Aggregator" in names
        else:
            with pytest.raises(grpc.RpcError) as caught:
                next(answers)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_is_answered(consortium: Consortium) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with consortium.serving() as port, channel(port, consortium.tls["stranger"]) as opened:
        stub = health_pb2_grpc.HealthStub(opened)
        for name in ("", "rescind.v1.Aggregator"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_idle_streams_do_not_stop_a_nodes_ledger(consortium: Consortium) -> None:
    class Ledger:
        def checkpoint(self) -> tuple[str, str]:
            return "note", "key"

    server = serve_ledger(Ledger(), "127.0.0.1:0", consortium.tls["member"])
    call = "/rescind.v1.Ledger/GetCheckpoint"
    with ExitStack() as stack:
        opened = stack.enter_context(channel(server.port, consortium.tls["stranger"]))
        end = threading.Event()
        stack.callback(server.stop, 0)
        stack.callback(end.set)
        for _ in range(24):
            opened.stream_stream(call)(iter(lambda: end.wait(60) and None, None))
        with LedgerClient(f"localhost:{server.port}", consortium.tls["slow"]) as client:
            assert client.checkpoint() == ("note", "key")


def test_a_dead_connection_is_replaced_after_one_deadline(consortium: Consortium) -> None:
    with consortium.serving() as port, relayed(port) as relay:
        client = AggregatorClient(
            f"localhost:{relay.port}", consortium.tls["member"], seconds=1.0, patience=60.0
        )
        with client:
            client.describe()
            relay.silence()
            assert client.describe().chain_id == 31337
            assert relay.opened >= 2  # more on a machine that is too busy to answer in time


def test_a_certificate_problem_is_told_apart_from_a_network_problem(
    consortium: Consortium, tmp_path: Path
) -> None:
    other = CertificateAuthority.create(tmp_path / "other-ca", "other authority")
    outsider = identity(tmp_path / "outsider", other, "outsider")
    own = consortium.tls["member"]
    (tmp_path / "other.pem").write_bytes(other.pem)
    cases = [
        (
            TlsFiles(outsider.key, outsider.certificate, own.authority),
            "issued by 'other authority'",
        ),
        (TlsFiles(own.key, own.certificate, tmp_path / "other.pem"), "issued by 'test authority'"),
    ]
    with consortium.serving() as port:
        for tls, expected in cases:
            with (
                AggregatorClient(f"localhost:{port}", tls, patience=0.0) as client,
                pytest.raises(AggregatorUnavailable, match=expected),
            ):
                client.describe()
    with (
        LedgerClient(f"localhost:{port}", own, patience=0.0) as client,
        pytest.raises(NodeUnavailable, match="there is no connection"),
    ):
        client.checkpoint()


def test_connections_beyond_the_limit_are_closed_and_calls_go_on(consortium: Consortium) -> None:
    with (
        consortium.serving(Limits(connections=2)) as port,
        AggregatorClient(f"localhost:{port}", consortium.tls["member"], patience=0.0) as client,
        ExitStack() as stack,
    ):
        client.describe()
        refused = 0
        for _ in range(4):
            opened = stack.enter_context(channel(port, consortium.tls["slow"]))
            try:
                rpc.AggregatorStub(opened).Describe(pb.DescribeRequest(), timeout=5)
            except grpc.RpcError:
                refused += 1
        assert refused >= 2
        assert client.describe().chain_id == 31337
