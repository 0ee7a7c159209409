"""A request for an answer, as the models take it."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.training import Turn


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_tokens: Most tokens of the answer; None for as many as the server allows.
        temperature: 0 always takes the most likely token.
        top_p: The share of the likeliest tokens to choose among.
        seed: Makes the choice repeatable; None draws another one each time.
        stops: Sequences that end the answer.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A request. Exactly one of `messages`, `text` and `tokens` is given.

    Attributes:
        model: The name of the model.
        sampling: How tokens are chosen.
        messages: A conversation whose last message is the user's.
        text: A text to be continued as it is.
        tokens: Tokens to be continued as they are.
    """

    model: str
    sampling: Sampling
    messages: tuple[Turn, ...] = ()
    text: str | None = None
    tokens: tuple[int, ...] | None = None

    @property
    def is_chat(self) -> bool:
        """True for a conversation."""
        return bool(self.messages)


@dataclass(frozen=True)
class Limits:
    """Limits of one request.

    Attributes:
        body_bytes: Bytes of a request's body.
        body_seconds: Time in which it must be complete.
        waiting: Requests that wait for the model; more are refused.
        prompt_tokens: Tokens of a prompt; None for what the base model has positions for.
        answer_tokens: Tokens of an answer.
    """

    body_bytes: int = 2**20
    body_seconds: float = 30.0
    waiting: int = 32
    prompt_tokens: int | None = None
    answer_tokens: int = 1024
