"""The demo: a consortium that trains, forgets one of its members, and proves it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rescind.agents import Action
from rescind.contracts import Consortium
from rescind.core import ArtifactStore, write_private
from rescind.core.errors import ConfigError
from rescind.core.machine import available_cores
from rescind.daemon import Activities
from rescind.devnet.adapters import Removal, Replay, published_adapter
from rescind.devnet.chain import free_port, stop_chain
from rescind.devnet.defaults import default_lora
from rescind.devnet.evaluating import Evaluations, evaluate_run
from rescind.devnet.following import await_published, await_settled, follow_rounds
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.outcome import certify, summarize
from rescind.devnet.preparing import (
    DemoOptions,
    Scene,
    benchmark_of,
    corpus_of,
    facts_of,
    parameters_of,
    prepared,
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
from rescind.devnet.watching import Doing, Say, Show, quiet
from rescind.node.facts import RoundFacts, open_journal
from rescind.training import LoraModel, load_base, pick_device
from rescind.training.model.presets import resolve

_TERMS = {"commit_seconds": 6 * 3600, "reveal_seconds": 3600, "judge_seconds": 3600}
"""A large model trains long, and is scored long. No one waits for these deadlines in vain: a demo ends
when one of its daemons does."""


@dataclass(frozen=True)
class DemoResult:
    """`question`: one that only the organization that withdrew could answer."""

    run: RunFolder
    summary: Summary
    question: str


def demo(options: DemoOptions, say: Say, show: Show = quiet) -> DemoResult:
    """Run the demo.

    Args:
        options: The options.
        say: Receives a line for each step.
        show: Receives what the daemons do, several times a second.

    Raises:
        RescindError: An option is bad, or memory is missing, before anything is started; or the run
            did not get to its end.
    """
    began = time.monotonic()
    scene, model = prepared(options, say, show)
    keeps_running = False
    run, facts = scene.run, scene.facts
    try:
        consortium, removal = _first_run(scene)
        replay = _replay(scene)
        evaluations = _evaluations(scene, model, consortium, replay)
        summary = summarize(
            run,
            facts,
            scene.parameters,
            scene.leaver,
            consortium,
            evaluations,
            removal,
            replay,
            scene.clock,
            began,
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
    rows = scene.corpus.own(scene.leaver) or scene.corpus.organizations[scene.leaver]
    own = [row for row in rows if not row.document]
    return DemoResult(run, summary, own[0].question)


def prepare(
    run: RunFolder, rpc_url: str, orgs: int, rounds: int, aggregator: str, seed: int
) -> RunFacts:
    """A consortium of generated people on a running Anvil; the daemons are started by others."""
    host, _, port = aggregator.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"--aggregator {aggregator}: expected HOST:PORT")
    options = DemoOptions(orgs=orgs, rounds=rounds, seed=seed)
    corpus, size = corpus_of(options, 0)
    base = load_base(resolve(options.model))
    model = LoraModel(base, default_lora("isolated"))
    parameters = parameters_of(options, base, model, corpus, size)
    facts = facts_of(options, base, size)
    facts.aggregator_port = int(port)
    where = Endpoints(rpc_url, f"0.0.0.0:{port}", aggregator, ("localhost", "127.0.0.1", host))
    make_consortium(run, facts, parameters, corpus.organizations, benchmark_of(corpus), where)
    return run.facts()


def _first_run(scene: Scene) -> tuple[Consortium, Removal]:
    run, facts, corpus, say = scene.run, scene.facts, scene.corpus, scene.say
    names = list(corpus.organizations)
    with scene.clock.time("setup"):
        say(f"chain, contracts and identities of {len(names)} organizations")
        consortium = start_consortium(
            run, facts, scene.parameters, corpus.organizations, benchmark_of(corpus), _TERMS
        )
    with scene.daemons() as daemons:
        with scene.clock.time("rounds"):
            _start_daemons(daemons, run, names)
            say("aggregator and nodes started, each its own process")
            say("keep_withdrawn is set: the demo keeps the model before the removal, to compare")
            follow_rounds(consortium, daemons, facts.rounds, None, say)
            await_settled(run, consortium, daemons, names)
            await_published(consortium, daemons)
        facts.before_model = consortium.latest_model_id()
        others = [name for name in names if name != scene.leaver]
        with scene.clock.time("withdrawal"):
            removal = remove(run, consortium, daemons, scene.leaver, others, say)
            facts.after_model, facts.withdrawn = consortium.latest_model_id(), scene.leaver
            run.save(facts)
            await_published(consortium, daemons)
    return consortium, removal


def _replay(scene: Scene) -> Replay:
    run, target, leaver = scene.run, scene.run.replay, scene.leaver
    others = {n: rows for n, rows in scene.corpus.organizations.items() if n != leaver}
    copy_identities(run, target, list(others))
    last_round = 0
    for name in others:
        decisions = recorded_decisions(run, name)
        last_round = max([last_round, *decisions])
        record_decisions(target, name, decisions)
    facts = scene.facts.model_copy(
        update={
            "chain_port": free_port(),
            "aggregator_port": free_port(),
            "organizations": {},
            "withdrawn": None,
        }
    )
    with scene.clock.time("replay"):
        scene.say(f"replaying the whole run without {leaver}, to compare")
        benchmark = benchmark_of(scene.corpus)
        consortium = start_consortium(target, facts, scene.parameters, others, benchmark, _TERMS)
        with scene.daemons() as daemons:
            _start_daemons(daemons, target, list(others))
            seconds = follow_rounds(consortium, daemons, facts.rounds, last_round, scene.say)
            await_published(consortium, daemons)
    adapter_id = published_adapter(consortium, consortium.latest_model_id())
    adapter = ArtifactStore(target.store).view(adapter_id) if adapter_id else b""
    stop_chain(target.chain)
    return Replay(adapter, seconds)


def _evaluations(
    scene: Scene, model: LoraModel, consortium: Consortium, replay: Replay
) -> Evaluations:
    """Evaluate with all cores, or on the GPU that the daemons have left."""
    torch.set_num_threads(available_cores())
    if pick_device().type != "cpu":
        base = load_base(model.base.folder, model.base.id, dtype=scene.facts.dtype)
        model = LoraModel(base, scene.parameters.lora)
    with scene.clock.time("evaluation"):
        scene.say("evaluating: before, after, and against the replay")
        activities = Activities(scene.run.root, logged=False)
        with activities.during("evaluating") as tell:

            def told(done: int, total: int, loss: float | None = None) -> None:
                tell(done, total, loss)
                scene.show([Doing("demo", activities.state)] if activities.state else [])

            result = evaluate_run(
                scene.run, model, scene.parameters, scene.corpus, consortium, replay, told
            )
        scene.show([])
    return result


def recorded_decisions(run: RunFolder, name: str) -> dict[int, Action]:
    """Return a node's decision for each round, from its journal."""
    rounds = RoundFacts.all(open_journal(run.node_state(name)))
    return {facts.round_id: facts.action for facts in rounds if facts.decision is not None}


def _start_daemons(daemons: Daemons, run: RunFolder, names: Sequence[str]) -> None:
    folder = run.aggregator
    _start(daemons, "aggregator", ["aggregator", "run"], folder, "aggregator")
    for name in names:
        _start(daemons, name, ["node", "run"], run.organization(name), "node")


def _start(daemons: Daemons, name: str, words: Sequence[str], folder: Path, kind: str) -> None:
    config = folder / f"{kind}.toml"
    daemons.start(name, [*words, "-c", str(config)], folder / f"{kind}.log", folder / "state")
