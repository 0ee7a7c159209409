"""Score contributions to a round by how much they help on a benchmark that everyone may see.

The value of a set of contributions is the mean over the benchmark's rows of the share of the answer's loss
that they take away, on top of the model that the round started from; where they add to the loss, less the
share of it that they added, so that one row counts no more for the worse than for the better. Where each organization has its own
block, a row is answered by the best of them, so what was known before the round, to anybody, earns nothing
again. In a shared layout the sub-model of the set is rebuilt from its deltas, weighted by the agreed rule.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rescind.aggregator.config import AggregatorConfig, EvaluationSection
from rescind.aggregator.shapley import (
    EXACT_UP_TO,
    LEAST_WORTH,
    Remembered,
    Value,
    guided,
    leave_one_out,
    shapley,
    surely,
)
from rescind.aggregator.vector_file import VectorFile
from rescind.core import (
    WEIGHT_ONE,
    ConsortiumParameters,
    FloatTensors,
    Totals,
    add_totals,
    block,
    blocks_of,
    encoded_id,
    materialize,
    owner,
    weighted_sum,
    weights,
)
from rescind.core.features import feature_rows
from rescind.core.statistics import Classes
from rescind.daemon import ModelSection, Tell

if TYPE_CHECKING:
    from rescind.training import Example

Deltas = Mapping[str, Mapping[str, Any]]
Floats = NDArray[np.float64]

_ONE_PLAYER = 0.9
"""Cosine from which two updates are one player, so that sending an update under two names earns no more
than sending it once. Most of a block is where it began, so two rounds of one block are one player as well.
Therefore a player's worth is shared by what each of its updates adds, and not by heads: else a copy of an
older block would take half of what honest training earns."""
_LEAST_LOSS = 0.01
"""Nats a token; a loss below it is as good as none, and its changes are noise."""
_TOLERANCE = 0.01


class Scorer(Protocol):
    """Scores the accepted deltas of a round."""

    def score(self, deltas: Deltas, parent: Totals) -> dict[str, int]:
        """Return the score of each organization whose delta was accepted.

        Args:
            deltas: Accepted deltas by organization.
            parent: The adapter that the round started from.

        Returns:
            0 to 10,000. The best has 10,000, unless no delta is worth anything.
        """
        ...


class EqualScorer:
    """Give every accepted delta the same score."""

    def score(self, deltas: Deltas, parent: Totals) -> dict[str, int]:  # noqa: ARG002
        return dict.fromkeys(deltas, WEIGHT_ONE)


class RoundScorer(ABC):
    """Scores by the configured method, from what `losses` says of blocks or shared adapters.

    Attributes:
        scratch: Folder for temporary files; the system's by default.
        tell: Is called after each measurement of a block or an adapter.
    """

    scratch: Path | None = None
    tell: Tell | None = None
    _measured, _to_measure = 0, 0

    def __init__(self, section: EvaluationSection, parameters: ConsortiumParameters) -> None:
        self._section, self._parameters = section, parameters

    @abstractmethod
    def losses(self, totals: Totals | None, organization: str) -> Floats:
        """Return the loss on each row of the benchmark, nats a token, float64 of shape (rows,).

        Args:
            totals: A block or a shared adapter by bare name, or None for the base model alone.
            organization: Its owner.
        """

    @property
    def block_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of a block's LoRA parameters, by bare name."""
        return self._parameters.shapes

    def score(self, deltas: Deltas, parent: Totals) -> dict[str, int]:
        worths, best = self._worths(deltas, parent)
        return {
            name: round(WEIGHT_ONE * worth / best) if best > 0 else 0
            for name, worth in worths.items()
        }

    def worths(self, deltas: Deltas, parent: Totals) -> dict[str, float]:
        """Return the share of the loss that each organization's delta surely takes away."""
        return self._worths(deltas, parent)[0]

    def _worths(self, deltas: Deltas, parent: Totals) -> tuple[dict[str, float], float]:
        """Return the worth of each organization, and that of the best player."""
        groups = self._players(deltas, parent)
        if not groups:
            return {}, 0.0
        self._measured, self._to_measure = 0, self._expected(groups, deltas, parent)
        value, rows = self.value_of(groups, deltas, parent)
        worth = surely(self._by_method(len(groups), Remembered(value, rows)))
        best = max(worth)
        if best <= 0:
            return {organization: 0.0 for group in groups for organization in group}, 0.0
        return {
            organization: worth[player] * share
            for player, group in enumerate(groups)
            for organization, share in self._shares(group, deltas, parent).items()
        }, best

    def measured(self) -> None:
        """Say that one more block or adapter was measured."""
        self._measured += 1
        if self.tell is not None:
            self.tell(self._measured, self._to_measure)

    def _expected(self, groups: Sequence[Sequence[str]], deltas: Deltas, parent: Totals) -> int:
        """Return how many measurements a round takes at least; 0 where chance decides."""
        if self._parameters.layout == "blocks":
            return 1 + len(blocks_of(parent)) + len(deltas)
        exact = self._section.method == "shapley" and len(groups) <= EXACT_UP_TO
        return 2 ** len(groups) if exact else 0

    def _shares(self, group: Sequence[str], deltas: Deltas, parent: Totals) -> dict[str, float]:
        """Divide a player among its organizations by what each update is worth by itself.

        A copy of what was known before the round adds nothing, so it takes nothing from the original.
        Where no update is surely worth anything by itself, nothing distinguishes them: equal shares.
        """
        if len(group) == 1:
            return {group[0]: 1.0}
        value, _ = self.value_of([[organization] for organization in group], deltas, parent)
        alone = surely(np.array([value(frozenset({index})) for index in range(len(group))]))
        total = sum(alone)
        if total <= 0:
            return dict.fromkeys(group, 1 / len(group))
        return {
            organization: worth / total for organization, worth in zip(group, alone, strict=True)
        }

    def value_of(
        self, groups: Sequence[Sequence[str]], deltas: Deltas, parent: Totals
    ) -> tuple[Value, int]:
        """The value of a set of players, each some organizations with one update, and its rows."""
        if self._parameters.layout == "blocks":
            return self._of_blocks(groups, deltas, parent)
        return self._of_shared(groups, deltas, parent)

    def _by_method(self, n: int, value: Value) -> Floats:
        section = self._section
        if section.method == "leave-one-out":
            return leave_one_out(n, value)
        if section.method == "alone":
            return np.array([value(frozenset({i})) for i in range(n)])
        if n <= EXACT_UP_TO:
            return shapley(n, value)
        return guided(
            n,
            value,
            permutations=section.permutations,
            tolerance=_TOLERANCE,
            round_tolerance=LEAST_WORTH,
            seed=self._parameters.seed,
        )

    def _of_blocks(
        self, groups: Sequence[Sequence[str]], deltas: Deltas, parent: Totals
    ) -> tuple[Value, int]:
        losses_before = [
            self.losses(None, ""),
            *(self.losses(block(parent, o), o) for o in blocks_of(parent)),
        ]
        before = np.min(losses_before, axis=0)
        after = [
            np.min(
                [
                    self.losses(*self._block_after(organization, deltas[organization], parent))
                    for organization in group
                ],
                axis=0,
            )
            for group in groups
        ]

        def value(coalition: frozenset[int]) -> Floats:
            now = np.min([before, *(after[i] for i in coalition)], axis=0)
            return taken_away(before, now)

        return value, before.size

    def _of_shared(
        self, groups: Sequence[Sequence[str]], deltas: Deltas, parent: Totals
    ) -> tuple[Value, int]:
        shared_owner = owner(self._parameters.layout, "")
        before = self.losses(block(parent, shared_owner), shared_owner)

        def value(coalition: frozenset[int]) -> Floats:
            names = [name for i in coalition for name in groups[i]]
            share = weights(self._parameters.layout, names)
            together = weighted_sum((deltas[name], share[name]) for name in sorted(names))
            after = self.losses(block(add_totals([parent, together]), shared_owner), shared_owner)
            return taken_away(before, after)

        return value, before.size

    def _block_after(
        self, organization: str, delta: Mapping[str, Any], parent: Totals
    ) -> tuple[Totals, str]:
        block_owner = owner(self._parameters.layout, organization)
        # The parent has every organization's block: only this one counts, and is summed.
        before = block(parent, block_owner)
        change: Mapping[str, Any] = block(delta, block_owner)
        after = add_totals([before, weighted_sum([(change, WEIGHT_ONE)])])
        return after, block_owner

    def _players(self, deltas: Deltas, parent: Totals) -> list[list[str]]:
        """The organizations by what they sent: those who sent (nearly) the same are one player."""
        players: list[list[str]] = []
        with VectorFile(self.scratch) as directions:
            for organization in sorted(deltas, key=str.lower):
                sent = self._direction(organization, deltas[organization], parent)
                for number, group in enumerate(players):
                    if float(directions[number] @ sent) >= _ONE_PLAYER:
                        group.append(organization)
                        break
                else:
                    directions.append(sent)
                    players.append([organization])
        return players

    def _direction(self, organization: str, delta: Mapping[str, Any], parent: Totals) -> Floats:
        """Return the vector of length 1 by which updates are compared.

        In blocks it is the block after the update, because blocks begin in different places; in a
        shared layout it is the delta.
        """
        parameters = self._parameters
        if parameters.layout == "blocks":
            totals, block_owner = self._block_after(organization, delta, parent)
            parts: Mapping[str, Any] = materialize(
                totals, self.block_shapes, parameters=parameters, owner=block_owner
            )
        else:
            parts = block(delta, owner(parameters.layout, organization))
        flat = np.concatenate(
            [np.asarray(parts[name], np.float64).ravel() for name in sorted(parts)]
        )
        return flat / max(float(np.linalg.norm(flat)), 1e-12)


