"""The check of lengths before a daemon or a demo starts, which loads a tokenizer only if it must."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rescind.core import ConsortiumParameters
from rescind.core.errors import DataError
from rescind.training.checking.findings import Finding
from rescind.training.checking.lengths import Count, measure
from rescind.training.data import Example, completion, prompt
from rescind.training.reading.examples import Located

_EXTRA = 8
"""Tokens beyond the text's bytes: begin and end of text, and a leading space that a tokenizer adds."""


def demand_lengths(
    examples: Sequence[Located],
    model: str | Path,
    parameters: ConsortiumParameters,
    *,
    count: Count | None = None,
    remote_code: bool = False,
) -> None:
    """Check that every example can be trained on or measured.

    Args:
        examples: The examples with their places.
        model: The base model: a preset, a folder or a hub id.
        parameters: What the consortium agreed on.
        count: Counts tokens, where a tokenizer is loaded already.
        remote_code: Let Python files of the model's folder run.

    Raises:
        DataError: One is longer than `training.max_length`, or does not fit the agreed text rules.
        TrainingError: The base model's tokenizer cannot be loaded.
    """
    limit = parameters.training.max_length
    # A chat template adds text of its own.
    plain = parameters.text.prompt == "plain"
    unsure = [each for each in examples if not plain or not _surely_fits(each.example, limit)]
    if not unsure:
        return
    if count is None:
        from rescind.training.checking.tokens import token_counter

        count = token_counter(model, parameters, remote_code=remote_code)
    _, findings = measure(unsure, count, limit)
    raise_first(findings)


def raise_first(findings: Sequence[Finding]) -> None:
    """Raise DataError for the first finding, and say how many more there are."""
    if findings:
        more = f" There are {len(findings) - 1} more such rows." if len(findings) > 1 else ""
        raise DataError(f"{str(findings[0]).rstrip('.')}.{more}")


def _surely_fits(example: Example, limit: int) -> bool:
    """Return whether an example fits with any tokenizer, because it has so few bytes.

    Tokenizers make at most one token of a byte. Some write other characters than ASCII out first, so
    texts with those are counted. Documents are split.
    """
    if example.document:
        return True
    text = prompt(example.question, example.turns) + completion(example.answer)
    return text.isascii() and len(text) + _EXTRA <= limit
