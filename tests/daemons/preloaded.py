"""Load once, for all processes that are forked, what daemons need for a training."""

from rescind.devnet.defaults import BASE_MODEL
from rescind.training import load_base

load_base(BASE_MODEL)
