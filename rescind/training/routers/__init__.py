"""Which block answers which question. Importing it imports torch."""

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
