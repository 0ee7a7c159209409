"""SIGKILL at every step of a round, of a node and of the aggregator, then start again.

One consortium plays one round for each step and moment; a second one, with the same keys, plays as
many rounds undisturbed. Both must end with the same adapter, byte for byte.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tenacity import RetryError, retry, retry_if_result, stop_after_delay, wait_fixed

from agents import ACTIONS
from contracts import Consortium, RoundState
from devnet.chain import CHAIN_ID, free_port, stop_chain
from devnet.data import generated
from devnet.defaults import BASE_MODEL, default_lora, default_parameters
from devnet.layout import RunFacts, RunFolder
from devnet.setup import copy_identities, record_decisions, start_consortium
from ledger import Ledger, load_key
from training import LoraModel, load_base

HARNESS = Path(__file__).with_name("harness.py")
NODE_STEPS = ("decide", "train", "commit", "upload", "reveal", "adopt", "settle")
AGGREGATOR_STEPS = ("open", "close-commits", "close-reveals", "finalize")
KILLS = [(step, moment) for step in NODE_STEPS for moment in ("before", "after")]
AGGREGATOR_KILLS = [(step, moment) for step in AGGREGATOR_STEPS for moment in ("before", "after")]
VICTIM = "aurora"


@dataclass
class Daemon:
    kind: str
    config: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *kill: str) -> None:
        command = [sys.executable, str(HARNESS), self.kind, str(self.config), *kill]
        environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def die(self, seconds: float = 300.0) -> None:
        """Wait until the kill has happened."""
        assert self.process is not None
        assert self.process.wait(seconds) == -signal.SIGKILL, self.log.read_text()[-2000:]

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(30) == 0, self.log.read_text()[-2000:]


@contextmanager
def consortium(
    folder: Path, rounds: int, same_as: RunFolder | None = None
) -> Iterator[tuple[RunFolder, Consortium, dict[str, Daemon]]]:
    run, corpus = RunFolder(folder), generated(2, seed=1)
    base = load_base(BASE_MODEL)
    model = LoraModel(base, default_lora("isolated"))
    parameters = default_parameters("isolated", base.id, model.shapes, seed=1)
    quick = parameters.training.model_copy(update={"steps_per_round": 2})
    parameters = parameters.model_copy(update={"training": quick})
    facts = RunFacts(
        seed=1,
        coupling="isolated",
        model=str(BASE_MODEL),
        rounds=rounds,
        chain_id=CHAIN_ID,
        chain_port=free_port(),
        aggregator_port=free_port(),
        organizations={},
    )
    if same_as is not None:
        copy_identities(same_as, run, list(corpus.organizations))
    for name in corpus.organizations:
        record_decisions(run, name, dict.fromkeys(range(1, rounds + 1), ACTIONS[-1]))
    record = start_consortium(run, facts, parameters, corpus.organizations, [])
    folders = {name: run.organization(name) for name in corpus.organizations}
    daemons = {n: Daemon("node", f / "node.toml", f / "node.log") for n, f in folders.items()}
    toml = run.aggregator / "aggregator.toml"
    daemons["aggregator"] = Daemon("aggregator", toml, run.aggregator / "aggregator.log")
    try:
        yield run, record, daemons
    finally:
        for daemon in daemons.values():
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()
        stop_chain(run.chain)


def wait_for(what: str, done, seconds: float = 300.0) -> None:
    looking = retry(
        retry=retry_if_result(lambda found: not found),
        stop=stop_after_delay(seconds),
        wait=wait_fixed(0.1),
    )
    try:
        looking(done)()
    except RetryError as error:
        raise AssertionError(f"{what} did not happen in {seconds:.0f} s") from error


def finals(record: Consortium) -> int:
    states = [record.round(n).state for n in range(1, record.current_round_id() + 1)]
    return states.count(RoundState.FINAL)


def final_adapter(record: Consortium) -> str:
    return record.model(record.latest_model_id()).adapter_id


@pytest.mark.slow
def test_a_daemon_killed_at_any_step_finishes_the_round(tmp_path: Path) -> None:
    rounds = len(KILLS)
    with consortium(tmp_path / "killed", rounds) as (run, record, daemons):
        for name in record_names(daemons):
            daemons[name].start(*(KILLS[0] if name == VICTIM else ()))
        pending = list(AGGREGATOR_KILLS)
        daemons["aggregator"].start(*pending.pop(0))
        for kill in [*KILLS[1:], ()]:
            daemons[VICTIM].die() if not pending else None
            while pending or daemons[VICTIM].process.poll() is None:
                if daemons["aggregator"].process.poll() is not None:
                    assert daemons["aggregator"].process.returncode == -signal.SIGKILL
                    daemons["aggregator"].start(*(pending.pop(0) if pending else ()))
                if daemons[VICTIM].process.poll() is not None:
                    break
                wait_for("a kill", lambda: any_dead(daemons))
            daemons[VICTIM].die()
            daemons[VICTIM].start(*kill)
        while daemons["aggregator"].process.poll() is not None or pending:
            daemons["aggregator"].die()
            daemons["aggregator"].start(*(pending.pop(0) if pending else ()))
        wait_for("the last round", lambda: finals(record) == rounds)
        assert record.current_round_id() == rounds, "a round was lost"
        for number in range(1, rounds + 1):
            members = [c.organization for c in record.contributions(number)]
            assert len(members) == len(set(members)) == 2, f"round {number}: {members}"
        address = run.facts().organizations[VICTIM]
        wait_for("the last anchor", lambda: record.anchor(address).size >= 3 * rounds)
        for daemon in daemons.values():
            daemon.stop()
        folder = run.organization(VICTIM)
        with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
            kinds = [entry.type for entry in ledger.records()]
            assert (
                kinds.count("decision")
                == kinds.count("training-run")
                == kinds.count("reward")
                == rounds
            )
            anchor = record.anchor(address)
            assert ledger.verify([(anchor.size, anchor.root)]).sound
        disturbed = final_adapter(record)
    with consortium(tmp_path / "calm", rounds, same_as=run) as (_, record, daemons):
        for daemon in daemons.values():
            daemon.start()
        wait_for("the last round", lambda: finals(record) == rounds)
        assert final_adapter(record) == disturbed


def record_names(daemons: dict[str, Daemon]) -> list[str]:
    return [name for name in daemons if name != "aggregator"]


def any_dead(daemons: dict[str, Daemon]) -> bool:
    watched = (daemons[VICTIM], daemons["aggregator"])
    return any(d.process is not None and d.process.poll() is not None for d in watched)
