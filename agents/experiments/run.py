"""The run of one cell: train its learners, evaluate them without learning, and measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from rescind.agents.experiments.config import Cell
from rescind.agents.experiments.planner import planned_welfare
from rescind.agents.game import Floats, Game
from rescind.agents.learners import (
    DQN,
    Constant,
    Learner,
    Oracle,
    OracleConfig,
    QLearning,
    TabularConfig,
    make_learner,
)
from rescind.agents.play import Played, Seated, play, sit
from rescind.agents.world import CONDUCTS, GameConfig

_CURVE_POINTS = 40
"""Points of a training curve; each is the mean over a share of the episodes."""

_ORACLE_ORGANIZATIONS = 100
"""Largest game in which exploitability tries the oracle, whose rollouts clone the whole game."""

_LEVELS = ("effort", "data_fraction", "noise", "statistics")
_MEASURE_COLUMNS = (
    "seed",
    "welfare",
    "planner_welfare",
    "welfare_share",
    "price_of_anarchy",
    "participation",
    "late_participation",
    *_LEVELS,
    "posted",
    "quality",
    "paid",
    "net",
    "net_of_first",
    "exploitability",
    "fairness",
    "pay_follows_work",
    "cheats_pay",
)
"""Columns of the table of measures, in order."""

_UNSEEN = 1_000_000
"""Number of the first evaluation episode: training has fewer, so its random events are unseen."""


@dataclass(frozen=True)
class CellResult:
    """The result of a cell as rows of three tables.

    Attributes:
        measures: One row for each game: the measures of its evaluation.
        rounds: One row for each game and round: means over the evaluation's episodes.
        training: One row for each game and point of its training curve.
    """

    measures: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    training: list[dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """Trained learners in their games.

    Attributes:
        games: The games: one of all seeds, or one for each seed with DQN.
        tables: The learners with their seats, one table for each game.
        training: What the training played; None where nothing was recorded.
    """

    games: list[Game]
    tables: list[list[Seated]]
    training: Played | None


def train_cell(cell: Cell) -> Trained:
    """Train a cell's learners.

    All seeds are played at once, except with DQN: it has one network, so each seed needs its own.
    """
    seeds = np.arange(cell.section.seeds, dtype=np.uint64)
    if cell.learner.name == "dqn":
        parts = [_train(cell, seeds[n : n + 1]) for n in range(seeds.size)]
        return Trained([g for g, _, _ in parts], [t for _, t, _ in parts], None)
    game, table, training = _train(cell, seeds)
    return Trained([game], [table], training)


def run_cell(cell: Cell) -> CellResult:
    """Train, evaluate and measure a cell; a function of the cell alone."""
    trained = train_cell(cell)
    episodes = cell.section.evaluation_episodes
    played = Played.joined(
        [evaluate(g, t, episodes) for g, t in zip(trained.games, trained.tables, strict=True)]
    )
    measures = _measures(cell, trained, played)
    return CellResult(measures, _rounds(played), _training(trained.training))


def evaluate(game: Game, table: Sequence[Seated], episodes: int) -> Played:
    """Play episodes whose random events are unseen, without learning or exploring."""
    return play(game, table, episodes, learning=[False] * len(table), first_episode=_UNSEEN)


def _train(cell: Cell, seeds: Any) -> tuple[Game, list[Seated], Played | None]:
    game, section = Game(cell.game, seeds), cell.learner
    episodes = cell.section.train_episodes
    given = own_knowledge(section.name, cell.game)
    learner = make_learner(section.name, {**given, **section.settings})
    if section.seats == "all":
        table = [sit(game, learner)]
        if not episodes:
            return game, table, None
        return game, table, play(game, table, episodes, learning=[True])
    given = own_knowledge(section.others, cell.game)
    others = sit(game, make_learner(section.others, {**given, **section.others_settings}))
    if episodes and section.others not in ("always", "never", "random", "myopic", "oracle"):
        play(game, [others], episodes, learning=[True])
    # The later learner at a table decides for a shared seat: this one takes the first organization.
    table = [others, sit(game, learner, 0, 1)]
    if isinstance(learner, DQN):
        from rescind.agents.environments import Solo

        learner.train(Solo(cell.game, others=others.learner, seed=int(seeds[0])), int(seeds[0]))
        return game, table, None
    if not episodes:
        return game, table, None
    return game, table, play(game, table, episodes, learning=[False, True])


def own_knowledge(name: str, game: GameConfig) -> dict[str, Any]:
    """Return what an organization knows from the start, as arguments of its learner.

    That is the value of a full model to it, its cost of epsilon, and the agreed curve.
    """
    knowledge: dict[str, Any] = {}
    if name in ("q-learning", "double-q", "sarsa", "bandit", "myopic"):
        knowledge["quality_value"] = game.quality_value
    if name == "myopic":
        knowledge["curve"] = game.curve
        if game.private:
            knowledge["privacy_price"] = game.privacy_price
            knowledge["round_epsilon"] = game.round_epsilon
        if game.statistics is not None:
            terms = game.statistics
            knowledge["statistics_share"] = game.overlap * terms.share
            knowledge["statistics_price"] = terms.price
            knowledge["statistics_epsilon"] = terms.epsilon if game.private else 0.0
    return knowledge


def _measures(cell: Cell, trained: Trained, played: Played) -> list[dict[str, Any]]:
    episodes = cell.section.evaluation_episodes
    planner = np.concatenate([planned_welfare(game, episodes, _UNSEEN) for game in trained.games])
    gain = np.full(planner.size, np.nan)
    if cell.section.exploitability:
        gain = np.concatenate(
            [
                exploitability(game, table, episodes, cell.section.train_episodes)
                for game, table in zip(trained.games, trained.tables, strict=True)
            ]
        )
    conduct = np.concatenate([game.organizations.conduct for game in trained.games])
    honest = conduct == CONDUCTS.index("honest")
    work = played.by_organization["rounds_in"] * np.concatenate(
        [g.organizations.size * g.organizations.accuracy for g in trained.games]
    )
    rows = []
    for g in range(planner.size):
        row = {
            "seed": g,
            **_round_measures(
                played, g, planner[g], has_statistics=cell.game.statistics is not None
            ),
            "exploitability": gain[g],
            **_organization_measures(played, g, honest[g], work[g]),
        }
        rows.append({name: _plain(row[name]) for name in _MEASURE_COLUMNS})
    return rows


def _round_measures(
    played: Played, g: int, planner_welfare: float, *, has_statistics: bool
) -> dict[str, Any]:
    """Return a game's measures over its rounds."""
    by_round = {name: values[..., g] for name, values in played.by_round.items()}
    welfare = by_round["welfare"].sum(axis=1).mean()
    rounds = by_round["welfare"].shape[1]
    late = max(1, rounds // 4)
    # Ratios of a welfare near zero would be noise, so they count as not measured.
    return {
        "welfare": welfare,
        "planner_welfare": planner_welfare,
        "welfare_share": welfare / planner_welfare if planner_welfare > 1e-9 else np.nan,
        "price_of_anarchy": planner_welfare / welfare if welfare > 1e-9 else np.nan,
        "participation": by_round["participation"].mean(),
        "late_participation": by_round["participation"][:, rounds - late :].mean(),
        "posted": by_round["posted"][:, -1].mean() if has_statistics else np.nan,
        "quality": by_round["quality"][:, -1].mean(),
        "paid": by_round["paid"].sum(axis=1).mean(),
    }


def _organization_measures(
    played: Played, g: int, honest: NDArray[np.bool_], work: Floats
) -> dict[str, Any]:
    """Return a game's measures over its organizations: the honest ones, and the cheats' pay."""
    totals = {name: values[g] for name, values in played.by_organization.items()}
    net, paid = totals["net"], totals["paid"]
    # 1e-9 keeps the division finite where no honest organization took part.
    rounds_in = max(1e-9, float(totals["rounds_in"][honest].sum()))
    cheats_pay = np.nan
    if not honest.all() and paid[honest].mean() > 0:
        cheats_pay = paid[~honest].mean() / paid[honest].mean()
    return {
        **{name: totals[name][honest].sum() / rounds_in for name in _LEVELS},
        "net": net[honest].mean(),
        "net_of_first": net[0],
        "fairness": _jain(net[honest]),
        "pay_follows_work": _agreement(paid[honest], work[honest]),
        "cheats_pay": cheats_pay,
    }


def exploitability(
    game: Game, table: Sequence[Seated], episodes: int, train_episodes: int
) -> Floats:
    """Return what the first organization could gain by another policy while the others keep theirs.

    The candidates are each action held throughout, the oracle's rollouts, and Q-learning trained
    against the others. Each is judged on the evaluation's chances, so the result is a lower bound
    of the gain of a true best response.

    Returns:
        Ether, float64 of shape (games,), at least 0.
    """
    current = evaluate(game, table, episodes).by_organization["net"][:, 0]
    # Any action, not only neighbours, and less and less: the rival may lose while it explores.
    config = TabularConfig(epsilon=0.5, epsilon_end=0.02, explore="any", alpha=0.2)
    rounds = max(1, train_episodes * game.config.rounds)
    rival: Learner = QLearning(replace(config, explore_rounds=max(1, rounds // 2)))
    seated = sit(game, rival, 0, 1)
    if train_episodes:
        learning = [*(False for _ in table), True]
        play(game, [*table, seated], train_episodes, learning=learning)
    candidates: list[Seated] = [
        seated,
        *(sit(game, Constant(f"action {n}", n), 0, 1) for n in range(game.open_actions)),
    ]
    if game.config.organizations <= _ORACLE_ORGANIZATIONS:
        candidates.append(sit(game, Oracle(OracleConfig()), 0, 1))
    best = current
    for candidate in candidates:
        net = evaluate(game, [*table, candidate], episodes).by_organization["net"][:, 0]
        best = np.maximum(best, net)
    return best - current


def _rounds(played: Played) -> list[dict[str, Any]]:
    by_round = played.by_round
    low = np.quantile(by_round["least_paid"], 0.025, axis=(0, 2))
    high = np.quantile(by_round["most_paid"], 0.975, axis=(0, 2))
    names = ("participation", "members", "quality", "paid", "welfare")
    mean = {name: by_round[name].mean(axis=0) for name in names}
    rounds, games = mean["quality"].shape
    return [
        {
            "seed": g,
            "round": r + 1,
            **{name: float(mean[name][r, g]) for name in names},
            "pay_low": float(low[r]),
            "pay_high": float(high[r]),
        }
        for g in range(games)
        for r in range(rounds)
    ]


def _training(played: Played | None) -> list[dict[str, Any]]:
    if played is None:
        return []
    episodes, _, games = played.by_round["welfare"].shape
    welfare = played.by_round["welfare"].sum(axis=1)
    participation = played.by_round["participation"].mean(axis=1)
    pieces = np.array_split(np.arange(episodes), min(_CURVE_POINTS, episodes))
    return [
        {
            "seed": g,
            "episode": int(piece[-1]) + 1,
            "welfare": float(welfare[piece, g].mean()),
            "participation": float(participation[piece, g].mean()),
        }
        for g in range(games)
        for piece in pieces
    ]


def _jain(net: Floats) -> float:
    """Return Jain's fairness index of the organizations' net, with losses as 0.

    It is 1 where all have the same, and 1/n where one has everything (Jain, Chiu and Hawe 1984).
    """
    gained = np.maximum(net, 0.0)
    squares = float((gained**2).sum())
    return float(gained.sum() ** 2 / (gained.size * squares)) if squares > 1e-18 else float("nan")


def _agreement(paid: Floats, work: Floats) -> float:
    """Return Spearman's rank correlation of pay and work; NaN where either is the same for all."""
    if np.ptp(paid) < 1e-9 or np.ptp(work) < 1e-9:
        return float("nan")
    return float(np.corrcoef(rankdata(paid), rankdata(work))[0, 1])


def _plain(value: Any) -> Any:
    """Return a numpy scalar as Python has it; Parquet and JSON take both Python types."""
    return value.item() if hasattr(value, "item") else value
