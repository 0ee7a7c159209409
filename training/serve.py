"""Serving a model made of blocks: one block is chosen for each question by a router.

The router asks every block how likely it finds the question, and the bare base too. A block that
was trained on the question's subject finds it far likelier than the base does; if none does, the
base answers. Nothing but the blocks themselves goes into the choice, so a block that is dropped
leaves nothing behind. It costs one forward pass of the question for each block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters import SHARED, ConsortiumParameters, Totals, block, materialize, owners
from training.base import Base
from training.batches import Encoded, counted, encode_prompt, pad, token_losses
from training.lora import LoraModel

MARGIN = 6.5
"""Nats by which a block must find a whole question likelier than the base does."""

SHARE = 0.25
"""Least share of the base's surprise at the question that a block must take away. It keeps text
that is like nothing anybody trained on with the base."""

_BATCH = 64


@dataclass(frozen=True)
class Answer:
    """`organization`: lowercase address of the block that answered, None for base or shared."""

    text: str
    organization: str | None
    gains: dict[str, float]
    """Log-likelihood of the question under each block, less that under the base, in nats."""


class Assistant:
    """The model that an adapter makes of the base."""

    def __init__(
        self, model: LoraModel, parameters: ConsortiumParameters, totals: Totals | None
    ) -> None:
        self.model = model
        self.parameters = parameters
        self.blocks: tuple[str, ...] = tuple(owners(totals)) if totals else ()
        for name in self.blocks:
            tensors = materialize(
                block(totals or {}, name), model.shapes, parameters=parameters, owner=name
            )
            model.put(adapter_name(name), tensors)

    @property
    def base(self) -> Base:
        return self.model.base

    @property
    def max_length(self) -> int:
        return self.parameters.training.max_length

    def groups(self, questions: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        """The networks that the router sends the questions to (training.respond.Respondent)."""
        routes, _ = self.route(questions)
        for chosen in dict.fromkeys(routes):
            places = [place for place, route in enumerate(routes) if route == chosen]
            yield self.model.use(adapter_name(chosen) if chosen else None), places

    def ask(self, question: str) -> Answer:
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[str], *, max_new_tokens: int = 96) -> list[Answer]:
        """Greedy answers; questions that one block answers go through it together."""
        routes, gains = self.route(questions)
        texts: dict[int, str] = {}
        for chosen in {*routes}:
            places = [place for place, route in enumerate(routes) if route == chosen]
            network = self.model.use(adapter_name(chosen) if chosen else None)
            replies = generate(
                self.model.base, network, [questions[place] for place in places], max_new_tokens
            )
            texts.update(zip(places, replies, strict=True))
        return [
            Answer(texts[place], None if route == SHARED else route, gains[place])
            for place, route in enumerate(routes)
        ]

    def route(self, questions: Sequence[str]) -> tuple[list[str | None], list[dict[str, float]]]:
        """Which block answers each question (None: the base), and each block's gain in nats."""
        if not self.blocks:
            return [None] * len(questions), [{} for _ in questions]
        if self.blocks == (SHARED,):
            return [SHARED] * len(questions), [{} for _ in questions]
        alone = prompt_losses(self.model.base, self.model.use(None), questions)
        losses = np.stack(
            [
                prompt_losses(self.model.base, self.model.use(adapter_name(name)), questions)
                for name in self.blocks
            ]
        )
        gains = alone[None, :] - losses
        routes: list[str | None] = []
        for place in range(len(questions)):
            best = int(np.argmax(gains[:, place]))
            needed = max(MARGIN, SHARE * alone[place])
            routes.append(self.blocks[best] if gains[best, place] > needed else None)
        per_question = [
            {name: float(gains[row, place]) for row, name in enumerate(self.blocks)}
            for place in range(len(questions))
        ]
        return routes, per_question


def adapter_name(owner: str) -> str:
    return f"block_{owner}"


@torch.inference_mode()
def prompt_losses(base: Base, network: object, questions: Sequence[str]) -> NDArray[np.float64]:
    """Negative log-likelihood of each whole prompt in nats, (questions,)."""
    rows = [encode_prompt(base, question) for question in questions]
    result: list[float] = []
    for start in range(0, len(rows), _BATCH):
        batch = [Encoded(row, len(row)) for row in rows[start : start + _BATCH]]
        tokens, mask, labels = pad(base, batch, prompt_in_loss=True)
        result += token_losses(network, tokens, mask, labels).sum(dim=1).tolist()
    return np.array(result, dtype=np.float64)


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
