"""The misbehaving provider does what its modes say, and counts it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
import urllib3
from eth_account import Account as EthAccount

from rescind.contracts import Account
from rescind.contracts.checksum import checksum_address
from tests.support.chain import Anvil
from tests.support.rpc_proxy import COUNTS, MODES, Proxy, make_modes, rpc_proxy

EMITTER = checksum_address("0x" + "e0" * 20)
EMITTER_CODE = "0x60006000a000"
"""LOG0 without data, then STOP."""
GWEI = 10**9


def post(url: str, document: Any) -> urllib3.BaseHTTPResponse:
    body = json.dumps(document).encode()
    with urllib3.PoolManager() as pool:
        return pool.request("POST", url, body=body, retries=False, timeout=20.0)


def ask(proxy: Proxy, method: str, *params: Any) -> Any:
    """Return the result of a call, or its error as a dict."""
    request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    document = post(proxy.url, request).json()
    assert document["id"] == 7
    return document["result"] if "result" in document else document["error"]


def number(value: str) -> int:
    return int(value, 16)


def signed(anvil: Anvil, account: Account, nonce: int, **fields: Any) -> tuple[str, str]:
    """Return a payment's raw bytes and its hash."""
    fees = {} if "gasPrice" in fields else {"maxFeePerGas": 9 * GWEI, "maxPriorityFeePerGas": GWEI}
    payment = {"to": "0x" + "77" * 20, "value": 1, "gas": 5_000_000, "chainId": 31337}
    transaction = {**payment, "nonce": nonce, **fees, **fields}
    done = EthAccount.sign_transaction(transaction, account.key)
    return "0x" + bytes(done.raw_transaction).hex(), "0x" + bytes(done.hash).hex()


def mine_logs(anvil: Anvil, count: int) -> tuple[int, int]:
    """Mine blocks with a log each; return the first and the last."""
    anvil.rpc("anvil_setCode", EMITTER, EMITTER_CODE)
    account = anvil.funded()
    first = number(str(anvil.rpc("eth_blockNumber"))) + 1
    for nonce in range(count):
        raw, name = signed(anvil, account, nonce, to=EMITTER)
        anvil.rpc("eth_sendRawTransaction", raw)
        await_mined(anvil, name)
    return first, first + count - 1


