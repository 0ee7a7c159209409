"""What daemons load before their first training, loaded once for all processes that are forked."""

from rescind.devnet.defaults import BASE_MODEL
from rescind.training import load_base

load_base(BASE_MODEL)
