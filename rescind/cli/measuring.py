"""The auditor's measurement of a counter-training, which needs torch and the withdrawn texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rescind.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rescind.training import Example
    from rescind.withdrawals import Measure, ModelFigures, ModelPair


def measure_of(
    texts: Path | None,
    subject: str | None,
    unseen: Path | None,
    base_model: str | None,
    device: str,
) -> Measure | None:
    """Return what measures a counter-training; None without texts.

    Args:
        texts: The organization's pairs, those to forget among them.
        subject: The data subject to forget; None for all pairs of the file.
        unseen: Pairs of the same kind that no one trained on.
        base_model: Folder or hub id of the base model.
        device: The torch device to measure on.

    Raises:
        ConfigError: The base model is not named, or torch is not installed.
        DataError: A file has no pairs, or none of the subject.
    """
    if texts is None:
        return None
    if base_model is None:
        raise ConfigError(
            "Pass --base-model, the folder or hub id of the base model, to measure the texts."
        )
    try:
        from rescind.forgetting.measurement import Texts, measure
        from rescind.training import load_agreed, read_examples
    except ImportError as error:
        raise ConfigError(
            f"Measuring a model needs the package {error.name}. Install it with: pip install "
            "'rescind[train]'"
        ) from error
    withdrawn, kept = _split(texts, read_examples(texts), subject)
    pairs = Texts(withdrawn, kept, read_examples(unseen) if unseen else ())

    def run(pair: ModelPair) -> ModelFigures:
        return measure(load_agreed(base_model, pair.parameters, device), pair, pairs)

    return run


def _split(
    path: Path, examples: list[Example], subject: str | None
) -> tuple[list[Example], list[Example]]:
    """Return the pairs to forget and the others."""
    if subject is None:
        return examples, []
    withdrawn = [each for each in examples if each.subject == subject]
    if not withdrawn:
        known = ", ".join(sorted({each.subject for each in examples})[:5])
        raise DataError(f"No row of {path} belongs to {subject!r}. Some known subjects: {known}.")
    return withdrawn, [each for each in examples if each.subject != subject]
