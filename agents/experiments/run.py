"""One cell of an experiment: train, hold still, evaluate, measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import rankdata

from rescind.agents.experiments.config import Cell
from rescind.agents.experiments.planner import planned_welfare
from rescind.agents.game import Floats, Game
from rescind.agents.interface import ACTIONS
from rescind.agents.learners import (
    DQN,
    Constant,
    Learner,
    Oracle,
    OracleConfig,
    QLearning,
    TabularConfig,
)
from rescind.agents.learners import make_learner as make
from rescind.agents.play import (
    Played,
    Seated,
    play,
    sit,
)
from rescind.agents.world import CONDUCTS, GameConfig

_CURVE_POINTS = 40
_LEVELS = ("effort", "data_fraction", "noise")
_UNSEEN = 1_000_000
"""Evaluation has the chances of the episodes from here."""


@dataclass(frozen=True)
class CellResult:
    """Rows of three tables: a game's measures, its rounds in the evaluation, its course of training."""

    measures: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    training: list[dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """`tables`: one for each game of `games`."""

    games: list[Game]
    tables: list[list[Seated]]
    training: Played | None


def train_cell(cell: Cell) -> Trained:
    """All games at once; those of DQN, which has one network for each, one by one."""
    seeds = np.arange(cell.section.seeds, dtype=np.uint64)
    if cell.learner.name == "dqn":
        parts = [_train(cell, seeds[n : n + 1]) for n in range(seeds.size)]
        return Trained([g for g, _, _ in parts], [t for _, t, _ in parts], None)
    game, table, training = _train(cell, seeds)
    return Trained([game], [table], training)


def run_cell(cell: Cell) -> CellResult:
    trained = train_cell(cell)
    episodes = cell.section.evaluation_episodes
    played = Played.joined(
        [evaluate(g, t, episodes) for g, t in zip(trained.games, trained.tables, strict=True)]
    )
    measures = _measures(cell, trained, played)
    return CellResult(measures, _rounds(played), _training(trained.training))


def evaluate(game: Game, table: Sequence[Seated], episodes: int) -> Played:
    return play(game, table, episodes, learning=[False] * len(table), first_episode=_UNSEEN)


def _train(cell: Cell, seeds: Any) -> tuple[Game, list[Seated], Played | None]:
    game, section = Game(cell.game, seeds), cell.learner
    episodes = cell.section.train_episodes
    learner = make(section.name, {**own_knowledge(section.name, cell.game), **section.settings})
    if section.seats == "all":
        table = [sit(game, learner)]
        if not episodes:
            return game, table, None
        return game, table, play(game, table, episodes, learning=[True])
    known = own_knowledge(section.others, cell.game)
    others = sit(game, make(section.others, {**known, **section.others_settings}))
    if episodes and section.others not in ("always", "never", "random", "myopic", "oracle"):
        play(game, [others], episodes, learning=[True])
    one = sit(game, learner, 0, 1)
    table = [others, one]
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
    known: dict[str, Any] = {}
    if name in ("q-learning", "double-q", "sarsa", "bandit", "myopic"):
        known["quality_value"] = game.quality_value
    if name == "myopic":
        known["curve"] = game.curve
        if game.private:
            known |= {"privacy_price": game.privacy_price, "round_epsilon": game.round_epsilon}
    return known


def _measures(cell: Cell, trained: Trained, played: Played) -> list[dict[str, Any]]:
    of, episodes = played.by_organization, cell.section.evaluation_episodes
    planner = np.concatenate([planned_welfare(game, episodes, _UNSEEN) for game in trained.games])
    better = np.full(planner.size, np.nan)
    if cell.section.exploitability:
        better = np.concatenate(
            [
                exploitability(game, table, episodes, cell.section.train_episodes)
                for game, table in zip(trained.games, trained.tables, strict=True)
            ]
        )
    conduct = np.concatenate([game.organizations.conduct for game in trained.games])
    honest = conduct == CONDUCTS.index("honest")
    work = of["rounds_in"] * np.concatenate(
        [g.organizations.size * g.organizations.accuracy for g in trained.games]
    )
    rounds, late = cell.game.rounds, max(1, cell.game.rounds // 4)
    result = []
    for g in range(planner.size):
        welfare = played.by_round["welfare"][..., g].sum(axis=1).mean()
        mine = honest[g]
        took_part = max(1e-9, float(of["rounds_in"][g, mine].sum()))
        row: dict[str, Any] = {
            "seed": g,
            "welfare": welfare,
            "planner_welfare": planner[g],
            "welfare_share": welfare / planner[g] if planner[g] > 1e-9 else np.nan,
            "price_of_anarchy": planner[g] / welfare if welfare > 1e-9 else np.nan,
            "participation": played.by_round["participation"][..., g].mean(),
            "late_participation": played.by_round["participation"][:, rounds - late :, g].mean(),
            **{name: of[name][g, mine].sum() / took_part for name in _LEVELS},
            "quality": played.by_round["quality"][:, -1, g].mean(),
            "paid": played.by_round["paid"][..., g].sum(axis=1).mean(),
            "net": of["net"][g, mine].mean(),
            "net_of_first": of["net"][g, 0],
            "exploitability": better[g],
            "fairness": _jain(of["net"][g, mine]),
            "pay_follows_work": _agreement(of["paid"][g, mine], work[g, mine]),
            "cheats_pay": np.nan,
        }
        if not mine.all() and of["paid"][g, mine].mean() > 0:
            row["cheats_pay"] = of["paid"][g, ~mine].mean() / of["paid"][g, mine].mean()
        result.append({name: _plain(value) for name, value in row.items()})
    return result


def exploitability(
    game: Game, table: Sequence[Seated], episodes: int, train_episodes: int
) -> Floats:
    """Return what the first organization could gain by another policy while the others keep theirs.

    The candidates are each action held throughout, the oracle's rollouts, and Q-learning trained
    against the others. Each is judged on the evaluation's chances, so the result is a lower bound of
    the gain of a true best response.

    Returns:
        Ether, float64 of shape (games,), at least 0.
    """
    now = evaluate(game, table, episodes).by_organization["net"][:, 0]
    config = TabularConfig(epsilon=0.5, epsilon_end=0.02, explore="any", alpha=0.2)
    rounds = max(1, train_episodes * game.config.rounds)
    rival: Learner = QLearning(replace(config, explore_rounds=max(1, rounds // 2)))
    seated = sit(game, rival, 0, 1)
    if train_episodes:
        learning = [*(False for _ in table), True]
        play(game, [*table, seated], train_episodes, learning=learning)
    candidates: list[Seated] = [
        seated,
        *(
            sit(game, Constant(f"action {n}", n), 0, 1)
            for n in range(min(game.open_actions, len(ACTIONS)))
        ),
    ]
    if game.config.organizations <= 100:
        candidates.append(sit(game, Oracle(OracleConfig()), 0, 1))
    best = now
    for candidate in candidates:
        found = evaluate(game, [*table, candidate], episodes).by_organization["net"][:, 0]
        best = np.maximum(best, found)
    return best - now


def _rounds(played: Played) -> list[dict[str, Any]]:
    of = played.by_round
    low = np.quantile(of["least_paid"], 0.025, axis=(0, 2))
    high = np.quantile(of["most_paid"], 0.975, axis=(0, 2))
    names = ("participation", "members", "quality", "paid", "welfare")
    mean = {name: of[name].mean(axis=0) for name in names}
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
    """Jain's index of what each is left with, those below 0 counted as 0: 1 for all alike, 1/n for one
    who has all (Jain, Chiu and Hawe 1984).
    """
    got = np.maximum(net, 0.0)
    squares = float((got**2).sum())
    return float(got.sum() ** 2 / (got.size * squares)) if squares > 1e-18 else float("nan")


def _agreement(paid: Floats, work: Floats) -> float:
    """Spearman's rank correlation of pay and work done; not a number where either is all alike."""
    if np.ptp(paid) < 1e-9 or np.ptp(work) < 1e-9:
        return float("nan")
    return float(np.corrcoef(rankdata(paid), rankdata(work))[0, 1])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
