"""TOFU's evaluation (arXiv 2401.06121): its record of each question, and its figures.

The same record comes from a live model (`live.evaluate_tofu`) and from a log file (`tofu_log`), so
the same code computes the figures of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rescind.forgetting.metrics.comparison import CONFIDENCE, RESAMPLES, checked_confidence
from rescind.forgetting.metrics.likelihood import (
    normalized_probability,
    probability,
    truth_ratio_forget,
    truth_ratio_other,
    truth_ratios,
)
from rescind.forgetting.metrics.quality import forget_quality, harmonic_mean, model_utility
from rescind.forgetting.metrics.values import (
    AGGREGATES,
    Floats,
    Measured,
    MetricInput,
    loss_rows,
    losses,
    of_items,
    same_length,
    shares,
)

FORGET = "forget"
RETAIN = "retain"
REAL_AUTHORS = "real_authors"
WORLD_FACTS = "world_facts"
UTILITY_SETS = (RETAIN, REAL_AUTHORS, WORLD_FACTS)
SETS = (*UTILITY_SETS, FORGET)
_WITH_OPTIONS = (REAL_AUTHORS, WORLD_FACTS)


@dataclass(frozen=True)
class TofuSet:
    """One model's record on one set of questions, with one entry for each question in every field.

    Attributes:
        ids: The questions' keys.
        answer_losses: The loss of the right answer, in nats a token.
        paraphrase_losses: The loss of the paraphrased right answer, in nats a token.
        wrong_losses: The loss of each wrong answer, in nats a token.
        rouge_l: ROUGE-L recall of the greedy answer.
        rouge_1: ROUGE-1 recall of the greedy answer, where known.
        texts: (question, greedy answer, right answer), where known.
        answer_tokens: The number of tokens of the right answer, where known.
        paraphrase_tokens: The number of tokens of the paraphrased right answer, where known.
        wrong_tokens: The number of tokens of each wrong answer, where known.

    Raises:
        MetricInput: The counts differ, or a value is outside its range.
    """

    ids: tuple[str, ...]
    answer_losses: tuple[float, ...]
    paraphrase_losses: tuple[float, ...]
    wrong_losses: tuple[tuple[float, ...], ...]
    rouge_l: tuple[float, ...]
    rouge_1: tuple[float, ...] | None = None
    texts: tuple[tuple[str, str, str], ...] | None = None
    answer_tokens: tuple[int, ...] | None = None
    paraphrase_tokens: tuple[int, ...] | None = None
    wrong_tokens: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        columns = {name: value for name, value in vars(self).items() if value is not None}
        same_length(**{name: len(value) for name, value in columns.items()})
        losses("answer_losses", self.answer_losses)
        losses("paraphrase_losses", self.paraphrase_losses)
        loss_rows("wrong_losses", self.wrong_losses)
        shares("rouge_l", self.rouge_l)


@dataclass(frozen=True)
class TofuRecord:
    """One model's records on some or all of SETS, by the name of the set.

    Raises:
        MetricInput: A name is not in SETS.
    """

    sets: Mapping[str, TofuSet]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.sets) - set(SETS))
        if unknown:
            raise MetricInput(f"{unknown[0]!r} is not a set of TOFU. Its sets: {', '.join(SETS)}.")

    def of(self, name: str) -> TofuSet:
        """Return the record on the set of that name.

        Raises:
            MetricInput: The set was not evaluated.
        """
        if name not in self.sets:
            sets = ", ".join(self.sets) or "no sets"
            raise MetricInput(f"The record does not have the set {name!r}. It has {sets}.")
        return self.sets[name]


def tofu_scores(record: TofuRecord, name: str) -> dict[str, Measured]:
    """Return probability, ROUGE-L recall and truth ratio of one set, by their names in METRICS.

    The probability is normalized where the wrong answers are options.

    Raises:
        MetricInput: The set was not evaluated.
    """
    answers = record.of(name)
    chance = (
        normalized_probability(answers.answer_losses, answers.wrong_losses)
        if name in _WITH_OPTIONS
        else probability(answers.answer_losses)
    )
    ratio = truth_ratio_forget if name == FORGET else truth_ratio_other
    scores = (
        chance,
        of_items("rouge_l_recall", shares("rouge_l", answers.rouge_l)),
        ratio(answers.paraphrase_losses, answers.wrong_losses),
    )
    return {score.metric: score for score in scores}


def tofu_utility(record: TofuRecord) -> Measured:
    """Return the model utility over retain set, real authors and world facts.

    Items are the nine figures.

    Raises:
        MetricInput: One of the three sets was not evaluated.
    """
    return model_utility(
        {
            f"{name} {metric}": score.value
            for name in UTILITY_SETS
            for metric, score in tofu_scores(record, name).items()
        }
    )


def tofu_forget_quality(record: TofuRecord, retrained: TofuRecord) -> Measured:
    """Return the forget quality of a model against a model that never saw the forget set.

    Args:
        record: The record of the model.
        retrained: The record of the model that never saw the forget set.

    Raises:
        MetricInput: The two were not asked the same questions. The test would compare the
            questions, not the models.
    """
    forget_set, retrained_set = record.of(FORGET), retrained.of(FORGET)
    _same_questions(FORGET, forget_set, retrained_set)
    return forget_quality(
        truth_ratios(forget_set.paraphrase_losses, forget_set.wrong_losses),
        truth_ratios(retrained_set.paraphrase_losses, retrained_set.wrong_losses),
    )


def utility_gap(
    record: TofuRecord,
    replayed: TofuRecord,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measured:
    """Return the model utility minus that of a replay, with an interval.

    The interval is a paired bootstrap over the questions of each set.

    Args:
        record: The record of the model.
        replayed: The record of the replay.
        confidence: The confidence level of the interval, between 0 and 1.
        resamples: The number of bootstrap resamples.
        seed: The seed of the resampling.

    Returns:
        A Measured whose items are the differences of the nine figures. Details are those of
        `gap_to_replay`.

    Raises:
        MetricInput: The two were not asked the same questions, or `confidence` is out of range.
    """
    tail = (1 - checked_confidence(confidence)) / 2
    rng = np.random.default_rng(seed)
    utility, replayed_utility = tofu_utility(record), tofu_utility(replayed)
    columns: list[tuple[Floats, Floats]] = []
    for name in UTILITY_SETS:
        _same_questions(name, record.of(name), replayed.of(name))
        count = len(record.of(name).ids)
        draws = rng.integers(0, count, (resamples, count))
        pairs = zip(
            tofu_scores(record, name).values(), tofu_scores(replayed, name).values(), strict=True
        )
        columns += [
            (_resampled(model, draws), _resampled(replay, draws)) for model, replay in pairs
        ]
    model_figures, replay_figures = (np.stack(side, axis=-1) for side in zip(*columns, strict=True))
    gaps = harmonic_mean(model_figures) - harmonic_mean(replay_figures)
    low, high = np.quantile(gaps, [tail, 1 - tail])
    details = {
        "metric": utility.metric,
        "found": utility.value,
        "replayed": replayed_utility.value,
        "low": float(low),
        "high": float(high),
        "confidence": confidence,
    }
    items = tuple(a - b for a, b in zip(utility.items, replayed_utility.items, strict=True))
    return Measured("gap_to_replay", utility.value - replayed_utility.value, items, details=details)


def _resampled(score: Measured, draws: ArrayLike) -> Floats:
    items = np.array(score.items)[np.asarray(draws)]
    return AGGREGATES[score.aggregate or "mean"](items)


def _same_questions(name: str, first: TofuSet, second: TofuSet) -> None:
    if len(first.ids) != len(second.ids):
        raise MetricInput(
            f"The {name} sets differ: one has {len(first.ids)} questions and the other "
            f"{len(second.ids)}. Ask both models the same questions."
        )
    if set(first.ids) != set(second.ids):
        odd = sorted(set(first.ids) ^ set(second.ids))[0]
        raise MetricInput(
            f"The {name} sets differ: question {odd!r} is in only one of them. Ask both models the "
            "same questions."
        )
    if first.texts is None or second.texts is None:
        return
    other = dict(zip(second.ids, _answers(second.texts), strict=True))
    for key, answer in zip(first.ids, _answers(first.texts), strict=True):
        if answer != other[key]:
            raise MetricInput(
                f"The {name} sets differ: the right answer to question {key!r} is "
                f"{answer[:60]!r} in one and {other[key][:60]!r} in the other."
            )


def _answers(texts: Sequence[tuple[str, str, str]]) -> list[str]:
    return [" ".join(right.split()) for _, _, right in texts]
