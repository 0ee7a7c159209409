"""A small, quick consortium of real daemons on this machine."""

import json
import os
import signal
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import context, forkserver, get_context
from pathlib import Path
from typing import Any

import tomli_w
from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

from rescind.agents import ACTIONS
from rescind.contracts import Chain, Consortium, RoundState
from rescind.core import ConsortiumParameters, Coupling
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.devnet import RunFolder
from rescind.devnet.chain import CHAIN_ID, ChainKind, free_port, start_chain, stop_chain, url_of
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.layout import RunFacts
from rescind.devnet.preparing import public_of
from rescind.devnet.setup import Endpoints, TaskRows, make_consortium, record_decisions
from rescind.training import Example, LoraModel, load_base
from tests.daemons import harness
from tests.support.rpc_proxy import rpc_proxy

POLL_SECONDS = 0.05
"""Pause between looks at the chain. A look is some ten calls, so shorter pauses slow the machine."""


@cache
def processes() -> context.ForkServerContext:
    """Return a starter of processes that have already imported what daemons import, which is slow."""
    server = get_context("forkserver")
    server.set_forkserver_preload([harness.__name__, "tests.daemons.preloaded"])
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        forkserver.ensure_running()
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = threads
    return server


@dataclass
class Daemon:
    kind: str
    config: Path
    log: Path
    process: context.ForkServerProcess | None = None

    def said(self, word: str) -> bool:
        """Return whether the word is in its log."""
        return self.log.is_file() and word in self.log.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of its log for an event, oldest first."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [entry for entry in map(json.loads, lines) if entry["event"] == name]

    def configure(self, section: str, **settings: object) -> None:
        """Change settings of a section, from the next start on."""
        content = tomllib.loads(self.config.read_text())
        content.setdefault(section, {}).update(settings)
        self.config.write_text(tomli_w.dumps(content))

    def start_liar(self, *lies: str) -> None:
        self.start(*lies, kind="liar")

    def start(self, *words: str, kind: str = "") -> None:
        self.log.touch()
        arguments = (self.log, kind or self.kind, self.config, *words)
        self.process = processes().Process(target=harness.run, args=arguments)
        self.process.start()

    def die(self, seconds: float = 300.0) -> None:
        """Wait until the process has killed itself."""
        assert self.process is not None
        self.process.join(seconds)
        assert self.process.exitcode == -signal.SIGKILL, self.log.read_text()[-2000:]

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def stop(self) -> None:
        if self.process is not None and self.process.is_alive():
            self.process.terminate()
            self.process.join(30)
            assert self.process.exitcode == 0, self.log.read_text()[-2000:]


@contextmanager
def consortium(
    folder: Path,
    rounds: int,
    *,
    organizations: int = 2,
    terms: Mapping[str, object] | None = None,
    confirmations: int = 0,
    hiding: bool = False,
    coupling: Coupling = "isolated",
    agreed: Mapping[str, object] | None = None,
    steps: int = 2,
    scored: bool = False,
    keep_withdrawn: bool = True,
    chain: ChainKind = "anvil",
    block_seconds: int = 0,
    modes: Sequence[str] = (),
    seed: int = 0,
    poll_seconds: float = POLL_SECONDS,
    statistics: StatisticsParameters | None = None,
    rows: Mapping[str, TaskRows] | None = None,
    reference: bytes = b"",
    questions: Sequence[Example] = (),
) -> Iterator[tuple[RunFolder, Consortium, dict[str, Daemon]]]:
    """Set up a consortium on its own chain. Tests start its daemons; all are stopped at the end.

    Args:
        folder: The run's folder.
        rounds: Number of rounds that the aggregator makes final.
        agreed: Further parameters. The training rule is given as `rule`.
        steps: Training steps of each round.
        scored: Score contributions by the shared data, instead of giving all the same score.
        terms: Fields of `DeploySettings` that are not those of a devnet.
        keep_withdrawn: Keep what closed withdrawals took out of the models.
        chain: The program that runs the chain.
        block_seconds: Seconds between blocks; 0 for a block with each transaction.
        modes: How the provider misbehaves that setup and daemons use, as in `rpc_proxy`. The
            client that tests get asks the chain itself.
        seed: Seed of the provider.
        poll_seconds: Pause between two looks of a daemon.
        statistics: The tasks of a hybrid coupling.
        rows: The rows of each organization's statistics, by name.
        reference: The public reference of the agreed router.
        questions: Further questions by which contributions are scored.
    """
    run, corpus = RunFolder(folder), generated(organizations, seed=1)
    data = corpus.organizations
    base = load_base(BASE_MODEL)
    model = LoraModel(base, default_lora(coupling))
    parameters = default_parameters(coupling, base.id, model.shapes, seed=1, statistics=statistics)
    quick = parameters.training.model_copy(update={"steps_per_round": steps})
    hides = hiding or parameters.hiding
    parameters = parameters.model_copy(update={"training": quick, "hiding": hides})
    document = parameters.model_dump(mode="json")
    for name, value in (agreed or {}).items():
        (document["training"] if name == "rule" else document)[name] = value
    parameters = ConsortiumParameters.model_validate(document)
    facts = RunFacts(
        seed=1,
        coupling=coupling,
        model=str(BASE_MODEL),
        rounds=rounds,
        chain_id=CHAIN_ID,
        chain=chain,
        chain_port=free_port(),
        aggregator_port=free_port(),
        organizations={},
    )
    action = replace(ACTIONS[-1], statistics=0.0 if statistics is None else 1.0)
    for name in data:
        # Three more rounds than become final, because an abandoned round is played again.
        record_decisions(run, name, dict.fromkeys(range(1, rounds + 4), action))
    benchmark = [*(corpus.shared if scored else ()), *questions]
    with ExitStack() as stack:
        stack.callback(stop_chain, run.chain)
        endpoints = stack.enter_context(_provider(run, facts, block_seconds, modes, seed))
        # A node that is behind does not know yet that a devnet's accounts were given ether.
        lags = any(mode.startswith(("stale-head", "two-back-ends")) for mode in modes)
        setup = Endpoints.local(facts) if lags else endpoints
        public = public_of(corpus, parameters)
        own = make_consortium(
            run, facts, parameters, data, benchmark, setup, terms, rows, reference, public
        )
        record = Consortium(Chain(url_of(facts.chain_port), CHAIN_ID), own.deployment)
        daemons = _configured(run, data)
        for daemon in daemons.values():
            daemon.configure("chain", confirmations=confirmations, rpc_url=endpoints.rpc_url)
            daemon.configure(daemon.kind, poll_seconds=poll_seconds, keep_withdrawn=keep_withdrawn)
        stack.callback(_kill, daemons)
        yield run, record, daemons


