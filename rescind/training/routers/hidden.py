"""What the bare base model makes of questions on the way: inputs of its layers, hidden states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core.errors import TrainingError
from rescind.training.engine.batches import Encoded, encode_prompt, pad
from rescind.training.model.base import Base

_BATCH = 64


@torch.inference_mode()
def module_inputs(
    base: Base, bare: Any, modules: Sequence[str], questions: Sequence[str]
) -> Iterator[tuple[list[int], NDArray[np.bool_], dict[str, NDArray[np.float32]]]]:
    """For each batch: the places of its questions, the mask of their tokens (questions, tokens), and
    the input of every module, (questions, tokens, width).

    `bare`: the model whose forward pass is watched, without any block. Raises TrainingError when it
    has no such module.
    """
    for places, tokens, mask in _batches(base, questions):
        seen: dict[str, NDArray[np.float32]] = {}
        with ExitStack() as stack:
            for name in modules:
                stack.callback(_watch(base.model, name, seen).remove)
            bare(input_ids=tokens, attention_mask=mask, use_cache=False)
        yield places, mask.bool().cpu().numpy(), seen


@torch.inference_mode()
def mean_hidden(
    base: Base, bare: Any, questions: Sequence[str], *, layer: int
) -> NDArray[np.float64]:
    """Hidden states after a layer (0: the embeddings, -1: the last), averaged over each question's
    tokens, (questions, width). Raises TrainingError when there is no such layer."""
    means: dict[int, NDArray[np.float64]] = {}
    for places, tokens, mask in _batches(base, questions):
        states = bare(
            input_ids=tokens, attention_mask=mask, use_cache=False, output_hidden_states=True
        ).hidden_states
        if not -len(states) <= layer < len(states):
            raise TrainingError(
                f"the base model has hidden states 0 to {len(states) - 1}, not {layer}"
            )
        values = states[layer].double().cpu().numpy()
        lengths = mask.sum(dim=1).tolist()
        for row, place in enumerate(places):
            means[place] = values[row, : lengths[row]].mean(axis=0)
    return np.stack([means[place] for place in range(len(questions))])


def _batches(
    base: Base, questions: Sequence[str]
) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
    for start in range(0, len(questions), _BATCH):
        places = list(range(start, min(start + _BATCH, len(questions))))
        rows = [encode_prompt(base, questions[place]) for place in places]
        tokens, mask, _ = pad(base, [Encoded(r, len(r)) for r in rows], prompt_in_loss=True)
        yield places, tokens, mask


def _watch(model: Any, name: str, seen: dict[str, NDArray[np.float32]]) -> Any:
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise TrainingError(f"the base model has no module {name!r} that a block names") from error

    def keep(_: Any, given: tuple[torch.Tensor, ...]) -> None:
        seen[name] = given[0].float().cpu().numpy()

    return module.register_forward_pre_hook(keep)
