"""The result of an attack: one figure, the same figure on a replay, and the values behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an attack.

    Attributes:
        attack: The name of the attack.
        value: The figure of the attack, or None where it is undefined.
        replay_value: The same figure when a replay is attacked in place of the unlearned model, or
            None without a replay.
    """

    attack: str
    value: float | None
    replay_value: float | None = None

    @property
    def gap(self) -> float | None:
        """Return the figure on the unlearned model minus the figure on the replay."""
        if self.value is None or self.replay_value is None:
            return None
        return self.value - self.replay_value

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and `gap` as JSON values; numbers that are not finite become None."""
        plain: dict[str, Any] = _plain({**asdict(self), "gap": self.gap})
        return plain


def recovery(attacked: float, unlearned: float, original: float | None) -> float | None:
    """Return (m_attacked - m_unlearned) / (m_original - m_unlearned).

    0 means that nothing came back, 1 that everything did. The result is None without an original,
    or if the original scores no better than the unlearned model, so that nothing can come back.
    """
    if original is None or original <= unlearned:
        return None
    return (attacked - unlearned) / (original - unlearned)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
