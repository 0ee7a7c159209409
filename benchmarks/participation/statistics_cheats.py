"""Compare the pay of fabricated statistics with the pay of honest ones in the same seat.

    python -m benchmarks.participation.statistics_cheats --data FOLDER

Customers' questions to 77 intents (Banking77 in FOLDER/banking77) are dealt to three organizations,
unevenly. In the first round each posts the statistics of half of its rows, which are known from then
on. In the second round one of them, each in turn, posts what is not its rows; the other two post
all of theirs. No chain: the aggregator's check and scores, and the contract's split of one ether. A
seed decides who holds which rows, and the questions that score.

Rows that were taken back have scenes of their own: a fourth organization was in the first model and
left, or the cheat itself posted all of its rows and took half of them back. Honest statistics are
scored in the same scene. `paid_again` and `honest_again` are what both would have been paid if
questions were paid again that the first model answered right. `fits` and `coefficient` are what an
aggregator would see that kept what it must delete: whether the leaver's rows fit into what the cheat
posts, and their coefficient in what the cheat adds, by least squares on all statistics of the first
model; `honest_fits` and `honest_coefficient` are those of honest statistics.

Writes results/statistics-cheats.json beside this file, after each seed. Seeds that it has already
are not measured again; --results starts another file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.conditions import conditions
from benchmarks.learning.tasks import banking77
from rescind.agents.payout import credit
from rescind.aggregator.statistics_scoring import Question, StatisticsScorer, without_known
from rescind.core.errors import RescindError
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics, check

RESULTS = Path(__file__).parent / "results" / "statistics-cheats.json"
TASK = "intents"
ETHER = 10**18
MEMBERS = 3
BUCKETS = 511
ALPHA = 0.5
DIFFERENCE = 1e-3
"""Share of the reward; scores are whole numbers of ten thousand, so what is less is rounding."""
IN_TIME = "another's rows of the same round, in place of its own"
TWO_NAMES = "its rows under two names, beside one name"
LEAVER = "the rows of a member that left"
TAKEN_BACK = "all of its rows again, after it took half of them back"


@dataclass(frozen=True)
class Scene:
    """Statistics of a seed by organization: of the first round, and of all rows.

    Attributes:
        classes: The task.
        first: Statistics of half of the rows.
        full: Statistics of all rows.
        leaver: Statistics of an organization that left after the first round.
        questions: The benchmark.
    """

    classes: Classes
    first: Mapping[str, RowStatistics]
    full: Mapping[str, RowStatistics]
    leaver: RowStatistics
    questions: Sequence[Question]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--buckets", type=int, default=BUCKETS)
    parser.add_argument("--alpha", type=float, action="append")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    cases = [
        (arguments.data, seed, arguments.buckets, alpha)
        for seed in range(arguments.seeds)
        for alpha in arguments.alpha or [ALPHA]
    ]
    rows = measured(arguments.results, arguments.buckets)
    done = {(row["seed"], row["alpha"]) for row in rows}
    left = [case for case in cases if (case[1], case[3]) not in done]
    with get_context("spawn").Pool(arguments.processes) as pool:
        for found in pool.imap(measure, left):
            rows += found
            arguments.results.write_text(document(rows, arguments.buckets), encoding="utf-8")
            sys.stderr.write(f"alpha {found[0]['alpha']}, seed {found[0]['seed']} done\n")
    sys.stdout.write(table(rows))


def measured(results: Path, buckets: int) -> list[dict[str, Any]]:
    """Return the rows of an earlier run, or none where there was no run.

    Raises:
        SystemExit: The file has results of another number of features.
    """
    if not results.exists():
        return []
    earlier = json.loads(results.read_text(encoding="utf-8"))
    if earlier["features"] != buckets + 1:
        raise SystemExit(
            f"{results} has results of {earlier['features']} features, and --buckets {buckets} gives "
            f"{buckets + 1}. Pass --results FILE to write another file."
        )
    rows: list[dict[str, Any]] = earlier["rounds"]
    return rows


def document(rows: Sequence[Mapping[str, Any]], buckets: int) -> str:
    """JSON with a row a line."""
    head = {
        "conditions": conditions(("numpy", "scipy")),
        "members": MEMBERS,
        "features": buckets + 1,
    }
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{json.dumps(head)[:-1]}, "rounds": [\n{lines}\n]}}\n'


def open_scene(data: Path, seed: int, buckets: int, alpha: float) -> Scene:
    """Deal a seed's rows; the last of four organizations is the one that left."""
    dealt = banking77(data, MEMBERS + 1, seed, alpha)
    labels = tuple(sorted({row.answer for rows in dealt.train.values() for row in rows}))
    classes = Classes(features=NgramFeatures(buckets=buckets), labels=labels)
    dice = np.random.default_rng(seed)

    def of(rows: Sequence[Any]) -> RowStatistics:
        return classes.collect([row.question for row in rows], [row.answer for row in rows])

    first, full = {}, {}
    for name, rows in dealt.train.items():
        order = dice.permutation(len(rows))
        full[name] = of(rows)
        first[name] = of([rows[place] for place in order[: -(-len(rows) // 2)]])
    last = sorted(full)[-1]
    leaver = full.pop(last)
    del first[last]
    questions = [Question(TASK, row.question, row.answer) for row in dealt.test["all"]]
    return Scene(classes, first, full, leaver, questions)


def measure(case: tuple[Path, int, int, float]) -> list[dict[str, Any]]:
    """Score one seed's second round honestly, and with each cheat in each seat."""
    data, seed, buckets, alpha = case
    scene = open_scene(data, seed, buckets, alpha)
    scorer = StatisticsScorer({TASK: scene.classes}, scene.questions)
    before = {name: {TASK: each} for name, each in scene.first.items()}
    second = {name: {TASK: each} for name, each in scene.full.items()}
    honest, full = pay(scorer.score(second, before)), scene.full
    rows: dict[str, dict[str, Any]] = {}

    def note(
        cheat: str,
        seat: int,
        paid: float,
        instead: float,
        more: Mapping[str, float] | None = None,
        *,
        refused: bool = False,
    ) -> None:
        start: dict[str, Any] = {"alpha": alpha, "seed": seed, "cheat": cheat, "refused": 0}
        row = rows.setdefault(cheat, start)
        numbers = {"seats": seat, "paid": paid, "honest": instead, **(more or {})}
        for name, number in numbers.items():
            row.setdefault(name, []).append(round(number, 5))
        row["refused"] += refused

    def answered(first_model: Mapping[str, RowStatistics]) -> frozenset[str]:
        scorer.score({name: {TASK: each} for name, each in first_model.items()}, {})
        return scorer.answered

    with_leaver = answered({**scene.first, "0xleaver": scene.leaver})
    honest_after = pay(scorer.score(second, before, with_leaver))

    organizations = sorted(scene.full)
    for seat, cheat in enumerate(organizations):
        victim = organizations[(seat + 1) % MEMBERS]
        others = {name: each for name, each in second.items() if name != cheat}
        for name, statistics in fabricated(scene, cheat, victim, seed):
            try:
                check(statistics, scene.classes)
            except RescindError:
                note(name, seat, 0.0, honest[cheat], refused=True)
                continue
            posted = {**others, cheat: {TASK: statistics}}
            paid = pay(scorer.score(posted, before))
            if not name.startswith(LEAVER):
                note(name, seat, paid[cheat], honest[cheat])
                continue
            once = pay(scorer.score(posted, before, with_leaver))
            more = {"paid_again": paid[cheat], "honest_again": honest[cheat]}
            more |= seen(scene, cheat, statistics, "") | seen(scene, cheat, full[cheat], "honest_")
            note(name, seat, once[cheat], honest_after[cheat], more)
        under_two = {**second, "second name": second[cheat]}
        paid = pay(scorer.score(under_two, before))
        note(TWO_NAMES, seat, paid[cheat] + paid["second name"], honest[cheat])
        # An honest member posts the half that it did not take back: the model has it, so its pay is 0.
        with_all = answered({**scene.first, cheat: scene.full[cheat]})
        once = pay(scorer.score(second, before, with_all))
        again = {"paid_again": honest[cheat], "honest_again": 0.0}
        note(TAKEN_BACK, seat, once[cheat], 0.0, again)
    return list(rows.values())


def seen(scene: Scene, cheat: str, posted: RowStatistics, prefix: str) -> dict[str, float]:
    """Return what the leaver's statistics, if they were kept, would show of what a member posts."""

    def vector(statistics: RowStatistics) -> NDArray[np.float64]:
        return np.concatenate([statistics.gram, statistics.moments.ravel()]).astype(np.float64)

    model = [*(scene.first[name] for name in sorted(scene.first)), scene.leaver]
    added = vector(posted) - vector(scene.first[cheat])
    columns = np.stack([vector(each) for each in model], axis=1)
    coefficients = np.linalg.lstsq(columns, added, rcond=None)[0]
    fits = without_known(posted, [scene.leaver], scene.classes) is not posted
    return {f"{prefix}fits": float(fits), f"{prefix}coefficient": float(coefficients[-1])}


def pay(scores: Mapping[str, int]) -> dict[str, float]:
    """Return shares of the round's reward."""
    credits_ = credit(ETHER, ETHER, list(scores.values()))
    return {name: wei / ETHER for name, wei in zip(scores, credits_, strict=True)}


def fabricated(
    scene: Scene, cheat: str, victim: str, seed: int
) -> Iterator[tuple[str, RowStatistics]]:
    """Yield each cheat's name and statistics."""
    dice = np.random.default_rng(seed)
    own, full, theirs = scene.first[cheat], scene.full[cheat], scene.first[victim]
    known = [scene.first[name] for name in sorted(scene.first)]
    none = RowStatistics(np.zeros_like(own.gram), np.zeros_like(own.moments))
    yield "no rows", none
    yield "its earlier rows once more", own
    yield (
        "random numbers",
        RowStatistics(
            dice.integers(-9, 10, own.gram.shape), dice.integers(-9, 10, own.moments.shape)
        ),
    )
    yield "invented rows", invented(scene.classes, full, dice)
    yield "another's earlier rows, in place of its own", theirs
    yield "another's earlier rows, beside its own", RowStatistics.sum([own, theirs])
    yield "another's earlier rows, beside all of its own", RowStatistics.sum([full, theirs])
    yield (
        "another's earlier rows 10 times, beside its own",
        RowStatistics.sum([own, scaled(theirs, 10)]),
    )
    yield "everyone's earlier rows", RowStatistics.sum(known)
    for times in (2, 10, 100):
        yield f"its earlier rows {times} times", scaled(own, times)
    for times in (2, 10, 100):
        yield f"all of its rows {times} times", scaled(full, times)
    order = dice.permutation(full.moments.shape[1])
    yield "all labels swapped", RowStatistics(full.gram, full.moments[:, order])
    most = np.argsort(full.counts)[::-1]
    order = np.arange(full.moments.shape[1])
    order[most[:2]] = most[:2][::-1]
    yield "its two largest labels swapped", RowStatistics(full.gram, full.moments[:, order])
    yield IN_TIME, scene.full[victim]
    left = scene.leaver
    yield f"{LEAVER}, beside its own earlier ones", RowStatistics.sum([own, left])
    yield f"{LEAVER}, beside all of its own", RowStatistics.sum([full, left])
    yield f"{LEAVER}, in place of its own", left
    for parts in (2, 4, 8):
        yield (
            f"{LEAVER}, divided by {parts}, beside its own earlier ones",
            with_part(own, left, parts, scene.classes),
        )


def scaled(statistics: RowStatistics, times: int) -> RowStatistics:
    """Return the statistics of each row so many times."""
    return RowStatistics(statistics.gram * times, statistics.moments * times)


def with_part(
    own: RowStatistics, others: RowStatistics, parts: int, classes: Classes
) -> RowStatistics:
    """Return a member's statistics with a part of each number of another's, as sums of rows."""
    moments = own.moments + np.trunc(others.moments / parts).astype(np.int64)
    gram = own.full_gram() + np.trunc(others.full_gram() / parts).astype(np.int64)
    # The first feature of a row is 1, so that its sums are those of the other features.
    gram[0] = gram[:, 0] = moments.sum(axis=1)
    places = np.arange(1, len(gram))
    # Rounding moves eigenvalues, by less than the number of features: the diagonal makes up for it.
    for more in (0, *2 ** np.arange(len(gram).bit_length())):
        gram[places, places] += more
        posted = RowStatistics(gram[np.triu_indices(len(gram))], moments)
        with suppress(RescindError):
            check(posted, classes)
            return posted
    raise AssertionError(f"statistics with a part of 1 in {parts} do not pass the check")


def invented(classes: Classes, like: RowStatistics, dice: np.random.Generator) -> RowStatistics:
    """Return the statistics of as many rows with random features and labels."""
    features = dice.integers(-1, 2, (like.rows, like.dimensions))
    features[:, 0] = 1
    targets = np.zeros((like.rows, len(classes.labels)), dtype=np.int64)
    targets[np.arange(like.rows), dice.integers(0, len(classes.labels), like.rows)] = 1
    return RowStatistics.of(features, targets)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return how each cheat does.

    How often it was paid more than honest statistics in the same seat by more than rounding, the
    mean pay of both in shares of the reward, and the largest difference. The same if questions were
    paid again, and what kept statistics would show, where rows were taken back.
    """
    lines = [f"{'alpha':5} {'cheat':74} {'rounds':>6} refused more often   paid honest    most"]
    keys = dict.fromkeys((row["alpha"], row["cheat"]) for row in rows)
    for alpha, cheat in sorted(keys, key=lambda key: key[0]):
        mine = [row for row in rows if (row["alpha"], row["cheat"]) == (alpha, cheat)]

        def of(name: str, mine: Sequence[Mapping[str, Any]] = mine) -> NDArray[np.float64]:
            return np.array([number for row in mine for number in row[name]])

        def compared(paid: NDArray[np.float64], honest: NDArray[np.float64]) -> str:
            often = int(np.sum(paid > honest + DIFFERENCE))
            most = (paid - honest).max()
            return f"{often:10} {paid.mean():6.3f} {honest.mean():6.3f} {most:+7.3f}"

        refused = sum(row["refused"] for row in mine)
        lines.append(
            f"{alpha:5} {cheat:74} {of('paid').size:6} {refused:7} "
            + compared(of("paid"), of("honest"))
        )
        if "paid_again" in mine[0]:
            again = compared(of("paid_again"), of("honest_again"))
            lines.append(f"{'':6}{'  if questions were paid again':89} {again}")
        if "fits" in mine[0]:
            names = ("coefficient", "honest_coefficient")
            ranges = [f"{of(n).min():.2f} to {of(n).max():.2f}" for n in names]
            lines.append(
                f"{'':6}  if the leaver's were kept: fit {int(of('fits').sum())} times, honest ones "
                f"{int(of('honest_fits').sum())}; coefficient {ranges[0]}, honest {ranges[1]}"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
