"""Routers choose the block that answers a question. Importing them imports torch.

Daemons use the likelihood router. The others are research: no daemon uses them yet.
"""

from rescind.training.routers.additive import AdditiveRouter
from rescind.training.routers.arrow import ArrowRouter
from rescind.training.routers.likelihood import LikelihoodRouter
from rescind.training.routers.prototype import PrototypeRouter, prototypes
from rescind.training.routers.router import (
    Blocks,
    Choice,
    Router,
    RouterMisfit,
    state_bytes,
)

__all__ = [
    "AdditiveRouter",
    "ArrowRouter",
    "Blocks",
    "Choice",
    "LikelihoodRouter",
    "PrototypeRouter",
    "Router",
    "RouterMisfit",
    "prototypes",
    "state_bytes",
]
