"""An additive head over the vocabulary, solved from sums over answer positions.

Each organization reads its own pairs once with the frozen base model. At each position of an answer,
phi are agreed hidden states as integers, e the unit vector of the next token among the agreed tokens,
p what the base expects. It posts

    G = sum of phi phi'    Q = sum of phi e'    P = sum of phi round(2^10 p)'

or, for the form "log-odds", in place of P the sum of phi with cut differences of log-probabilities.
The head solves (G + ridge I) W = 2^10 Q - P, as canonical integers (`rescind.training.heads`), and is
added to what the base expects of the agreed tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.linalg
import scipy.special
import torch
from numpy.typing import NDArray

from benchmarks.learning.vocabulary_positions import Floats, Integers, Positions
from rescind.core.features import HiddenFeatures, RandomFeatures
from rescind.core.statistics import RowStatistics
from rescind.training import Base
from rescind.training.features import suited
from rescind.training.ridges import RidgeRule, agreed_ridge

Form = Literal["probabilities", "logits", "log-odds", "without base"]
"""Where the head is added. "without base" has targets e alone and replaces what the base expects."""
TARGET_BITS = 10
"""Targets are in units of 2^-10: a probability below half of that counts as 0."""
CUT = 8.0
"""Targets of "log-odds" are cut to this many nats. Differences of log-probabilities have no bound."""
SMOOTHING = 2.0**-6
"""Share of the target of "log-odds" that is spread over all agreed tokens, or it would be infinite."""
FLOOR = 2.0**-TARGET_BITS
"""The least that "probabilities" and "without base" give to an agreed token."""


@dataclass(frozen=True)
class VocabularyMap:
    """An agreed map of the hidden states at a position to integers, the first of which is 1.

    Attributes:
        layers: A map of each layer that is read.
        wide: Random features of all of them, which stand beside them; None for none.
    """

    layers: tuple[HiddenFeatures, ...]
    wide: RandomFeatures | None = None

    def rows(self, states: Mapping[int, Floats]) -> Integers:
        """Return the rows of features, (positions, dimensions)."""
        each = [layer.rounded(states[layer.layers[0]]) for layer in self.layers]
        rows = np.hstack([each[0], *(other[:, 1:] for other in each[1:])])
        if self.wide is None:
            return rows
        return np.hstack([rows, self.wide.projected(rows)[:, 1:]])


def maps(base: Base, public: Positions, random: int) -> dict[str, VocabularyMap]:
    """Return the maps that are measured, fitted to answer positions of public pairs."""
    each = tuple(
        suited(
            HiddenFeatures(base_model_id=base.id, width=states.shape[1], layers=(layer,)), states
        )
        for layer, states in sorted(public.states.items())
    )
    # Only the size of the source matters to a projection; the layers have scales of their own.
    source = HiddenFeatures(
        base_model_id=base.id, width=each[0].width, layers=tuple(sorted(public.states))
    )
    return {
        "last": VocabularyMap(each[-1:]),
        "layers": VocabularyMap(each),
        "wide": VocabularyMap(each, RandomFeatures(source=source, count=random, shift=4)),
    }


@dataclass(frozen=True, eq=False)
class VocabularySums:
    """Sums that organizations post, and the sum of those.

    Attributes:
        tokens: G, and Q of the next tokens: their counts are those of the organization's answers.
        expected: P, int64 (dimensions, tokens).
        odds: The same of cut differences of log-probabilities, without which "log-odds" cannot be.
    """

    tokens: RowStatistics
    expected: Integers
    odds: Integers

    @classmethod
    def of(cls, rows: Integers, positions: Positions) -> VocabularySums:
        """Return the sums over positions whose next tokens are agreed ones."""
        following = np.zeros(positions.logs.shape, dtype=np.int64)
        following[np.arange(len(positions)), positions.next] = 1
        count = positions.logs.shape[1]
        smoothed = (1 - SMOOTHING) * following + SMOOTHING / count
        odds = np.clip(np.log(smoothed) - positions.logs, -CUT, CUT)
        targets = np.hstack([np.exp(positions.logs), odds])
        units = np.rint(2**TARGET_BITS * targets).astype(np.int64)
        every = RowStatistics.of(rows, np.hstack([following, units]))
        moments = every.moments[:, :count]
        expected, of_odds = every.moments[:, count:-count], every.moments[:, -count:]
        return cls(RowStatistics(every.gram, moments), expected, of_odds)

    @classmethod
    def sum(cls, parts: Sequence[VocabularySums]) -> VocabularySums:
        """Return the sums of several organizations, exact."""
        return cls(
            RowStatistics.sum(part.tokens for part in parts),
            np.sum([part.expected for part in parts], axis=0),
            np.sum([part.odds for part in parts], axis=0),
        )

    def without(self, part: VocabularySums) -> VocabularySums:
        """Return the sums without those of one organization, exact."""
        return VocabularySums(
            self.tokens.without(part.tokens), self.expected - part.expected, self.odds - part.odds
        )

    def system(self, form: Form) -> RowStatistics:
        """Return G with the moments of a form's targets, in units of 2^-TARGET_BITS."""
        unit = 2**TARGET_BITS
        moments = {
            "probabilities": unit * self.tokens.moments - self.expected,
            "logits": unit * self.tokens.moments - self.expected,
            "log-odds": self.odds,
            "without base": unit * self.tokens.moments,
        }[form]
        return RowStatistics(self.tokens.gram, moments)

    def tensors(self) -> dict[str, Integers]:
        """Return what the forms "probabilities" and "logits" need, by name."""
        return {**self.tokens.tensors(), "expected": self.expected}

    def ridge(self, rule: RidgeRule) -> int:
        """Return the ridge: "gcv" scores heads of the next tokens alone, whose squares sum to n."""
        return agreed_ridge(self.tokens, rule)


