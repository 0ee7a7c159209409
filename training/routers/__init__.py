"""Which block answers which question. Importing it imports torch."""

from training.routers.arrow import ArrowRouter
from training.routers.likelihood import LikelihoodRouter
from training.routers.prototype import PrototypeRouter, prototypes
from training.routers.router import Blocks, Choice, Router, RouterMisfit, state_bytes

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
