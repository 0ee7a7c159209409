"""The demo: a consortium that trains, forgets one of its members, and proves it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rescind.agents import Action
from rescind.contracts import Consortium, RoundState
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Coupling,
    make_private_folder,
    write_private,
)
from rescind.core.errors import ConfigError, RescindError
from rescind.devnet.chain import CHAIN_ID, ChainKind, free_port, stop_chain
from rescind.devnet.data import Corpus, check_corpus, from_folder, generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.outcome import (
    Clock,
    Removal,
    Replay,
    certify,
    evaluate_run,
    published_adapter,
    summarize,
)
from rescind.devnet.processes import Daemons
from rescind.devnet.removal import remove
from rescind.devnet.report import write_report
from rescind.devnet.setup import (
    Endpoints,
    copy_identities,
    make_consortium,
    record_decisions,
    start_consortium,
)
from rescind.devnet.summary import Summary
from rescind.devnet.trace import write_run_trace
from rescind.node.facts import RoundFacts, open_journal
from rescind.training import Base, LoraModel, ReadOptions, load_base

_LOOK_SECONDS = 0.2
_ROUND_SECONDS = 3600.0
_BENCHMARK_ROWS = 32
_ETHER = 10**18

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoOptions:
    """Options of the demo, as on the command line."""

    orgs: int | None = None
    rounds: int = 3
    withdraw: str | None = None
    data: Path | None = None
    model: str | None = None
    coupling: Coupling = "isolated"
    out: Path = Path("runs")
    seed: int = 0
    chain: ChainKind = "anvil"
    read: ReadOptions | None = None


@dataclass(frozen=True)
class DemoResult:
    """`question`: one that only the organization that withdrew could answer."""

    run: RunFolder
    summary: Summary
    question: str


def demo(options: DemoOptions, say: Say) -> DemoResult:
    """Raises RescindError for bad options before anything is started."""
    began = time.monotonic()
    corpus = _corpus(options)
    leaver = options.withdraw or next(iter(corpus.organizations))
    _check(options, corpus, leaver)
    clock = Clock()
    torch.set_num_threads(1)
    base = load_base(options.model or BASE_MODEL, device="auto")
    model = LoraModel(base, default_lora(options.coupling))
    parameters = _parameters(options, base, model, corpus)
    check_corpus(corpus, base.tokenizer, parameters)
    run = _new_run(options)
    facts = _facts(options, base)
    say(f"run folder {run.root}")
    for remark in corpus.remarks:
        say(remark)
    keeps_running = False
    try:
        consortium, removal = _first_run(run, facts, parameters, corpus, leaver, clock, say)
        replay = _replay(run, facts, parameters, corpus, leaver, clock, say)
        torch.set_num_threads(os.cpu_count() or 1)
        with clock.time("evaluation"):
            say("evaluating: before, after, and against the replay")
            evaluations = evaluate_run(run, model, parameters, corpus, consortium, replay)
        summary = summarize(
            run, facts, parameters, leaver, consortium, evaluations, removal, replay, clock, began
        )
        certify(run, consortium, evaluations, removal, replay)
        write_private(
            run.root / "summary.json", (summary.model_dump_json(indent=2) + "\n").encode()
        )
        write_report(run, summary)
        write_run_trace(run, consortium)
        # Hardhat's chain is in memory only: after its end there would be nothing to look at.
        keeps_running = facts.chain == "hardhat"
    finally:
        if not keeps_running:
            stop_chain(run.chain)
        stop_chain(run.replay.chain)
    own = corpus.own(leaver) or list(corpus.organizations[leaver])
    return DemoResult(run, summary, own[0].question)


def prepare(
    run: RunFolder, rpc_url: str, orgs: int, rounds: int, aggregator: str, seed: int
) -> RunFacts:
    """A consortium of generated people on a running Anvil; the daemons are started by others."""
    host, _, port = aggregator.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"--aggregator {aggregator}: expected HOST:PORT")
    options = DemoOptions(orgs=orgs, rounds=rounds, seed=seed)
    corpus = _corpus(options)
    base = load_base(BASE_MODEL)
    model = LoraModel(base, default_lora("isolated"))
    parameters = _parameters(options, base, model, corpus)
    facts = _facts(options, base)
    facts.aggregator_port = int(port)
    where = Endpoints(rpc_url, f"0.0.0.0:{port}", aggregator, ("localhost", "127.0.0.1", host))
    make_consortium(run, facts, parameters, corpus.organizations, _benchmark(corpus), where)
    return run.facts()


def _corpus(options: DemoOptions) -> Corpus:
    if options.data is None:
        count = 4 if options.orgs is None else options.orgs
        if not 2 <= count <= 64:
            raise ConfigError(f"--orgs {count}: a consortium has 2 to 64 organizations here")
        return generated(count, options.seed)
    corpus = from_folder(options.data, options.read)
    if options.orgs not in (None, len(corpus.organizations)):
        raise ConfigError(
            f"--orgs {options.orgs}: {options.data} holds {len(corpus.organizations)} organizations"
        )
    return corpus


def _check(options: DemoOptions, corpus: Corpus, leaver: str) -> None:
    if leaver not in corpus.organizations:
        raise ConfigError(f"--withdraw {leaver}: one of {', '.join(corpus.organizations)}")
    if not 1 <= options.rounds <= 1000:
        raise ConfigError(f"--rounds {options.rounds}: 1 to 1000")
    if not 0 <= options.seed < 2**31:
        raise ConfigError(f"--seed {options.seed}: 0 to 2147483647")


def _new_run(options: DemoOptions) -> RunFolder:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    root = options.out / f"{stamp}-{options.coupling}-seed{options.seed}"
    try:
        make_private_folder(root.parent)
        root.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConfigError(f"{root} exists already: try again in a second") from error
    except OSError as error:
        raise ConfigError(f"--out {options.out}: {error.strerror}") from error
    return RunFolder(root.resolve())


def _parameters(
    options: DemoOptions, base: Base, model: LoraModel, corpus: Corpus
) -> ConsortiumParameters:
    parameters = default_parameters(options.coupling, base.id, model.shapes, seed=options.seed)
    rows = max(len(examples) for examples in corpus.organizations.values())
    steps = max(parameters.training.steps_per_round, min(600, math.ceil(rows * 4 / 3)))
    training = parameters.training.model_copy(update={"steps_per_round": steps})
    return parameters.model_copy(update={"training": training})


def _facts(options: DemoOptions, base: Base) -> RunFacts:
    return RunFacts(
        seed=options.seed,
        coupling=options.coupling,
        model=str(base.folder.resolve()),
        rounds=options.rounds,
        chain_id=CHAIN_ID,
        chain=options.chain,
        chain_port=free_port(),
        aggregator_port=free_port(),
        organizations={},
    )


def _benchmark(corpus: Corpus) -> list[Any]:
    rows = corpus.shared or corpus.held_out
    step = max(1, len(rows) // _BENCHMARK_ROWS)
    return list(rows[::step][:_BENCHMARK_ROWS])


def _first_run(
    run: RunFolder,
    facts: RunFacts,
    parameters: ConsortiumParameters,
    corpus: Corpus,
    leaver: str,
    clock: Clock,
    say: Say,
) -> tuple[Consortium, Removal]:
    with clock.time("setup"):
        say(f"chain, contracts and identities of {len(corpus.organizations)} organizations")
        consortium = start_consortium(
            run, facts, parameters, corpus.organizations, _benchmark(corpus)
        )
    with Daemons() as daemons:
        with clock.time("rounds"):
            _start_daemons(daemons, run, list(corpus.organizations))
            say("aggregator and nodes started, each its own process")
            say("keep_withdrawn is set: the demo keeps the model before the removal, to compare")
            _follow_rounds(consortium, daemons, facts.rounds, None, say)
            _await_settled(run, consortium, daemons, list(corpus.organizations))
            _await_published(consortium, daemons)
        facts.before_model = consortium.latest_model_id()
        others = [name for name in corpus.organizations if name != leaver]
        with clock.time("withdrawal"):
            removal = remove(run, consortium, daemons, leaver, others, say)
            facts.after_model, facts.withdrawn = consortium.latest_model_id(), leaver
            run.save(facts)
            _await_published(consortium, daemons)
    return consortium, removal


def _replay(
    run: RunFolder,
    facts: RunFacts,
    parameters: ConsortiumParameters,
    corpus: Corpus,
    leaver: str,
    clock: Clock,
    say: Say,
) -> Replay:
    others = {n: rows for n, rows in corpus.organizations.items() if n != leaver}
    target = run.replay
    copy_identities(run, target, list(others))
    last_round = 0
    for name in others:
        decisions = recorded_decisions(run, name)
        last_round = max([last_round, *decisions])
        record_decisions(target, name, decisions)
    replay_facts = facts.model_copy(
        update={
            "chain_port": free_port(),
            "aggregator_port": free_port(),
            "organizations": {},
            "withdrawn": None,
        }
    )
    with clock.time("replay"):
        say(f"replaying the whole run without {leaver}, to compare")
        consortium = start_consortium(target, replay_facts, parameters, others, _benchmark(corpus))
        with Daemons() as daemons:
            _start_daemons(daemons, target, list(others))
            seconds = _follow_rounds(consortium, daemons, facts.rounds, last_round, say)
            _await_published(consortium, daemons)
    adapter_id = published_adapter(consortium, consortium.latest_model_id())
    adapter = ArtifactStore(target.store).view(adapter_id) if adapter_id else b""
    stop_chain(target.chain)
    return Replay(adapter, seconds)


def recorded_decisions(run: RunFolder, name: str) -> dict[int, Action]:
    """Return a node's decision for each round, from its journal."""
    rounds = RoundFacts.all(open_journal(run.node_state(name)))
    return {facts.round_id: facts.action for facts in rounds if facts.decision is not None}


