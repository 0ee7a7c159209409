"""Adapters under attack: served one at a time, altered for a while, and left as they were."""

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


@dataclass(frozen=True)
class Served:
    """A respondent that answers every question with one adapter of a model, or with the bare base.

    It asks for the adapter each time, so that several of them may share one model.
    """

    model: LoraModel
    adapter: str | None
    max_length: int

    @property
    def base(self) -> Base:
        return self.model.base

    def groups(self, questions: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        yield self.model.use(self.adapter), list(range(len(questions)))


@contextmanager
def loaded(model: LoraModel, tensors: FloatTensors, *, max_length: int) -> Iterator[Served]:
    """`tensors` as an adapter of its own for a while; the model is left without it.

    Raises TrainingError when the tensors do not fit the model.
    """
    with intact(Served(model, None, max_length)), scratch_adapter(model) as name:
        model.put(name, tensors)
        yield Served(model, name, max_length)


@contextmanager
def scratch_adapter(model: LoraModel, wanted: str | None = None) -> Iterator[str]:
    """A name for an adapter that is gone afterwards: `wanted`, or one that is not in use.

    If an adapter `wanted` exists already, it gets its tensors back.
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
    """The respondent with each of its networks inside `change` while it answers.

    Questions go to the network that they went to before the change: what is measured is what the
    changed networks know, not what the change does to a router.
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

    def groups(self, questions: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        self.undo.close()
        for network, places in self.respondent.groups(questions):
            self.undo.enter_context(self.change(network))
            yield network, places
            self.undo.close()


@contextmanager
def intact(*respondents: Respondent | None) -> Iterator[None]:
    """Leave adapters in use, gradient flags, modes and random states as they were found."""
    present = [one for one in respondents if one is not None]
    mode = torch.get_deterministic_debug_mode()
    with ExitStack() as stack:
        stack.callback(torch.set_deterministic_debug_mode, mode)
        cuda = {one.base.device.index or 0 for one in present if one.base.device.type == "cuda"}
        stack.enter_context(torch.random.fork_rng(devices=sorted(cuda)))
        for respondent in {id(one.base.model): one for one in present}.values():
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
