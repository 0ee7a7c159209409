"""The privacy that each action spends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rescind.agents.interface import levels_of


def epsilon_by_action(size: int, round_epsilon: float) -> NDArray[np.float64]:
    """Return the epsilon that training spends in one round by each action, float64 (actions,).

    It grows with the square root of the steps and falls inversely to the noise: moments of the
    subsampled Gaussian mechanism (Abadi et al. 2016, arXiv 1607.00133).

    Args:
        size: Size of the set of actions.
        round_epsilon: What a round at full effort spends with no more noise than was agreed on.
    """
    levels = levels_of(size)
    root, noise = np.sqrt(levels["effort"]), levels["noise"]
    spent: NDArray[np.float64] = round_epsilon * root / (1.0 + noise)
    return spent
