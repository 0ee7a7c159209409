"""Routers choose the block that answers a question. Importing them imports torch.

A served model has the likelihood router, or the additive one where its members agreed on it. The
others are research.
"""

from rescind.training.routers.additive import AdditiveRouter
from rescind.training.routers.agreed import agreed_router
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
    "agreed_router",
    "prototypes",
    "state_bytes",
]
