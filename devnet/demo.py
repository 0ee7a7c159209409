"""The demo: a consortium that trains, forgets one of its members, and proves it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rescind.agents import Action
from rescind.contracts import Consortium
from rescind.core import ArtifactStore, ConsortiumParameters, decode, write_private
from rescind.core.errors import ConfigError
from rescind.core.machine import available_cores
from rescind.daemon import Activities
from rescind.devnet.adapters import Removal, Replay, load_artifact, published_adapter
from rescind.devnet.chain import free_port, stop_chain
from rescind.devnet.data import Corpus
from rescind.devnet.defaults import default_lora
from rescind.devnet.evaluating import Evaluations, evaluate_run
from rescind.devnet.following import await_published, await_settled, follow_rounds
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.outcome import certify, summarize
from rescind.devnet.person import is_without, person_of
from rescind.devnet.preparing import (
    DemoOptions,
    Scene,
    benchmark_of,
    corpus_of,
    coupling_of,
    facts_of,
    parameters_of,
    prepared,
    public_of,
)
from rescind.devnet.processes import Daemons
from rescind.devnet.removal import Following, forget, remove
from rescind.devnet.report import write_report
from rescind.devnet.setup import (
    Endpoints,
    TaskRows,
    copy_identities,
    join,
    make_consortium,
    record_decisions,
    start_consortium,
)
from rescind.devnet.skill_scores import STATISTICS_PART
from rescind.devnet.summary import PersonSummary, Summary, without_of
from rescind.devnet.trace import write_run_trace
from rescind.devnet.watching import Doing, Say, Show, quiet
from rescind.node.facts import RoundFacts, open_journal
from rescind.training import Example, LoraModel, load_base, pick_device
from rescind.training.model.presets import resolve

_TERMS = {"commit_seconds": 6 * 3600, "reveal_seconds": 3600, "judge_seconds": 3600}
"""A large model trains long, and is scored long. No one waits for these deadlines in vain: a demo ends
when one of its daemons does."""


@dataclass(frozen=True)
class DemoResult:
    """A finished demo.

    Attributes:
        run: The run's folder.
        summary: What is in summary.json.
        question: One that only the organization that withdrew could answer.
        skill_question: One of the skill that is learned together; None without statistics.
    """

    run: RunFolder
    summary: Summary
    question: str
    skill_question: str | None = None


def demo(
    options: DemoOptions, say: Say, show: Show = quiet, *, began: float | None = None
) -> DemoResult:
    """Run the demo.

    Args:
        options: The options.
        say: Receives a line for each step.
        show: Receives what the daemons do, several times a second.
        began: When the run began, by `time.monotonic`; by default now.

    Raises:
        RescindError: An option is bad, or memory is missing, before anything is started; or the run
            did not get to its end.
    """
    began = time.monotonic() if began is None else began
    scene, model = prepared(options, say, show)
    keeps_running = False
    run, facts = scene.run, scene.facts
    try:
        consortium, removal, person = _first_run(scene)
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
            person,
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
    skill = scene.corpus.skill if scene.parameters.statistics else None
    return DemoResult(
        run, summary, own[0].question, skill.questions()[0].question if skill else None
    )


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
    model = LoraModel(base, default_lora(coupling_of(options, corpus)))
    parameters = parameters_of(options, base, model, corpus, size)
    facts = facts_of(options, base, size, parameters.coupling)
    facts.aggregator_port = int(port)
    where = Endpoints(rpc_url, f"0.0.0.0:{port}", aggregator, ("localhost", "127.0.0.1", host))
    benchmark, rows = benchmark_of(corpus), _rows(corpus, parameters)
    make_consortium(
        run,
        facts,
        parameters,
        corpus.organizations,
        benchmark,
        where,
        rows=rows,
        public=public_of(corpus, parameters),
    )
    return run.facts()


def _rows(corpus: Corpus, parameters: ConsortiumParameters) -> dict[str, TaskRows] | None:
    """Return the rows of each organization's statistics, if the members agreed on any."""
    return dict(corpus.skill.task_rows()) if corpus.skill and parameters.statistics else None


