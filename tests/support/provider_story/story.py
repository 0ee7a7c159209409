"""Two rounds of real daemons whose provider misbehaves, a withdrawal, and an account of it all."""

from __future__ import annotations

import time
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3

from rescind.contracts import Consortium, Event, RoundState, WithdrawalState
from rescind.devnet import RunFolder
from rescind.devnet.chain import ChainKind
from rescind.devnet.data import generated
from rescind.node.facts import AdoptedModel, open_journal
from tests.support.daemons import Daemon, consortium, wait_for
from tests.support.files import rescind
from tests.support.provider_story.outcome import FILLER, Outcome
from tests.support.rpc_proxy import COUNTS
from tests.support.withdrawals import settled

ROUNDS = 2
LEAVER = "aurora"
PREPARATION_SECONDS = 120
POLL_SECONDS = 0.4
LAG_BLOCKS = 3
"""More than any mode's head lags."""
ETHER = 10**18


class Ended(Exception):
    """A daemon ended by itself."""


def play(
    folder: Path,
    modes: Sequence[str] = (),
    *,
    chain: ChainKind = "anvil",
    block_seconds: int = 0,
    confirmations: int = 0,
    seed: int = 0,
    seconds: float = 300.0,
) -> Outcome:
    """Play two rounds, replace one data subject's part, verify and list the events.

    Args:
        folder: The run's folder, which is kept.
        modes: How the provider misbehaves, as in `rpc_proxy`.
        chain: The program that runs the chain.
        block_seconds: Seconds between blocks; 0 for a block with each transaction.
        confirmations: Depth that daemons wait for.
        seed: Seed of the provider.
        seconds: Longest time of each part of the story.
    """
    outcome = Outcome(list(modes), chain, block_seconds, seed)
    terms = {"preparation_seconds": PREPARATION_SECONDS}
    try:
        with consortium(
            folder,
            ROUNDS,
            terms=terms,
            chain=chain,
            block_seconds=block_seconds,
            confirmations=confirmations,
            modes=modes,
            seed=seed,
            poll_seconds=POLL_SECONDS,
        ) as (run, record, daemons):
            _tell(run, record, daemons, outcome, seconds)
    except Exception as error:
        outcome.problem = outcome.problem or f"setup: {type(error).__name__}: {error}"[:500]
    return outcome


def _tell(
    run: RunFolder,
    record: Consortium,
    daemons: Mapping[str, Daemon],
    outcome: Outcome,
    seconds: float,
) -> None:
    began = time.monotonic()

    def wait(what: str, done: Callable[[], object]) -> None:
        def look() -> object:
            for name, daemon in daemons.items():
                if not daemon.runs:
                    raise Ended(f"{name}: {daemon.log.read_text()[-300:]}")
            return done()

        wait_for(what, look, seconds)

    try:
        # A node that is behind would not know the admissions, without which a daemon does not start.
        _catch_up(record, outcome)
        for daemon in daemons.values():
            daemon.start()
        names = list(run.facts().organizations)
        wait("two rounds", lambda: _finals(record) == ROUNDS)
        wait("rewards", lambda: all(settled(run, name, ROUNDS) for name in names))
        _withdraw(run, outcome)
        wait("the withdrawal", lambda: record.withdrawals()[0].state is WithdrawalState.CLOSED)
        latest = record.latest_model_id()
        wait("the publication", lambda: record.publications(latest))
        wait("adoption", lambda: all(_adopted(run, name, latest) for name in names))
        # A node that is behind would still answer that the withdrawal is not closed.
        _catch_up(record, outcome)
        _look_at_it(run, record, outcome)
    except (Exception, AssertionError) as error:
        outcome.problem = f"{type(error).__name__}: {error}"[:500]
    outcome.seconds = round(time.monotonic() - began, 1)
    outcome.faults = _faults(run)
    _end(daemons, outcome)
    _account(run, record, outcome)


def _catch_up(record: Consortium, outcome: Outcome) -> None:
    """Let a node that is behind learn what has happened, if blocks come by themselves."""
    if outcome.block_seconds:
        end = record.chain.final_block_number() + LAG_BLOCKS
        wait_for("later blocks", lambda: record.chain.final_block_number() >= end)


