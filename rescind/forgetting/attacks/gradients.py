"""Gradients of one example's loss, of the whole network and of an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.training import Base, Example, LoraModel
from rescind.training.engine.batches import (
    Encoded,
    counted,
    encode_example,
    pad,
    token_losses,
)
from rescind.training.serving.respond import Respondent


def gradient_norms(
    respondent: Respondent, examples: Sequence[Example], p: float
) -> NDArray[np.float64]:
    """Mean over the base model's tensors of the p-norm of d(mean NLL of the answer), (examples,).

    The gradient at a weight W to which an adapter adds s B A is the gradient at W + s B A: what is
    measured is the network as it serves, merged or not. The tensors are left requiring gradients:
    call it inside `served.intact`.
    """
    base = respondent.base
    rows = [encode_example(base, example, respondent.max_length) for example in examples]
    weights = [tensor for name, tensor in base.model.named_parameters() if ".lora_" not in name]
    for tensor in weights:
        tensor.requires_grad_(True)
    found: dict[int, float] = {}
    for network, places in respondent.groups([e.question for e in examples]):
        for place in places:
            gradients = _gradients(base, network, rows[place], weights)
            norms = [float(g.norm(p=p)) for g in gradients if g is not None]
            found[place] = float(np.mean(norms))
    return np.array([found[place] for place in range(len(rows))])


def adapter_gradients(
    model: LoraModel, adapter: str, examples: Sequence[Example], max_length: int
) -> Iterator[dict[str, NDArray[np.float64]]]:
    """d(mean NLL of the answer) for each example, by bare name of the trainable LoRA tensors."""
    for example in examples:
        row = encode_example(model.base, example, max_length)
        network = model.use(adapter)
        tensors = [model.parameters(adapter)[name] for name in model.trainable]
        for tensor in tensors:
            tensor.requires_grad_(True)
        gradients = _gradients(model.base, network, row, tensors)
        yield {
            name: np.zeros(tensor.shape) if g is None else g.double().cpu().numpy()
            for name, tensor, g in zip(model.trainable, tensors, gradients, strict=True)
        }


def _gradients(
    base: Base, network: Any, row: Encoded, tensors: Sequence[torch.Tensor]
) -> tuple[torch.Tensor | None, ...]:
    ids, mask, labels = pad(base, [row], prompt_in_loss=False)
    with torch.enable_grad():
        loss = token_losses(network, ids, mask, labels).sum() / counted(labels).sum()
    return torch.autograd.grad(loss, tensors, allow_unused=True)
