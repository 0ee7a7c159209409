"""Attack posted statistics: python -m benchmarks.attacks.sums

An organization posts G and Q over questions of Banking77 under a public map. The attacker has the map,
the labels, and a dictionary: the words of all other questions of the data set. It looks for the rows,
their labels and texts, for members among known texts, and for words by label. Then the same with
fewer buckets, with random projections and with noise. A removal is attacked by the difference of two
published sums, which is what the leaver posted.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.conditions import conditions
from rescind.core.features import Features, RandomFeatures, feature_rows
from rescind.core.ngrams import NgramFeatures, fold, words_of
from rescind.core.statistics import Classes, RowStatistics
from rescind.core.statistics_noise import GaussianNoise, Posting, add_noise, lifted, tolerance
from rescind.forgetting.attacks.spelling import Speller
from rescind.forgetting.attacks.sums import find_rows, leverages, word_counts

RESULTS = Path(__file__).with_name("sums.jsonl")
_ROWS = (5, 20, 100, 400, 1500)
_SPELLED = 10
_CANDIDATES = 200
_ROW_SQUARE = 96
_OTHERS = 300
"""Rows of the other organizations in the sums whose difference is attacked."""

Row = tuple[str, str]


@dataclass(frozen=True)
class Setting:
    """A setting that the members agree on.

    Attributes:
        name: Its name in the table.
        features: The map.
        epsilon: Of one-time noise, if any.
    """

    name: str
    features: Features
    epsilon: float | None = None


SETTINGS = (
    Setting("2,047 buckets", NgramFeatures()),
    Setting("511 buckets", NgramFeatures(buckets=511)),
    Setting(
        "255 signs of projections",
        RandomFeatures(source=NgramFeatures(), count=255, function="sign"),
    ),
    Setting("511 buckets, epsilon 64", NgramFeatures(buckets=511), 64.0),
    Setting("511 buckets, epsilon 8", NgramFeatures(buckets=511), 8.0),
)


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--setting", action="append", choices=[each.name for each in SETTINGS])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    done = _read(options.results)
    every = _questions(options.data / "banking77" / "train.csv")
    for setting in SETTINGS:
        if options.setting and setting.name not in options.setting:
            continue
        for count in options.rows or _ROWS:
            for seed in options.seed or (0, 1, 2):
                key = {"setting": setting.name, "rows": count, "seed": seed}
                if any(key.items() <= line.items() for line in done):
                    continue
                line = {**key, **measure(setting, every, count, seed), "conditions": conditions()}
                with options.results.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(line) + "\n")
                done.append(line)
    sys.stdout.write(page(done))


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _questions(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [(row["text"].strip(), row["category"]) for row in csv.DictReader(handle)]
    return list({fold(text): (text, label) for text, label in rows}.values())


def measure(setting: Setting, every: Sequence[Row], count: int, seed: int) -> dict[str, Any]:
    """Return what an attacker finds in the statistics of `count` questions."""
    dice = random.Random(f"{count} {seed}")
    chosen = dice.sample(list(every), count + _CANDIDATES + _OTHERS)
    held, strangers = chosen[:count], chosen[count : count + _CANDIDATES]
    others = chosen[count + _CANDIDATES :]
    classes = Classes(
        features=setting.features,
        labels=tuple(sorted({label for _, label in every})),
        row_square=_ROW_SQUARE if setting.epsilon else None,
    )
    ridge, sums = _posted(classes, held, setting.epsilon, seed)
    found = _found(classes, sums, held, every)
    own, foreign = (
        leverages(sums, _features(classes, some), ridge=ridge)
        for some in (held[:_CANDIDATES], strangers)
    )
    places = [classes.labels.index(label) for _, label in held[:_CANDIDATES]]
    least, most = own.min(axis=1), foreign.min(axis=1)
    return {
        **found,
        "difference is the leaver's": _difference(classes, held, others),
        "member AUC": _auc(-least, -most),
        "members, none wrong": float((least < most.min()).mean()),
        "member's label": float((own.argmin(axis=1) == places).mean()),
        "word AUC": _words(classes, sums, held, every),
    }


def _posted(
    classes: Classes, held: Sequence[Row], epsilon: float | None, seed: int
) -> tuple[float, RowStatistics]:
    """Return what is posted, and the ridge that an attacker needs to invert it."""
    exact = _collected(classes, held)
    if epsilon is None:
        return 1e-6, exact
    noise = GaussianNoise(epsilon=epsilon, delta=1e-6, postings=1)
    deviations = noise.deviations(classes)
    secret = seed.to_bytes(32, "big")
    noisy = add_noise(exact, deviations, secret=secret, posting=Posting(1, ""), task="questions")
    slack = tolerance(classes, deviations)
    return float(slack.spectrum), lifted(noisy, slack, 1)


def _collected(classes: Classes, rows: Sequence[Row]) -> RowStatistics:
    return classes.collect([text for text, _ in rows], [label for _, label in rows])


def _features(classes: Classes, rows: Sequence[Row]) -> NDArray[np.int64]:
    return classes.cut(feature_rows(classes.features, [text for text, _ in rows]))


def _found(
    classes: Classes, sums: RowStatistics, held: Sequence[Row], every: Sequence[Row]
) -> dict[str, Any]:
    """Return how many rows, and how many texts of the first of them, were found and are right."""
    rows = find_rows(sums)
    pairs = [
        (features.tobytes(), classes.labels[place])
        for features, place in zip(rows.features, rows.labels, strict=True)
    ]
    true = [
        (features.tobytes(), label)
        for features, (_, label) in zip(_features(classes, held), held, strict=True)
    ]
    result: dict[str, Any] = {
        "rows found": len(set(pairs) & set(true)) / len(set(true)),
        "rows wrong": len(set(pairs) - set(true)),
        "texts": None,
    }
    if isinstance(classes.features, NgramFeatures) and rows.features.size:
        private = {fold(text) for text, _ in held}
        words = {w for text, _ in every if fold(text) not in private for w in words_of(text)}
        speller = Speller(classes.features, words)
        texts = [speller.spell(row) for row in rows.features[:_SPELLED]]
        result["texts"] = sum(text in private for text in texts) / len(texts)
        result["example"] = next((text for text in texts if text in private), None)
    return result


def _difference(classes: Classes, held: Sequence[Row], others: Sequence[Row]) -> bool:
    before = RowStatistics.sum([_collected(classes, others), _collected(classes, held)])
    leaver = before.without(_collected(classes, others))
    own = _collected(classes, held)
    return bool((leaver.gram == own.gram).all() and (leaver.moments == own.moments).all())


def _words(
    classes: Classes, sums: RowStatistics, held: Sequence[Row], every: Sequence[Row]
) -> float | None:
    """Return how well counts tell the words of each label's rows from the other words."""
    if not isinstance(classes.features, NgramFeatures):
        return None
    words = sorted({word for text, _ in every for word in words_of(text)})
    places = {word: number for number, word in enumerate(words)}
    counts = word_counts(sums, classes.features, words)
    present = np.zeros(counts.shape, dtype=bool)
    for text, label in held:
        for word in words_of(text):
            present[places[word], classes.labels.index(label)] = True
    used = present.any(axis=0)
    return _auc(counts[:, used][present[:, used]], counts[:, used][~present[:, used]])


def _auc(high: NDArray[Any], low: NDArray[Any]) -> float:
    truth = np.repeat([1, 0], [len(high), len(low)])
    return float(roc_auc_score(truth, np.concatenate([high, low])))


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of means over seeds, in Markdown."""
    columns = (
        "rows found",
        "texts",
        "member AUC",
        "members, none wrong",
        "member's label",
        "word AUC",
    )
    text = [f"| agreed | rows | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for setting in dict.fromkeys(line["setting"] for line in lines):
        for count in _ROWS:
            own = [line for line in lines if (line["setting"], line["rows"]) == (setting, count)]
            if own:
                cells = [_cell([line[column] for line in own]) for column in columns]
                text.append(f"| {setting} | {count:,} | {' | '.join(cells)} |")
    wrong = sum(line["rows wrong"] for line in lines)
    same = all(line["difference is the leaver's"] for line in lines)
    text.append(
        f"\n{len(lines)} runs, rows found that are wrong: {wrong}; differences exact: {same}."
    )
    return "\n".join(text) + "\n"


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.2f}" if known else "-"


if __name__ == "__main__":
    main()
