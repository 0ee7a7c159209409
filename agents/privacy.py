"""The privacy that each action spends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rescind.agents.interface import EFFORTS, NOISES


def epsilon_by_action(round_epsilon: float) -> NDArray[np.float64]:
    """Return the epsilon that each of ACTIONS spends in one round, float64 (actions,).

    It grows with the square root of the steps and falls inversely to the noise: moments of the
    subsampled Gaussian mechanism (Abadi et al. 2016, arXiv 1607.00133).

    Args:
        round_epsilon: What a round at full effort spends with no more noise than was agreed on.
    """
    spent: NDArray[np.float64] = round_epsilon * np.sqrt(EFFORTS) / (1.0 + NOISES)
    return spent
