"""The classification of failures, by the words of nodes and providers."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
import urllib3.exceptions as http

from rescind.contracts import endpoint_faults, transaction_faults
from rescind.contracts.fault import Fault, Reaction, Scope
from rescind.contracts.faults import FAULTS, classify, faults_table

SEND, CALL, LOGS = "eth_sendRawTransaction", "eth_call", "eth_getLogs"

TRANSACTIONS = [
    # go-ethereum, and Reth, which uses its words
    ("already known", transaction_faults.ALREADY_KNOWN),
    ("nonce too low: next nonce 5, tx nonce 4", transaction_faults.NONCE_TOO_LOW),
    ("nonce too high", transaction_faults.NONCE_GAP),
    ("replacement transaction underpriced", transaction_faults.REPLACEMENT_UNDERPRICED),
    ("transaction underpriced: tip needed 25, tip permitted 1", transaction_faults.FEE_TOO_LOW),
    ("transaction gas price below minimum: gas tip cap 1", transaction_faults.FEE_TOO_LOW),
    ("max fee per gas less than block base fee: address 0x1", transaction_faults.FEE_BELOW_BASE),
    (
        "insufficient funds for gas * price + value: balance 0",
        transaction_faults.INSUFFICIENT_FUNDS,
    ),
    ("oversized data: transaction size 140000, limit 131072", transaction_faults.OVERSIZED),
    ("exceeds block gas limit", transaction_faults.GAS_LIMIT),
    ("transaction gas limit too high (cap: 16777216, tx: 20000000)", transaction_faults.GAS_LIMIT),
    ("txpool is full", transaction_faults.POOL_FULL),
    ("in-flight transaction limit reached for delegated accounts", transaction_faults.POOL_FULL),
    ("transaction type not supported", transaction_faults.TYPE_MISSING),
    (
        "only replay-protected (EIP-155) transactions allowed over RPC",
        transaction_faults.WRONG_SIGNER,
    ),
    ("invalid sender", transaction_faults.WRONG_SIGNER),
    (
        "tx fee (1.20 ether) exceeds the configured cap (1.00 ether)",
        transaction_faults.FEE_OVER_CAP,
    ),
    (
        "intrinsic gas too low: gas 20000, minimum needed 21000",
        transaction_faults.GAS_TOO_LOW,
    ),
    # Nethermind
    ("AlreadyKnown", transaction_faults.ALREADY_KNOWN),
    ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", transaction_faults.NONCE_TOO_LOW),
    ("NonceGap, Future nonce. Expected nonce: 5", transaction_faults.NONCE_GAP),
    ("FeeTooLow, MaxFeePerGas too low", transaction_faults.FEE_TOO_LOW),
    ("FeeTooLowToCompete", transaction_faults.FEE_TOO_LOW),
    ("ReplacementNotAllowed", transaction_faults.REPLACEMENT_UNDERPRICED),
    ("InsufficientFunds, Account balance: 0", transaction_faults.INSUFFICIENT_FUNDS),
    ("GasLimitExceeded, Gas limit: 36000000", transaction_faults.GAS_LIMIT),
    # Besu
    ("Known transaction", transaction_faults.ALREADY_KNOWN),
    ("Nonce too low", transaction_faults.NONCE_TOO_LOW),
    (
        "Transaction nonce is too distant from current sender nonce",
        transaction_faults.NONCE_GAP,
    ),
    ("Gas price below configured minimum gas price", transaction_faults.FEE_TOO_LOW),
    ("Gas price below current base fee", transaction_faults.FEE_BELOW_BASE),
    ("Upfront cost exceeds account balance", transaction_faults.INSUFFICIENT_FUNDS),
    ("Transaction gas limit exceeds block gas limit", transaction_faults.GAS_LIMIT),
    ("Transaction fee cap exceeded", transaction_faults.FEE_OVER_CAP),
    ("Wrong chainId", transaction_faults.WRONG_SIGNER),
    ("Invalid transaction type", transaction_faults.TYPE_MISSING),
    (
        "Sender account not authorized to send transactions",
        transaction_faults.SENDER_REFUSED,
    ),
    # Erigon
    ("ALREADY_EXISTS: already known", transaction_faults.ALREADY_KNOWN),
    ("existing txn with same hash", transaction_faults.ALREADY_KNOWN),
    (
        "INTERNAL_ERROR: could not replace existing tx",
        transaction_faults.REPLACEMENT_UNDERPRICED,
    ),
    ("fee too low", transaction_faults.FEE_TOO_LOW),
    ("baseFee sub-pool is full", transaction_faults.POOL_FULL),
    ("RLPTooLong", transaction_faults.OVERSIZED),
    ("gas limit is too high", transaction_faults.GAS_LIMIT),
    (
        "fork supporting this transaction type is not activated yet",
        transaction_faults.TYPE_MISSING,
    ),
    # Anvil
    ("transaction already imported", transaction_faults.ALREADY_KNOWN),
    # Hardhat
    ("Known transaction: 0x12ab", transaction_faults.ALREADY_KNOWN),
    (
        "Nonce too low. Expected nonce to be 5 but got 4. Note that transactions can't be queued when automining.",
        transaction_faults.NONCE_TOO_LOW,
    ),
    (
        "Nonce too high. Expected nonce to be 5 but got 9.",
        transaction_faults.NONCE_GAP,
    ),
    (
        "Replacement transaction underpriced. A gasPrice/maxFeePerGas of at least 9 is necessary to replace "
        "the existing transaction with nonce 3.",
        transaction_faults.REPLACEMENT_UNDERPRICED,
    ),
    (
        "Transaction maxFeePerGas (1) is too low for the next block, which has a baseFeePerGas of 7",
        transaction_faults.FEE_BELOW_BASE,
    ),
    (
        "Sender doesn't have enough funds to send tx. The max upfront cost is: 5 and the sender's "
        "balance is: 0.",
        transaction_faults.INSUFFICIENT_FUNDS,
    ),
    (
        "Transaction gas limit is 40000000 and exceeds block gas limit of 30000000",
        transaction_faults.GAS_LIMIT,
    ),
    # Polkadot's EVM
    ("transaction is temporarily banned", transaction_faults.POOL_FULL),
]

LOG_RANGES = [
    (-32005, "query returned more than 10000 results. Try with this block range [0x1, 0x2]."),
    (-32602, "query exceeds max block range 100000"),
    (-32000, "exceed maximum block range: 5000"),
    (-32602, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K range"),
    (-32614, "eth_getLogs is limited to a 10,000 range"),
    (-32600, "block range is too wide"),
    (-32000, "requested too many blocks from 1 to 9999, maximum is set to 2048"),
    (-32000, "logs matched by query exceeds limit of 10000"),
    (-32005, "Requested range exceeds maximum RPC range limit"),
    (-32602, "eth_getLogs is limited to 1024 block range. Please check the parameter requirements"),
    (-32001, "backend response too large"),
    (-32000, "query exceeds max results 20000, retry with the range 1-2"),
    (-32602, "please limit the query to at most 1000 blocks"),
    (-32000, "query must be smaller than size 1024"),
    (-32000, "eth_getLogs range is too large, max is 1k blocks"),
    (-32000, "Block range limit exceeded. See more details at https://docs.provider.example"),
    (-32000, "maximum [from, to] blocks distance: 500"),
    (-32000, "Maximum allowed number of requested blocks is 1000"),
    (-32047, "Invalid eth_getLogs request. 'fromBlock'-'toBlock' range too large. Max range: 800"),
    (-32000, "block range greater than 100 max"),
    (-32000, "response size should not greater than 10000000 bytes"),
    (-32005, "limit exceeded"),
]

OTHERS = [
    (CALL, -32005, "daily request count exceeded, request rate limited", "rate limit"),
    (LOGS, -32005, "daily request count exceeded, request rate limited", "rate limit"),
    (CALL, 429, "Your app has exceeded its compute units per second capacity.", "rate limit"),
    (CALL, -32016, "over rate limit", "rate limit"),
    (CALL, -32097, "Requests are too frequent", "rate limit"),
    (CALL, -32012, "credits limited to 6000/sec", "rate limit"),
    (CALL, -32600, "Must be authenticated!", "key refused"),
    (CALL, -32000, "invalid project id", "key refused"),
    (CALL, -40100, "Unauthorized", "key refused"),
    (CALL, -32601, "the method eth_feeHistory does not exist/is not available", "method missing"),
    (CALL, -32004, "Method not supported", "method missing"),
    (CALL, -32604, "Method not enabled", "method missing"),
    (CALL, -32000, "header not found", "back end behind"),
    (CALL, -32000, "Received invalid block tag 9. Latest block number is 3", "back end behind"),
    (CALL, -39001, "Unknown block", "back end behind"),
    (CALL, -32001, "block not found: 0x51", "back end behind"),
    (LOGS, -32000, "block range extends beyond current head block", "back end behind"),
    (
        CALL,
        -32602,
        "BlockOutOfRangeError: block height is 5 but requested was 9",
        "back end behind",
    ),
    (CALL, -32000, "missing trie node 5f (path 0a) state 0x1 is not available", "no archive"),
    (CALL, -32000, "historical state 0xab is not available", "no archive"),
    (CALL, 4444, "pruned history unavailable", "no archive"),
    (CALL, -32000, "World state unavailable", "no archive"),
    (CALL, -32000, "project ID does not have access to archive state", "no archive"),
    (CALL, -32008, "Initial sync is still in progress", "syncing"),
    (CALL, -32011, "no backend is currently healthy to serve traffic", "syncing"),
    (CALL, 3, "execution reverted: custom error 0x1e8be2f8", "reverted"),
    (CALL, -32603, "Internal error", "gateway trouble"),
    (CALL, -32000, "something else", "other refusals"),
]

STATUSES = {
    **dict.fromkeys((408, 425, 500, 502, 503, 504, 522, 529), "gateway trouble"),
    429: "rate limit",
    **dict.fromkeys((401, 402, 403), "key refused"),
    **dict.fromkeys((400, 404, 405, 418), "wrong address"),
    **dict.fromkeys((301, 302, 307, 308), "redirect"),
    599: "gateway trouble",
}

ERRORS: list[tuple[Exception, Fault]] = [
    (http.NewConnectionError(None, "refused"), endpoint_faults.UNREACHABLE),
    (http.ConnectTimeoutError(), endpoint_faults.TIMEOUT),
    (http.ReadTimeoutError(None, "", ""), endpoint_faults.TIMEOUT),
    (http.SSLError("certificate verify failed: expired"), endpoint_faults.TLS),
    (
        http.SSLError(ssl.SSLEOFError("EOF occurred in violation of protocol")),
        endpoint_faults.RESET,
    ),
    (http.ProtocolError("Connection aborted."), endpoint_faults.RESET),
    (http.IncompleteRead(5, 7), endpoint_faults.CUT),
    (ConnectionResetError(), endpoint_faults.RESET),
]


@pytest.mark.parametrize(("words", "row"), TRANSACTIONS, ids=[words for words, _ in TRANSACTIONS])
def test_the_words_of_every_node_for_a_refused_transaction_are_recognized(
    words: str, row: Fault
) -> None:
    for code in (-32000, -32003, -32603):
        assert classify(method=SEND, code=code, message=words).name == row.name


@pytest.mark.parametrize(("code", "words"), LOG_RANGES, ids=[words for _, words in LOG_RANGES])
def test_every_providers_words_for_too_many_blocks_are_recognized(code: int, words: str) -> None:
    assert classify(method=LOGS, code=code, message=words) is endpoint_faults.LOG_RANGE


@pytest.mark.parametrize(("method", "code", "words", "name"), OTHERS)
def test_other_errors_are_recognized(method: str, code: int, words: str, name: str) -> None:
    assert classify(method=method, code=code, message=words).name == name


def test_a_limit_of_a_read_is_no_limit_of_blocks() -> None:
    assert classify(method=CALL, code=-32005, message="limit exceeded").name == "rate limit"


def test_a_resource_that_is_not_found_is_a_block_name_only_where_one_was_asked_for() -> None:
    asked: dict[str, Any] = {"method": "eth_getBlockByNumber", "code": -32001}
    missing = classify(**asked, message="resource not found", named_block=True)
    assert missing is endpoint_faults.TAG_MISSING
    assert classify(**asked, message="resource not found") is not endpoint_faults.TAG_MISSING


@pytest.mark.parametrize("words", ["finalized block not found", "safe block not found", "bad tag"])
def test_a_block_name_that_a_node_lacks_differs_from_a_block_that_it_lacks(words: str) -> None:
    asked: dict[str, Any] = {"method": "eth_getBlockByNumber", "code": -32602, "message": words}
    assert classify(**asked, named_block=True) is endpoint_faults.TAG_MISSING
    assert classify(**asked) is not endpoint_faults.TAG_MISSING


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_is_recognized(status: int) -> None:
    assert classify(method=CALL, status=status).name == STATUSES[status]


def test_a_body_that_is_too_large_means_blocks_or_a_transaction() -> None:
    assert classify(method=LOGS, status=413) is endpoint_faults.LOG_RANGE
    assert classify(method=SEND, status=413) is transaction_faults.OVERSIZED


@pytest.mark.parametrize(("error", "row"), ERRORS, ids=[repr(error) for error, _ in ERRORS])
def test_every_error_of_a_connection_is_recognized(error: Exception, row: Fault) -> None:
    assert classify(error=error) is row


def test_the_table_holds_every_row_once() -> None:
    rows = [
        value
        for module in (endpoint_faults, transaction_faults)
        for value in vars(module).values()
        if isinstance(value, Fault)
    ]
    assert sorted(row.name for row in rows) == sorted({row.name for row in FAULTS})
    assert all(row.advice.endswith(".") for row in FAULTS)
    assert all("|" not in row.recognized + row.response + row.advice for row in FAULTS)


def test_only_failures_that_may_pass_are_waited_for() -> None:
    for row in FAULTS:
        if row.patience_seconds:
            assert row.scope is Scope.ENDPOINT
        if row.reaction is Reaction.RETRY and row.scope is Scope.ENDPOINT:
            assert row.patience_seconds


def test_the_page_prints_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs" / "chains.md").read_text(encoding="utf-8")
    assert faults_table() in page, "run scripts/faults_table.py"
