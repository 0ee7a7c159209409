"""Metrics of a live model, which is asked through a Respondent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rescind.forgetting.metrics import metric
from rescind.forgetting.metrics.privacy import privleak
from rescind.forgetting.metrics.probes import Probe, Question
from rescind.forgetting.metrics.text import rouge_recall
from rescind.forgetting.metrics.tofu import SETS, TofuRecord, TofuSet
from rescind.forgetting.metrics.tokens import MIN_K, min_k_scores
from rescind.forgetting.metrics.values import Floats, Measured, MetricInput
from rescind.training import Example
from rescind.training.engine.batches import encode_example
from rescind.training.serving.respond import (
    Respondent,
    TokenScores,
    answers,
    token_scores,
)

MAX_NEW_TOKENS = 200
"""The limit of open-unlearning and TOFU for greedy answers.

A tokenizer with a small vocabulary needs more tokens for the same text, so the default limit is at
least the length of the set's longest right answer.
"""


def measure(
    name: str,
    respondent: Respondent,
    questions: Sequence[Question],
    *,
    max_new_tokens: int | None = None,
) -> Measured:
    """Return the metric of that name of one model on one set of questions.

    Args:
        name: The name of the metric in METRICS.
        respondent: The model.
        questions: The set. A metric of wrong answers needs Probes.
        max_new_tokens: The limit of greedy answers. By default MAX_NEW_TOKENS, or the length of the
            longest right answer if that is more.

    Raises:
        UnknownMetric: The name is not in METRICS.
        MetricInput: The metric compares models or sets, there are no questions, or the questions
            do not have the wrong answers that the metric needs.
    """
    known = metric(name)
    foreign = [need for need in known.needs if need not in _FROM_MODEL]
    if foreign:
        raise MetricInput(
            f"{name} needs {', '.join(foreign)}, which one model and one set do not give. Compute "
            f"it with rescind.forgetting.metrics.metric({name!r}).compute."
        )
    answered = _Answered(respondent, questions, max_new_tokens)
    return known.compute(**{need: _FROM_MODEL[need](answered) for need in known.needs})


def min_k(respondent: Respondent, questions: Sequence[Question], share: float = MIN_K) -> Floats:
    """Return Min-K% of each right answer, (questions,).

    Higher means less likely to have been trained on.

    Args:
        respondent: The model.
        questions: The questions with their right answers.
        share: Share of the tokens that count, in (0, 1].
    """
    scores = token_scores(respondent, _examples(questions))
    return min_k_scores([score.log_probs for score in scores], share)


def measure_privleak(
    respondent: Respondent,
    forget: Sequence[Question],
    holdout: Sequence[Question],
    *,
    reference_auc: float = 0.5,
    share: float = MIN_K,
) -> Measured:
    """Return privleak of a model by Min-K% of the answers.

    Args:
        respondent: The model.
        forget: The forget set.
        holdout: Pairs that the model never saw.
        reference_auc: The AUC of a model that never saw the forget set.
        share: Share of the tokens that count for Min-K%, in (0, 1].
    """
    return privleak(
        min_k(respondent, forget, share), min_k(respondent, holdout, share), reference_auc
    )


def evaluate_tofu(
    respondent: Respondent,
    sets: Mapping[str, Sequence[Probe]],
    *,
    max_new_tokens: int | None = None,
) -> TofuRecord:
    """Return TOFU's evaluation record of a model on each of `sets`.

    Args:
        respondent: The model.
        sets: Questions by the name of their set in `tofu.SETS`. A set that is left out is not
            evaluated. Questions are numbered from "0" in their order.
        max_new_tokens: The limit of greedy answers. By default MAX_NEW_TOKENS, or the length of the
            longest right answer if that is more.

    Raises:
        MetricInput: A name is not in `tofu.SETS`, or a set is empty.
    """
    # Refuses an unknown name before the model is asked for hours.
    TofuRecord(dict.fromkeys(sets))  # type: ignore[arg-type]
    return TofuRecord(
        {
            name: _tofu_set(_Answered(respondent, sets[name], max_new_tokens))
            for name in SETS
            if name in sets
        }
    )


@dataclass(frozen=True)
class _Answered:
    """One model's answers to one set of questions; each kind is computed once."""

    respondent: Respondent
    questions: Sequence[Question]
    max_new_tokens: int | None

    @cached_property
    def probes(self) -> list[Probe]:
        bare = next((q for q in self.questions if not isinstance(q, Probe) or not q.wrong), None)
        if bare is not None:
            raise MetricInput(
                f"The question {bare.question[:60]!r} has no wrong answers. Pass Probes."
            )
        return [q for q in self.questions if isinstance(q, Probe)]

    @cached_property
    def references(self) -> list[str]:
        return [question.answer for question in self.questions]

    @cached_property
    def generated(self) -> list[str]:
        texts = [question.question for question in self.questions]
        limit = self.max_new_tokens or max([MAX_NEW_TOKENS, *map(self._tokens, self.questions)])
        return answers(self.respondent, texts, max_new_tokens=limit)

    @cached_property
    def right(self) -> list[TokenScores]:
        return token_scores(self.respondent, _examples(self.questions))

    @cached_property
    def paraphrased(self) -> list[TokenScores]:
        rows = [Example(p.question, p.paraphrase, "") for p in self.probes]
        return token_scores(self.respondent, rows)

    @cached_property
    def wrong(self) -> list[list[TokenScores]]:
        rows = [Example(p.question, text, "") for p in self.probes for text in p.wrong]
        scores = iter(token_scores(self.respondent, rows))
        return [[next(scores) for _ in probe.wrong] for probe in self.probes]

    def _tokens(self, question: Question) -> int:
        example = Example(question.question, question.answer, "")
        row = encode_example(self.respondent.base, example, self.respondent.max_length)
        return len(row.tokens) - row.prompt_length


_FROM_MODEL: Mapping[str, Callable[[_Answered], Any]] = {
    "answer_losses": lambda answered: [score.loss for score in answered.right],
    "paraphrase_losses": lambda answered: [score.loss for score in answered.paraphrased],
    "wrong_losses": lambda answered: [[score.loss for score in row] for row in answered.wrong],
    "token_hits": lambda answered: [score.right for score in answered.right],
    "generated": lambda answered: answered.generated,
    "references": lambda answered: answered.references,
}


def _tofu_set(answered: _Answered) -> TofuSet:
    rouge = rouge_recall(answered.generated, answered.references, ["rouge1", "rougeL"])
    return TofuSet(
        ids=tuple(str(index) for index in range(len(answered.probes))),
        answer_losses=_means(answered.right),
        paraphrase_losses=_means(answered.paraphrased),
        wrong_losses=tuple(_means(row) for row in answered.wrong),
        rouge_l=tuple(rouge["rougeL"].tolist()),
        rouge_1=tuple(rouge["rouge1"].tolist()),
        texts=tuple(
            (probe.question, reply, probe.answer)
            for probe, reply in zip(answered.probes, answered.generated, strict=True)
        ),
        answer_tokens=_counts(answered.right),
        paraphrase_tokens=_counts(answered.paraphrased),
        wrong_tokens=tuple(_counts(row) for row in answered.wrong),
    )


def _means(scores: Sequence[TokenScores]) -> tuple[float, ...]:
    return tuple(score.loss for score in scores)


def _counts(scores: Sequence[TokenScores]) -> tuple[int, ...]:
    return tuple(int(score.log_probs.size) for score in scores)


def _examples(questions: Sequence[Question]) -> list[Example]:
    return [Example(question.question, question.answer, "") for question in questions]
