"""The answer of a head as text, under the limits of a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rescind.serving.asked import Sampling
from rescind.serving.jobs import Delta, Done

_WORD = re.compile(r"\s*\S+")


@dataclass(frozen=True)
class Spoken:
    """A label as an answer. Nothing is drawn at random: temperature and seed do not count.

    Attributes:
        pieces: The text, word by word.
        reason: What ended it.
        tokens: How many tokens of the base model it takes.
    """

    pieces: tuple[str, ...]
    reason: Literal["stop", "length"]
    tokens: int

    @classmethod
    def of(cls, label: str, tokenizer: Any, sampling: Sampling, most: int) -> Spoken:
        """Return a label under the limits of a request.

        Args:
            label: The label, with a space before it where it continues a text.
            tokenizer: The base model's.
            sampling: Has the stop sequences.
            most: Most tokens of the answer.
        """
        places = [place for stop in sampling.stops if (place := label.find(stop)) >= 0]
        text = label[: min(places)] if places else label
        tokens = tokenizer.encode(text, add_special_tokens=False)
        reason: Literal["stop", "length"] = "stop"
        if len(tokens) > most:
            tokens, reason = tokens[:most], "length"
            # A token may end within a character, which is then left out.
            text = text[: len(tokenizer.decode(tokens).rstrip("\ufffd"))]
        return cls(tuple(_WORD.findall(text)), reason, len(tokens))

    def tell(self, emit: Callable[[Delta], None], prompt_tokens: int) -> Done:
        """Hand the pieces on, and return how the answer ended."""
        for piece in self.pieces:
            emit(Delta(piece))
        return Done(self.reason, prompt_tokens, self.tokens)
