"""TOFU's evaluation log `eval_log_aggregated.json`, plain or gzipped, as a TofuRecord and back.

The log is one JSON object. Each set is a key such as `eval_log_forget.json`, and each field of a
set is an object from question id to value (locuslab/tofu, evaluate_util.py).
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import from_json

from rescind.core.errors import DataError
from rescind.forgetting.metrics.likelihood import normalized_probability, truth_ratios
from rescind.forgetting.metrics.tofu import (
    FORGET,
    REAL_AUTHORS,
    RETAIN,
    SETS,
    WORLD_FACTS,
    TofuRecord,
    TofuSet,
)
from rescind.forgetting.metrics.values import MetricInput

LOG_KEYS = {
    RETAIN: "eval_log.json",
    REAL_AUTHORS: "eval_real_author_wo_options.json",
    WORLD_FACTS: "eval_real_world_wo_options.json",
    FORGET: "eval_log_forget.json",
}
_LIMIT = 1 << 28
"""Largest log that is read, in bytes after decompression: a small gzip file can hold gigabytes."""
_GZIP = b"\x1f\x8b"


class TofuLogError(DataError):
    """A file that is not an evaluation log of TOFU."""

    code = "tofu-log"


def read_tofu_log(path: Path, sets: Sequence[str] = SETS) -> TofuRecord:
    """Read the record from a log, which may be gzipped whatever its name is.

    Args:
        path: The log.
        sets: The sets that the log must have. Other sets of TOFU in the log are read too.

    Raises:
        TofuLogError: The log is not valid. The message has the file and the place in it.
    """
    content = _content(path)
    try:
        table = from_json(content)
    except ValueError as error:
        raise TofuLogError(f"{path}: not a JSON file: {error}.") from error
    if not isinstance(table, dict):
        raise TofuLogError(f"{path}: expected a JSON object with the keys {_listed(sets)}.")
    missing = [LOG_KEYS[name] for name in sets if LOG_KEYS[name] not in table]
    if missing:
        raise TofuLogError(
            f"{path}: the key {missing[0]!r} is missing. Pass an aggregated evaluation log, which "
            f"has the keys {_listed(sets)}."
        )
    return TofuRecord(
        {name: _set(table[key], f"{path}: {key}") for name, key in LOG_KEYS.items() if key in table}
    )


def write_tofu_log(path: Path, record: TofuRecord) -> None:
    """Write a record in the form of TOFU's log.

    Args:
        path: The file to write. It is gzipped if its name ends in .gz. The same record always gives
            the same bytes.
        record: The record to write.
    """
    table = {LOG_KEYS[name]: _fields(name, record.of(name)) for name in SETS if name in record.sets}
    content = json.dumps(table, allow_nan=False).encode()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TofuLogError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        if raw.startswith(_GZIP):
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as handle:
                raw = handle.read(_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TofuLogError(f"{path}: not a whole gzip file: {error}. Download it again.") from error
    if len(raw) > _LIMIT:
        raise TofuLogError(
            f"{path}: larger than {_LIMIT >> 20} MiB, so it is not an evaluation log."
        )
    return raw


def _set(table: object, where: str) -> TofuSet:
    if not isinstance(table, dict):
        raise TofuLogError(f"{where}: expected a JSON object of fields.")
    ids = tuple(_column(table, "avg_gt_loss", where))

    def needed(name: str, read: Callable[[object, str], Any]) -> tuple[Any, ...]:
        column = _column(table, name, where)
        if len(column) != len(ids):
            raise TofuLogError(
                f"{where}: {name} has {len(column)} questions, avg_gt_loss has {len(ids)}."
            )
        absent = next((key for key in ids if key not in column), None)
        if absent is not None:
            raise TofuLogError(f"{where}: {name} does not have question {absent!r}.")
        return tuple(read(column[key], f"{where}: {name} of question {key!r}") for key in ids)

    def known(name: str, read: Callable[[object, str], Any]) -> tuple[Any, ...] | None:
        return needed(name, read) if name in table else None

    try:
        return TofuSet(
            ids=ids,
            answer_losses=needed("avg_gt_loss", _number),
            paraphrase_losses=needed("avg_paraphrased_loss", _number),
            wrong_losses=needed("average_perturb_loss", _row(_number)),
            rouge_l=needed("rougeL_recall", _number),
            rouge_1=known("rouge1_recall", _number),
            texts=known("generated_text", _texts),
            answer_tokens=known("num_token_gt", _count),
            paraphrase_tokens=known("num_token_paraphrased", _count),
            wrong_tokens=known("num_token_perturb", _row(_count)),
        )
    except MetricInput as error:
        raise TofuLogError(f"{where}: {error}") from error


def _column(table: Mapping[str, object], name: str, where: str) -> dict[str, object]:
    if name not in table:
        raise TofuLogError(f"{where}: the key {name!r} is missing.")
    column = table[name]
    if not isinstance(column, dict) or not column:
        raise TofuLogError(f"{where}: {name} is not an object from question id to value.")
    return column


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TofuLogError(f"{where}: {str(value)[:40]!r} is not a number.")
    try:
        return float(value)
    except OverflowError as error:
        raise TofuLogError(f"{where}: the number is beyond the largest float.") from error


def _count(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TofuLogError(f"{where}: {str(value)[:40]!r} is not a count of tokens.")
    return value


def _row(read: Callable[[object, str], Any]) -> Callable[[object, str], tuple[Any, ...]]:
    def row(value: object, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise TofuLogError(f"{where}: expected a list with a value for each wrong answer.")
        return tuple(read(entry, where) for entry in value)

    return row


def _texts(value: object, where: str) -> tuple[str, str, str]:
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(t, str) for t in value):
        raise TofuLogError(f"{where}: expected [prompt, greedy answer, right answer].")
    return value[0], value[1], value[2]


def _fields(name: str, answers: TofuSet) -> dict[str, dict[str, Any]]:
    columns: dict[str, Sequence[Any] | None] = {
        "avg_gt_loss": answers.answer_losses,
        "gt_loss": _sums(answers.answer_losses, answers.answer_tokens),
        "num_token_gt": answers.answer_tokens,
        "generated_text": answers.texts,
        "rouge1_recall": answers.rouge_1,
        "rougeL_recall": answers.rouge_l,
        "average_perturb_loss": answers.wrong_losses,
        "avg_paraphrased_loss": answers.paraphrase_losses,
        "truth_ratio": truth_ratios(answers.paraphrase_losses, answers.wrong_losses).tolist(),
        "paraphrased_loss": _sums(answers.paraphrase_losses, answers.paraphrase_tokens),
        "perturb_loss": answers.wrong_tokens
        and [
            [loss * count for loss, count in zip(row, counts, strict=True)]
            for row, counts in zip(answers.wrong_losses, answers.wrong_tokens, strict=True)
        ],
        "num_token_paraphrased": answers.paraphrase_tokens,
        "num_token_perturb": answers.wrong_tokens,
    }
    if name in (REAL_AUTHORS, WORLD_FACTS):
        chances = normalized_probability(answers.answer_losses, answers.wrong_losses).items
        tiny = np.finfo(np.float64).tiny
        columns["normalized_gt_loss"] = (-np.log(np.maximum(chances, tiny))).tolist()
    return {
        field: dict(zip(answers.ids, column, strict=True))
        for field, column in columns.items()
        if column is not None
    }


def _sums(means: Sequence[float], counts: Sequence[int] | None) -> list[float] | None:
    return counts and [mean * count for mean, count in zip(means, counts, strict=True)]  # type: ignore[return-value]


def _listed(sets: Sequence[str]) -> str:
    return ", ".join(LOG_KEYS[name] for name in sets)
