"""The result of an attack: one figure, the same figure on a replay, and the values behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Result:
    """`value`: the attack's one figure; None where it is undefined. `replay_value`: the same figure
    when a replay is attacked in the place of the unlearned model, None without a replay.
    """

    attack: str
    value: float | None
    replay_value: float | None = None

    @property
    def gap(self) -> float | None:
        """Return what the attack finds in the unlearned model beyond what it finds in a replay."""
        if self.value is None or self.replay_value is None:
            return None
        return self.value - self.replay_value

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, `gap` included; what is not finite becomes None."""
        plain: dict[str, Any] = _plain({**asdict(self), "gap": self.gap})
        return plain


def recovery(attacked: float, unlearned: float, original: float | None) -> float | None:
    """(m_attacked - m_unlearned) / (m_original - m_unlearned): 0 nothing is back, 1 everything is.

    None without an original, or when it scores no better than the unlearned model, so that there is
    nothing to bring back.
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