def in_floats(sums: VocabularySums, ridge: int, forms: Sequence[Form]) -> dict[Form, Floats]:
    """Return heads of several forms, (dimensions, tokens), by one factorization."""
    matrix = sums.tokens.full_gram().astype(np.float64)
    matrix += ridge * np.eye(len(matrix))
    factor = scipy.linalg.cho_factor(matrix)
    return {
        form: scipy.linalg.cho_solve(factor, sums.system(form).moments / 2.0**TARGET_BITS)
        for form in forms
    }


@dataclass(frozen=True)
class Scored:
    """Log-probabilities with a head.

    Attributes:
        tokens: Of the agreed tokens, (positions, tokens); they and the rest need not sum to 1.
        rest_top: The largest of another token.
        rest: Of all other tokens together.
    """

    tokens: Floats
    rest_top: Floats
    rest: Floats

    def right(self, positions: Positions) -> NDArray[np.bool_]:
        """Return at which positions the likeliest token is the next one."""
        top = self.tokens.max(axis=1)
        agreed = (self.tokens.argmax(axis=1) == positions.next) & (top > self.rest_top)
        right: NDArray[np.bool_] = agreed | (positions.rest_right & (self.rest_top >= top))
        return right

    def normal(self) -> Floats:
        """Return log-probabilities of the agreed tokens that sum to 1 with the rest."""
        every = np.concatenate([self.tokens, self.rest[:, None]], axis=1)
        normal: Floats = self.tokens - scipy.special.logsumexp(every, axis=1)[:, None]
        return normal


def bare(positions: Positions) -> Scored:
    """Return what the base expects by itself."""
    return Scored(positions.logs, positions.rest_top, positions.rest)


def added(form: Form, positions: Positions, correction: Floats, gamma: float = 1.0) -> Scored:
    """Return what is expected with a head.

    Args:
        form: What the head is added to.
        positions: What the base expects.
        correction: phi' W, (positions, tokens).
        gamma: What the correction is multiplied with.
    """
    if form in ("logits", "log-odds"):
        return Scored(positions.logs + gamma * correction, positions.rest_top, positions.rest)
    if form == "without base":
        nothing = np.full(len(positions), -np.inf)
        return Scored(np.log(np.maximum(correction, FLOOR)), nothing, nothing)
    expected = np.maximum(np.exp(positions.logs) + gamma * correction, FLOOR)
    return Scored(np.log(expected), positions.rest_top, positions.rest)


@dataclass(frozen=True, eq=False)
class ServedHead:
    """A head as it is served.

    Attributes:
        agreed: The map.
        tokens: The agreed tokens.
        form: What it is added to.
        gamma: What its corrections are multiplied with.
        weights: W, (dimensions, tokens).
    """

    agreed: VocabularyMap
    tokens: Sequence[int]
    form: Form
    gamma: float
    weights: Floats

    def score(self, positions: Positions, rows: Integers | None = None) -> Scored:
        """Return what is expected at positions with the head; `rows` are theirs, if known."""
        rows = self.agreed.rows(positions.states) if rows is None else rows
        return added(self.form, positions, rows @ self.weights, self.gamma)

    def changed(self, logs: Floats, states: Mapping[int, Floats]) -> Floats:
        """Return log-probabilities of all tokens with the head, (positions, vocabulary)."""
        count = len(logs)
        nothing = np.zeros(count)
        own = Positions(
            states,
            logs[:, list(self.tokens)],
            nothing,
            nothing,
            np.zeros(count, dtype=np.int64),
            np.zeros(count, dtype=np.bool_),
            np.zeros(count, dtype=np.int64),
        )
        result = np.full_like(logs, -np.inf) if self.form == "without base" else logs.copy()
        result[:, list(self.tokens)] = self.score(own).tokens
        return result


@contextmanager
def serving(base: Base, head: ServedHead) -> Iterator[None]:
    """Let the base model answer with a head, in whatever way it is called."""
    seen: dict[int, torch.Tensor] = {}
    network = base.model
    last = int(network.config.num_hidden_layers)

    def keep(layer: int) -> Callable[..., None]:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...], named: Mapping[str, Any]) -> None:
            seen[layer] = inputs[0] if inputs else named["hidden_states"]

        return hook

    def correct(_: Any, __: Any, output: Any) -> Any:
        # A pass for an answer gives logits of its last positions only.
        count = output.logits.shape[1]
        states = {
            layer: each[:, -count:].double().flatten(0, 1).numpy() for layer, each in seen.items()
        }
        logs = output.logits.double().log_softmax(-1)
        changed = head.changed(logs.flatten(0, 1).numpy(), states)
        output.logits = torch.from_numpy(changed).view_as(logs).float()
        return output

    with ExitStack() as hooks:
        for features in head.agreed.layers:
            layer = features.layers[0]
            module = (
                network.get_output_embeddings() if layer == last else network.model.layers[layer]
            )
            hooks.callback(module.register_forward_pre_hook(keep(layer), with_kwargs=True).remove)
        hooks.callback(network.register_forward_hook(correct).remove)
        yield
