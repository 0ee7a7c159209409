"""Policy files of an experiment: training writes them, and evaluation plays them in its game."""

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
"""Policies written for each seed: a game of a million organizations must not fill the disk."""


def train_policies(cell: Cell, out: Path) -> list[Path]:
    """Train one cell and write the policy of each organization that learned, for each seed.

    Args:
        cell: The cell.
        out: Folder for the files seed-0/organization-0.json and so on, of at most 64 organizations.

    Returns:
        Paths of the written files.
    """
    trained = train_cell(cell)
    written = []
    for number, (game, seated) in enumerate(_learners(trained)):
        for g in range(game.seeds.size):
            seed = int(game.seeds[g]) if len(trained.games) == 1 else number
            for seat in range(min(seated.seats, _MOST_FILES)):
                state = seated.learner.state(g * seated.seats + seat)
                file = PolicyFile.of(seated.learner, game.open_actions, state)
                path = out / f"seed-{seed}" / f"organization-{seated.first + seat}.json"
                file.write(path)
                written.append(path)
    return written


def evaluate_policies(cell: Cell, policies: Sequence[Path]) -> Played:
    """Play the cell's game with policies on the organizations' seats.

    Args:
        cell: The cell, whose learner is not used.
        policies: One policy file for all organizations, or one for each, whose name ends in the
            organization's number.

    Raises:
        AgentError: The files do not match the organizations, cannot be read, or choose from other
            actions than the game opens.
    """
    game = Game(cell.game, np.arange(cell.section.seeds, dtype=np.uint64))
    n = cell.game.organizations
    table = []
    for organization, path in _by_organization(policies, n):
        file = PolicyFile.read(path)
        if file.open_actions != game.open_actions:
            raise AgentError(
                f"{path} chooses from {file.open_actions} actions, but the game opens "
                f"{game.open_actions}. It was trained with private = "
                f"{str(not cell.game.private).lower()}, or for another agreement on statistics."
            )
        seats = n if organization is None else 1
        first = organization or 0
        table.append(Seated(file.seated(path, game.seeds, seats, first), first, seats))
    return evaluate(game, table, cell.section.evaluation_episodes)


def _by_organization(policies: Sequence[Path], n: int) -> list[tuple[int | None, Path]]:
    """Return the policy of each organization, or one for all with None as its organization."""
    if len(policies) == 1:
        return [(None, policies[0])]
    by_organization: dict[int, Path] = {}
    for path in policies:
        number = re.search(r"(\d+)\.json$", path.name)
        if number is None:
            raise AgentError(
                f"{path} does not end in an organization's number, such as organization-0.json. "
                "Rename the file."
            )
        by_organization[int(number[1])] = path
    if sorted(by_organization) != list(range(n)):
        raise AgentError(
            f"You gave policies for {len(by_organization)} organizations, but the game has {n}. "
            "Give one for all of them, or one for each, numbered from 0."
        )
    return [(organization, by_organization[organization]) for organization in range(n)]


def _learners(trained: Trained) -> list[tuple[Game, Seated]]:
    """Return the learners: the last seat at each table."""
    return [(game, table[-1]) for game, table in zip(trained.games, trained.tables, strict=True)]
