"""A round of training that can be taken up again after a kill, with the same bytes at the end.

One file of safetensors, written whole or not at all: the trainable tensors, AdamW's moments, the
losses so far and the state of torch's random numbers. Sampling and noise are functions of a seed and
the step, so they have no state. Its header names the run; another run's checkpoint is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rescind.core.errors import ConfigError, TrainingError

_FORMAT = "rescind.checkpoint/1"
_NAME = "training.safetensors"
Facts = Mapping[str, str]


class CheckpointMismatch(TrainingError):
    """The checkpoint in the folder is of another run."""

    code = "checkpoint-mismatch"


class CheckpointBroken(TrainingError):
    """The checkpoint in the folder cannot be read."""

    code = "checkpoint-broken"


class RuleNotResumable(TrainingError):
    """A rule keeps a state that a checkpoint would lose."""

    code = "rule-not-resumable"


@dataclass(frozen=True)
class Checkpoint:
    """Where a run keeps its checkpoint, and after how many steps it writes one. The folder is made;
    it holds one run at a time, and nothing once the run is through."""

    folder: Path
    every: int = 25

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"a checkpoint every {self.every} steps is none: use at least 1")

    @property
    def path(self) -> Path:
        return self.folder / _NAME


@dataclass(frozen=True)
class State:
    """After `step` steps. `tensors`: trainable, by bare name; `moments`: of AdamW, by
    "name/exp_avg" and so on; `losses` one for each batch that was not empty."""

    step: int
    tokens: int
    tensors: Mapping[str, torch.Tensor]
    moments: Mapping[str, torch.Tensor]
    losses: Sequence[float]
    random: Mapping[str, torch.Tensor]


def write(checkpoint: Checkpoint, facts: Facts, state: State) -> None:
    parts = {
        **{f"tensor/{name}": value.detach().cpu() for name, value in state.tensors.items()},
        **{f"moment/{name}": value.detach().cpu() for name, value in state.moments.items()},
        **{f"random/{name}": value.cpu() for name, value in state.random.items()},
        "losses": torch.tensor(list(state.losses), dtype=torch.float64),
    }
    header = {
        "format": _FORMAT,
        "facts": json.dumps(dict(facts), sort_keys=True),
        "step": str(state.step),
        "tokens": str(state.tokens),
    }
    data = save({name: value.contiguous() for name, value in parts.items()}, metadata=header)
    checkpoint.folder.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint.path.with_suffix(".new")
    with temporary.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(checkpoint.path)
    _sync(checkpoint.folder)


def read(checkpoint: Checkpoint, facts: Facts) -> State | None:
    """What was written last, or None. Raises CheckpointMismatch, CheckpointBroken."""
    path = checkpoint.path
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if header.get("format") != _FORMAT:
            raise CheckpointBroken(f"{path} is no checkpoint of this version: delete it")
        found, step, tokens = json.loads(header["facts"]), int(header["step"]), header["tokens"]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointBroken(f"checkpoint {path} cannot be read: {error}: delete it") from error
    _same_run(path, found, facts)
    return State(
        step=step,
        tokens=int(tokens),
        tensors=_under(tensors, "tensor/"),
        moments=_under(tensors, "moment/"),
        losses=tensors["losses"].tolist(),
        random=_under(tensors, "random/"),
    )


def remove(checkpoint: Checkpoint) -> None:
    checkpoint.path.unlink(missing_ok=True)


def _same_run(path: Path, found: Facts, wanted: Facts) -> None:
    if found == dict(wanted):
        return
    odd = sorted(n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
    told = "; ".join(
        f"{name} is {_short(found.get(name))} there and {_short(wanted.get(name))} here"
        for name in odd
    )
    raise CheckpointMismatch(
        f"checkpoint {path} is of another run: {told}. Go on with that run, or delete the file"
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fingerprint(value: object) -> str:
    """SHA-256 of what a value is made of: numbers, text, arrays, containers, objects' attributes."""
    digest = hashlib.sha256()
    _feed(digest, value, ())
    return digest.hexdigest()


def _feed(digest: Any, value: object, above: tuple[int, ...]) -> None:
    digest.update(f"{type(value).__module__}.{type(value).__qualname__}(".encode())
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().float().numpy()
    if id(value) in above:
        digest.update(b"above")
    elif isinstance(value, np.ndarray):
        digest.update(
            f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes()
        )
    elif value is None or isinstance(value, bool | int | float | str | bytes):
        digest.update(repr(value).encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            _feed(digest, key, (*above, id(value)))
            _feed(digest, value[key], (*above, id(value)))
    elif isinstance(value, set | frozenset):
        for text in sorted(fingerprint(one) for one in value):
            digest.update(text.encode())
    elif isinstance(value, Sequence):
        for one in value:
            _feed(digest, one, (*above, id(value)))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            _feed(digest, getattr(value, each.name), (*above, id(value)))
    elif callable(value) and hasattr(value, "__qualname__"):
        digest.update(str(value.__qualname__).encode())
    elif hasattr(value, "__dict__"):
        for name, one in sorted(vars(value).items()):
            _feed(digest, name, above)
            _feed(digest, one, (*above, id(value)))
    digest.update(b")")
