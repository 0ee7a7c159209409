"""Retries, fail-over and agreement of RPC endpoints."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import urllib3.exceptions as http
from structlog.testing import capture_logs

from rescind.contracts import Chain, ChainUnavailable, WrongChain
from rescind.contracts.endpoint_faults import LOG_RANGE, METHOD_MISSING, TAG_MISSING
from rescind.contracts.errors import EndpointsDisagree, NodeRefused
from rescind.contracts.transaction_faults import ALREADY_KNOWN
from rescind.contracts.transport import NotJsonError, OversizedError, StatusError, WrongIdError
from rescind.core.errors import ConfigError
from tests.contracts.providers import KEY, Node, Time, block, door, refused

REFUSED = http.NewConnectionError(None, "refused")
LIMITED = refused(-32005, "daily request count exceeded, request rate limited")


def asked(node: Node) -> list[str]:
    """Requests to a node, apart from those for its chain and its newest block."""
    return [each for each in node.asked if each not in ("eth_chainId", "eth_blockNumber")]


PASSING: list[Any] = [
    StatusError(429, b"", None),
    StatusError(502, b"<html>Bad gateway</html>", None),
    StatusError(503, b"", 1.0),
    StatusError(429, b'{"error": {"code": 429, "message": "slow down"}}', None),
    LIMITED,
    refused(-32016, "over rate limit"),
    refused(-32000, "header not found"),
    refused(-32603, "Internal error"),
    NotJsonError(b"<html>Sign in</html>"),
    NotJsonError(b""),
    NotJsonError(b'{"jsonrpc": "2.0", "resu'),
    http.ProtocolError("Connection aborted."),
    http.IncompleteRead(3, 5),
    REFUSED,
]


@pytest.mark.parametrize("failure", PASSING, ids=repr)
def test_a_failure_that_passes_is_not_noticed(failure: Any) -> None:
    node, time = Node(failures=[failure, failure]), Time()
    assert door(node, time=time).request("eth_call", {}, "0x1").value == "0x2a"
    assert len(asked(node)) == 3
    assert 0 < sum(time.pauses) < 5


@pytest.mark.parametrize("failure", PASSING, ids=repr)
def test_a_failure_that_stays_is_one_error_in_bounded_time(failure: Any) -> None:
    node, time = Node(down=failure), Time()
    with pytest.raises(ChainUnavailable, match=r"https://node1\.example") as error:
        door(node, time=time).request("eth_call", {}, "0x1")
    assert time.now - 1000 <= 30
    assert KEY not in str(error.value)
    assert str(error.value).endswith(".")
    growing = [pause for pause in time.pauses if pause != 1.0]
    assert growing == sorted(growing)


HOPELESS: list[tuple[Any, str]] = [
    (StatusError(401, b"", None), "HTTP 401.*Correct the key in rpc_url"),
    (StatusError(404, b"<html>", None), "HTTP 404.*Correct rpc_url"),
    (StatusError(301, b"", None), "HTTP 301 .redirect.*Write the address"),
    (http.SSLError("certificate verify failed: expired"), "cannot be trusted.*clock"),
    (refused(-32600, "Must be authenticated!"), "Must be authenticated!.*Correct the key"),
    (WrongIdError("x"), "the answer to another request"),
    (OversizedError("x"), "too many bytes"),
    (refused(-32000, "missing trie node 5f"), "no archive.*chain.confirmations"),
    ([], "instead of a JSON-RPC answer"),
    (http.ReadTimeoutError(None, "", ""), "did not answer eth_call in time"),
]


@pytest.mark.parametrize(("failure", "words"), HOPELESS, ids=repr)
def test_an_operator_is_told_at_once_what_only_the_operator_can_mend(
    failure: Any, words: str
) -> None:
    time = Time()
    node = Node(down=failure)
    with pytest.raises(ChainUnavailable, match=words):
        door(node, time=time).request("eth_call", {}, "0x1")
    if not isinstance(failure, http.ReadTimeoutError):
        assert time.pauses == []


def test_retry_after_is_honoured_by_all_later_requests() -> None:
    time = Time()
    node = Node(failures=[StatusError(429, b"", 7.0)])
    rpc = door(node, time=time)
    rpc.request("eth_call", {}, "0x1")
    assert time.pauses == [7.0]
    node.failures.append(StatusError(429, b"", 500.0))
    with pytest.raises(ChainUnavailable, match="HTTP 429"):
        rpc.request("eth_call", {}, "0x1")
    requests = len(node.asked)
    with pytest.raises(ChainUnavailable, match="HTTP 429"):
        rpc.request("eth_call", {}, "0x1")
    assert len(node.asked) == requests
    time.now += 500
    rpc.request("eth_call", {}, "0x1")


def test_the_next_endpoint_answers_and_the_first_one_rests_longer_each_time() -> None:
    time, first, second = Time(), Node(), Node()
    rpc = door(first, second, time=time)
    rpc.request("eth_call", {}, "0x1")
    assert asked(second) == []
    first.down = REFUSED
    counts = []
    for _ in range(600):
        before = len(first.asked)
        assert rpc.request("eth_call", {}, "0x1").value == "0x2a"
        counts.append(len(first.asked) - before)
        time.now += 1
    tries = [place for place, count in enumerate(counts) if count]
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert len(tries) < 12
    assert gaps[-1] > 10 * gaps[0]
    assert time.pauses == []
    first.down = None
    time.now += 400
    rpc.request("eth_call", {}, "0x1")
    assert asked(first)[-1] == "eth_call"


def test_an_endpoint_on_another_chain_is_asked_nothing_else() -> None:
    wrong, right = Node(chain_id=5), Node()
    rpc = door(wrong, right, expected=1)
    assert rpc.request("eth_call", {}, "0x1").value == "0x2a"
    assert set(wrong.asked) == {"eth_chainId"}
    with pytest.raises(WrongChain, match=r"node1\.example is chain 5, not chain 1\. Correct"):
        rpc.chain_id()
    with pytest.raises(WrongChain, match="is chain 5, not chain 7"):
        door(Node(chain_id=5), expected=7).request("eth_call", {}, "0x1")


def test_endpoints_of_different_chains_are_noticed_without_an_expected_one() -> None:
    with pytest.raises(WrongChain, match=r"node2\.example is chain 5, not chain 1"):
        door(Node(), Node(chain_id=5)).chain_id()


def test_an_endpoint_that_comes_back_is_asked_for_its_chain_again() -> None:
    time, first, second = Time(), Node(), Node()
    rpc = door(first, second, time=time, expected=1)
    rpc.request("eth_call", {}, "0x1")
    first.down = REFUSED
    rpc.request("eth_call", {}, "0x1")
    first.down, first.chain_id = None, 5
    before = len(asked(first))
    time.now += 60
    rpc.request("eth_call", {}, "0x1")
    assert len(asked(first)) == before


def test_an_endpoint_that_falls_behind_is_passed_over() -> None:
    time, first, second = Time(), Node(head=100), Node(head=104)
    rpc = door(first, second, time=time)
    assert rpc.request("eth_blockNumber").number() == 104
    first.head = 103
    time.now += 16
    assert rpc.request("eth_blockNumber").number() == 103


def test_an_endpoint_without_the_block_is_not_asked_about_it() -> None:
    first, second = Node(head=100), Node(head=102)
    logs = {"fromBlock": "0x1", "toBlock": hex(102)}
    rpc = door(first, second)
    rpc.request("eth_getLogs", logs)
    rpc.request("eth_call", {}, hex(101))
    assert asked(first) == []
    second.down = REFUSED
    with pytest.raises(ChainUnavailable, match="knows the blocks up to 100 alone, not 102"):
        rpc.request("eth_getLogs", logs)


def test_a_block_that_a_back_end_lacks_though_another_named_it_is_asked_for_again() -> None:
    nulls, time = iter([None, None]), Time()
    first = Node(results={"eth_getBlockByNumber": lambda n, _: next(nulls, block(100))})
    rpc = door(first, first, time=time)
    assert rpc.request("eth_getBlockByNumber", "0x64", False)["number"].number() == 100
    assert len(time.pauses) == 1
    first.results["eth_getBlockByNumber"] = None
    assert rpc.request("eth_getBlockByNumber", "0x65", False).is_null()


def test_what_one_endpoint_does_not_know_the_next_is_asked_for() -> None:
    first = Node(results={"eth_getTransactionReceipt": None})
    second = Node(results={"eth_getTransactionReceipt": {"status": "0x1"}})
    assert door(first, second).request("eth_getTransactionReceipt", "0x1")["status"].number() == 1
    assert door(first, first).request("eth_getTransactionReceipt", "0x1").is_null()


def test_a_method_that_one_endpoint_lacks_is_asked_of_the_next() -> None:
    lacks = refused(-32601, "the method eth_feeHistory does not exist/is not available")
    first, second = Node(failures=[lacks]), Node()
    first.failures.insert(0, {"result": "0x64"})  # of the comparison of heads
    assert door(first, second).request("eth_feeHistory").value == "0x2a"
    with pytest.raises(NodeRefused) as error:
        door(Node(failures=[lacks])).request("eth_feeHistory")
    assert error.value.fault is METHOD_MISSING
    assert error.value.rpc_code == -32601


@pytest.mark.parametrize("words", ["invalid block tag", "hex string without 0x prefix"])
def test_a_block_name_that_is_missing_is_told_apart(words: str) -> None:
    for tag in ("pending", "safe", "finalized"):
        with pytest.raises(NodeRefused) as error:
            door(Node(failures=[refused(-32602, words)])).request(
                "eth_getBlockByNumber", tag, False
            )
        assert error.value.fault is TAG_MISSING


def test_a_refused_range_of_blocks_goes_to_the_caller_at_once() -> None:
    first, second, time = Node(), Node(), Time()
    rpc = door(first, second, time=time)
    rpc.request("eth_blockNumber")
    for failure in (
        refused(-32005, "query returned more than 10000 results"),
        StatusError(413, b"too large", None),
        StatusError(400, b'{"error": {"code": -32602, "message": "block range too large"}}', None),
        OversizedError("x"),
    ):
        first.failures = [failure]
        with pytest.raises(NodeRefused) as error:
            rpc.request("eth_getLogs", {"toBlock": "0x1"})
        assert error.value.fault is LOG_RANGE
    assert asked(second) == []


def test_a_daemon_logs_which_endpoint_it_passes_over_without_its_key() -> None:
    failing, time = Node(down=StatusError(403, KEY.encode(), None)), Time()
    with capture_logs() as logs:
        door(failing, Node(), time=time).request("eth_call", {}, "0x1")
    assert [(each["endpoint"], each["fault"]) for each in logs] == [
        ("https://node1.example", "key refused")
    ]
    assert KEY not in str(logs)


def test_a_limit_that_is_met_for_a_single_block_is_waited_for() -> None:
    limit = refused(-32005, "limit exceeded")
    for wanted in ({"fromBlock": "0x1", "toBlock": "0x1"}, {"blockHash": "0x01"}):
        node, time = Node(failures=[limit, limit]), Time()
        assert door(node, time=time).request("eth_getLogs", wanted).value == "0x2a"
        assert len(time.pauses) == 2
    with pytest.raises(NodeRefused):
        door(Node(failures=[limit])).request("eth_getLogs", {"fromBlock": "0x1", "toBlock": "0x2"})


def test_a_block_that_was_replaced_is_reported_at_once_where_its_logs_are_asked_by_hash() -> None:
    time, unknown = Time(), refused(-32000, "unknown block")
    with pytest.raises(NodeRefused):
        door(Node(down=unknown), time=time).request("eth_getLogs", {"blockHash": "0x01"})
    assert time.pauses == []


def test_all_endpoints_fail_in_one_error() -> None:
    nodes = Node(down=REFUSED), Node(down=StatusError(429, b"", None))
    with pytest.raises(ChainUnavailable) as error:
        door(*nodes).request("eth_call", {}, "0x1")
    text = str(error.value)
    assert "none of the 2 endpoints answers" in text
    assert "https://node1.example cannot be reached" in text
    assert "https://node2.example answered eth_chainId with HTTP 429" in text
    assert KEY not in text


def test_a_transaction_goes_to_every_endpoint() -> None:
    first, second, third = Node(), Node(), Node()
    rpc = door(first, second, third)
    rpc.request("eth_blockNumber")
    second.failures = [refused(-32000, "already known")]
    assert rpc.request("eth_sendRawTransaction", "0x01").value == "0x2a"
    assert [asked(node) for node in (first, second, third)] == [["eth_sendRawTransaction"]] * 3
    for node in (first, second, third):
        node.failures = [refused(-32000, "nonce too low")]
    third.failures = [refused(-32000, "already known")]
    with pytest.raises(NodeRefused) as error:
        rpc.request("eth_sendRawTransaction", "0x01")
    assert error.value.fault is ALREADY_KNOWN


def test_a_transaction_is_sent_again_when_no_endpoint_took_it() -> None:
    first, second, time = Node(), Node(), Time()
    rpc = door(first, second, time=time)
    rpc.request("eth_blockNumber")
    first.failures, second.failures = [LIMITED], [StatusError(502, b"", None)]
    assert rpc.request("eth_sendRawTransaction", "0x01").value == "0x2a"
    assert len(time.pauses) == 1


# Agreement


def test_endpoints_that_agree_are_believed() -> None:
    first = Node(results={"eth_getBlockByNumber": lambda n, _: block(int(n, 16), size="0x2")})
    rpc = door(first, Node(), agree=2)
    assert rpc.request("eth_getBlockByNumber", "0x5", False)["timestamp"].number() == 50
    assert rpc.request("eth_call", {}, "0x5").value == "0x2a"
    first.results["eth_call"] = "0x2A"
    assert rpc.request("eth_call", {}, "0x5").value == "0x2A"


@pytest.mark.parametrize(
    ("method", "parameters", "lie"),
    [
        ("eth_call", ({}, "0x5"), "0x2b"),
        ("eth_call", ({}, "latest"), "0x2b"),
        ("eth_getCode", ("0x01", "latest"), "0x"),
        ("eth_getLogs", ({"toBlock": "0x5"},), []),
        ("eth_getBlockByNumber", ("0x5", False), block(5, timestamp="0x33")),
        ("eth_getBlockByNumber", ("0x5", False), block(5, hash=f"0x{6:064x}")),
        ("eth_getTransactionReceipt", ("0x01",), {"status": "0x0"}),
    ],
)
def test_a_disagreement_names_both_hosts_and_uses_neither_answer(
    method: str, parameters: tuple[Any, ...], lie: Any
) -> None:
    time, honest = Time(), Node()
    honest.results = {
        "eth_getLogs": [{"address": "0x01", "topics": [], "data": "0x"}],
        "eth_getTransactionReceipt": {"status": "0x1"},
    }
    liar = Node(results={method: lie})
    with pytest.raises(EndpointsDisagree) as error:
        door(honest, liar, time=time, agree=2).request(method, *parameters)
    assert "https://node1.example and https://node2.example give different answers" in str(
        error.value
    )
    assert KEY not in str(error.value)
    assert time.now - 1000 <= 10


def test_a_disagreement_that_passes_is_not_noticed() -> None:
    answers = iter(["0x2b", "0x2a"])
    turning = Node(results={"eth_call": lambda *_: next(answers)})
    assert door(Node(), turning, agree=2).request("eth_call", {}, "0x5").value == "0x2a"


def test_of_the_newest_blocks_the_lowest_one_is_taken() -> None:
    first, second = Node(head=102), Node(head=100)
    rpc = door(first, second, agree=2)
    assert rpc.request("eth_blockNumber").number() == 100
    assert rpc.request("eth_getBlockByNumber", "latest", False)["number"].number() == 100
    rpc.request("eth_call", {}, "latest")
    assert first.parameters[-1][1] == second.parameters[-1][1] == hex(100)


def test_what_one_of_those_that_agree_does_not_know_yet_is_unknown() -> None:
    first = Node(results={"eth_getTransactionReceipt": {"status": "0x1"}})
    second = Node(results={"eth_getTransactionReceipt": None})
    assert door(first, second, agree=2).request("eth_getTransactionReceipt", "0x1").is_null()


def test_a_third_endpoint_stands_in_for_one_of_those_that_agree() -> None:
    rpc = door(Node(), Node(down=REFUSED), Node(), agree=2)
    assert rpc.request("eth_call", {}, "0x5").value == "0x2a"
    head = {"result": "0x64"}
    nodes = Node(failures=[head, LIMITED]), Node(failures=[head, refused(-32603, "x"), LIMITED])
    assert door(*nodes, agree=2).request("eth_call", {}, "0x5").value == "0x2a"
    assert asked(nodes[0]) == ["eth_call"] * 2
    with pytest.raises(ChainUnavailable, match="2 endpoints must agree, but fewer answer"):
        door(Node(), Node(down=REFUSED), agree=2).request("eth_call", {}, "0x5")


def test_reverts_must_agree_and_other_refusals_reach_the_caller() -> None:
    reverted, other = refused(3, "execution reverted", "0x01"), refused(3, "reverted", "0x02")
    call = ("eth_call", {}, "0x5")

    def rpc(first: Any, second: Any) -> Any:
        nodes = Node(), Node()
        opened = door(*nodes, agree=2)
        opened.request("eth_blockNumber")
        nodes[0].down, nodes[1].down = first, second
        return opened

    with pytest.raises(NodeRefused) as error:
        rpc(reverted, reverted).request(*call)
    assert error.value.reverted
    with pytest.raises(EndpointsDisagree):
        rpc(reverted, other).request(*call)
    with pytest.raises(EndpointsDisagree):
        rpc(None, reverted).request(*call)
    limit = refused(-32005, "query returned more than 10000 results")
    with pytest.raises(NodeRefused) as error:
        rpc(None, limit).request("eth_getLogs", {"toBlock": "0x1"})
    assert error.value.fault is LOG_RANGE


def test_more_endpoints_must_be_named_than_must_agree() -> None:
    for urls, agree in (((), 1), (("http://a",), 2), (("http://a", "http://a"), 2)):
        with pytest.raises(ConfigError, match="rpc_url names"):
            Chain(urls, agree=agree)
    chain = Chain(["http://a/key1", "http://b/key2"], agree=2)
    assert (chain.rpc_url, chain.shown) == ("http://a/key1", "http://a, http://b")
