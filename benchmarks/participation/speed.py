"""Steps a second of the vectorised game, beside PettingZoo and stable-baselines3 stepping the same one.

    python -m benchmarks.participation.speed

An agent-step is one organization's decision, its part in the round, and what it learns from it. Games are
independent, so each process plays its own. Writes speed.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.conditions import conditions
from rescind.agents.game import Game
from rescind.agents.learners import QLearning, TabularConfig
from rescind.agents.play import Seated, sit
from rescind.agents.world import GameConfig

RESULTS = Path(__file__).with_name("speed.json")
_AGENTS = 10_000
_SIZES = (10, 100, 1_000, 10_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    seconds, many = arguments.seconds, arguments.processes
    found: dict[str, Any] = {
        "conditions": conditions(("numpy", "numba", "pettingzoo", "stable-baselines3", "torch")),
        "runs": [],
    }
    with ProcessPoolExecutor(many, get_context("spawn")) as pool:
        for repeat in range(arguments.repeats):
            for size in _SIZES:
                for name, run in (("game and Q-learning", learned), ("game alone", stepped)):
                    rates = list(pool.map(run, [size] * many, range(many), [seconds] * many))
                    _note(found, name, size, repeat, many, sum(rates))
            for size in (10, 100):
                rates = list(pool.map(pettingzoo, [size] * many, range(many), [seconds] * many))
                _note(found, "PettingZoo loop and Q-learning", size, repeat, many, sum(rates))
            rates = list(pool.map(sb3, [10] * many, range(many), [seconds] * many))
            _note(found, "stable-baselines3 DQN, one of ten", 10, repeat, many, sum(rates))
    arguments.results.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _note(
    found: dict[str, Any], what: str, size: int, repeat: int, processes: int, rate: float
) -> None:
    found["runs"].append(
        {"what": what, "organizations": size, "repeat": repeat, "agent_steps_per_s": round(rate)}
    )
    sys.stdout.write(f"{what:36} {size:6} organizations: {rate / 1e6:8.3f} M agent-steps/s, ")
    sys.stdout.write(f"{1e9 * processes / rate:9.1f} ns of a core each\n")
    sys.stdout.flush()


def _table(size: int, seed: int) -> tuple[Game, Seated]:
    config = GameConfig(
        organizations=size,
        rounds=24,
        price_spread=0.5,
        size_spread=0.5,
        energy_amplitude=0.3,
        reward_per_round=0.1,
        per_organization=True,
    )
    games = np.arange(max(1, _AGENTS // size)) + 1000 * seed
    game = Game(config, games)
    return game, sit(game, QLearning(TabularConfig(explore="any")))


def learned(size: int, seed: int, seconds: float) -> float:
    game, table = _table(size, seed)
    clock, before = 0, game.observe().copy()

    def round_() -> None:
        nonlocal clock
        if game.over:
            before[...] = game.reset(clock)
        clock += 1
        actions = table.learner.choose(before, clock, explore=True)
        step = game.step(actions)
        after = game.observe()
        table.learner.learn(before, step.acted, step.reward, after, clock)
        before[...] = after

    return _rate(round_, game.seeds.size * size, seconds)


def stepped(size: int, seed: int, seconds: float) -> float:
    game, _ = _table(size, seed)
    actions = np.full((game.seeds.size, size), 4, dtype=np.int8)

    def round_() -> None:
        if game.over:
            game.reset(0)
        game.step(actions)
        game.observe()

    return _rate(round_, game.seeds.size * size, seconds)


def pettingzoo(size: int, seed: int, seconds: float) -> float:
    """As one would write it on the parallel API: a dictionary for each organization and round."""
    from rescind.agents.environments import Participation

    config = _table(size, seed)[0].config
    environment = Participation(config, seed=seed)
    seen, _ = environment.reset(seed=seed)
    game = Game(config, np.array([seed]))
    learner = sit(game, QLearning(TabularConfig(explore="any"))).learner
    clock = 0

    def round_() -> None:
        nonlocal seen, clock
        if not environment.agents:
            seen, _ = environment.reset()
        clock += 1
        names = environment.agents
        before = np.array([[seen[who] for who in names]], dtype=np.float64)
        actions = learner.choose(before, clock, explore=True)
        seen, rewards, *_ = environment.step(
            {who: int(actions[0, n]) for n, who in enumerate(names)}
        )
        reward = np.array([[rewards[who] for who in names]])
        after = np.array([[seen[who] for who in names]], dtype=np.float64)
        learner.learn(before, actions, reward, after, clock)

    return _rate(round_, size, seconds)


def sb3(size: int, seed: int, seconds: float) -> float:
    """Its DQN learning on the Gymnasium environment: one organization's steps."""
    import stable_baselines3
    import torch

    from rescind.agents.environments import Solo
    from rescind.agents.learners.dqn import scale

    torch.set_num_threads(1)
    environment = scale(Solo(_table(size, seed)[0].config, others="always", seed=seed))
    agent = stable_baselines3.DQN(
        "MlpPolicy", environment, seed=seed, device="cpu", learning_starts=100
    )
    agent.learn(500)
    steps = 1000
    began = time.perf_counter()
    done = 0
    while time.perf_counter() - began < seconds:
        agent.learn(steps, reset_num_timesteps=False)
        done += steps
    return done / (time.perf_counter() - began)


def _rate(round_: Callable[[], None], steps: int, seconds: float) -> float:
    for _ in range(3):
        round_()
    began, rounds = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        round_()
        rounds += 1
    return steps * rounds / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
