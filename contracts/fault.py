"""One kind of failure of a JSON-RPC provider or node: a row of the table in `faults`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Reaction(Enum):
    """The party that does something about a failure."""

    RETRY = "retry"
    """Rescind tries again: after a pause, or with another question."""
    FAIL_OVER = "fail over"
    """Rescind asks the next endpoint, and this one again later."""
    OPERATOR = "tell the operator"
    """Asking again changes nothing."""


class Scope(Enum):
    """The thing that a failure is about."""

    ENDPOINT = "endpoint"
    """The endpoint: another one may answer the same request."""
    REQUEST = "request"
    """The request: the code that asked decides what to ask instead."""
    TRANSACTION = "transaction"
    """A transaction that the pool refuses."""


@dataclass(frozen=True, eq=False)
class Fault:
    """One row of the table.

    Attributes:
        name: Its name.
        recognized: By which answers, for people.
        reaction: Who does something.
        response: What Rescind does.
        advice: What the operator does, in sentences that error messages end with.
        scope: What it is about.
        patience_seconds: How long one request is repeated, when no other endpoint answers.
        statuses: HTTP statuses.
        codes: JSON-RPC error codes.
        words: A regular expression, found anywhere in the message in any case.
        methods: Methods whose failures it applies to; empty for all.
        errors: Exceptions of urllib3.
    """

    name: str
    recognized: str
    reaction: Reaction
    response: str
    advice: str
    scope: Scope = Scope.ENDPOINT
    patience_seconds: float = 0.0
    statuses: frozenset[int] = frozenset()
    codes: frozenset[int] = frozenset()
    words: str = ""
    methods: frozenset[str] = frozenset()
    errors: tuple[type[Exception], ...] = ()

    def has_words(self, message: str) -> bool:
        """Return whether the words of this fault are in a message."""
        return bool(self.words) and re.search(self.words, message, re.IGNORECASE) is not None
