"""Counting of tokens with a base model's tokenizer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError, TrainingError
from rescind.training.checking.lengths import Count
from rescind.training.data import Example
from rescind.training.model.presets import resolve
from rescind.training.text.encoder import Encoder


def token_counter(
    reference: str | Path,
    parameters: ConsortiumParameters | None = None,
    *,
    remote_code: bool = False,
) -> Count:
    """Return a function that counts the tokens of an example.

    Args:
        reference: The base model: a preset, a folder or a hub id.
        parameters: What the consortium agreed on; by default the default text rules.
        remote_code: Let Python files of the model's folder run.

    Raises:
        TrainingError: There is no such model, its tokenizer cannot be loaded, or it cannot do what
            the text rules say.
        ConfigError: The package transformers is missing.
    """
    folder = resolve(reference, remote_code=remote_code)
    return counter_of(load_tokenizer(folder, remote_code=remote_code), parameters)


def counter_of(tokenizer: Any, parameters: ConsortiumParameters | None = None) -> Count:
    """Return a function that counts the tokens of an example with a tokenizer.

    Raises:
        TrainingError: The tokenizer cannot do what the text rules say.
    """
    encoder = Encoder(tokenizer, None if parameters is None else parameters.text)

    def count(example: Example) -> int:
        return len(encoder.example(example).tokens)

    return count


def load_tokenizer(folder: Path, *, remote_code: bool = False) -> Any:
    """Return the tokenizer in a model's folder.

    Raises:
        TrainingError: It cannot be loaded, or has no end-of-text token.
        ConfigError: The package transformers is missing.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError(
            f"Counting tokens needs the package {error.name}. Install it with: pip install "
            "'rescind[train]'"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=remote_code
        )
    except Exception as error:  # tokenizers raise many unrelated types
        reason = " ".join(str(error).split())[:200]
        raise TrainingError(f"The tokenizer in {folder} cannot be loaded: {reason}.") from error
    if tokenizer.eos_token_id is None:
        raise TrainingError(f"The tokenizer in {folder} has no end-of-text token.")
    return tokenizer
