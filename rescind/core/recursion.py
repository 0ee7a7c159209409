"""Python's limit of recursion, which a library raises too far."""

from __future__ import annotations

import sys

_RAISED = 100_000
_DEFAULT = 1_000


def restore_recursion_limit() -> None:
    """Undo what importing py_ecc does to the limit; eth-account imports it.

    At 100,000 the C stack overflows first, and a peer's JSON of so many brackets ends the process
    instead of raising RecursionError.
    """
    if sys.getrecursionlimit() == _RAISED:
        sys.setrecursionlimit(_DEFAULT)
