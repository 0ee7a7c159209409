"""Second moments of what LoRA modules see on data, and what such measurements share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.core.errors import DataError
from rescind.core.positions import Positions
from rescind.core.posted import modules
from rescind.training.data import Example
from rescind.training.engine.batches import Encoded, encode_example, encode_prompt, pad
from rescind.training.model.base import Base
from rescind.training.model.lora import LoraModel

_ADAPTER = "measured"
_BATCH = 32
"""Rows in one forward pass whose activations are kept."""

Double = NDArray[np.float64]
Hook = Callable[[Any, Any], None]


def feature_moments(
    model: LoraModel,
    tensors: FloatTensors,
    examples: Sequence[Example],
    *,
    max_length: int,
    positions: Positions,
) -> tuple[dict[str, Double], int]:
    """Return E[(A x)(A x)^T] of every LoRA module, (rank, rank), and the number of tokens averaged.

    Raises:
        DataError: There is no example, or one is too long.
    """
    return _moments(model, tensors, examples, lambda _, features: features, max_length, positions)


def input_moments(
    model: LoraModel,
    tensors: FloatTensors,
    examples: Sequence[Example],
    *,
    max_length: int,
    positions: Positions,
) -> tuple[dict[str, Double], int]:
    """Return E[x x^T] of every LoRA module, (in, in), and the number of tokens averaged.

    Raises:
        DataError: There is no example, or one is too long.
    """
    return _moments(model, tensors, examples, lambda inputs, _: inputs[0], max_length, positions)


def _moments(
    model: LoraModel,
    tensors: FloatTensors,
    examples: Sequence[Example],
    chosen: Callable[[Any, Any], torch.Tensor],
    max_length: int,
    positions: Positions,
) -> tuple[dict[str, Double], int]:
    """Average over tokens what `chosen` takes of the inputs and the output of each A."""
    rows = encoded_rows(model.base, examples, max_length)
    use_deterministic(model.base)
    model.put(_ADAPTER, tensors)
    network = model.use(_ADAPTER)
    sums: dict[str, Double] = {}
    taken = 0
    kept = torch.zeros(0)

    def collector(name: str) -> Hook:
        def collect(inputs: Any, output: Any) -> None:
            x = chosen(inputs, output)[kept].double().cpu().numpy()
            sums[name] = sums.get(name, 0.0) + x.T @ x

        return collect

    hooks = {f"{name}.lora_A.{_ADAPTER}": collector(name) for name in modules(model.shapes)}
    with hooked(network, hooks), torch.inference_mode():
        for ids, mask, selected in selected_batches(model.base, rows, positions):
            kept = selected
            taken += int(kept.sum())
            network(input_ids=ids, attention_mask=mask, use_cache=False)
    return {name: (total + total.T) / (2 * taken) for name, total in sums.items()}, taken


def encoded_rows(
    base: Base, texts: Sequence[Example] | Sequence[str], max_length: int
) -> list[Encoded]:
    """Return the tokens of pairs, or of questions alone.

    Raises:
        DataError: There is no text, or one is too long.
    """
    if not texts:
        raise DataError("There is nothing to measure on: the set of examples is empty.")
    rows = []
    for text in texts:
        if isinstance(text, str):
            tokens = encode_prompt(base, text)
            rows.append(Encoded(tokens, len(tokens)))
        else:
            rows.append(encode_example(base, text, max_length))
    return rows


def selected_batches(
    base: Base, rows: Sequence[Encoded], positions: Positions
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield tokens, attention mask and the selected positions, each (rows, longest)."""
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        ids, mask, _ = pad(base, batch, prompt_in_loss=True)
        kept = torch.zeros(ids.shape, dtype=torch.bool)
        for index, row in enumerate(batch):
            first = 0 if positions == "all" else row.prompt_length - 1
            last = first + 1 if positions == "last-prompt" else len(row.tokens) - 1
            kept[index, first:last] = True
        yield ids, mask, kept.to(base.device)


@contextmanager
def hooked(network: Any, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Call hooks[name](inputs, output) whenever the module of that name has run."""
    inner = network.get_base_model()
    handles = []
    try:
        for name, call in hooks.items():
            handles.append(
                inner.get_submodule(name).register_forward_hook(
                    lambda _, inputs, output, call=call: call(inputs, output)
                )
            )
        yield
    finally:
        for handle in handles:
            handle.remove()


def use_deterministic(base: Base) -> None:
    """Ask torch for operators that give the same bits every time, as far as the device has them."""
    torch.use_deterministic_algorithms(True, warn_only=base.device.type != "cpu")