def await_mined(anvil: Anvil, name: str) -> None:
    """Wait for a transaction's block to be the newest: Anvil mines after it has answered."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        receipt: Any = anvil.rpc("eth_getTransactionReceipt", name)
        newest = number(str(anvil.rpc("eth_blockNumber")))
        if receipt is not None and newest >= number(receipt["blockNumber"]):
            return
    pytest.fail(f"{name} is not mined")


def logs_between(first: int, last: int) -> dict[str, str]:
    return {"address": EMITTER, "fromBlock": hex(first), "toBlock": hex(last)}


def test_without_modes_every_answer_is_the_nodes_own(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url) as proxy:
        assert ask(proxy, "eth_chainId") == "0x7a69"
        assert ask(proxy, "eth_getBlockByNumber", "latest", False) == anvil.rpc(
            "eth_getBlockByNumber", "latest", False
        )
        assert ask(proxy, "no_such")["code"] == -32601
        assert ask(proxy, COUNTS) == {"calls": 3}


def test_a_rate_and_a_seed_decide_which_calls_are_hit(anvil: Anvil) -> None:
    def hit(seed: int) -> list[bool]:
        with rpc_proxy(anvil.url, "limit-exceeded@0.5", seed=seed) as proxy:
            return [isinstance(ask(proxy, "eth_chainId"), dict) for _ in range(24)]

    first = hit(1)
    assert 4 < sum(first) < 20
    assert hit(1) == first != hit(2)


def test_an_unknown_mode_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ValueError, match=r"'no-such' is not a mode.*log-range"):
        make_modes(["no-such"])


def test_a_rate_limit_is_an_error_of_json_rpc(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url, "limit-exceeded") as proxy:
        codes = {ask(proxy, "eth_chainId")["code"] for _ in range(20)}
    assert -32005 in codes
    assert len(codes) > 2


@pytest.mark.parametrize(
    ("mode", "status", "start"),
    [("429=3", 429, b"Too"), ("502", 502, b"<!DOC"), ("html", 200, b"<!DOC"), ("empty", 200, b"")],
)
def test_an_answer_can_be_no_json(anvil: Anvil, mode: str, status: int, start: bytes) -> None:
    with rpc_proxy(anvil.url, mode) as proxy:
        answer = post(proxy.url, {"id": 1, "method": "eth_chainId", "params": []})
        assert answer.status == status
        assert answer.data.startswith(start)
        assert bool(answer.data) == bool(start)
        assert answer.headers.get("Retry-After") == ("3" if status == 429 else None)
        assert sum(proxy.counts().values()) == 2


def test_json_can_be_cut_in_an_answer_that_looks_complete(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url, "cut-json") as proxy:
        answer = post(proxy.url, {"id": 1, "method": "eth_chainId", "params": []})
        assert answer.status == 200
        with pytest.raises(ValueError):
            answer.json()


def test_a_connection_can_be_reset_in_the_middle(anvil: Anvil) -> None:
    with (
        rpc_proxy(anvil.url, "cut-connection") as proxy,
        pytest.raises(urllib3.exceptions.HTTPError),
    ):
        post(proxy.url, {"id": 1, "method": "eth_chainId", "params": []})


def test_a_slow_answer_is_right(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url, "slow=0.05") as proxy:
        assert ask(proxy, "eth_chainId") == "0x7a69"
        assert proxy.counts()["slow"] == 1


def test_a_list_of_requests_is_answered_or_refused(anvil: Anvil) -> None:
    request = {"id": 1, "method": "eth_chainId", "params": []}
    with rpc_proxy(anvil.url) as proxy:
        assert [each["result"] for each in post(proxy.url, [request, request]).json()] == [
            "0x7a69",
            "0x7a69",
        ]
    with rpc_proxy(anvil.url, "no-batch") as proxy:
        assert post(proxy.url, [request]).json()["error"]["code"] == -32600
        assert ask(proxy, "eth_chainId") == "0x7a69"


def test_logs_over_too_many_blocks_are_refused_in_the_words_of_several(anvil: Anvil) -> None:
    first, last = mine_logs(anvil, 4)
    with rpc_proxy(anvil.url, "log-range=3") as proxy:
        assert len(ask(proxy, "eth_getLogs", logs_between(first, last - 1))) == 3
        asked = [ask(proxy, "eth_getLogs", logs_between(first, last)) for _ in range(20)]
        assert len({each["code"] for each in asked}) > 2
        open_end = {"address": EMITTER, "fromBlock": hex(first)}
        assert "code" in ask(proxy, "eth_getLogs", open_end)
        assert proxy.counts()["log-range"] == 21


def test_too_many_logs_are_refused_but_never_those_of_one_block(anvil: Anvil) -> None:
    first, last = mine_logs(anvil, 3)
    with rpc_proxy(anvil.url, "log-results=2") as proxy:
        assert "code" in ask(proxy, "eth_getLogs", logs_between(first, last))
        assert len(ask(proxy, "eth_getLogs", logs_between(first, last - 1))) == 2
    with rpc_proxy(anvil.url, "log-results=0") as proxy:
        assert len(ask(proxy, "eth_getLogs", logs_between(first, first))) == 1


def test_a_stale_head_hides_what_came_after_it(anvil: Anvil) -> None:
    first, last = mine_logs(anvil, 3)
    block: Any = anvil.rpc("eth_getBlockByNumber", hex(last), False)
    newest = block["transactions"][0]
    with rpc_proxy(anvil.url, "stale-head=2") as proxy:
        assert number(ask(proxy, "eth_blockNumber")) == first
        assert number(ask(proxy, "eth_getBlockByNumber", "latest", False)["number"]) == first
        assert ask(proxy, "eth_getBlockByNumber", hex(last), False) is None
        assert ask(proxy, "eth_getBlockByHash", block["hash"], False) is None
        assert len(ask(proxy, "eth_getLogs", logs_between(first, last))) == 1
        assert ask(proxy, "eth_getLogs", logs_between(last, last)) == []
        assert ask(proxy, "eth_getTransactionReceipt", newest) is None
        assert ask(proxy, "eth_getTransactionByHash", newest)["blockNumber"] is None
        refused = ask(proxy, "eth_getBalance", EMITTER, hex(last))
        assert refused["message"] == "header not found"
        assert number(ask(proxy, "eth_getTransactionCount", block["miner"], "latest")) == 0


def test_two_back_ends_answer_in_turn(anvil: Anvil) -> None:
    _, last = mine_logs(anvil, 3)
    with rpc_proxy(anvil.url, "two-back-ends=2") as proxy:
        heads = [number(ask(proxy, "eth_blockNumber")) for _ in range(4)]
        assert heads == [last, last - 2, last, last - 2]
        logs = [len(ask(proxy, "eth_getLogs", logs_between(last - 2, last))) for _ in range(2)]
        assert logs == [3, 1]


@pytest.mark.parametrize("tag", ["pending", "safe", "finalized"])
def test_a_tag_can_be_missing(anvil: Anvil, tag: str) -> None:
    with rpc_proxy(anvil.url, tag) as proxy:
        assert "code" in ask(proxy, "eth_getBlockByNumber", tag, False)
        assert "code" in ask(proxy, "eth_getTransactionCount", EMITTER, tag)
        assert "code" in ask(proxy, "eth_getLogs", {"toBlock": tag})
        assert "code" not in ask(proxy, "eth_getBlockByNumber", "latest", False)


def test_an_old_state_is_gone_but_not_its_block(anvil: Anvil) -> None:
    anvil.rpc("anvil_mine", "0x5")
    with rpc_proxy(anvil.url, "no-archive=3") as proxy:
        newest = number(ask(proxy, "eth_blockNumber"))
        assert "missing trie node" in ask(proxy, "eth_getCode", EMITTER, hex(newest - 4))["message"]
        assert ask(proxy, "eth_getCode", EMITTER, hex(newest - 3)) == "0x"
        assert ask(proxy, "eth_getBlockByNumber", hex(newest - 4), False)


def test_headers_can_be_those_of_a_proof_of_authority_chain(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url, "long-extra-data") as proxy:
        block = ask(proxy, "eth_getBlockByNumber", "latest", False)
        assert len(bytes.fromhex(block["extraData"][2:])) == 97


def test_a_chain_can_lack_fees_of_eip_1559(anvil: Anvil) -> None:
    account = anvil.funded()
    with rpc_proxy(anvil.url, "no-1559") as proxy:
        assert "baseFeePerGas" not in ask(proxy, "eth_getBlockByNumber", "latest", False)
        for method in ("eth_maxPriorityFeePerGas", "eth_feeHistory"):
            assert ask(proxy, method, "0x1", "latest", [])["code"] == -32601
        refused = ask(proxy, "eth_sendRawTransaction", signed(anvil, account, 0)[0])
        assert "type not supported" in refused["message"]
        legacy, name = signed(anvil, account, 0, gasPrice=9 * GWEI)
        assert ask(proxy, "eth_sendRawTransaction", legacy) == name


def test_a_node_can_lack_the_history_of_fees(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url, "no-fee-history") as proxy:
        assert ask(proxy, "eth_feeHistory", "0x1", "latest", [])["code"] == -32601
        assert number(ask(proxy, "eth_maxPriorityFeePerGas")) >= 0


def test_a_large_transaction_is_refused_at_its_limit(anvil: Anvil) -> None:
    small, name = signed(anvil, anvil.funded(), 0)
    large, _ = signed(anvil, anvil.funded(), 0, data="0x" + "00" * 131_072)
    with rpc_proxy(anvil.url, "raw-limit") as proxy:
        assert ask(proxy, "eth_sendRawTransaction", small) == name
        assert "limit 131072" in ask(proxy, "eth_sendRawTransaction", large)["message"]


@pytest.mark.parametrize(("mode", "step"), [("nonce-behind", -1), ("nonce-ahead", 1)])
def test_the_nonce_can_be_wrong(anvil: Anvil, mode: str, step: int) -> None:
    account = anvil.funded()
    raw, name = signed(anvil, account, 0)
    anvil.rpc("eth_sendRawTransaction", raw)
    await_mined(anvil, name)
    with rpc_proxy(anvil.url, mode) as proxy:
        asked = ask(proxy, "eth_getTransactionCount", account.address, "latest")
        assert number(asked) == 1 + step


def test_a_transaction_can_vanish(anvil: Anvil) -> None:
    raw, name = signed(anvil, anvil.funded(), 0)
    with rpc_proxy(anvil.url, "vanish") as proxy:
        assert ask(proxy, "eth_sendRawTransaction", raw) == name
        assert ask(proxy, "eth_getTransactionByHash", name) is None
        assert proxy.counts()["vanish"] == 1


def test_the_answer_can_be_lost_after_the_transaction_was_taken(anvil: Anvil) -> None:
    raw, name = signed(anvil, anvil.funded(), 0)
    request = {"id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
    with rpc_proxy(anvil.url, "answer-lost") as proxy:
        with pytest.raises(urllib3.exceptions.HTTPError):
            post(proxy.url, request)
        await_mined(anvil, name)
        assert ask(proxy, "eth_getTransactionReceipt", name)["status"] == "0x1"


def test_a_transaction_that_was_taken_is_already_known(anvil: Anvil) -> None:
    raw, name = signed(anvil, anvil.funded(), 0)
    with rpc_proxy(anvil.url, "already-known") as proxy:
        assert "nown" in ask(proxy, "eth_sendRawTransaction", raw)["message"]
        await_mined(anvil, name)
        assert ask(proxy, "eth_getTransactionReceipt", name)["status"] == "0x1"


def test_a_stuck_transaction_is_replaced_only_by_one_that_pays_ten_percent_more(
    anvil: Anvil,
) -> None:
    account = anvil.funded()
    raw, name = signed(anvil, account, 0)
    cheap, _ = signed(anvil, account, 0, maxFeePerGas=99 * GWEI // 10, maxPriorityFeePerGas=GWEI)
    dear, replaced = signed(
        anvil, account, 0, maxFeePerGas=99 * GWEI // 10, maxPriorityFeePerGas=11 * GWEI // 10
    )
    with rpc_proxy(anvil.url, "underpriced") as proxy:
        assert ask(proxy, "eth_sendRawTransaction", raw) == name
        assert ask(proxy, "eth_getTransactionByHash", name)["blockNumber"] is None
        assert ask(proxy, "eth_getTransactionCount", account.address, "pending") == "0x1"
        assert ask(proxy, "eth_getTransactionCount", account.address, "latest") == "0x0"
        assert ask(proxy, "eth_sendRawTransaction", raw)["message"] == "already known"
        assert "eplacement" in ask(proxy, "eth_sendRawTransaction", cheap)["message"]
        assert ask(proxy, "eth_sendRawTransaction", dear) == replaced
        await_mined(anvil, replaced)
        assert ask(proxy, "eth_getTransactionReceipt", replaced)["status"] == "0x1"
        assert proxy.counts()["refused replacements"] == 1


def test_a_tip_must_be_large_enough(anvil: Anvil) -> None:
    account = anvil.funded()
    low, _ = signed(anvil, account, 0)
    enough, name = signed(anvil, account, 0, maxFeePerGas=40 * GWEI, maxPriorityFeePerGas=25 * GWEI)
    with rpc_proxy(anvil.url, "minimum-tip") as proxy:
        assert "minimum needed" in ask(proxy, "eth_sendRawTransaction", low)["message"]
        assert number(ask(proxy, "eth_maxPriorityFeePerGas")) == 25 * GWEI
        assert ask(proxy, "eth_sendRawTransaction", enough) == name


def test_every_mode_at_once_still_lets_calls_through(anvil: Anvil) -> None:
    with rpc_proxy(anvil.url, *[f"{name}@0" for name in MODES]) as proxy:
        assert ask(proxy, "eth_chainId") == "0x7a69"
        assert {count for name, count in proxy.counts().items() if name != "calls"} == {0}


def test_the_proxy_runs_as_a_command_and_prints_its_counts(anvil: Anvil) -> None:
    command = [sys.executable, "-m", "tests.support.rpc_proxy", "--to", anvil.url]
    with subprocess.Popen(
        [*command, "--mode", "429@1"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert post(url, {"id": 1, "method": "eth_chainId", "params": []}).status == 429
        process.terminate()
        assert json.loads(process.stdout.readline()) == {"calls": 1, "429": 1}
