"""Planning of sums and folds, without a chain."""

from __future__ import annotations

from rescind.contracts import (
    Contribution,
    Fold,
    FoldPiece,
    Limits,
    Parts,
    Rule,
    SumPiece,
    SumProgress,
    Term,
)
from rescind.contracts.folding import fold_batch, fold_piece, sum_piece, summed_part
from rescind.core import INFINITY

CARRIED = "cc" * 32
TERMS = [Term(f"{number:064x}", number) for number in range(6)]


def contribution(number: int, parts: int = 1) -> Contribution:
    points = tuple(bytes([number, part]) * 64 for part in range(parts))
    return Contribution(0, 1, f"0x{number:040x}", number, Parts(("aa" * 32,) * parts, points))


def fold(place: int = 0) -> Fold:
    return Fold(True, 0, 1, 0, 3, place, CARRIED)


def test_a_sum_begins_at_infinity() -> None:
    contributions = [contribution(number) for number in range(3)]
    progress = SumProgress(0, 0, "00" * 32)
    piece = sum_piece(0, 1, progress, [Rule.BLOCK], contributions, {}, Limits(points=2))
    assert piece == SumPiece(0, 1, INFINITY, tuple(bytes([n, 0]) * 64 for n in range(2)))


def test_a_sum_goes_on_with_the_carried_point() -> None:
    contributions = [contribution(number) for number in range(3)]
    carried = b"\x05" * 128
    progress = SumProgress(0, 2, CARRIED)
    piece = sum_piece(
        7, 1, progress, [Rule.SHARE], contributions, {CARRIED: carried}, Limits(points=2)
    )
    assert piece == SumPiece(7, 1, carried, (bytes([2, 0]) * 64,))


def test_parts_of_which_the_latest_counts_are_not_summed() -> None:
    rules = [Rule.LATEST, Rule.SHARE, Rule.LATEST]
    assert summed_part(SumProgress(0, 0, ""), rules) == 1
    assert summed_part(SumProgress(2, 0, ""), rules) == 3
    progress = SumProgress(0, 0, "00" * 32)
    piece = sum_piece(0, 1, progress, rules, [contribution(4, 3)], {}, Limits())
    assert piece is not None
    assert piece.points == (bytes([4, 1]) * 64,)
    assert sum_piece(0, 1, SumProgress(2, 0, ""), rules, [], {}, Limits()) is None


def test_a_round_without_points_is_summed_by_an_empty_piece() -> None:
    piece = sum_piece(9, 2, SumProgress(0, 0, ""), [Rule.SHARE], [], {}, Limits())
    assert piece == SumPiece(9, 2, INFINITY, ())


def test_a_fold_takes_terms_over_several_steps() -> None:
    rows = [TERMS[:2], [], TERMS[2:5]]
    assert fold_batch(fold(), rows, Limits()) == TERMS[:5]


def test_a_fold_goes_on_in_the_middle_of_a_step() -> None:
    rows = [TERMS[:3], TERMS[3:5]]
    assert fold_batch(fold(place=2), rows, Limits()) == TERMS[2:5]
    assert fold_batch(fold(place=3), rows, Limits()) == TERMS[3:5]


def test_a_fold_stops_at_the_limits() -> None:
    rows = [TERMS[:3], TERMS[3:5], TERMS[5:]]
    assert fold_batch(fold(), rows, Limits(points=2)) == TERMS[:2]
    assert fold_batch(fold(), rows, Limits(points=4)) == TERMS[:4]
    assert fold_batch(fold(), rows, Limits(rows=2)) == TERMS[:5]


def test_a_fold_looks_up_few_terms_for_steps_that_it_does_not_finish() -> None:
    rows = [TERMS[:3], TERMS[3:5], TERMS[5:]]
    assert fold_batch(fold(), rows, Limits(terms=5)) == TERMS[:5]
    assert fold_batch(fold(), rows, Limits(terms=4)) == TERMS[:3]
    # One step is always looked up, however many terms it has.
    assert fold_batch(fold(place=2), rows, Limits(terms=1)) == TERMS[2:3]


def test_a_fold_without_terms_is_an_empty_piece() -> None:
    assert fold_batch(fold(), [[], []], Limits()) == []


class Rows:
    """A record whose open fold has so many steps, few of them with terms."""

    def __init__(self, count: int, terms: dict[int, list[Term]]) -> None:
        self.count, self.terms = count, terms

    def fold_rows(self, source: int) -> int:
        return self.count

    def fold_terms(self, source: int, row: int) -> list[Term]:
        return self.terms.get(row, [])

    def points(self, hashes: list[str]) -> dict[str, bytes]:
        return {each: bytes.fromhex(each) * 4 for each in hashes}


def test_steps_without_points_are_passed_by_pieces_without_points() -> None:
    """The contract passes 128 such steps in each piece, and registers the model after the last."""
    piece = fold_piece(Rows(400, {}), 5, fold())
    assert piece == FoldPiece(5, bytes.fromhex(CARRIED) * 4, ())


def test_a_point_behind_many_empty_steps_is_sent_at_once() -> None:
    piece = fold_piece(Rows(400, {390: TERMS[:1]}), 5, fold())
    assert piece.points == (bytes.fromhex(TERMS[0].point_hash) * 4,)
