"""Tabular Q-learning (Watkins and Dayan 1992), one table per node, kept across restarts.

Q(s, a) <- Q(s, a) + alpha * (r + gamma * max_a' Q(s', a') - Q(s, a))
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapters.errors import AgentError
from agents.game import ACTIONS, Action, Decision, Observation, Outcome

FORMAT = "rescind.q-table/1"


@dataclass(frozen=True)
class QLearningConfig:
    """Step size, discount, chance to explore, and what the prior expects of one round in ether."""

    alpha: float = 0.3
    gamma: float = 0.9
    epsilon: float = 0.1
    expected_reward: float = 0.25
    quality_value: float = 0.5
    seed: int = 0


class QLearningAgent:
    def __init__(self, config: QLearningConfig, path: Path | None = None) -> None:
        """`path`: where the table is kept. Raises AgentError for a damaged or foreign file."""
        self._config, self._path = config, path
        self._table: dict[str, list[float]] = {}
        self._learned = 0
        if path is not None and path.exists():
            self._load(path)

    def decide(self, observation: Observation, round_id: int) -> Decision:
        values = self._values(observation)
        best = max(range(len(ACTIONS)), key=lambda place: values[place])
        dice = random.Random(_seed(self._config.seed, round_id))
        explored = dice.random() < self._config.epsilon
        place = best
        if explored:
            neighbours = [p for p in (best - 1, best + 1) if 0 <= p < len(ACTIONS)]
            place = dice.choice(neighbours)
        why = (
            f"state {state_of(observation)}: "
            f"{'tries one level beside' if explored else 'takes'} the best of {len(ACTIONS)} actions "
            f"(expected {values[best]:.3f} ether)"
        )
        return Decision(ACTIONS[place], why, explored, tuple(values))

    def learn(
        self,
        round_id: int,
        before: Observation,
        action: Action,
        outcome: Outcome,
        after: Observation,
    ) -> None:
        if round_id <= self._learned:
            return
        values, place = self._values(before), ACTIONS.index(action)
        target = outcome.reward + self._config.gamma * max(self._values(after))
        values[place] += self._config.alpha * (target - values[place])
        self._table[state_of(before)] = values
        self._learned = round_id
        if self._path is not None:
            self._save(self._path)

    def _values(self, observation: Observation) -> list[float]:
        known = self._table.get(state_of(observation))
        return list(known) if known else [self._prior(a, observation) for a in ACTIONS]

    def _prior(self, action: Action, observation: Observation) -> float:
        """What one round would bring by the node's own reckoning, future left out."""
        work = action.effort * action.data_fraction
        gain = self._config.quality_value * (1.0 - observation.quality)
        return (
            work * (self._config.expected_reward + gain) - action.effort * observation.compute_price
        )

    def _save(self, path: Path) -> None:
        content = {
            "format": FORMAT,
            "actions": [asdict(action) for action in ACTIONS],
            "learned_round": self._learned,
            "table": self._table,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(content, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    def _load(self, path: Path) -> None:
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT or content["actions"] != [asdict(a) for a in ACTIONS]:
                raise AgentError(f"{path} is of another version: move it away to start afresh")
            table = {str(state): [float(v) for v in row] for state, row in content["table"].items()}
            learned = int(content["learned_round"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentError(f"{path} is not a Q-table: {error}; move it away") from error
        if any(len(row) != len(ACTIONS) for row in table.values()):
            raise AgentError(f"{path} has rows of the wrong length: move it away to start afresh")
        self._table, self._learned = table, learned


def state_of(observation: Observation) -> str:
    """The discrete state: quality in quarters, last reward share and last turnout in thirds."""
    turnout = observation.participants_last_round / max(1, observation.members)
    quality = min(3, int(observation.quality * 4))
    share = min(2, int(observation.reward_share_last_round * 3))
    return f"quality {quality}, share {share}, turnout {min(2, int(turnout * 3))}"


def _seed(seed: int, round_id: int) -> int:
    digest = hashlib.sha256(f"rescind.agent/1|{seed}|{round_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big")