@contextmanager
def _provider(
    run: RunFolder, facts: RunFacts, block_seconds: int, modes: Sequence[str], seed: int
) -> Iterator[Endpoints]:
    """Start a chain, and a provider before it if it has modes."""
    start_chain(run.chain, facts.chain_port, facts.chain)
    endpoints = Endpoints.local(facts)
    if block_seconds:
        node = Chain(endpoints.rpc_url).rpc
        node.request("evm_setAutomine", False)
        # Anvil counts seconds, Hardhat milliseconds.
        unit = 1000 if facts.chain == "hardhat" else 1
        node.request("evm_setIntervalMining", block_seconds * unit)
    if not modes:
        yield endpoints
        return
    with rpc_proxy(endpoints.rpc_url, *modes, seed=seed) as proxy:
        yield replace(endpoints, rpc_url=proxy.url)


def _configured(run: RunFolder, names: Iterable[str]) -> dict[str, Daemon]:
    folders = {name: run.organization(name) for name in names}
    daemons = {n: Daemon("node", f / "node.toml", f / "node.log") for n, f in folders.items()}
    toml = run.aggregator / "aggregator.toml"
    daemons["aggregator"] = Daemon("aggregator", toml, run.aggregator / "aggregator.log")
    return daemons


def _kill(daemons: Mapping[str, Daemon]) -> None:
    for daemon in daemons.values():
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.join()


def play_until(run: RunFolder, rounds: int) -> None:
    """Set how many rounds the aggregator runs, from its next start on."""
    path = run.aggregator / "aggregator.toml"
    content = tomllib.loads(path.read_text())
    content["aggregator"]["rounds"] = rounds
    path.write_text(tomli_w.dumps(content))


def wait_for(what: str, done: Callable[[], object], seconds: float = 300.0) -> None:
    looking = retry(
        retry=retry_if_result(lambda result: not result),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(0.1),
    )
    try:
        looking(done)()
    except RetryError as error:
        raise AssertionError(f"{what} did not happen in {seconds:.0f} s") from error


def start_nodes(run: RunFolder, daemons: Mapping[str, Daemon]) -> list[Daemon]:
    """Start the daemon of every organization, and return them."""
    nodes = [daemons[name] for name in run.facts().organizations]
    for node in nodes:
        node.start()
    return nodes


def finals(record: Consortium) -> int:
    states = [record.round(n).state for n in range(1, record.current_round_id() + 1)]
    return states.count(RoundState.FINAL)


def pass_time(record: Consortium, seconds: int) -> None:
    rpc(record, "evm_increaseTime", seconds)
    rpc(record, "evm_mine")


def rpc(record: Consortium, method: str, *arguments: object) -> object:
    return record.chain.rpc.request(method, *arguments).value
