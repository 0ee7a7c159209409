"""A caller that is refused again and again fills neither the log nor the disk."""

import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from rescind.wire import BadMessage, Limits, NotAMember, TooManyCalls
from rescind.wire.errors import CODE_KEY
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.refusals import MOST_CHARACTERS, RefusalLog, shortened
from tests.wire.served import Consortium, channel, made_consortium


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    return made_consortium(tmp_path)


def test_a_certificate_gets_few_lines_and_the_number_of_those_left_out() -> None:
    now = [0.0]
    log = RefusalLog(clock=lambda: now[0])
    with capture_logs() as lines:
        for _ in range(1000):
            log.add("aa", TooManyCalls("slow down"))
        log.add("bb", NotAMember("who are you"))
    assert [each["certificate"] for each in lines] == ["aa"] * 20 + ["bb"]
    now[0] += 1.0
    with capture_logs() as lines:
        for _ in range(10):
            log.add("aa", TooManyCalls("slow down"))
    assert [each["omitted"] for each in lines] == [980]


def test_many_certificates_take_little_memory() -> None:
    log = RefusalLog(clock=lambda: 0.0)
    with capture_logs() as lines:
        for number in range(10_000):
            log.add(f"{number:064x}", TooManyCalls("slow down"))
    assert len(lines) == 10_000
    assert len(log._lines) <= 4096


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("short\nand clear", "short\nand clear"),
        ("\x1b[2Jname\u202egpj", "?[2Jname?gpj"),
        ("a" * 5000, "a" * (MOST_CHARACTERS - 3) + "..."),
    ],
)
def test_a_reason_is_short_and_plain(reason: str, expected: str) -> None:
    assert shortened(reason) == expected


def test_a_huge_name_in_a_message_comes_back_short(consortium: Consortium) -> None:
    with consortium.serving() as port, channel(port, consortium.tls["stranger"]) as opened:
        asked = health_pb2.HealthCheckRequest(service="é" * 100_000)
        with capture_logs() as lines, pytest.raises(grpc.RpcError) as refused:
            health_pb2_grpc.HealthStub(opened).Check(asked, timeout=60)
    error: grpc.Call = refused.value
    assert dict(error.trailing_metadata())[CODE_KEY] == BadMessage.code
    assert len(error.details()) <= MOST_CHARACTERS
    assert [len(each["reason"]) for each in lines] == [MOST_CHARACTERS]


def test_grpc_writes_no_lines_of_its_own() -> None:
    # One for each refused call would fill the disk.
    program = "import rescind.wire, os; print(os.environ['GRPC_VERBOSITY'])"
    command = [sys.executable, "-c", program]
    environment = {k: v for k, v in os.environ.items() if k != "GRPC_VERBOSITY"}
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "NONE\n"


def test_a_flood_of_refused_calls_is_logged_in_a_few_lines(consortium: Consortium) -> None:
    limits = Limits(calls_per_second=1.0, burst=1)
    with (
        consortium.serving(limits) as port,
        channel(port, consortium.tls["member"]) as opened,
        capture_logs() as lines,
    ):
        describe = rpc.AggregatorStub(opened).Describe
        calls = [describe.future(pb.DescribeRequest(), timeout=60) for _ in range(300)]
        refused = sum(isinstance(call.exception(), grpc.RpcError) for call in calls)
    assert refused > 250
    # One line each second in the long run, whatever this machine needs for 300 calls.
    assert len([each for each in lines if each["event"] == "refused"]) < refused / 2
