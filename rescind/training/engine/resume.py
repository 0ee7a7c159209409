"""Saving a training loop's state in its checkpoint, and continuing from it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.training.data import Example
from rescind.training.engine import checkpoint as files
from rescind.training.engine.checkpoint import (
    RuleNotResumable,
    State,
    fingerprint,
)
from rescind.training.engine.privacy import PrivateRun
from rescind.training.engine.privacy import fingerprint as secret_fingerprint
from rescind.training.engine.round import RoundTraining
from rescind.training.model.lora import LoraModel


@runtime_checkable
class Resumable(Protocol):
    """A rule with a state of its own that a checkpoint can save and load."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the state."""
        ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Restore the state."""
        ...


class Keeper:
    """Reader and writer of a round's checkpoint. Only rank 0 writes. Does nothing without one."""

    def __init__(
        self,
        training: RoundTraining,
        tensors: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self._training = training
        self._checkpoint = training.checkpoint
        self._tensors = tensors
        self._optimizer = optimizer
        self._rules = training.rules
        self._rank = training.workers.rank
        self._facts: dict[str, str] = {}
        self._first: list[str] = []

    def bind(
        self,
        model: LoraModel,
        parameters: ConsortiumParameters,
        start: FloatTensors,
        examples: Sequence[Example],
        private: PrivateRun | None,
    ) -> None:
        """Name the run by everything that its result depends on."""
        if self._checkpoint is None:
            return
        self._first = [fingerprint(rule) for rule in self._rules]
        device = model.base.device.type
        self._facts = {
            "base model": model.base.id,
            "parameters": parameters.id,
            "start": fingerprint(dict(start)),
            "data": fingerprint([(e.subject, *e.content) for e in examples]),
            "seed": str(self._training.seed),
            "steps": str(self._training.steps),
            "settings": fingerprint(self._training.settings.to_dict()),
            "rules": ",".join(
                f"{type(rule).__name__}:{first}"
                for rule, first in zip(self._rules, self._first, strict=True)
            ),
            "privacy": _named(private),
            "torch": torch.__version__,
            "device": device,
            "threads": str(torch.get_num_threads()) if device == "cpu" else "any",
        }

    def resume(self) -> tuple[int, int, list[float]]:
        """Restore tensors, optimizer and rules; return the steps, tokens and losses so far."""
        state = files.read(self._checkpoint, self._facts) if self._checkpoint else None
        if state is None:
            return 0, 0, []
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(state.tensors[name])
        self._load_moments(state.moments)
        torch.set_rng_state(state.random["cpu"])
        if "cuda" in state.random:
            torch.cuda.set_rng_state(state.random["cuda"])
        for index, rule in enumerate(self._rules):
            if isinstance(rule, Resumable):
                prefix = f"rule {index}/"
                rule.load_state_dict(
                    {
                        n.removeprefix(prefix): value
                        for n, value in state.random.items()
                        if n.startswith(prefix)
                    }
                )
        return state.step, state.tokens, list(state.losses)

    def keep(self, step: int, tokens: int, losses: Sequence[float], *, last: bool) -> None:
        """Write a checkpoint when one is due, and after the last step."""
        if self._checkpoint is None or self._rank != 0:
            return
        if step % self._checkpoint.every and not last:
            return
        extra = {"cpu": torch.get_rng_state(), **self._rule_states()}
        if any(tensor.is_cuda for tensor in self._tensors.values()):
            extra["cuda"] = torch.cuda.get_rng_state()
        state = State(step, tokens, dict(self._tensors), self._moments(), losses, extra)
        files.write(self._checkpoint, self._facts, state)

    def done(self) -> None:
        """Delete the checkpoint of a round that is finished."""
        if self._checkpoint is not None and self._rank == 0:
            files.remove(self._checkpoint)

    def _moments(self) -> dict[str, torch.Tensor]:
        result: dict[str, torch.Tensor] = {}
        for name, tensor in self._tensors.items():
            for key, value in self._optimizer.state.get(tensor, {}).items():
                result[f"{name}/{key}"] = torch.as_tensor(value)
        return result

    def _load_moments(self, moments: Mapping[str, torch.Tensor]) -> None:
        document: dict[str, Any] = self._optimizer.state_dict()
        for index, name in enumerate(self._tensors):
            prefix = f"{name}/"
            document["state"][index] = {
                n.removeprefix(prefix): value
                for n, value in moments.items()
                if n.startswith(prefix)
            }
        self._optimizer.load_state_dict(document)

    def _rule_states(self) -> dict[str, torch.Tensor]:
        result: dict[str, torch.Tensor] = {}
        for index, rule in enumerate(self._rules):
            if isinstance(rule, Resumable):
                result.update({f"rule {index}/{n}": v for n, v in rule.state_dict().items()})
            elif fingerprint(rule) != self._first[index]:
                raise RuleNotResumable(
                    f"Rule {type(rule).__name__} has changed during the run, and a checkpoint "
                    "would lose that. Give it state_dict and load_state_dict, or train without a "
                    "checkpoint."
                )
        return result


def _named(private: PrivateRun | None) -> str:
    if private is None:
        return "none"
    text = fingerprint((private.max_grad_norm, private.mechanism, private.after.to_dict()))
    return hashlib.sha256((text + secret_fingerprint(private.secret)).encode()).hexdigest()
