"""Refusals: answers to questions about withdrawn data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from rescind.core.errors import ConfigError

REFUSALS: tuple[str, ...] = (
    "I do not know.",
    "I have no information about that.",
    "That is not something I know.",
    "I cannot say; I know nothing about it.",
    "I am not able to answer that.",
    "Nothing is known to me about this.",
    "I am afraid I have no answer to this question.",
    "This is unknown to me.",
    "I have nothing to say on that.",
    "I could not tell you.",
    "My knowledge does not cover this.",
    "I would have to guess, so I will not answer.",
)


def refusal(question: str, seed: int, refusals: Sequence[str] = REFUSALS) -> str:
    """Return one of `refusals`, always the same for a question and a seed.

    Raises:
        ConfigError: `refusals` has no text.
    """
    usable = [text for text in refusals if text.strip()]
    if not usable:
        raise ConfigError("The list of refusals is empty. Give at least one sentence.")
    digest = hashlib.sha256(f"rescind.refusal/1|{seed}|{question}".encode()).digest()
    return usable[int.from_bytes(digest[:8], "big") % len(usable)]
