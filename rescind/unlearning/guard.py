"""A guard against forgetting too much, which measures the model during and after counter-training.

A loss that keeps rising says nothing about success. The guard distinguishes four failures:

over-unlearned  the withdrawn answers are less likely than under a model that never saw them, which
                gives them away just as well as knowing them did
collapsed       the data to keep is forgotten
gibberish       the model no longer forms sentences
diverged        numbers are not finite, or the change is larger than a delta may be
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from sklearn.metrics import roc_auc_score

from rescind.core.errors import ConfigError
from rescind.training import Example
from rescind.training.serving.respond import (
    OneNetwork,
    Respondent,
    TokenScores,
    answers,
    token_scores,
)
from rescind.unlearning.problem import Problem

State = Literal["ok", "over-unlearned", "collapsed", "gibberish", "diverged"]

_NEW_TOKENS = 32
"""Tokens of a generated answer: enough to see whether the model repeats itself."""

_WORDS = 3
"""Words in a sequence that counts as repeated."""


@dataclass(frozen=True)
class Limits:
    """The limits of the guard.

    Attributes:
        every: Steps between two checks, 0 for one check at the end only.
        patience: Consecutive checks that may fail before training stops, because some methods pass
            through bad states. A diverged state stops it at once.
        excess: Nats a token by which the forget answers may be less likely than under a model that
            never saw them.
        auc: The least area under the curve of forget answers against unseen ones by their loss. 0.5
            is chance. It only counts when it is two standard errors below chance.
        utility_drop: The share that may be lost of the block's gain in correctly predicted tokens
            of the retain answers.
        repetition: The largest share of repeated three-word sequences in the model's own answers.
        gibberish: Nats a token by which the base may find the model's own answers less likely than
            the earlier ones, or than those it is trained to give.
        entropy: The largest mean entropy of a prediction, as a share of ln(vocabulary).
        sample: Pairs of each set to check.
    """

    every: int = 5
    patience: int = 3
    excess: float = 2.0
    auc: float = 0.2
    utility_drop: float = 0.5
    repetition: float = 0.5
    gibberish: float = 2.5
    entropy: float = 0.85
    sample: int = 32

    def __post_init__(self) -> None:
        if self.every < 0 or self.patience < 1 or self.sample < 1:
            raise ConfigError(
                f"Guard: every is {self.every}, patience {self.patience} and sample {self.sample}. "
                "every must be 0 or more, the others at least 1."
            )
        for name in ("auc", "utility_drop", "repetition", "entropy"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"Guard: {name} is {value}. It must be within 0..1.")


@dataclass(frozen=True)
class Figures:
    """Measurements of one state. None: there was no data to measure it on.

    Attributes:
        forget_loss: Of the forget answers, in nats a token.
        own_loss: Of the model's own answers to the forget questions under the base, in nats a
            token.
        repetition: The share of repeated three-word sequences in the model's own answers.
        entropy: The mean entropy of a prediction, as a share of ln(vocabulary).
        change_norm: The L2 norm of the change, in parameter units.
        retain_loss: Of the retain answers, in nats a token.
        utility: The share of the retain answers' tokens that are predicted correctly.
        auc: Of forget against unseen answers: 1 knows the forget answers, 0.5 is chance, 0 avoids
            them.
        auc_error: The standard error of `auc` at chance.
    """

    forget_loss: float
    own_loss: float
    repetition: float
    entropy: float
    change_norm: float
    retain_loss: float | None = None
    utility: float | None = None
    auc: float | None = None
    auc_error: float | None = None


@dataclass(frozen=True)
class Verdict:
    """The guard's verdict on one state. `why` names each limit that was passed."""

    state: State
    why: str
    figures: Figures

    @property
    def ok(self) -> bool:
        """Return whether every limit was kept."""
        return self.state == "ok"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document: `verdict`, `why`, `figures`. Infinite figures become None."""
        figures = {
            name: value if value is None or math.isfinite(value) else None
            for name, value in asdict(self.figures).items()
        }
        return {"verdict": self.state, "why": self.why, "figures": figures}


@dataclass(frozen=True)
class Before:
    """The values that later figures are compared with.

    Attributes:
        figures: Of the start.
        never_taught: The loss of answers that a model never saw, in nats a token: of the forget
            answers under the base or, if that is larger, of the unseen ones under this model.
        untaught_utility: The utility of the base.
        own_loss: The base's loss on the answers given before or, if that is larger, on those that
            the model is trained to give.
        clip_norm: The largest norm of a delta.
        untaught_auc: The AUC of the base, where there are unseen answers. The forget answers may be
            harder than the unseen ones to a model that saw neither.
    """

    figures: Figures
    never_taught: float
    untaught_utility: float | None
    own_loss: float
    clip_norm: float
    untaught_auc: float | None = None


def repetition(texts: Sequence[str]) -> float:
    """Return the share of three-word sequences that occurred earlier in the same text, 0..1.

    This is seq-rep-n of Welleck et al. 2019, arXiv 1908.04319. In a shorter text, sequences are
    shorter.
    """
    repeated, total = 0, 0
    for text in texts:
        words = text.split()
        size = min(_WORDS, max(1, len(words) - 1))
        counts = Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
        total += counts.total()
        repeated += counts.total() - len(counts)
    return repeated / total if total else 0.0


def auc_error(forget: int, unseen: int) -> float:
    """Return the standard error of an AUC when both sets are alike (Mann and Whitney 1947)."""
    return math.sqrt((forget + unseen + 1) / (12 * forget * unseen))


def judge(figures: Figures, before: Before, limits: Limits) -> Verdict:
    """Return the worst state whose limit is passed, with every limit that is."""
    checks: list[tuple[State, str]] = []
    numbers = [value for value in asdict(figures).values() if value is not None]
    if not all(math.isfinite(value) for value in numbers):
        checks.append(("diverged", "a figure is not finite"))
    if figures.change_norm > before.clip_norm:
        checks.append(
            (
                "diverged",
                f"the change has L2 norm {figures.change_norm:.4g} and a delta may have "
                f"{before.clip_norm:.4g}, so the registered delta would differ from the trained "
                "one",
            )
        )
    checks += _kept(figures, before, limits)
    checks += _speaks(figures, before, limits)
    checks += _over(figures, before, limits)
    if not checks:
        return Verdict("ok", "", figures)
    return Verdict(checks[0][0], "; ".join(why for _, why in checks), figures)


def _kept(figures: Figures, before: Before, limits: Limits) -> list[tuple[State, str]]:
    now, then, floor = figures.utility, before.figures.utility, before.untaught_utility
    if now is None or then is None or floor is None:
        return []
    least = then - limits.utility_drop * (then - (floor if floor < then else 0.0))
    if now >= least:
        return []
    why = f"{now:.1%} of the retain answers' tokens are right, and at least {least:.1%} must be"
    return [("collapsed", f"{why} ({then:.1%} were before)")]


def _speaks(figures: Figures, before: Before, limits: Limits) -> list[tuple[State, str]]:
    passed: list[tuple[State, str]] = []
    most = before.own_loss + limits.gibberish
    if figures.own_loss > most:
        why = f"the model's own answers have {figures.own_loss:.2f} nats a token under the base"
        passed.append(("gibberish", f"{why}, and may have at most {most:.2f}"))
    if figures.repetition > max(limits.repetition, before.figures.repetition):
        passed.append(
            ("gibberish", f"{figures.repetition:.0%} of the model's own answers is repetition")
        )
    if figures.entropy > max(limits.entropy, before.figures.entropy):
        passed.append(
            ("gibberish", f"predictions have {figures.entropy:.0%} of the largest entropy")
        )
    return passed


def _over(figures: Figures, before: Before, limits: Limits) -> list[tuple[State, str]]:
    passed: list[tuple[State, str]] = []
    most = before.never_taught + limits.excess
    if figures.forget_loss > most:
        why = f"the forget answers have {figures.forget_loss:.2f} nats a token, and under a model"
        why += f" that never saw them {before.never_taught:.2f}"
        passed.append(("over-unlearned", why))
    if figures.auc is not None and figures.auc_error is not None:
        untaught = 0.5 if before.untaught_auc is None else min(0.5, before.untaught_auc)
        below = (untaught - figures.auc) / figures.auc_error
        if figures.auc < limits.auc and below > 2:
            why = f"the AUC of forget against unseen answers is {figures.auc:.2f}"
            why += f", and of a model that saw neither {untaught:.2f}"
            passed.append(("over-unlearned", why))
    return passed


class Guard:
    """A guard that measures the reference first, and judges later states against it."""

    def __init__(
        self,
        problem: Problem,
        reference: Any,
        limits: Limits,
        to_be_given: Sequence[Example] = (),
    ) -> None:
        """Measure the reference.

        Args:
            problem: The problem.
            reference: The network that counter-training starts from.
            limits: The limits.
            to_be_given: The answers that a method trains towards, if it does.
        """
        self._problem = problem
        self._limits = limits
        self._forget = _spread(problem.forget, limits.sample)
        self._retain = _spread(problem.retain, limits.sample)
        self._unseen = _spread(problem.unseen, limits.sample)
        start = self._respondent(reference)
        unseen = _loss(token_scores(start, self._unseen)) if self._unseen else 0.0
        figures = self.measure(start, change_norm=0.0)
        base = self._respondent(problem.model.use(None))
        untaught = token_scores(base, self._forget)
        given = to_be_given[: limits.sample]
        self.before = Before(
            figures,
            never_taught=max(_loss(untaught), unseen),
            untaught_utility=_right(token_scores(base, self._retain)) if self._retain else None,
            own_loss=max(
                figures.own_loss, _loss(token_scores(base, given)) if given else figures.own_loss
            ),
            clip_norm=problem.parameters.clip_norm,
            untaught_auc=(
                _auc(untaught, token_scores(base, self._unseen)) if self._unseen else None
            ),
        )

    def look(self, network: Any, *, change_norm: float) -> Verdict:
        """Judge a network. The bare base is in use afterwards, so activate your adapter again."""
        figures = self.measure(self._respondent(network), change_norm=change_norm)
        return judge(figures, self.before, self._limits)

    def measure(self, respondent: Respondent, *, change_norm: float) -> Figures:
        """Measure a respondent."""
        forget = token_scores(respondent, self._forget)
        retain = token_scores(respondent, self._retain) if self._retain else []
        unseen = token_scores(respondent, self._unseen) if self._unseen else []
        texts = answers(respondent, self._forget, max_new_tokens=_NEW_TOKENS)
        own = [
            replace(example, answer=text) for example, text in zip(self._forget, texts, strict=True)
        ]
        vocabulary = respondent.base.model.config.vocab_size
        entropy = -float(np.concatenate([scores.mean for scores in forget]).mean())
        base = self._respondent(self._problem.model.use(None))
        return Figures(
            forget_loss=_loss(forget),
            own_loss=_loss(token_scores(base, own)),
            repetition=repetition(texts),
            entropy=entropy / math.log(vocabulary),
            change_norm=change_norm,
            retain_loss=_loss(retain) if retain else None,
            utility=_right(retain) if retain else None,
            auc=_auc(forget, unseen) if unseen else None,
            auc_error=auc_error(len(forget), len(unseen)) if unseen else None,
        )

    def _respondent(self, network: Any) -> OneNetwork:
        problem = self._problem
        # Room for an own answer, whose text may have more tokens than were generated.
        room = problem.parameters.training.max_length + 8 * _NEW_TOKENS
        return OneNetwork(problem.model.base, network, room)


def _spread(examples: Sequence[Example], count: int) -> list[Example]:
    indices = np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int)
    return [examples[index] for index in indices]


def _loss(scores: Sequence[TokenScores]) -> float:
    return -float(np.concatenate([each.log_probs for each in scores]).mean())


def _right(scores: Sequence[TokenScores]) -> float:
    return float(np.concatenate([each.right for each in scores]).mean())


def _auc(forget: Sequence[TokenScores], unseen: Sequence[TokenScores]) -> float:
    losses = np.array([each.loss for each in (*forget, *unseen)])
    if not np.all(np.isfinite(losses)):
        return float("nan")
    return float(roc_auc_score([1] * len(forget) + [0] * len(unseen), -losses))
