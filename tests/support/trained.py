"""Trained tensors that many tests begin from, kept from run to run and shared by workers.

Only what a test begins from is kept, never what it is about: the tests of training train.
"""

from __future__ import annotations

import getpass
import hashlib
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import safetensors.numpy
import torch
from filelock import FileLock

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.training import Example, LoraModel, RoundTraining, train_round

ROOT = Path(__file__).parents[2]


def _folder() -> Path:
    """The cache beside the tests; a folder for temporary files where the checkout is read-only."""
    folder = ROOT / ".pytest_cache" / "trained"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"rescind-trained-{getpass.getuser()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def trained(
    model: LoraModel,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: Sequence[Example],
    *,
    steps: int,
    seed: int = 1,
) -> FloatTensors:
    """Return what `train_round` makes of these arguments, from the disk where they were met before."""
    key = hashlib.sha256(_code())
    key.update(f"{torch.__version__} {torch.get_num_threads()} {steps} {seed}".encode())
    key.update(f"{model.base.id} {model.lora} {list(examples)}".encode())
    key.update(parameters.canonical_bytes())
    for name in sorted(start):
        key.update(name.encode() + start[name].tobytes())
    path = _folder() / key.hexdigest()
    with FileLock(f"{path}.lock"):
        if not path.exists():
            training = RoundTraining(steps=steps, seed=seed)
            tensors = train_round(model, parameters, start, examples, training).tensors
            part = path.with_suffix(".part")
            part.write_bytes(safetensors.numpy.save(dict(tensors)))
            part.replace(path)
        tensors = safetensors.numpy.load(path.read_bytes())
    return {name: value.copy() for name, value in tensors.items()}


@cache
def _code() -> bytes:
    """A digest of the code that trains, and of what it is built on: another code trains again."""
    digest = hashlib.sha256((ROOT / "constraints.txt").read_bytes())
    for room in ("core", "training", "devnet"):
        for path in sorted((ROOT / "rescind" / room).resolve().rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()
