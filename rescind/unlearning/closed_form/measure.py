"""Measurements of a block on data: Fisher and activations of a projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.core.errors import ConfigError, TrainingError
from rescind.core.positions import Positions
from rescind.training import Base, Example, LoraModel
from rescind.training.engine.batches import (
    IGNORED,
    Encoded,
    counted,
    pad,
    token_losses,
)
from rescind.training.moments import (
    encoded_rows,
    hooked,
    selected_batches,
    use_deterministic,
)
from rescind.unlearning.closed_form.settings import FisherMeasure

_ADAPTER = "measured"

Double = NDArray[np.float64]


def fisher(
    model: LoraModel,
    tensors: FloatTensors,
    examples: Sequence[Example],
    *,
    max_length: int,
    measure: FisherMeasure | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Return the diagonal Fisher of the trainable LoRA tensors at `tensors`, a mean over examples.

    It is the mean over batches of the squared gradient of the batch's loss (Foster et al. 2023,
    arXiv 2308.07707); with measure.label_free, the mean absolute gradient of the squared L2 norm of
    the logits (Foster et al. 2024, arXiv 2402.19308). A batch of one, the default, gives squares of
    per-example gradients; larger ones approach the square of the mean gradient, and depend on the
    order of the examples. The last batch counts by its size.

    Raises:
        DataError: There is no example, or one is too long.
        TrainingError: A gradient is not finite.
    """
    wanted = measure or FisherMeasure()
    rows = encoded_rows(model.base, examples, max_length)
    use_deterministic(model.base)
    model.put(_ADAPTER, tensors)
    network = model.use(_ADAPTER)
    parameters = model.parameters(_ADAPTER)
    chosen = [parameters[name] for name in model.trainable]
    for name, parameter in parameters.items():
        parameter.requires_grad_(name in model.trainable)
    sums = [np.zeros(tuple(parameter.shape)) for parameter in chosen]
    for start in range(0, len(rows), wanted.batch_size):
        batch = rows[start : start + wanted.batch_size]
        loss = _importance_loss(model.base, network, batch, wanted)
        for total, gradient in zip(sums, torch.autograd.grad(loss, chosen), strict=True):
            value = gradient.detach().double().cpu().numpy()
            total += (np.abs(value) if wanted.label_free else np.square(value)) * len(batch)
    result = {
        name: (total / len(rows)).astype(np.float32)
        for name, total in zip(model.trainable, sums, strict=True)
    }
    broken = [name for name, value in result.items() if not np.isfinite(value).all()]
    if broken:
        raise TrainingError(
            f"The gradient of {broken[0]!r} is not finite, so the adapter is broken. Load it again."
        )
    return result


def _importance_loss(
    base: Base, network: Any, batch: Sequence[Encoded], measure: FisherMeasure
) -> torch.Tensor:
    """Return the mean over the batch's examples of each example's mean over its tokens."""
    ids, mask, labels = pad(base, batch, prompt_in_loss=measure.prompt_too)
    if measure.label_free:
        logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        each = logits.square().sum(-1) * (labels[:, 1:] != IGNORED)
    else:
        each = token_losses(network, ids, mask, labels)
    mean: torch.Tensor = (each.sum(dim=1) / counted(labels)).mean()
    return mean


@dataclass(frozen=True, eq=False)
class Activations:
    """Activations with one column for each token.

    Attributes:
        inputs: Of a projection, (in, n).
        outputs: Of the projection, (out, n).
        states: Of the residual stream after its layer, (width, n).
    """

    inputs: Double
    outputs: Double
    states: Double


def activations(
    model: LoraModel,
    tensors: FloatTensors | None,
    texts: Sequence[Example] | Sequence[str],
    module: str,
    layer: str,
    *,
    max_length: int,
    positions: Positions,
) -> Activations:
    """Return the activations of a module in a decoder layer.

    Args:
        model: The model.
        tensors: The adapter, None for the bare base.
        texts: Pairs, or questions alone, for which only "last-prompt" has a meaning.
        module: The name of the projection.
        layer: The name of its decoder layer.
        max_length: The most tokens of a pair.
        positions: Which tokens to return. Columns are in the order of texts, then of tokens.

    Raises:
        ConfigError: The positions need answers, and the texts have none.
        DataError: There is no text, or one is too long.
    """
    rows = encoded_rows(model.base, texts, max_length)
    if positions != "last-prompt" and isinstance(texts[0], str):
        raise ConfigError(
            f"positions {positions!r} need answers, and these are questions alone. Use "
            "'last-prompt'."
        )
    use_deterministic(model.base)
    if tensors is not None:
        model.put(_ADAPTER, tensors)
    network = model.use(None if tensors is None else _ADAPTER)
    columns: dict[str, list[Double]] = {"inputs": [], "outputs": [], "states": []}
    kept = torch.zeros(0)

    def keep(what: str, value: torch.Tensor) -> None:
        columns[what].append(value[kept].double().cpu().numpy().T)

    def projection(inputs: Any, output: Any) -> None:
        keep("inputs", inputs[0])
        keep("outputs", output)

    def decoder(_: Any, output: Any) -> None:
        keep("states", output[0] if isinstance(output, tuple) else output)

    with hooked(network, {module: projection, layer: decoder}), torch.inference_mode():
        for ids, mask, selected in selected_batches(model.base, rows, positions):
            kept = selected
            network(input_ids=ids, attention_mask=mask, use_cache=False)
    return Activations(**{what: np.hstack(parts) for what, parts in columns.items()})
