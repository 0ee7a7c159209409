"""A guard against forgetting too much: looks at the model during and after counter-training.

A loss that goes on rising says nothing of success. What can go wrong has names: *over-unlearned*,
the withdrawn answers are less likely than to a model that never saw them, which tells them from
others just as well as knowing them did; *collapsed*, what was to be kept is gone; *gibberish*, the
model no longer speaks; *diverged*, numbers are not finite or the change is larger than what can be
registered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from sklearn.metrics import roc_auc_score

from rescind.core.errors import ConfigError
from rescind.training.data import Example
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
_WORDS = 3


@dataclass(frozen=True)
class Limits:
    """`every`: steps between two looks, 0 for one look at the end only. `patience`: looks in a row that
    may be out of bounds before training stops: some methods pass through bad states. A state that
    diverged stops it at once.

    `excess`: nats a token by which the forget answers may be less likely than to a model that never
    saw them. `auc`: least area under the curve, forget answers against unseen ones by their loss; 0.5
    is chance; it only counts where it is two standard errors below chance. `utility_drop`: share that
    may be lost of what the block added to the retain answers' rightly predicted tokens. `repetition`:
    largest share of repeated three-word sequences in the model's own answers. `gibberish`: nats a
    token by which the base may find the model's own answers less likely than those it gave before, or
    than those it is trained to give. `entropy`: largest mean entropy of a prediction, as a share of
    ln(vocabulary). `sample`: pairs looked at, of each set.
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
                f"guard: every is {self.every}, patience {self.patience} and sample {self.sample}: "
                "every is 0 or more, the others at least 1"
            )
        for name in ("auc", "utility_drop", "repetition", "entropy"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"guard: {name} is {value}: it is a share, 0..1")


@dataclass(frozen=True)
class Figures:
    """Losses in nats a token of the right answers. `utility`: share of the retain answers' tokens that
    are predicted rightly. `auc`: 1 knows the forget answers, 0.5 chance, 0 shuns them. `own_loss`: of
    the model's own answers to the forget questions under the base. `entropy`: share of ln(vocabulary).
    `change_norm`: L2 norm of what is changed, in parameter units. None: nothing to measure it on.
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
    """`why` says what was out of bounds, with the figures; empty when the state is ok."""

    state: State
    why: str
    figures: Figures

    @property
    def ok(self) -> bool:
        return self.state == "ok"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: `verdict`, `why`, `figures`; a figure that is not finite becomes None."""
        figures = {
            name: value if value is None or math.isfinite(value) else None
            for name, value in asdict(self.figures).items()
        }
        return {"verdict": self.state, "why": self.why, "figures": figures}


@dataclass(frozen=True)
class Before:
    """What the figures are held against. `never_taught`: nats a token at which a model finds answers
    that it never saw: the base the forget answers or, where that is more, this model the unseen ones.
    `untaught_utility`: the base's. `own_loss`: nats a token at which the base finds the answers given
    before or, where that is more, those that are to be given. `clip_norm`: of a delta.
    """

    figures: Figures
    never_taught: float
    untaught_utility: float | None
    own_loss: float
    clip_norm: float


def repetition(texts: Sequence[str]) -> float:
    """Share of three-word sequences that stood in the same text before, 0..1 (seq-rep-n of Welleck et
    al. 2019, arXiv 1908.04319). Shorter texts count by the words they have."""
    repeated, total = 0, 0
    for text in texts:
        words = text.split()
        size = min(_WORDS, max(1, len(words) - 1))
        counts = Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))
        total += counts.total()
        repeated += counts.total() - len(counts)
    return repeated / total if total else 0.0


def auc_error(forget: int, unseen: int) -> float:
    """Standard error of an area under the curve when both sets are alike (Mann and Whitney 1947)."""
    return math.sqrt((forget + unseen + 1) / (12 * forget * unseen))


