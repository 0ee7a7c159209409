"""Policies out of an experiment, as nodes load them, and back into its game."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rescind.agents.experiments.config import Cell
from rescind.agents.experiments.run import Trained, evaluate, train_cell
from rescind.agents.game import Game
from rescind.agents.play import Played, Seated
from rescind.agents.policy_file import PolicyFile
from rescind.core.errors import AgentError

_MOST_FILES = 64


def train_policies(cell: Cell, out: Path) -> list[Path]:
    """Train one cell and write a policy file for each seed and organization (the first 64) that learned:
    OUT/seed-0/organization-0.json and so on.
    """
    trained = train_cell(cell)
    written = []
    for number, (game, seated) in enumerate(_learners(trained)):
        for g in range(game.seeds.size):
            seed = int(game.seeds[g]) if len(trained.games) == 1 else number
            for place in range(min(seated.seats, _MOST_FILES)):
                state = seated.learner.state(g * seated.seats + place)
                file = PolicyFile.of(seated.learner, game.open_actions, state)
                path = out / f"seed-{seed}" / f"organization-{seated.first + place}.json"
                file.write(path)
                written.append(path)
    return written


def evaluate_policies(cell: Cell, policies: Sequence[Path]) -> Played:
    """Play the cell's game with policies in the organizations' seats: one for all, or one for each,
    their names ending in its number.
    """
    game = Game(cell.game, np.arange(cell.section.seeds, dtype=np.uint64))
    n = cell.game.organizations
    table = []
    for place, path in _placed(policies, n):
        file = PolicyFile.read(path)
        if file.open_actions != game.open_actions:
            raise AgentError(
                f"{path} chooses from {file.open_actions} actions, but the game opens "
                f"{game.open_actions}. It was trained with private = {str(not cell.game.private).lower()}."
            )
        seats = n if place is None else 1
        first = place or 0
        table.append(Seated(file.seated(path, game.seeds, seats, first), first, seats))
    return evaluate(game, table, cell.section.evaluation_episodes)


def _placed(policies: Sequence[Path], n: int) -> list[tuple[int | None, Path]]:
    if len(policies) == 1:
        return [(None, policies[0])]
    places: dict[int, Path] = {}
    for path in policies:
        number = re.search(r"(\d+)\.json$", path.name)
        if number is None:
            raise AgentError(
                f"{path} does not end in an organization's number, such as organization-0.json. "
                "Rename the file."
            )
        places[int(number[1])] = path
    if sorted(places) != list(range(n)):
        raise AgentError(
            f"You gave policies for {len(places)} organizations, but the game has {n}. Give one for "
            "all of them, or one for each, numbered from 0."
        )
    return [(place, places[place]) for place in sorted(places)]


def _learners(trained: Trained) -> list[tuple[Game, Seated]]:
    """Return the learners: the last seat at each table."""
    return [(game, table[-1]) for game, table in zip(trained.games, trained.tables, strict=True)]
