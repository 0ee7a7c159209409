"""The sums from which a linear system is solved."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class LinearSums(Protocol):
    """The integers of (G + ridge I) W = Q: sums over rows, or those of a module of summed ranks."""

    @property
    def dimensions(self) -> int:
        """The side of G."""
        ...

    @property
    def trace(self) -> int:
        """The trace of G; zero where nothing was summed."""
        ...

    @property
    def moments(self) -> NDArray[np.int64]:
        """Q, (dimensions, columns)."""
        ...

    def full_gram(self) -> NDArray[np.int64]:
        """Return G, symmetric and positive semidefinite, (dimensions, dimensions)."""
        ...
