"""Checks that a tokenizer gives text back, and that it belongs to its model."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rescind.core.errors import TrainingError
from rescind.training.model.files import read_config

PLAIN = "Question: What is 3 x 14, please?\nAnswer: It's 42."
"""Text that a tokenizer must give back, except for white space, case and accents."""
PROBES = (PLAIN, "two  spaces,\ta tab", "Zoë Müller, Łódź, naïve", "Москва, 東京, 🙂")

_Fold = tuple[str, Callable[[str], str]]

_SPARSE = 0.5
"""A vocabulary smaller than this share of the embedding is likely to be of another model."""


def check_tokenizer(tokenizer: Any, rows: int, folder: Path) -> list[str]:
    """Check a tokenizer and return notes on what it changes. Sets a missing end-of-text token.

    Args:
        tokenizer: The tokenizer of transformers.
        rows: Rows of the model's embedding.
        folder: The model's folder. Its config.json may name the end token that the tokenizer does
            not.

    Raises:
        TrainingError: Plain text does not come back, a token has no row in the embedding, or no
            token ends a text.
    """
    notes = [note for probe in PROBES if (note := _lost(tokenizer, probe, folder))]
    _set_end(tokenizer, folder)
    notes += _rows(tokenizer, rows, folder)
    return list(dict.fromkeys(notes))


def check_template(tokenizer: Any, folder: Path) -> None:
    """Check that a chat template is text.

    Raises:
        TrainingError: It is something else.
    """
    template = getattr(tokenizer, "chat_template", None)
    texts = template.values() if isinstance(template, dict) else [template]
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise TrainingError(
                f"The chat_template in {folder / 'tokenizer_config.json'} is {text!r:.40}, which must "
                "be text. Fetch the file again."
            )


def _set_end(tokenizer: Any, folder: Path) -> None:
    """Take the end-of-text token from the configuration where the tokenizer names none."""
    if tokenizer.eos_token_id is not None:
        return
    # Of the file: classes of configurations have a default, which is of some other model.
    named = read_config(folder).get("eos_token_id")
    ids = named if isinstance(named, list) else [named]
    for number in ids:
        token = tokenizer.convert_ids_to_tokens(number) if isinstance(number, int) else None
        if token:
            tokenizer.eos_token = token
            return
    raise TrainingError(
        f"The model in {folder} has no end-of-text token. Set eos_token in tokenizer_config.json."
    )


def _rows(tokenizer: Any, rows: int, folder: Path) -> list[str]:
    """Compare the vocabulary with the embedding."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    added = set(tokenizer.added_tokens_encoder)
    outside = sorted((number, token) for token, number in vocabulary.items() if number >= rows)
    needed = [pair for pair in outside if pair[1] not in added]
    ends = [pair for pair in outside if pair[0] == tokenizer.eos_token_id]
    used = [pair for pair in outside if pair[1] in _templates(tokenizer)]
    if refused := needed or ends or used:
        raise TrainingError(
            f"The tokenizer in {folder} has {len(refused):,} tokens beyond the {rows:,} rows of the "
            f"model's embedding, such as {refused[0][1]!r} ({refused[0][0]}). It belongs to another "
            "model, or the model was not resized: fetch the model again."
        )
    notes = []
    if outside:
        notes.append(
            f"{len(outside)} added tokens, such as {outside[0][1]!r}, have no row in the embedding; "
            "no text is read as one of them"
        )
    if len(vocabulary) < rows * _SPARSE:
        notes.append(
            f"the tokenizer has {len(vocabulary):,} tokens, and the embedding {rows:,} rows: check "
            "that it is the model's own tokenizer"
        )
    return notes


def _templates(tokenizer: Any) -> str:
    """Return the text of all chat templates."""
    template = getattr(tokenizer, "chat_template", None)
    if isinstance(template, dict):
        return "".join(map(str, template.values()))
    return template or ""


def _lost(tokenizer: Any, text: str, folder: Path) -> str:
    """Return what a text loses on its way through a tokenizer, or nothing.

    Raises:
        TrainingError: Plain text is not there any more.
    """
    tokens = tokenizer.encode(text, add_special_tokens=False)
    back = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    if back == text:
        return ""
    if changes := _changes(text, back):
        return f"the tokenizer changes {' and '.join(changes)}: answers come back that way"
    if text == PLAIN:
        raise TrainingError(
            f"The tokenizer in {folder} does not give text back: {text!r} becomes {len(tokens)} "
            f"tokens, which say {back[:80]!r}. Save the model's own tokenizer beside it."
        )
    lost = sorted({c for c in text if c not in back and not c.isspace()})
    return (
        f"the tokenizer has no tokens for some characters, such as {' '.join(lost[:3])}: text with "
        "them cannot be learned"
    )


def _changes(text: str, back: str) -> list[str]:
    """Return the least changes that make one text of the other, or none if others are needed."""
    needed = list(_FOLDS)
    if _folded(text, needed) != _folded(back, needed):
        return []
    for fold in reversed(_FOLDS):  # without the change that loses most, if the others suffice
        others = [each for each in needed if each is not fold]
        if _folded(text, others) == _folded(back, others):
            needed = others
    return [name for name, _ in needed]


def _folded(text: str, folds: Sequence[_Fold]) -> str:
    for _, fold in folds:
        text = fold(text)
    return text


def _spaceless(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _unaccented(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c))


_FOLDS: tuple[_Fold, ...] = (
    ("white space", _spaceless),
    ("the Unicode form", _compatible),
    ("case", str.casefold),
    ("accents", _unaccented),
)
