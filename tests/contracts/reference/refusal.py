"""How the reference says no."""

from __future__ import annotations


class Refusal(Exception):
    """Carries the name of the contracts' custom error."""


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refusal(reason)
