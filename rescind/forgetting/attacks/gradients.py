"""Gradients of one example's loss with respect to the whole network or an adapter."""

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
    """Return the gradient norm of each example's loss, (examples,).

    The norm is the mean over the base model's tensors of the p-norm of the gradient of the answer's
    mean NLL. The gradient at a weight W to which an adapter adds s B A is the gradient at
    W + s B A, so the result describes the network as it serves, merged or not. The tensors are left
    requiring gradients, so call this inside `served.intact`.

    Args:
        respondent: The model.
        examples: The examples.
        p: The order of the norm.
    """
    base = respondent.base
    rows = [encode_example(base, example, respondent.max_length) for example in examples]
    weights = [tensor for name, tensor in base.model.named_parameters() if ".lora_" not in name]
    for tensor in weights:
        tensor.requires_grad_(True)
    means: dict[int, float] = {}
    for network, indices in respondent.groups(examples):
        for index in indices:
            gradients = _gradients(base, network, rows[index], weights)
            norms = [float(g.norm(p=p)) for g in gradients if g is not None]
            means[index] = float(np.mean(norms))
    return np.array([means[index] for index in range(len(rows))])


def adapter_gradients(
    model: LoraModel, adapter: str, examples: Sequence[Example], max_length: int
) -> Iterator[dict[str, NDArray[np.float64]]]:
    """Yield the gradient of each example's mean NLL of the answer.

    Args:
        model: The model.
        adapter: The name of the adapter in the model.
        examples: The examples.
        max_length: The most tokens of an example.

    Yields:
        The gradient of one example, by bare name of the trainable LoRA tensors.
    """
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