class BenchmarkScorer(RoundScorer):
    """With the base model and the benchmark of the aggregator's configuration."""

    def __init__(
        self,
        section: EvaluationSection,
        model: ModelSection,
        parameters: ConsortiumParameters,
        benchmark: Sequence[Example],
    ) -> None:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch

        from rescind.training import load_agreed

        super().__init__(section, parameters)
        torch.set_num_threads(model.threads)
        self._model = load_agreed(
            model.path,
            parameters,
            model.device,
            model.dtype,
            remote_code=model.remote_code,
            shared_weights=model.shared_weights,
        )
        self._examples = benchmark
        self._known: dict[tuple[str, str], Floats] = {}

    def feature_rows(self, classes: Classes, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the features of texts for a task, with the base model where they need it."""
        from rescind.training.features import HiddenRows

        # Adapters would change the base model's hidden states.
        self._model.use(None)
        return feature_rows(classes.features, texts, HiddenRows(self._model.base))

    def losses(self, totals: Totals | None, organization: str) -> Floats:
        parameters = self._parameters
        adapter: Callable[[], FloatTensors] | None = None
        if totals is not None:
            adapter = partial(
                materialize, totals, parameters.shapes, parameters=parameters, owner=organization
            )
        return self.losses_once((organization, encoded_id(totals) if totals else ""), adapter)

    def losses_once(
        self, key: tuple[str, str], adapter: Callable[[], FloatTensors] | None
    ) -> Floats:
        """Return the losses of an adapter, or of the base model alone, measured once for each key."""
        from rescind.training import answer_loss_per_example

        if key not in self._known:
            name = None if adapter is None else "scored"
            if adapter is not None:
                self._model.put("scored", adapter())
            self._known[key] = answer_loss_per_example(
                self._model, name, self._examples, self._parameters.training.max_length
            )
        self.measured()
        return self._known[key]


def make_scorer(
    config: AggregatorConfig,
    parameters: ConsortiumParameters,
    benchmark: Sequence[Example] | None,
) -> Scorer:
    """Return the scorer of a configuration: equal scores without a model and a benchmark."""
    if config.model is None or config.evaluation is None or benchmark is None:
        return EqualScorer()
    scorer = BenchmarkScorer(config.evaluation, config.model, parameters, benchmark)
    scorer.scratch = config.aggregator.state_dir
    return scorer


def taken_away(before: Floats, after: Floats) -> Floats:
    """Return the share of each row's loss that is taken away; negative where it is added to."""
    before, after = np.maximum(before, _LEAST_LOSS), np.maximum(after, _LEAST_LOSS)
    return (before - after) / np.maximum(before, after)
