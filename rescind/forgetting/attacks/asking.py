"""Asking with words put into the model's mouth, tokens forbidden, or several answers wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rescind.forgetting.attacks.errors import AttackInput
from rescind.training import Base
from rescind.training.data import completion
from rescind.training.engine.batches import encode_prompt
from rescind.training.serving.respond import Respondent

_BATCH = 32


@dataclass(frozen=True)
class Asked:
    """`question`: what the model is asked. `start`: how its answer is made to begin."""

    question: str
    start: str = ""


@dataclass(frozen=True)
class Decoding:
    """`beams`: beam search with that many answers, the likeliest first; 1 is greedy. `not_first`:
    tokens that no answer begins with. `never`: runs of tokens that no answer has."""

    beams: int = 1
    not_first: tuple[int, ...] = ()
    never: tuple[tuple[int, ...], ...] = ()


def ask(
    respondent: Respondent,
    asked: Sequence[Asked],
    *,
    max_new_tokens: int,
    decoding: Decoding | None = None,
) -> list[list[str]]:
    """Return the continuation of `start` in each of `beams` answers, up to end of text.

    Raises AttackInput when a prompt is longer than the respondent's max_length.
    """
    base, decoding = respondent.base, decoding or Decoding()
    rows = [encode_asked(base, one) for one in asked]
    for row, one in zip(rows, asked, strict=True):
        if len(row) > respondent.max_length:
            raise AttackInput(
                f"the prompt {one.question[:60]!r} has {len(row)} tokens, more than max_length "
                f"{respondent.max_length}: ask with fewer words"
            )
    found: dict[int, list[str]] = {}
    for network, places in respondent.groups([one.question for one in asked]):
        order = sorted(places, key=lambda place: len(rows[place]))
        for first in range(0, len(order), _BATCH):
            batch = order[first : first + _BATCH]
            texts = _generate(base, network, [rows[p] for p in batch], max_new_tokens, decoding)
            found.update(zip(batch, texts, strict=True))
    return [found[place] for place in range(len(rows))]


def encode_asked(base: Base, asked: Asked) -> tuple[int, ...]:
    head = encode_prompt(base, asked.question)
    if not asked.start:
        return head
    return (*head, *base.tokenizer.encode(completion(asked.start), add_special_tokens=False))


@torch.inference_mode()
def _generate(
    base: Base,
    network: Any,
    rows: Sequence[tuple[int, ...]],
    max_new_tokens: int,
    decoding: Decoding,
) -> list[list[str]]:
    longest = max(len(row) for row in rows)
    tokens = torch.full((len(rows), longest), base.eos, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for line, row in enumerate(rows):
        tokens[line, longest - len(row) :] = torch.tensor(row)
        mask[line, longest - len(row) :] = 1
    limits: dict[str, Any] = {}
    if decoding.not_first:
        limits["begin_suppress_tokens"] = list(decoding.not_first)
    if decoding.never:
        limits["bad_words_ids"] = [list(run) for run in decoding.never]
    output = network.generate(
        input_ids=tokens.to(base.device),
        attention_mask=mask.to(base.device),
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=decoding.beams,
        num_return_sequences=decoding.beams,
        pad_token_id=base.eos,
        eos_token_id=base.eos,
        **limits,
    )
    texts = base.tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    stripped = [text.strip() for text in texts]
    return [
        stripped[line * decoding.beams : (line + 1) * decoding.beams] for line in range(len(rows))
    ]
