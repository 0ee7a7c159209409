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


def token_counter(reference: str | Path, parameters: ConsortiumParameters | None = None) -> Count:
    """Return a function that counts the tokens of an example.

    Args:
        reference: The base model: a preset, a folder or a hub id.
        parameters: What the consortium agreed on; by default the plain form.

    Raises:
        TrainingError: There is no such model, its tokenizer cannot be loaded, or the tokenizer cannot
            do what the text rules say.
        ConfigError: The package transformers is missing.
    """
    return counter_of(load_tokenizer(resolve(reference)), parameters)


def counter_of(tokenizer: Any, parameters: ConsortiumParameters | None = None) -> Count:
    """Return a function that counts the tokens of an example with a tokenizer.

    Raises:
        TrainingError: The tokenizer cannot do what the text rules say.
    """
    encoder = Encoder(tokenizer, parameters.text if parameters else None)

    def count(example: Example) -> int:
        return len(encoder.example(example).tokens)

    return count


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer in a model's folder.

    Raises:
        TrainingError: It cannot be loaded.
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
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"The tokenizer in {folder} cannot be loaded: {error}.") from error