def _withdraw(run: RunFolder, outcome: Outcome) -> None:
    subject = generated(2, seed=1).organizations[LEAVER][0].subject
    config = run.organization(LEAVER) / "node.toml"
    words = ["--method", "replacement", "--subject", subject, "--json"]
    _command(outcome, "withdraw request", "-c", config, *words)


def _look_at_it(run: RunFolder, record: Consortium, outcome: Outcome) -> None:
    url, path = _url(run), run.root / "certificate.json"
    _command(outcome, "certify", run.root, "--withdrawal", "1", "--rpc", url, "--out", path)
    _command(outcome, "verify", path, "--rpc", url)
    listed = _command(
        outcome, "audit events", "--rpc", url, "--contracts", run.contracts, "--from-block", "0"
    )
    outcome.events_missing = len(list(record.events(0))) - len(listed.splitlines())


def _command(outcome: Outcome, name: str, *words: str | Path) -> str:
    done = rescind(*name.split(), *words)
    outcome.commands[name] = done.exit_code
    if done.exit_code:
        raise AssertionError(f"rescind {name}: {done.output[-400:]}")
    return done.stdout


def _finals(record: Consortium) -> int:
    states = [record.round(n).state for n in range(1, record.current_round_id() + 1)]
    return states.count(RoundState.FINAL)


def _adopted(run: RunFolder, name: str, model_id: int) -> bool:
    return model_id in AdoptedModel.ids(open_journal(run.node_state(name)))


def _url(run: RunFolder) -> str:
    """Return the URL of the provider that the daemons use."""
    content = tomllib.loads((run.aggregator / "aggregator.toml").read_text())
    return str(content["chain"]["rpc_url"])


def _faults(run: RunFolder) -> dict[str, int]:
    """Return what the provider counted; nothing if it is the chain itself."""
    request = {"jsonrpc": "2.0", "id": 1, "method": COUNTS, "params": []}
    answer = urllib3.request("POST", _url(run), json=request).json()
    counts: dict[str, int] = answer.get("result", {})
    return counts


def _end(daemons: Mapping[str, Daemon], outcome: Outcome) -> None:
    """Stop the daemons, and note how each one ended."""
    for name, daemon in daemons.items():
        if daemon.process is None:
            continue
        if daemon.runs:
            daemon.process.terminate()
            daemon.process.join(60)
        outcome.daemons[name] = daemon.process.exitcode


def _account(run: RunFolder, record: Consortium, outcome: Outcome) -> None:
    """Read every transaction from the chain itself."""
    roles = {address: name for name, address in run.facts().organizations.items()}
    roles[record.aggregator()] = "aggregator"
    rpc = record.chain.rpc
    sent: Counter[str] = Counter()
    reverted: Counter[str] = Counter()
    gas: Counter[str] = Counter()
    newest = rpc.request("eth_blockNumber").number()
    for number in range(1, newest + 1):
        block = rpc.request("eth_getBlockByNumber", hex(number), True)
        for transaction in block["transactions"].list():
            sender = transaction["from"].address()
            role = roles.setdefault(sender, "founder")
            name = f"{role} {_function(record, transaction)}"
            receipt = rpc.request("eth_getTransactionReceipt", transaction["hash"].hash())
            gas[sender] += receipt["gasUsed"].number() * receipt["effectiveGasPrice"].number()
            (sent if receipt["status"].number() else reverted)[name] += 1
    outcome.sent, outcome.reverted = dict(sorted(sent.items())), dict(reverted)
    for address, role in roles.items():
        balance = rpc.request("eth_getBalance", address, "latest").number()
        outcome.net[role] = balance + gas[address] - 1000 * ETHER
    events = list(record.events(0))
    seen = Counter(_key(event) for event in events)
    outcome.repeated = [name for name, count in seen.items() if count > 1]
    outcome.late = sum(event.name == "WithdrawalConverted" for event in events)


def _function(record: Consortium, transaction: Any) -> str:
    target = transaction["to"].address()
    if not target:
        return "creates a contract"
    if target == transaction["from"].address() and not transaction["input"].data():
        return FILLER
    return record.decode_call(target, transaction["input"].data()).partition("(")[0]


def _key(event: Event) -> str:
    return f"{event.contract}.{event.name} {sorted(event.args.items())}"
