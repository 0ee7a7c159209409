"""A short run of a loaded model: that it works, and that it looks only backwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rescind.core.errors import TrainingError
from rescind.training.model.config_checks import one_line
from rescind.training.model.tokenizer_checks import PLAIN

_LENGTH = 6
"""Tokens whose logits must not depend on the tokens after them."""
_TOLERANCE = {torch.float32: 1e-3}
_COARSE = 0.2
"""Relative difference of logits that rounding can cause, by dtype; other dtypes are coarse."""


def check_numbers(model: Any, folder: Path) -> None:
    """Check every weight, also those that the short run of `check_forward` does not reach.

    Raises:
        TrainingError: One is not a number, or is infinite.
    """
    for name, weights in model.named_parameters():
        if weights.is_floating_point() and not torch.isfinite(weights).all():
            raise TrainingError(
                f"The tensor {name} of the model in {folder} holds values that are not numbers, or too "
                "large for its type. Fetch the model again, or load it with dtype float32."
            )
    for name, values in model.named_buffers():
        # Infinity is fine in others: masks are made of it.
        bad = torch.isnan(values) if "inv_freq" not in name else ~torch.isfinite(values)
        if bad.any():
            raise TrainingError(
                f"The numbers {name} of the model in {folder} are not numbers: a value in config.json, "
                "such as rope_theta, is out of range. Fetch the file again."
            )


@torch.inference_mode()
def check_forward(model: Any, tokenizer: Any, folder: Path) -> None:
    """Run a model on two short texts with the same beginning, and compare the logits there.

    An encoder, which looks at the whole text, would learn to copy the next token. Damaged weights
    give logits that are not numbers.

    Raises:
        TrainingError: The model does not run, gives no numbers, or looks ahead.
    """
    tokens = tokenizer.encode(PLAIN, add_special_tokens=False)
    begin, rest = tokens[:_LENGTH], tokens[_LENGTH : 2 * _LENGTH]
    # Other tokens, not the same in another order: their mean would be what it was.
    pair = torch.tensor([begin + rest, begin + begin[:1] * len(rest)], device=model.device)
    try:
        logits = model(
            input_ids=pair, attention_mask=torch.ones_like(pair), use_cache=False
        ).logits.float()
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"The model in {folder} does not fit into the memory of {model.device}. Use a smaller "
            "model, or dtype bfloat16 or 4bit."
        ) from error
    except Exception as error:  # models raise many unrelated types
        raise TrainingError(
            f"The model in {folder} was loaded but does not run: {one_line(error)}."
        ) from error
    if not torch.isfinite(logits).all():
        raise TrainingError(
            f"The model in {folder} computes values that are not numbers: its weights are damaged, or "
            "too large for their type. Fetch the model again, or load it with dtype float32."
        )
    first, second = logits[:, :_LENGTH].unbind()
    difference = float((first - second).abs().max())
    scale = float(first.std())
    if not scale:
        raise TrainingError(
            f"The model in {folder} computes the same for every token, so its weights are not those of "
            "a trained model, or a copy of them was interrupted. Fetch the model again."
        )
    if difference > _TOLERANCE.get(model.dtype, _COARSE) * scale:
        raise TrainingError(
            f"The model in {folder} looks at the tokens that follow (an encoder, such as BERT). Take "
            "a causal language model, which sees only what comes before."
        )