def _start_daemons(daemons: Daemons, run: RunFolder, names: Sequence[str]) -> None:
    config = run.aggregator / "aggregator.toml"
    daemons.start(
        "aggregator", ["aggregator", "run", "-c", str(config)], run.aggregator / "aggregator.log"
    )
    for name in names:
        folder = run.organization(name)
        daemons.start(name, ["node", "run", "-c", str(folder / "node.toml")], folder / "node.log")


def _follow_rounds(
    consortium: Consortium, daemons: Daemons, target: int, last_round: int | None, say: Say
) -> float:
    """Until `target` rounds are final, or round `last_round` is over; seconds since the first opened."""
    opened, reported = 0.0, (0, RoundState.NONE)
    deadline = time.monotonic() + _ROUND_SECONDS
    while time.monotonic() < deadline:
        daemons.check()
        round_id = consortium.current_round_id()
        state = consortium.round(round_id).state if round_id else RoundState.NONE
        if round_id and not opened:
            opened = time.monotonic()
        if (round_id, state) != reported and round_id:
            if reported[0] and round_id > reported[0] and not reported[1].over:
                _tell(consortium, reported[0], consortium.round(reported[0]).state, say)
            reported = (round_id, state)
            deadline = time.monotonic() + _ROUND_SECONDS
            _tell(consortium, round_id, state, say)
        states = [consortium.round(n).state for n in range(1, round_id + 1)]
        finished = states.count(RoundState.FINAL) >= target
        if finished or (last_round is not None and round_id >= last_round and state.over):
            return time.monotonic() - opened
        time.sleep(_LOOK_SECONDS)
    raise RescindError(f"no round moved for {_ROUND_SECONDS:.0f} s: see the logs in the run folder")


def _tell(consortium: Consortium, round_id: int, state: RoundState, say: Say) -> None:
    say(f"round {round_id}: {state.value}{_accepted(consortium, round_id, state)}")


def _accepted(consortium: Consortium, round_id: int, state: RoundState) -> str:
    if state is not RoundState.FINAL:
        return ""
    names = {member.address: member.name for member in consortium.members()}
    parts = [
        f"{names[address]} (score {consortium.score(round_id, address)[0] / 100:.0f} %)"
        for address in consortium.accepted(round_id)
    ]
    return f", with {', '.join(parts)}"


def _await_settled(
    run: RunFolder, consortium: Consortium, daemons: Daemons, names: Sequence[str]
) -> None:
    last = consortium.current_round_id()
    journals = [open_journal(run.node_state(name)) for name in names]
    daemons.wait_for(lambda: all(RoundFacts.load(j, last).settled for j in journals))


def _await_published(consortium: Consortium, daemons: Daemons) -> None:
    """Wait until the files of the newest model are stated on chain."""
    latest = consortium.latest_model_id()
    if latest and consortium.content(latest):
        daemons.wait_for(lambda: bool(consortium.publications(latest)))
