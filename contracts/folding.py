"""Plan the next transaction that sums or folds points.

Sums and folds are open to everyone: the aggregator, a node or a command sends the next piece as
long as there is one. A piece names the sum so far and the next points; the contract checks both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rescind.contracts.errors import ContractRefused
from rescind.contracts.reader import ConsortiumReader
from rescind.contracts.states import RoundState, Rule
from rescind.contracts.types import Contribution, Fold, SumProgress, Term
from rescind.core import INFINITY

POINTS_PER_PIECE = 500
"""Most points in one transaction. Each is 128 bytes of calldata, at least 40 gas a byte (EIP-7623),
and nodes accept no transaction of more than 128 KiB."""

ROWS_PER_PIECE = 64
"""Most rounds whose terms one transaction folds: to look one up costs up to 100,000 gas, and a
transaction may use 2^24 (EIP-7825)."""

TERMS_PER_PIECE = 1_000
"""Most terms that the contract looks up for one transaction: each costs up to 11,000 gas, also where its
point is in another piece. A round that hundreds of members left has hundreds of terms."""


@dataclass(frozen=True)
class SumPiece:
    """Arguments of `Consortium.sum_points`."""

    offer_id: int
    round_id: int
    carried: bytes
    points: tuple[bytes, ...]


@dataclass(frozen=True)
class FoldPiece:
    """Arguments of `Consortium.fold_points`."""

    source: int
    carried: bytes
    points: tuple[bytes, ...]


@dataclass(frozen=True)
class Limits:
    """How much one transaction may carry."""

    points: int = POINTS_PER_PIECE
    rows: int = ROWS_PER_PIECE
    terms: int = TERMS_PER_PIECE


def summed_part(progress: SumProgress, rules: Sequence[Rule]) -> int:
    """Return the part that is summed next; the number of parts once the sum is complete."""
    part = progress.part
    while part < len(rules) and rules[part] is Rule.LATEST:
        part += 1
    return part


def sum_piece(
    offer_id: int,
    round_id: int,
    progress: SumProgress,
    rules: Sequence[Rule],
    contributions: Sequence[Contribution],
    points: Mapping[str, bytes],
    limits: Limits,
) -> SumPiece | None:
    """Return the next piece of a round's sum, or None if it is complete.

    Args:
        offer_id: The replay, or 0.
        round_id: The round.
        progress: How far the sum is.
        rules: The rule of each part.
        contributions: What is summed, by member number.
        points: The carried point by its hash, unless a part begins.
        limits: How much one transaction may carry.
    """
    part = summed_part(progress, rules)
    if part == len(rules):
        return None
    carried = points[progress.carried] if progress.members else INFINITY
    batch = contributions[progress.members : progress.members + limits.points]
    return SumPiece(offer_id, round_id, carried, tuple(each.parts.points[part] for each in batch))


def fold_batch(fold: Fold, rows: Sequence[Sequence[Term]], limits: Limits) -> list[Term]:
    """Return the terms of the next piece of a fold.

    Args:
        fold: How far the fold is.
        rows: Terms by step, from `fold.row` on. Empty steps take no space.
        limits: How much one transaction may carry.
    """
    batch: list[Term] = []
    used = looked_up = 0
    for number, terms in enumerate(rows):
        rest = terms[fold.place :] if number == 0 else terms
        if not rest:
            continue
        looked_up += len(terms)
        heavy = bool(used) and looked_up > limits.terms
        if used == limits.rows or len(batch) == limits.points or heavy:
            break
        batch += rest[: limits.points - len(batch)]
        used += 1
    return batch


def next_piece(
    reader: ConsortiumReader, limits: Limits | None = None
) -> SumPiece | FoldPiece | None:
    """Return what can be sent next, or None if every sum and fold is done.

    First come sums of a replay, because its fold needs them; then stale models, the head first;
    then the judged round. Read it at one block.
    """
    limits = limits or Limits()
    return (
        _next_replayed(reader, limits)
        or _next_fold(reader, limits, stale=True)
        or _next_summed(reader, limits)
        or _next_fold(reader, limits, stale=False)
    )


def _next_replayed(reader: ConsortiumReader, limits: Limits) -> SumPiece | None:
    replay = reader.current_replay()
    if replay is None or not (replay.running or replay.amendment):
        return None
    if replay.amendment and reader.is_folded(replay.amendment):
        return None
    rules = reader.settings().rules
    for round_id in range(replay.from_round, min(replay.to_round + 1, replay.round_id)):
        progress = reader.sum_progress(replay.id, round_id)
        if summed_part(progress, rules) == len(rules):
            continue
        offers = reader.replayed(replay.id, round_id)
        # The sum of a round that no member trained again is known without a transaction.
        if not offers:
            continue
        points = reader.points([progress.carried]) if progress.members else {}
        return sum_piece(replay.id, round_id, progress, rules, offers, points, limits)
    return None


def _next_summed(reader: ConsortiumReader, limits: Limits) -> SumPiece | None:
    round_id = reader.current_round_id()
    if reader.round(round_id).state is not RoundState.JUDGED:
        return None
    rules = reader.settings().rules
    progress = reader.sum_progress(0, round_id)
    points = reader.points([progress.carried]) if progress.members else {}
    accepted = set(reader.accepted(round_id))
    contributions = [
        each for each in reader.contributions(round_id) if each.organization in accepted
    ]
    return sum_piece(0, round_id, progress, rules, contributions, points, limits)


def _next_fold(reader: ConsortiumReader, limits: Limits, *, stale: bool) -> FoldPiece | None:
    head = reader.latest_model_id()
    # The base model alone is in use until there is another, and no list holds it.
    models = [head, *(each for each in reader.models_in_use() if each != head)]
    for source in models if stale else [head]:
        if stale and not reader.is_stale(source):
            continue
        fold = reader.fold(source)
        if fold is None:
            continue
        # A fold that was begun for a round goes on even if the model became stale meanwhile.
        return fold_piece(reader, source, fold, limits)
    return None


def fold_piece(
    reader: ConsortiumReader, source: int, fold: Fold, limits: Limits | None = None
) -> FoldPiece:
    """Return the next piece of one model's fold.

    Args:
        reader: The public record, at one block.
        source: The model.
        fold: How far its fold is.
        limits: How much one transaction may carry.
    """
    limits = limits or Limits()
    rows: list[list[Term]] = []
    terms = used = 0
    for row in range(fold.row, reader.fold_rows(source)):
        if terms >= limits.points + fold.place or used > limits.rows:
            break
        rows.append(_terms(reader, source, row))
        terms += len(rows[-1])
        used += bool(rows[-1])
    batch = fold_batch(fold, rows, limits)
    points = reader.points([fold.carried, *(term.point_hash for term in batch)])
    return FoldPiece(source, points[fold.carried], tuple(points[term.point_hash] for term in batch))


def _terms(reader: ConsortiumReader, source: int, row: int) -> list[Term]:
    try:
        return reader.fold_terms(source, row)
    except ContractRefused as refusal:
        if refusal.reason != "SumMissing":
            raise
        raise ContractRefused(
            f"the fold of model {source} needs the sum of a round that is not complete: send its "
            f"pieces first ({refusal})",
            refusal.reason,
        ) from refusal
