"""Metrics of a live model. Everything that it is asked goes through a Respondent."""

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
"""open-unlearning's and TOFU's for greedy answers. A tokenizer with a small vocabulary needs more, so
without another wish it is at least the longest right answer of the set."""


def measure(
    name: str,
    respondent: Respondent,
    questions: Sequence[Question],
    *,
    max_new_tokens: int | None = None,
) -> Measured:
    """The metric of that name of one model on one set of questions.

    A metric of wrong answers needs Probes. Raises UnknownMetric; MetricInput for a metric that
    compares models or sets, for no questions, or for questions that lack what it needs.
    """
    wanted = metric(name)
    strange = [need for need in wanted.needs if need not in _FROM_MODEL]
    if strange:
        raise MetricInput(
            f"{name} needs {', '.join(strange)}, which one model and one set do not give: compute "
            f"it with rescind.forgetting.metrics.metric({name!r}).compute"
        )
    asked = _Asked(respondent, questions, max_new_tokens)
    return wanted.compute(**{need: _FROM_MODEL[need](asked) for need in wanted.needs})


def min_k(respondent: Respondent, questions: Sequence[Question], share: float = MIN_K) -> Floats:
    """Min-K% of each answer, (questions,): higher means less likely to have been trained on."""
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
    """privleak of a model by Min-K% of the answers; `holdout` are pairs that it never saw."""
    return privleak(
        min_k(respondent, forget, share), min_k(respondent, holdout, share), reference_auc
    )


def evaluate_tofu(
    respondent: Respondent,
    sets: Mapping[str, Sequence[Probe]],
    *,
    max_new_tokens: int | None = None,
) -> TofuRecord:
    """Return TOFU's evaluation record of a model on each of `sets`, by their names in `tofu.SETS`.

    A set that is left out is not evaluated. Questions are numbered from "0" in their order.
    """
    TofuRecord(dict.fromkeys(sets))  # type: ignore[arg-type]
    return TofuRecord(
        {
            name: _tofu_set(_Asked(respondent, sets[name], max_new_tokens))
            for name in SETS
            if name in sets
        }
    )


@dataclass(frozen=True)
class _Asked:
    """One model and one set of questions; what is asked is asked once."""

    respondent: Respondent
    questions: Sequence[Question]
    max_new_tokens: int | None

    @cached_property
    def probes(self) -> list[Probe]:
        bare = next((q for q in self.questions if not isinstance(q, Probe) or not q.wrong), None)
        if bare is not None:
            raise MetricInput(
                f"the question {bare.question[:60]!r} has no wrong answers: give Probes"
            )
        return [q for q in self.questions if isinstance(q, Probe)]

    @cached_property
    def references(self) -> list[str]:
        return [question.answer for question in self.questions]

    @cached_property
    def generated(self) -> list[str]:
        asked = [question.question for question in self.questions]
        most = self.max_new_tokens or max([MAX_NEW_TOKENS, *map(self._tokens, self.questions)])
        return answers(self.respondent, asked, max_new_tokens=most)

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


_FROM_MODEL: Mapping[str, Callable[[_Asked], Any]] = {
    "answer_losses": lambda asked: [score.loss for score in asked.right],
    "paraphrase_losses": lambda asked: [score.loss for score in asked.paraphrased],
    "wrong_losses": lambda asked: [[score.loss for score in row] for row in asked.wrong],
    "token_hits": lambda asked: [score.right for score in asked.right],
    "generated": lambda asked: asked.generated,
    "references": lambda asked: asked.references,
}


def _tofu_set(asked: _Asked) -> TofuSet:
    rouge = rouge_recall(asked.generated, asked.references, ["rouge1", "rougeL"])
    return TofuSet(
        ids=tuple(str(place) for place in range(len(asked.probes))),
        answer_losses=_means(asked.right),
        paraphrase_losses=_means(asked.paraphrased),
        wrong_losses=tuple(_means(row) for row in asked.wrong),
        rouge_l=tuple(rouge["rougeL"].tolist()),
        rouge_1=tuple(rouge["rouge1"].tolist()),
        texts=tuple(
            (probe.question, reply, probe.answer)
            for probe, reply in zip(asked.probes, asked.generated, strict=True)
        ),
        answer_tokens=_counts(asked.right),
        paraphrase_tokens=_counts(asked.paraphrased),
        wrong_tokens=tuple(_counts(row) for row in asked.wrong),
    )


def _means(scores: Sequence[TokenScores]) -> tuple[float, ...]:
    return tuple(score.loss for score in scores)


def _counts(scores: Sequence[TokenScores]) -> tuple[int, ...]:
    return tuple(int(score.log_probs.size) for score in scores)


def _examples(questions: Sequence[Question]) -> list[Example]:
    return [Example(question.question, question.answer, "") for question in questions]
