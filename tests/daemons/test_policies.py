"""Policies trained in the game decide in live nodes, and the chain pays what the game predicted."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from rescind.agents import ACTIONS, PolicyFile, read_trace
from rescind.agents.experiments import read_experiment
from rescind.agents.experiments.policies import train_policies
from rescind.agents.experiments.store import RunFolder
from rescind.agents.experiments.sweep import sweep
from rescind.devnet.trace import write_run_trace
from rescind.ledger import Ledger, load_key
from rescind.node.facts import RoundFacts, open_journal
from tests.support.daemons import consortium, finals, wait_for

pytestmark = pytest.mark.slow
ROUNDS = 3
PRICES = [0.02, 0.02, 0.9]
EXPERIMENT = f"""
trace = "{Path(__file__).parents[2] / "benchmarks/participation/traces/demo.jsonl"}"

[experiment]
name = "live"
question = "What will three organizations do, one of which pays dearly for its computing?"
seeds = 10
train_episodes = 100

[game]
organizations = 3
rounds = {ROUNDS}
prices = {PRICES}
overlap = 0.5
evaluation_noise = 0.02

[[learner]]
name = "q-learning"
settings = {{ epsilon = 0.5, epsilon_end = 0.02, explore_rounds = 150, explore = "any" }}
"""


def test_live_nodes_do_what_the_game_foretold(tmp_path: Path) -> None:
    path = tmp_path / "live.toml"
    path.write_text(EXPERIMENT)
    experiment = read_experiment(path)
    [cell] = experiment.cells()
    folder = RunFolder(tmp_path / "foretold")
    sweep(experiment, folder, say=lambda _: None, processes=1)
    foretold = folder.rows(cell, "rounds")
    policies = train_policies(cell, tmp_path / "policies")
    of_first_seed = [p for p in policies if p.parent.name == "seed-0"]

    scene = consortium(tmp_path / "run", ROUNDS, organizations=3, steps=20, scored=True)
    with scene as (run, record, daemons):
        names = list(run.facts().organizations)
        for name, policy, price in zip(names, of_first_seed, PRICES, strict=True):
            toml = run.organization(name) / "node.toml"
            content = tomllib.loads(toml.read_text())
            content["agent"] = {"policy": "q-learning", "start": str(policy), "frozen": True}
            content["costs"] = {"compute_price": price}
            toml.write_text(tomli_w.dumps(content))
        for daemon in daemons.values():
            daemon.start()

        def settled() -> bool:
            journals = [open_journal(run.node_state(n)) for n in names]
            return finals(record) == ROUNDS and all(
                RoundFacts.load(j, ROUNDS).settled for j in journals
            )

        wait_for("three rounds", settled)
        write_run_trace(run, record)
        for daemon in daemons.values():
            daemon.stop()

        for place, name in enumerate(names):
            journal = open_journal(run.node_state(name))
            learner = PolicyFile.read(of_first_seed[place]).seated(of_first_seed[place], [0])
            for number in range(1, ROUNDS + 1):
                decision = RoundFacts.load(journal, number).decided()
                seen = decision.observation.features()[None, None]
                told = ACTIONS[int(learner.choose(seen, number, explore=False)[0, 0])]
                action = decision.action
                assert (action.effort, action.data_fraction) == (told.effort, told.data_fraction)
        records = Ledger.open(
            run.organization(names[0]) / "ledger",
            load_key(run.organization(names[0]) / "ledger.key"),
        )
        with records as ledger:
            why = [r.payload["why"] for r in ledger.records() if r.type == "decision"]
        assert len(why) == ROUNDS
        assert all("q-learning: state quality" in text for text in why)

        rows = read_trace(run.trace)
        for number in range(1, ROUNDS + 1):
            live = [row for row in rows if row.round == number]
            game = [row for row in foretold if row["round"] == number]
            share = sum(row.took_part for row in live) / 3
            expected = [row["participation"] for row in game]
            assert min(expected) <= share <= max(expected)
            low, high = game[0]["pay_low"], game[0]["pay_high"]
            for row in (row for row in live if row.took_part):
                assert low - 1e-9 <= row.paid <= high + 1e-9, (number, row.paid, low, high)
            assert sum(row.paid for row in live) == pytest.approx(
                np.median([row["paid"] for row in game]), abs=1e-6
            )