def _first_run(scene: Scene) -> tuple[Consortium, Removal, PersonSummary | None]:
    run, facts, corpus, say = scene.run, scene.facts, scene.corpus, scene.say
    names = list(corpus.organizations)
    with scene.clock.time("setup"):
        say(f"chain, contracts and identities of {len(names)} organizations")
        consortium = start_consortium(
            run,
            facts,
            scene.parameters,
            corpus.organizations,
            benchmark_of(corpus),
            _TERMS,
            _rows(corpus, scene.parameters),
            scene.reference,
            public_of(corpus, scene.parameters),
        )
        others = [name for name in names if name != scene.leaver]
        _join(scene, run, consortium, [*others, scene.leaver])
    with scene.daemons() as daemons:
        with scene.clock.time("rounds"):
            _start_daemons(daemons, run, names)
            say("aggregator and nodes started, each its own process")
            say("keep_withdrawn is set: the demo keeps the model before the removal, to compare")
            follow_rounds(consortium, daemons, facts.rounds, None, say)
            await_settled(run, consortium, daemons, names)
            await_published(consortium, daemons)
        following = Following(run, consortium, daemons, say)
        with scene.clock.time("withdrawal"):
            person = _forget_person(scene, following, others)
            facts.before_model = consortium.latest_model_id()
            removal = remove(following, scene.leaver, others)
            facts.after_model, facts.withdrawn = consortium.latest_model_id(), scene.leaver
            run.save(facts)
            await_published(consortium, daemons)
    return consortium, removal, person


def _join(scene: Scene, run: RunFolder, consortium: Consortium, names: Sequence[str]) -> None:
    """Give members their numbers in an order that the run without the leaver repeats.

    A router's sums have a column for each number. Otherwise nodes join when they start.
    """
    if scene.reference:
        join(run, consortium, names)


def _forget_person(
    scene: Scene, following: Following, others: Sequence[str]
) -> PersonSummary | None:
    """Withdraw one person from the leaver's statistics, while it is a member.

    So the run without the leaver needs no such withdrawal to have the same bytes.
    """
    skill, agreed = scene.corpus.skill, scene.parameters.statistics
    person = person_of(scene.corpus, scene.leaver) if agreed else None
    if person is None or skill is None or agreed is None:
        return None
    consortium, addresses = following.consortium, scene.run.facts().organizations
    model_id = consortium.latest_model_id()
    held = {each.organization for each in consortium.content(model_id, STATISTICS_PART)}
    summed = skill.of(
        [
            name
            for name, address in addresses.items()
            if address in held and _has_posted(scene.run, name)
        ]
    )
    if scene.leaver not in summed.organizations:
        return None
    before = load_artifact(scene.run, published_adapter(consortium, model_id))
    forgotten = forget(following, person.organization, person.subject, others)
    exact = is_without(person, summed, agreed, before, decode(forgotten.adapter))
    return PersonSummary(
        organization=person.organization,
        rows=person.rows,
        exact=exact,
        seconds=forgotten.seconds,
    )


def _replay(scene: Scene) -> Replay:
    run, target = scene.run, scene.run.replay
    members = _members_of_replay(scene)
    copy_identities(run, target, list(members))
    last_round = 0
    for name in members:
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
        left_out = without_of(scene.parameters.coupling, scene.leaver)
        scene.say(f"replaying the whole run without {left_out}, to compare")
        benchmark, agreed = benchmark_of(scene.corpus), scene.parameters
        rows, public = _rows(scene.corpus, agreed), public_of(scene.corpus, agreed)
        consortium = start_consortium(
            target,
            facts,
            agreed,
            members,
            benchmark,
            _TERMS,
            rows,
            scene.reference,
            public,
        )
        _join(scene, target, consortium, list(members))
        with scene.daemons() as daemons:
            _start_daemons(daemons, target, list(members))
            seconds = follow_rounds(consortium, daemons, facts.rounds, last_round, scene.say)
            await_published(consortium, daemons)
            if scene.leaver in members:
                # Its public contributions go here too, so that nothing but private data differs.
                others = [name for name in members if name != scene.leaver]
                await_settled(target, consortium, daemons, list(members))
                remove(Following(target, consortium, daemons, scene.say), scene.leaver, others)
                await_published(consortium, daemons)
    adapter_id = published_adapter(consortium, consortium.latest_model_id())
    adapter = ArtifactStore(target.store).view(adapter_id) if adapter_id else b""
    stop_chain(target.chain)
    return Replay(adapter, seconds)


def _members_of_replay(scene: Scene) -> dict[str, Sequence[Example]]:
    """Return the data of each organization in the run to compare with.

    It is a run without the organization that withdraws. In a split coupling the organization takes
    part with its public data alone, because only its revocable data is removed without a trace.
    """
    corpus, leaver = scene.corpus, scene.leaver
    public = corpus.public(leaver) if scene.parameters.split is not None else ()
    members: dict[str, Sequence[Example]] = {**corpus.organizations}
    members[leaver] = [row for row in corpus.organizations[leaver] if row.subject in public]
    return {name: rows for name, rows in members.items() if rows}


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


def _has_posted(run: RunFolder, name: str) -> bool:
    """Return whether a node's agent decided to post statistics in some round."""
    return any(action.statistics for action in recorded_decisions(run, name).values())


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
