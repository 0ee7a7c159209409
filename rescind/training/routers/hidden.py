"""Inputs of layers and hidden states of the bare base model on questions.

Research: no daemon uses this yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core.errors import TrainingError
from rescind.training.engine.batches import batches_of, pad
from rescind.training.model.base import Base

_BATCH = 64
"""Rows in one forward pass, which needs no gradients."""


@torch.inference_mode()
def module_inputs(
    base: Base, bare: Any, modules: Sequence[str], questions: Sequence[str]
) -> Iterator[tuple[list[int], NDArray[np.bool_], dict[str, NDArray[np.float32]]]]:
    """Yield the inputs of modules on batches of questions.

    Args:
        base: The base model.
        bare: The model whose forward pass is watched, without any block.
        modules: Names of modules of the base model.
        questions: The questions.

    Yields:
        For each batch, the indices of its questions, the mask of their tokens (questions, tokens),
        and the input of every module, (questions, tokens, width).

    Raises:
        TrainingError: The model has no such module.
    """
    for indices, tokens, mask in _batches(base, questions):
        seen: dict[str, NDArray[np.float32]] = {}
        with ExitStack() as stack:
            for name in modules:
                stack.callback(_watch(base.model, name, seen).remove)
            bare(input_ids=tokens, attention_mask=mask, use_cache=False)
        yield indices, mask.bool().cpu().numpy(), seen


@torch.inference_mode()
def mean_hidden(
    base: Base, bare: Any, questions: Sequence[str], *, layer: int
) -> NDArray[np.float64]:
    """Return hidden states averaged over each question's tokens, (questions, width).

    Args:
        base: The base model.
        bare: The model without any block.
        questions: The questions.
        layer: After which layer; 0 is the embeddings, -1 the last.

    Raises:
        TrainingError: There is no such layer.
    """
    means: dict[int, NDArray[np.float64]] = {}
    for indices, tokens, mask in _batches(base, questions):
        states = bare(
            input_ids=tokens, attention_mask=mask, use_cache=False, output_hidden_states=True
        ).hidden_states
        if not -len(states) <= layer < len(states):
            raise TrainingError(
                f"The base model has hidden states 0 to {len(states) - 1}, not {layer}."
            )
        values = states[layer].double().cpu().numpy()
        lengths = mask.sum(dim=1).tolist()
        for row, index in enumerate(indices):
            means[index] = values[row, : lengths[row]].mean(axis=0)
    return np.stack([means[index] for index in range(len(questions))])


def _batches(
    base: Base, questions: Sequence[str]
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    prompts = [base.encoder.prompt(question) for question in questions]
    for batch in batches_of(base, [len(each.tokens) for each in prompts], _BATCH):
        indices = list(batch)
        tokens, mask, _ = pad(base, [prompts[index] for index in indices], prompt_in_loss=True)
        yield indices, tokens, mask


def _watch(model: Any, name: str, seen: dict[str, NDArray[np.float32]]) -> Any:
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise TrainingError(
            f"The base model has no module {name!r}, which a block names. The block belongs to "
            "another base model."
        ) from error

    def keep(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[name] = inputs[0].float().cpu().numpy()

    return module.register_forward_pre_hook(keep)
