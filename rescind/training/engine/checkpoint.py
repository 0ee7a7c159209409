"""Checkpoints of a round, from which a killed run continues to the same bytes.

A checkpoint is one safetensors file, written whole or not at all: the trainable tensors, AdamW's
moments, the losses so far and the state of torch's random numbers. Sampling and noise are functions
of a seed and the step, so they have no state. The header names the run; another run's checkpoint is
refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from rescind.core import make_private_folder, write_private
from rescind.core.errors import ConfigError, TrainingError

_FORMAT = "rescind.checkpoint/1"
_NAME = "training.safetensors"
Facts = Mapping[str, str]


class CheckpointMismatch(TrainingError):
    """The checkpoint in the folder belongs to another run."""

    code = "checkpoint-mismatch"


class CheckpointBroken(TrainingError):
    """The checkpoint in the folder cannot be read."""

    code = "checkpoint-broken"


class RuleNotResumable(TrainingError):
    """A rule has a state that a checkpoint would lose."""

    code = "rule-not-resumable"


@dataclass(frozen=True)
class Checkpoint:
    """The place of a run's checkpoint.

    Attributes:
        folder: Is created. It holds one run at a time, and nothing once the run is finished.
        every: Steps between two checkpoints.
    """

    folder: Path
    every: int = 25

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(
                f"A checkpoint every {self.every} steps is not possible. Use at least 1."
            )

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / _NAME


@dataclass(frozen=True)
class State:
    """The state of a run between two steps.

    Attributes:
        step: Steps done so far.
        tokens: Tokens that the loss has counted so far.
        tensors: Trainable tensors, by bare name.
        moments: Of AdamW, by "name/exp_avg" and so on.
        losses: One for each batch so far that was not empty.
        random: States of random generators and of rules.
    """

    step: int
    tokens: int
    tensors: Mapping[str, torch.Tensor]
    moments: Mapping[str, torch.Tensor]
    losses: Sequence[float]
    random: Mapping[str, torch.Tensor]


def write(checkpoint: Checkpoint, facts: Facts, state: State) -> None:
    """Replace the checkpoint, so that a crash leaves the old one or the new one."""
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
    make_private_folder(checkpoint.folder)
    write_private(checkpoint.path, data)


def read(checkpoint: Checkpoint, facts: Facts) -> State | None:
    """Read the last checkpoint, or return None when there is none.

    Raises:
        CheckpointMismatch: It belongs to another run.
        CheckpointBroken: It cannot be read.
    """
    path = checkpoint.path
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
        if header.get("format") != _FORMAT:
            raise CheckpointBroken(f"{path} is not a checkpoint of this version. Delete it.")
        run, step, tokens = json.loads(header["facts"]), int(header["step"]), header["tokens"]
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointBroken(f"Cannot read checkpoint {path}: {error}. Delete it.") from error
    _check_run(path, run, facts)
    return State(
        step=step,
        tokens=int(tokens),
        tensors=_under(tensors, "tensor/"),
        moments=_under(tensors, "moment/"),
        losses=tensors["losses"].tolist(),
        random=_under(tensors, "random/"),
    )


def remove(checkpoint: Checkpoint) -> None:
    """Delete the checkpoint, and temporary files of a write that was killed."""
    for path in (checkpoint.path, *checkpoint.folder.glob(f".{_NAME}.*")):
        path.unlink(missing_ok=True)


def _check_run(path: Path, saved: Facts, wanted: Facts) -> None:
    if saved == dict(wanted):
        return
    different = sorted(n for n in {*saved, *wanted} if saved.get(n) != wanted.get(n))
    differences = "; ".join(
        f"{name} is {_short(saved.get(name))} there and {_short(wanted.get(name))} here"
        for name in different
    )
    raise CheckpointMismatch(
        f"Checkpoint {path} belongs to another run: {differences}. Continue that run, or delete "
        "the file."
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}..."


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {n.removeprefix(prefix): value for n, value in tensors.items() if n.startswith(prefix)}


def fingerprint(value: object) -> str:
    """Return the SHA-256 of a value: numbers, text, arrays, containers, objects' attributes.

    The module and name of each type are part of it. So when a class moves to another module, the
    checkpoints written before are refused once, and their rounds start again from step 0.
    """
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
        for text in sorted(fingerprint(member) for member in value):
            digest.update(text.encode())
    elif isinstance(value, Sequence):
        for member in value:
            _feed(digest, member, (*above, id(value)))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for each in dataclasses.fields(value):
            _feed(digest, getattr(value, each.name), (*above, id(value)))
    elif callable(value) and hasattr(value, "__qualname__"):
        digest.update(str(value.__qualname__).encode())
    elif hasattr(value, "__dict__"):
        for name, attribute in sorted(vars(value).items()):
            _feed(digest, name, above)
            _feed(digest, attribute, (*above, id(value)))
    digest.update(b")")