def judge(figures: Figures, before: Before, limits: Limits) -> Verdict:
    """The worst state whose bound is passed, and every bound that is."""
    checks: list[tuple[State, str]] = []
    numbers = [value for value in asdict(figures).values() if value is not None]
    if not all(math.isfinite(value) for value in numbers):
        checks.append(("diverged", "a figure is not finite"))
    if figures.change_norm > before.clip_norm:
        checks.append(
            (
                "diverged",
                f"the change has L2 norm {figures.change_norm:.4g}, a delta may have "
                f"{before.clip_norm:.4g}: what would be registered is not what was trained",
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
    why = f"{now:.1%} of the retain answers' tokens are right, at least {least:.1%}"
    return [("collapsed", f"{why}; they were {then:.1%}")]


def _speaks(figures: Figures, before: Before, limits: Limits) -> list[tuple[State, str]]:
    found: list[tuple[State, str]] = []
    most = before.own_loss + limits.gibberish
    if figures.own_loss > most:
        why = f"the base finds the model's own answers at {figures.own_loss:.2f} nats a token"
        found.append(("gibberish", f"{why}, at most {most:.2f}"))
    if figures.repetition > max(limits.repetition, before.figures.repetition):
        found.append(
            ("gibberish", f"{figures.repetition:.0%} of the model's answers is repetition")
        )
    if figures.entropy > max(limits.entropy, before.figures.entropy):
        found.append(
            ("gibberish", f"predictions have {figures.entropy:.0%} of the largest entropy")
        )
    return found


def _over(figures: Figures, before: Before, limits: Limits) -> list[tuple[State, str]]:
    found: list[tuple[State, str]] = []
    most = before.never_taught + limits.excess
    if figures.forget_loss > most:
        why = f"the forget answers are at {figures.forget_loss:.2f} nats a token, a model that"
        found.append(("over-unlearned", f"{why} never saw them is at {before.never_taught:.2f}"))
    if figures.auc is not None and figures.auc_error is not None:
        below = (0.5 - figures.auc) / figures.auc_error
        if figures.auc < limits.auc and below > 2:
            why = f"AUC of forget against unseen answers is {figures.auc:.2f}"
            found.append(("over-unlearned", f"{why}, far below chance"))
    return found


class Guard:
    """Takes the figures before, from the reference; then judges any later state against them."""

    def __init__(
        self,
        problem: Problem,
        reference: Any,
        limits: Limits,
        to_be_given: Sequence[Example] = (),
    ) -> None:
        """`reference`: the network that counter-training starts from. `to_be_given`: the answers that a
        method trains towards, if it does."""
        self._problem = problem
        self._limits = limits
        self._forget = _spread(problem.forget, limits.sample)
        self._retain = _spread(problem.retain, limits.sample)
        self._unseen = _spread(problem.unseen, limits.sample)
        start = self._respondent(reference)
        unseen = _loss(token_scores(start, self._unseen)) if self._unseen else 0.0
        figures = self.measure(start, change_norm=0.0)
        base = self._respondent(problem.model.use(None))
        given = to_be_given[: limits.sample]
        self.before = Before(
            figures,
            never_taught=max(_loss(token_scores(base, self._forget)), unseen),
            untaught_utility=_right(token_scores(base, self._retain)) if self._retain else None,
            own_loss=max(
                figures.own_loss, _loss(token_scores(base, given)) if given else figures.own_loss
            ),
            clip_norm=problem.parameters.clip_norm,
        )

    def look(self, network: Any, *, change_norm: float) -> Verdict:
        """Leaves the bare base in use: put the trained adapter back before going on."""
        figures = self.measure(self._respondent(network), change_norm=change_norm)
        return judge(figures, self.before, self._limits)

    def measure(self, respondent: Respondent, *, change_norm: float) -> Figures:
        forget = token_scores(respondent, self._forget)
        retain = token_scores(respondent, self._retain) if self._retain else []
        unseen = token_scores(respondent, self._unseen) if self._unseen else []
        questions = [example.question for example in self._forget]
        texts = answers(respondent, questions, max_new_tokens=_NEW_TOKENS)
        own = [
            Example(example.question, text, example.subject)
            for example, text in zip(self._forget, texts, strict=True)
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
    places = np.linspace(0, len(examples) - 1, min(count, len(examples))).round().astype(int)
    return [examples[place] for place in places]


def _loss(scores: Sequence[TokenScores]) -> float:
    return -float(np.concatenate([each.log_probs for each in scores]).mean())


def _right(scores: Sequence[TokenScores]) -> float:
    return float(np.concatenate([each.right for each in scores]).mean())


def _auc(forget: Sequence[TokenScores], unseen: Sequence[TokenScores]) -> float:
    losses = np.array([each.loss for each in (*forget, *unseen)])
    if not np.all(np.isfinite(losses)):
        return float("nan")
    return float(roc_auc_score([1] * len(forget) + [0] * len(unseen), -losses))
