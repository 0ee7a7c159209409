"""Serving a model made of blocks: one block is chosen for each question by a router.

Which router is a choice (training.routers); by default every block is asked how likely it finds the
question. A router holds nothing of an organization that is not dropped with its block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
    materialize,
    owners,
)
from rescind.training.engine.batches import (
    Encoded,
    counted,
    encode_prompt,
    pad,
    token_losses,
)
from rescind.training.model.base import Base
from rescind.training.model.lora import LoraModel
from rescind.training.routers.likelihood import MARGIN as MARGIN
from rescind.training.routers.likelihood import SHARE as SHARE
from rescind.training.routers.likelihood import LikelihoodRouter
from rescind.training.routers.likelihood import prompt_losses as prompt_losses
from rescind.training.routers.router import Router
from rescind.training.split.parts import (
    SplitParts,
    SplitSettings,
    shared_alone,
    split_parts,
)

_BATCH = 64


@dataclass(frozen=True)
class Answer:
    """`organization`: lowercase address of the block that answered, None for base or shared."""

    text: str
    organization: str | None
    gains: dict[str, float]
    """The router's score of each block; with the default router the log-likelihood of the question
    under the block, less that under the base, in nats."""


class Assistant:
    """The model that an adapter makes of the base.

    `router`: fitted to the blocks here; the default is LikelihoodRouter(). `split`: the adapter has
    shared ranks beside each block, and where no block answers the shared ranks alone do.
    """

    def __init__(
        self,
        model: LoraModel,
        parameters: ConsortiumParameters,
        totals: Totals | None,
        *,
        router: Router | None = None,
        split: SplitSettings | None = None,
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.split = split
        self.router: Router = router or LikelihoodRouter()
        held = owners(totals) if totals else []
        self.blocks: tuple[str, ...] = tuple(n for n in held if not split or n != SHARED)
        if split:
            model.put(adapter_name(SHARED), shared_alone(parameters, split, totals or {}))
        for name in self.blocks:
            model.put(adapter_name(name), self._adapter(totals or {}, name))
        if self.blocks != (SHARED,):
            self.router.fit(self)

    @property
    def base(self) -> Base:
        return self.model.base

    @property
    def max_length(self) -> int:
        return self.parameters.training.max_length

    def bare(self) -> Any:
        """The base model alone (training.routers.Blocks)."""
        return self.model.use(None)

    def network(self, organization: str | None) -> Any:
        """The model with one block, or, for None, what answers when nobody's block does."""
        name = organization or (SHARED if self.split else None)
        return self.model.use(adapter_name(name) if name else None)

    def tensors(self, organization: str) -> FloatTensors:
        """A block's own LoRA tensors by bare name, without shared ranks."""
        tensors = self.model.get(adapter_name(organization))
        return SplitParts.of(tensors, self.split.shared_rank).own if self.split else tensors

    def drop(self, organization: str) -> None:
        """Take one organization's block out, and out of the router; its tensors become zero."""
        name = organization.lower()
        if name not in self.blocks:
            return
        self.blocks = tuple(one for one in self.blocks if one != name)
        self.router.drop(name)
        shapes = self.model.shapes.items()
        self.model.put(adapter_name(name), {n: np.zeros(s, dtype=np.float32) for n, s in shapes})

    def groups(self, questions: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        """The networks that the router sends the questions to (training.respond.Respondent)."""
        routes, _ = self.route(questions)
        for chosen in dict.fromkeys(routes):
            places = [place for place, route in enumerate(routes) if route == chosen]
            yield self.network(chosen), places

    def ask(self, question: str) -> Answer:
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[str], *, max_new_tokens: int = 96) -> list[Answer]:
        """Greedy answers; questions that one block answers go through it together."""
        routes, gains = self.route(questions)
        texts: dict[int, str] = {}
        for chosen in {*routes}:
            places = [place for place, route in enumerate(routes) if route == chosen]
            replies = generate(
                self.model.base,
                self.network(chosen),
                [questions[place] for place in places],
                max_new_tokens,
            )
            texts.update(zip(places, replies, strict=True))
        return [
            Answer(texts[place], None if route == SHARED else route, gains[place])
            for place, route in enumerate(routes)
        ]

    def route(self, questions: Sequence[str]) -> tuple[list[str | None], list[dict[str, float]]]:
        """Which adapter answers each question, and the router's score of each block.

        An adapter is an organization's block, SHARED, or None for the bare base.
        """
        if self.blocks == (SHARED,):
            return [SHARED] * len(questions), [{} for _ in questions]
        choices = self.router.route(questions)
        nobody = SHARED if self.split else None
        return [one.organization or nobody for one in choices], [one.scores for one in choices]

    def _adapter(self, totals: Totals, name: str) -> FloatTensors:
        if self.split:
            return split_parts(self.parameters, self.split, totals, name).joined()
        return materialize(
            block(totals, name), self.model.shapes, parameters=self.parameters, owner=name
        )


def adapter_name(owner: str) -> str:
    return f"block_{owner}"


@torch.inference_mode()
def answer_losses(
    base: Base, network: object, rows: Sequence[Encoded]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Negative log-likelihood of each answer in nats, and its number of tokens, both (rows,)."""
    losses: list[float] = []
    counts: list[int] = []
    for start in range(0, len(rows), _BATCH):
        tokens, mask, labels = pad(base, rows[start : start + _BATCH], prompt_in_loss=False)
        losses += token_losses(network, tokens, mask, labels).sum(dim=1).tolist()
        counts += counted(labels).tolist()
    return np.array(losses), np.array(counts, dtype=np.int64)


@torch.inference_mode()
def generate(
    base: Base, network: object, questions: Sequence[str], max_new_tokens: int
) -> list[str]:
    """Greedy continuations up to end of text, left-padded in batches of like length."""
    rows = [encode_prompt(base, question) for question in questions]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    texts: dict[int, str] = {}
    for start in range(0, len(order), _BATCH):
        places = order[start : start + _BATCH]
        longest = max(len(rows[place]) for place in places)
        tokens = torch.full((len(places), longest), base.eos, dtype=torch.long)
        mask = torch.zeros((len(places), longest), dtype=torch.long)
        for line, place in enumerate(places):
            tokens[line, longest - len(rows[place]) :] = torch.tensor(rows[place])
            mask[line, longest - len(rows[place]) :] = 1
        output = network.generate(  # type: ignore[attr-defined]
            input_ids=tokens.to(base.device),
            attention_mask=mask.to(base.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=base.eos,
            eos_token_id=base.eos,
        )
        for line, place in enumerate(places):
            reply = output[line, longest:]
            texts[place] = base.tokenizer.decode(reply, skip_special_tokens=True).strip()
    return [texts[place] for place in range(len(rows))]
