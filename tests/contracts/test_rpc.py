"""Answers of nodes that do not work, and of servers that are not nodes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3

from rescind.contracts import (
    Chain,
    ChainUnavailable,
    Consortium,
    ContractRefused,
    ContractsMissing,
    Deployment,
)
from rescind.contracts.deployment import NAMES
from rescind.contracts.rpc import NodeRefused
from tests.contracts.providers import Time

ADDRESS = Web3.to_checksum_address("0x" + "0a" * 20)
HASH = "0x" + "02" * 32
LOG = {
    "address": ADDRESS.lower(),
    "topics": [HASH],
    "data": "0x",
    "blockNumber": "0x5",
    "blockHash": HASH,
    "logIndex": "0x0",
    "transactionHash": HASH,
}
NOT_A_NODE = (
    "0x",
    "0xzz",
    "0x1 ",
    "12",
    "<html>",
    "",
    5,
    1.5,
    True,
    [],
    ["0x1"],
    {},
    {"number": []},
)


@dataclass(frozen=True)
class Fixed:
    """A node that answers everything with one JSON document."""

    document: Any

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        return self.document


def chain_of(document: Any) -> Chain:
    return patient(Chain("http://localhost", transport=Fixed(document)))


def patient(chain: Chain) -> Chain:
    """A chain that waits in no time."""
    chain.rpc.waiting = Time().waiting()
    return chain


def consortium_of(document: Any) -> Consortium:
    contracts = dict.fromkeys((name.lower() for name in NAMES), ADDRESS)
    deployment = Deployment.model_validate({"chain_id": 1, "block": 0, **contracts})
    return Consortium(chain_of(document), deployment)


def result(value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": value}


READS: dict[str, Callable[[Chain], object]] = {
    "check": lambda chain: chain.check(),
    "now": lambda chain: chain.now(),
    "block number": lambda chain: chain.final_block_number(),
    "nonce": lambda chain: chain.nonce(ADDRESS),
    "balance": lambda chain: chain.balance(ADDRESS),
    "logs": lambda chain: chain.logs([ADDRESS], 1, 2),
    "gas used": lambda chain: chain.gas_used(HASH),
    "transactions": lambda chain: chain.transactions(3),
    "block hash": lambda chain: chain.block_hash(3),
}


@pytest.mark.parametrize("value", NOT_A_NODE, ids=repr)
@pytest.mark.parametrize("read", READS)
def test_a_value_of_another_form_is_one_clear_error(read: str, value: Any) -> None:
    if read == "logs" and value == []:
        return
    with pytest.raises(ChainUnavailable, match=r"^http://localhost answered eth_.* instead of"):
        READS[read](chain_of(result(value)))


@pytest.mark.parametrize("document", [[], {}, None, "x", 5, {"jsonrpc": "2.0"}], ids=repr)
@pytest.mark.parametrize("read", READS)
def test_a_document_of_another_form_is_one_clear_error(read: str, document: Any) -> None:
    with pytest.raises(ChainUnavailable, match="instead of a JSON-RPC answer"):
        READS[read](chain_of(document))


@pytest.mark.parametrize("field", LOG)
@pytest.mark.parametrize("value", [None, "0x1", "0xzz", 7, [], {}], ids=repr)
def test_a_log_with_a_wrong_field_is_one_clear_error(field: str, value: Any) -> None:
    numbers = [("blockNumber", "0x1"), ("logIndex", "0x1")]
    right = (field, value) in [*numbers, ("topics", []), ("address", None)]
    document = result([LOG, {**LOG, field: value}])
    if right:
        assert len(chain_of(document).logs([ADDRESS], 1, 2)) == 2
        return
    with pytest.raises(ChainUnavailable, match=rf"eth_getLogs\[1\]: {field}"):
        chain_of(document).logs([ADDRESS], 1, 2)


def test_a_call_that_is_not_answered_in_bytes_is_one_clear_error() -> None:
    for value in ("0x123", "0xzz", "0x00 00", None, [], {}, "<html>"):
        with pytest.raises(ChainUnavailable, match="answered eth_call with"):
            consortium_of(result(value)).current_round_id()


def test_a_long_wrong_answer_is_cut() -> None:
    with pytest.raises(ChainUnavailable) as error:
        chain_of(result("<html>" * 10_000)).check()
    assert len(str(error.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("0x01"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=30)
@given(JSON, st.sampled_from(sorted(READS)))
def test_no_answer_at_all_breaks_a_read(document: Any, read: str) -> None:
    for each in (document, result(document), {"error": document}):
        try:
            READS[read](chain_of(each))
        except (ChainUnavailable, ContractsMissing):
            continue


REVERTS = {
    "geth": {"code": 3, "message": "execution reverted", "data": "0x1e8be2f8"},
    "nethermind": {"code": -32015, "message": "VM execution error", "data": "Reverted 0x1e8be2f8"},
    "ganache": {"code": -32000, "message": "revert", "data": {"result": "0x1e8be2f8"}},
}


@pytest.mark.parametrize("node", REVERTS)
def test_a_revert_is_recognized_whatever_form_a_node_gives_it(node: str) -> None:
    with pytest.raises(NodeRefused) as refused:
        chain_of({"error": REVERTS[node]}).call(ADDRESS, b"", "latest")
    assert (refused.value.reverted, refused.value.data.hex()) == (True, "1e8be2f8")
    with pytest.raises(ContractRefused, match=r"Rounds\.currentRound was refused"):
        consortium_of({"error": REVERTS[node]}).current_round_id()


def test_an_error_of_the_contracts_comes_with_advice_and_wrong_arguments_do_not_hide_it() -> None:
    selector = Web3.keccak(text="NoContributor()")[:4].hex()
    error = {"code": 3, "message": "execution reverted", "data": f"0x{selector}"}
    with pytest.raises(ContractRefused, match="No member may contribute now") as refused:
        consortium_of({"error": error}).current_round_id()
    assert refused.value.reason == "NoContributor"
    selector = Web3.keccak(text="TooEarly(uint40)")[:4].hex()
    with pytest.raises(ContractRefused, match="was refused"):
        consortium_of({"error": {**error, "data": f"0x{selector}ff"}}).current_round_id()


@contextmanager
def server(body: bytes, status: int = 200) -> Iterator[str]:
    """A web server that answers everything with one body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


@pytest.mark.parametrize(
    "body",
    [b"<html>Sign in</html>", b"", b"\xff\xfe"],
    ids=["page", "empty", "bytes"],
)
def test_a_page_instead_of_json_is_one_clear_error(body: bytes) -> None:
    with server(body) as url, pytest.raises(ChainUnavailable, match=f"{url} answered eth_chainId"):
        patient(Chain(url)).check()


def test_a_list_of_answers_is_one_clear_error() -> None:
    body = json.dumps([result("0x1")]).encode()
    with server(body) as url, pytest.raises(ChainUnavailable, match="instead of a JSON-RPC answer"):
        patient(Chain(url)).check()


def test_an_error_of_a_gateway_is_asked_again_and_then_reported() -> None:
    refused = pytest.raises(ChainUnavailable, match=r"answered eth_chainId with HTTP 502")
    with server(b"bad gateway", 502) as url, refused:
        patient(Chain(url)).check()


def test_no_message_shows_the_key_in_the_url() -> None:
    for body in (
        b'{"error": {"message": "project c0ffee1234 is over its limit"}}',
        b'"c0ffee1234"',
    ):
        with server(body) as url, pytest.raises((NodeRefused, ChainUnavailable)) as error:
            patient(Chain(f"{url}/v3/c0ffee1234")).check()
        assert "c0ffee1234" not in str(error.value)
