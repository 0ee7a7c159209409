"""Serving a model: heads answer questions of agreed tasks, blocks or the base the others.

A head is solved from the model's summed statistics, and its answer is the text of a label. For every
other question a router chooses a block: by default the likelihood router; training.routers has
others. Everything that a router holds of an organization is dropped with the organization's block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import (
    SHARED,
    ConsortiumParameters,
    FloatTensors,
    Totals,
    block,
    blocks_of,
    materialize,
)
from rescind.core.features import HiddenFeatures
from rescind.core.split_settings import SplitSettings
from rescind.training.engine.batches import (
    Encoded,
    batches_of,
    counted,
    pad,
    token_losses,
)
from rescind.training.features import HiddenRows
from rescind.training.model.base import Base
from rescind.training.model.lora import LoraModel
from rescind.training.routers.likelihood import MARGIN as MARGIN
from rescind.training.routers.likelihood import SHARE as SHARE
from rescind.training.routers.likelihood import LikelihoodRouter
from rescind.training.routers.likelihood import prompt_losses as prompt_losses
from rescind.training.routers.router import Choice, Router
from rescind.training.serving.evidence import ONE_ADAPTER, Evidence
from rescind.training.serving.generation import generate as generate
from rescind.training.serving.heads import answers_of_heads, skills_of, texts_of_heads
from rescind.training.skills import SkillAnswer, Skills
from rescind.training.split.parts import SplitParts, shared_alone, split_parts
from rescind.training.text.question import Question

MAX_NEW_TOKENS = 96
"""The longest answer, in tokens, unless a caller says otherwise."""
_BATCH = 64
"""Rows in one forward pass, which needs no gradients."""


@dataclass(frozen=True)
class Answer:
    """An answer to a question.

    Attributes:
        text: The answer.
        organization: Lowercase address of the block that answered, None for the base or shared
            model and for a head.
        gains: The router's score of each block. With the default router, the log-likelihood of the
            question under the block, less that under the base, in nats. Empty for a head's answer.
        evidence: The reason why this block or head answered, or why none did.
        task: The task whose head answered; None if no head did.
    """

    text: str
    organization: str | None
    gains: dict[str, float]
    evidence: Evidence | None = None
    task: str | None = None

    @classmethod
    def of_head(cls, given: SkillAnswer) -> Answer:
        """Return the answer of a head."""
        return cls(given.label or "", None, {}, Evidence.of_head(given), given.task)


class Assistant:
    """A base model with an adapter, ready to answer questions.

    Args:
        model: The base model; the adapter is loaded into it.
        parameters: What the consortium agreed on.
        totals: The adapter, None for the bare base.
        router: Is fitted to the blocks here. The default is LikelihoodRouter().
        split: The adapter has shared ranks beside each block. Where no block answers, the shared
            ranks alone do. By default as the members agreed.
        skills: The heads of the model's statistics. By default they are solved here; where noise is
            agreed, `rescind.training.serving.heads.skills_of` needs more to do so.
    """

    def __init__(
        self,
        model: LoraModel,
        parameters: ConsortiumParameters,
        totals: Totals | None,
        *,
        router: Router | None = None,
        split: SplitSettings | None = None,
        skills: Skills | None = None,
    ) -> None:
        model.read_as(parameters.text)
        self.model = model
        self.parameters = parameters
        self.split = split = split or parameters.split
        self.router: Router = router or LikelihoodRouter()
        held = blocks_of(totals) if totals else []
        self.blocks: tuple[str, ...] = tuple(n for n in held if not split or n != SHARED)
        if split:
            model.put(adapter_name(SHARED), shared_alone(parameters, split, totals or {}))
        for name in self.blocks:
            model.put(adapter_name(name), self._adapter(totals or {}, name))
        if self.blocks != (SHARED,):
            self.router.fit(self)
        solved = skills or skills_of(parameters, totals or {})
        self.skills: Skills | None = replace(solved, hidden=self._hidden_rows) if solved else None

    @property
    def base(self) -> Base:
        """The base model."""
        return self.model.base

    @property
    def max_length(self) -> int:
        """The most tokens that a question with its answer may have."""
        return self.parameters.training.max_length

    def bare(self) -> Any:
        """Return the base model alone."""
        return self.model.use(None)

    def network(self, organization: str | None) -> Any:
        """Return the model with a block, or for None the one that answers when no block does."""
        name = organization or (SHARED if self.split else None)
        return self.model.use(adapter_name(name) if name else None)

    def tensors(self, organization: str) -> FloatTensors:
        """Return a block's own LoRA tensors by bare name, without shared ranks."""
        tensors = self.model.get(adapter_name(organization))
        return SplitParts.of(tensors, self.split.shared_rank).own if self.split else tensors

    def drop(self, organization: str) -> None:
        """Remove an organization's block, also from the router. Its tensors become zero.

        Heads stay as they are: they are solved from a sum. Load the totals of the model without it.
        """
        name = organization.lower()
        if name not in self.blocks:
            return
        self.blocks = tuple(block for block in self.blocks if block != name)
        self.router.drop(name)
        shapes = self.model.shapes.items()
        self.model.put(adapter_name(name), {n: np.zeros(s, dtype=np.float32) for n, s in shapes})

    def groups(self, questions: Sequence[Question]) -> Iterator[tuple[Any, list[int]]]:
        """Yield each network with the indices of the questions that the router sends to it.

        A head has no likelihood of tokens, so questions that one answers go to the bare base.
        """
        of_heads = texts_of_heads(self.skills, questions)
        if of_heads:
            yield self.bare(), sorted(of_heads)
        left = [index for index in range(len(questions)) if index not in of_heads]
        routes, _ = self.route([questions[index] for index in left]) if left else ([], [])
        for chosen in dict.fromkeys(routes):
            indices = [index for index, route in zip(left, routes, strict=True) if route == chosen]
            yield self.network(chosen), indices

    def ask(self, question: Question) -> Answer:
        """Return the greedy answer to one question, which an Example gives the turns before it."""
        return self.ask_many([question])[0]

    def ask_many(
        self, questions: Sequence[Question], *, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[Answer]:
        """Return greedy answers. Questions for one block go through it together.

        Args:
            questions: The questions.
            max_new_tokens: The longest answer of the language model. A head's is a whole label.
        """
        of_heads = self.answers_of_heads(questions)
        answers = {index: Answer.of_head(given) for index, given in of_heads.items()}
        left = [index for index in range(len(questions)) if index not in answers]
        if left:
            written = self._written([questions[index] for index in left], max_new_tokens)
            answers |= zip(left, written, strict=True)
        return [answers[index] for index in range(len(questions))]

    def answers_of_heads(self, questions: Sequence[Question]) -> dict[int, SkillAnswer]:
        """Return what heads answer, by the index of the question; the router has the others."""
        return answers_of_heads(self.skills, questions)

    def _written(self, questions: Sequence[Question], max_new_tokens: int) -> list[Answer]:
        """Return what blocks and the base answer."""
        choices = self.choices(questions)
        routes = [self._answering(choice) for choice in choices]
        texts: dict[int, str] = {}
        for chosen in {*routes}:
            indices = [index for index, route in enumerate(routes) if route == chosen]
            replies = generate(
                self.model.base,
                self.network(chosen),
                [questions[index] for index in indices],
                max_new_tokens,
            )
            texts.update(zip(indices, replies, strict=True))
        return [
            Answer(
                texts[index],
                None if route == SHARED else route,
                choices[index].scores,
                self._evidence(choices[index]),
            )
            for index, route in enumerate(routes)
        ]

    def route(
        self, questions: Sequence[Question]
    ) -> tuple[list[str | None], list[dict[str, float]]]:
        """Choose the adapter that answers each question.

        Returns:
            For each question an organization, SHARED, or None for the bare base; and the router's
            score of each block.
        """
        choices = self.choices(questions)
        routes = [self._answering(choice) for choice in choices]
        return routes, [choice.scores for choice in choices]

    def choices(self, questions: Sequence[Question]) -> list[Choice]:
        """Return the router's choice for each question, with the scores behind it.

        A model with one shared adapter has no router; its choices name no organization.
        """
        if self.blocks == (SHARED,):
            return [Choice(None, {}) for _ in questions]
        return self.router.route(questions)

    def _answering(self, choice: Choice) -> str | None:
        """Return the owner of the adapter that answers, None for the bare base."""
        one_for_all = SHARED if self.split or self.blocks == (SHARED,) else None
        return choice.organization or one_for_all

    def _evidence(self, choice: Choice) -> Evidence:
        if self.blocks == (SHARED,):
            return Evidence(None, "", Choice(None, {}), ONE_ADAPTER)
        return Evidence.of(self.router, choice)

    def _hidden_rows(self, features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return hidden features, of the base without any block."""
        self.bare()
        return HiddenRows(self.base)(features, texts)

    def _adapter(self, totals: Totals, name: str) -> FloatTensors:
        if self.split:
            return split_parts(self.parameters, self.split, totals, name).joined()
        return materialize(
            block(totals, name), self.model.shapes, parameters=self.parameters, owner=name
        )


def adapter_name(owner: str) -> str:
    """Return the name of an owner's adapter in a LoraModel."""
    return f"block_{owner}"


@torch.inference_mode()
def answer_losses(
    base: Base, network: object, rows: Sequence[Encoded]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return each answer's loss in nats and its number of tokens, both (rows,)."""
    losses: list[float] = []
    counts: list[int] = []
    for batch in batches_of(base, [len(row.tokens) for row in rows], _BATCH):
        tokens, mask, labels = pad(base, [rows[index] for index in batch], prompt_in_loss=False)
        losses += token_losses(network, tokens, mask, labels).sum(dim=1).tolist()
        counts += counted(labels).tolist()
    return np.array(losses), np.array(counts, dtype=np.int64)
