"""The files of a data source: a file, a folder of files, or a folder of Hugging Face datasets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.core.json_text import parse_json
from rescind.training.reading.csv_rows import csv_rows
from rescind.training.reading.json_rows import json_rows
from rescind.training.reading.lines import MOST_CHARACTERS, head, text_lines
from rescind.training.reading.options import Format, ReadOptions
from rescind.training.reading.rows import FileDamaged, Place, Problem, Row, Rows
from rescind.training.reading.tables import ARROW, ENCRYPTED, PARQUET, arrow_rows, parquet_rows

_BY_ENDING: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".txt": "text",
}
_FORMATS = "JSON Lines, JSON, CSV, Parquet, Arrow and text"
_STATE, _INFO, _SPLITS = "state.json", "dataset_info.json", "dataset_dict.json"


@dataclass(frozen=True)
class Source:
    """The files to read, and remarks about what is not read."""

    files: tuple[Path, ...]
    remarks: tuple[str, ...] = ()


def open_source(path: Path, options: ReadOptions) -> Source:
    """Return the files of a source.

    Raises:
        FileDamaged: There is none, or a folder of a data set is incomplete.
    """
    try:
        if not path.is_dir():
            return Source((path,))
        if (path / _SPLITS).is_file():
            return _split(path, options)
        if (path / _STATE).is_file() and (path / _INFO).is_file():
            return Source(_data_files(path))
        return _folder(path)
    except OSError as error:
        raise FileDamaged(path, f"the path cannot be read: {error.strerror}") from error


def has_data(path: Path) -> bool:
    """Return whether a file's name or a folder's content is that of data."""
    if path.is_dir():
        names = (_SPLITS, _STATE)
        return any((path / name).is_file() for name in names) or any(map(_known, path.iterdir()))
    return _known(path)


def source_rows(source: Source, options: ReadOptions) -> Rows:
    """Yield the rows of all files. A file that is damaged ends with a problem."""
    for path in source.files:
        try:
            if len(source.files) > 1 and path.is_file() and not path.stat().st_size:
                # Alone it has no example, which is said; beside others no one would notice.
                raise FileDamaged(path, "the file is empty. Copy it again, or remove it")
            yield from file_rows(path, options)
        except FileDamaged as error:
            yield error.problem


def file_rows(path: Path, options: ReadOptions) -> Rows:
    """Yield the rows of a file.

    Raises:
        FileDamaged: It cannot be read any further.
    """
    kind = options.format if options.format != "auto" else _recognized(path)
    if kind in ("parquet", "arrow"):
        _check_plain(path)
        yield from parquet_rows(path) if kind == "parquet" else arrow_rows(path)
        return
    lines = text_lines(path, options.encoding)
    if kind == "csv":
        yield from csv_rows(path, lines, options.csv)
    elif kind == "text":
        yield from _document(path, lines)
    else:
        yield from json_rows(path, lines)


def _recognized(path: Path) -> Format:
    begin = head(path)
    if begin.startswith((PARQUET, ENCRYPTED)):
        return "parquet"
    if begin.startswith(ARROW):
        return "arrow"
    known = _BY_ENDING.get(_ending(path))
    if known is not None:
        return known
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[") or not begin:
        return "jsonl"
    raise FileDamaged(
        path,
        f"the format is not known by the ending {_ending(path)!r}. {_FORMATS} are read: rename the "
        "file, or set format in [data]",
    )


def _check_plain(path: Path) -> None:
    begin = head(path, 8)  # Says why a file cannot be opened.
    if not begin:
        raise FileDamaged(path, "the file is empty")
    if path.suffix == ".gz":
        raise FileDamaged(
            path, "Parquet and Arrow files are compressed inside. Decompress this one"
        )


def _document(path: Path, lines: Iterator[tuple[int, str]]) -> Rows:
    texts, size = [], 0
    for number, line in lines:
        texts.append(line)
        size += len(line) + 1
        if size > MOST_CHARACTERS:
            raise FileDamaged(
                Place(path, number),
                f"the document has more than {MOST_CHARACTERS:,} characters. Split it",
            )
    if any(text.strip() for text in texts):
        yield Row(Place(path, 1), {"text": "\n".join(texts)})


def _folder(path: Path) -> Source:
    entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    # A link to nothing, or a pipe, is refused when it is opened: left out, its rows would be missed.
    files = tuple(entry for entry in entries if _known(entry) and not entry.is_dir())
    if not files:
        raise FileDamaged(path, f"the folder has no data file. {_FORMATS} are read")
    others = [entry.name for entry in entries if entry not in files]
    remarks = (f"{path}: not read: {', '.join(others[:10])}",) if others else ()
    return Source(files, remarks)


def _split(path: Path, options: ReadOptions) -> Source:
    splits = _read_object(path / _SPLITS).get("splits")
    if not isinstance(splits, list) or not splits or not all(_simple(name) for name in splits):
        raise FileDamaged(path / _SPLITS, "it must have a list of the names of splits")
    wanted = options.split or (splits[0] if len(splits) == 1 else "train")
    if wanted not in splits:
        raise FileDamaged(
            path, f"the data set has no split {wanted!r}. Set split in [data]: {', '.join(splits)}"
        )
    folder = path / wanted
    if not (folder / _STATE).is_file():
        raise FileDamaged(folder, f"the split is not complete: {_STATE} is missing")
    others = [name for name in splits if name != wanted]
    remarks = (f"{path}: split {wanted!r} is read, not {', '.join(others)}",) if others else ()
    return Source(_data_files(folder), remarks)


def _data_files(folder: Path) -> tuple[Path, ...]:
    """Return the files that a saved data set consists of, in their order."""
    state = _read_object(folder / _STATE)
    entries = state.get("_data_files")
    names = [e.get("filename") if isinstance(e, dict) else None for e in entries or []]
    if not isinstance(entries, list) or not all(_simple(name) for name in names):
        raise FileDamaged(folder / _STATE, "it must have the list _data_files with names of files")
    if state.get("_indices_data_files"):
        raise FileDamaged(
            folder, "the data set selects rows by an index. Save it after flatten_indices()"
        )
    files = tuple(folder / str(name) for name in names)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise FileDamaged(folder, f"{_STATE} names {missing[0]}, which is missing. Copy it again")
    return files


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_bytes())
    except OSError as error:
        raise FileDamaged(path, f"the file cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FileDamaged(path, f"the file is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise FileDamaged(path, "the file is JSON, but not an object")
    return value


def _simple(name: object) -> bool:
    """Return whether a name is that of an entry of the folder itself."""
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def _ending(path: Path) -> str:
    name = Path(path.name.removesuffix(".gz"))
    return name.suffix.lower()


def _known(path: Path) -> bool:
    return _ending(path) in _BY_ENDING and path.name not in (_STATE, _INFO, _SPLITS)


__all__ = ["Problem", "Source", "file_rows", "has_data", "open_source", "source_rows"]
