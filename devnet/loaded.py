"""Import what every daemon of a demo needs, once, in the process that they are forked from."""

import torch
from transformers.utils import logging

from rescind import aggregator, node
from rescind.devnet.defaults import BASE_MODEL
from rescind.training import LoraModel, load_base, train_round

LOADED = (aggregator.run, node.run, LoraModel, train_round)
"""Naming them imports them."""

# Many modules are imported only when a model is loaded. One thread: a pool of threads does not
# survive a fork.
_threads = torch.get_num_threads()
torch.set_num_threads(1)
logging.disable_progress_bar()  # type: ignore[no-untyped-call]
load_base(BASE_MODEL, device="cpu")
torch.set_num_threads(_threads)
