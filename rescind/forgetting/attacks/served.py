"""Adapters under attack, which are served or changed temporarily and then restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer

from rescind.core import FloatTensors
from rescind.training import Base, LoraModel
from rescind.training.serving.respond import Respondent
from rescind.training.text.question import Question


@dataclass(frozen=True)
class Served:
    """A respondent that answers every question with one adapter of a model, or with the bare base.

    It asks for the adapter each time, so that several of them may share one model.

    Attributes:
        model: The model.
        adapter: The name of the adapter, or None for the bare base.
        max_length: The most tokens of a prompt or example.
    """

    model: LoraModel
    adapter: str | None
    max_length: int

    @property
    def base(self) -> Base:
        return self.model.base

    def groups(self, questions: Sequence[Question]) -> Iterator[tuple[Any, list[int]]]:
        yield self.model.use(self.adapter), list(range(len(questions)))


@contextmanager
def loaded(model: LoraModel, tensors: FloatTensors, *, max_length: int) -> Iterator[Served]:
    """Serve tensors as a temporary adapter, which is removed afterwards.

    Args:
        model: The model.
        tensors: All LoRA tensors by bare name.
        max_length: The most tokens of a prompt or example.

    Raises:
        TrainingError: The tensors do not fit the model.
    """
    with intact(Served(model, None, max_length)), scratch_adapter(model) as name:
        model.put(name, tensors)
        yield Served(model, name, max_length)


@contextmanager
def scratch_adapter(model: LoraModel, wanted: str | None = None) -> Iterator[str]:
    """Yield the name of a temporary adapter, which is removed afterwards.

    Args:
        model: The model.
        wanted: The name to use; by default a name that is not in use. If an adapter of this name
            exists already, its tensors are restored.
    """
    network = model.use(None)
    name = wanted or next(
        name
        for name in (f"attack_{number}" for number in range(len(network.peft_config) + 1))
        if name not in network.peft_config
    )
    kept, active = model.get(name), network.active_adapter
    try:
        yield name
    finally:
        if kept:
            model.put(name, kept)
        elif name in network.peft_config:
            network.set_adapter(active)
            network.delete_adapter(name)


@contextmanager
def altered(
    respondent: Respondent, change: Callable[[Any], AbstractContextManager[None]]
) -> Iterator[Respondent]:
    """Yield the respondent with each of its networks changed while it answers.

    Questions go to the network to which they went before the change, so that an attack measures the
    knowledge of the changed networks, not the effect of the change on a router.

    Args:
        respondent: The respondent.
        change: The function that changes a network and restores it on exit.
    """
    with ExitStack() as undo:
        yield _Altered(respondent, change, undo)


@dataclass(frozen=True)
class _Altered:
    respondent: Respondent
    change: Callable[[Any], AbstractContextManager[None]]
    undo: ExitStack

    @property
    def base(self) -> Base:
        return self.respondent.base

    @property
    def max_length(self) -> int:
        return self.respondent.max_length

    def groups(self, questions: Sequence[Question]) -> Iterator[tuple[Any, list[int]]]:
        self.undo.close()
        for network, indices in self.respondent.groups(questions):
            self.undo.enter_context(self.change(network))
            yield network, indices
            self.undo.close()


@contextmanager
def intact(*respondents: Respondent | None) -> Iterator[None]:
    """Restore adapters in use, gradient flags, modes and random states on exit."""
    present = [respondent for respondent in respondents if respondent is not None]
    mode = torch.get_deterministic_debug_mode()
    with ExitStack() as stack:
        stack.callback(torch.set_deterministic_debug_mode, mode)
        devices = [respondent.base.device for respondent in present]
        cuda = {device.index or 0 for device in devices if device.type == "cuda"}
        stack.enter_context(torch.random.fork_rng(devices=sorted(cuda)))
        # Several respondents may share one model: restore each model once.
        for respondent in {id(each.base.model): each for each in present}.values():
            stack.enter_context(_model_intact(respondent))
        yield


@contextmanager
def _model_intact(respondent: Respondent) -> Iterator[None]:
    model = respondent.base.model
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    active = [(layer, list(layer.active_adapters), layer.disable_adapters) for layer in layers]
    network = next((network for network, _ in respondent.groups(["?"])), None)
    try:
        yield
    finally:
        if active and isinstance(network, PeftModel):
            network.set_adapter(active[0][1][0])
        for layer, names, disabled in active:
            layer.set_adapter(names)
            layer.enable_adapters(not disabled)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for module, training in modes:
            module.training = training
