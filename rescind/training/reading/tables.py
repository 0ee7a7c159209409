"""Rows of Parquet and Arrow files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rescind.core.errors import ConfigError
from rescind.training.reading.rows import FileDamaged, Place, Problem, Row, Rows, shortened

PARQUET, ENCRYPTED, ARROW = b"PAR1", b"PARE", b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The end mark of an Arrow stream. Without it a stream that is cut between two batches looks whole."""
_BATCH = 1024


def parquet_rows(path: Path) -> Rows:
    """Yield the rows of a Parquet file.

    Raises:
        FileDamaged: It is cut off, damaged, encrypted, or has two columns of one name.
    """
    _arrow()
    from pyarrow import parquet

    end = _last(path, 4)
    if end == ENCRYPTED or _first(path, 4) == ENCRYPTED:
        raise FileDamaged(path, "the Parquet file is encrypted. Decrypt it first")
    if end != PARQUET:
        raise FileDamaged(path, "the Parquet file is cut off: its end is missing. Copy it again")
    with _reported(path):
        file = parquet.ParquetFile(path, page_checksum_verification=True)
        _check_names(path, file.schema_arrow.names)
    with file:
        yield from _batch_rows(path, _guarded(path, file.iter_batches(batch_size=_BATCH)))


def arrow_rows(path: Path) -> Rows:
    """Yield the rows of an Arrow file: a stream, as Hugging Face datasets are, or a random access file.

    Raises:
        FileDamaged: It is cut off or damaged, or has two columns of one name.
    """
    pa = _arrow()
    from pyarrow import ipc

    if _first(path, 6) == ARROW:
        with _reported(path):
            source = pa.memory_map(str(path))
            reader = ipc.open_file(source)
            _check_names(path, reader.schema.names)
        batches = (reader.get_batch(index) for index in range(reader.num_record_batches))
    else:
        if _last(path, 8) != _STREAM_END:
            raise FileDamaged(path, "the Arrow file is cut off: its end is missing. Copy it again")
        with _reported(path):
            source = pa.memory_map(str(path))
            reader = ipc.open_stream(source)
            _check_names(path, reader.schema.names)
        batches = iter(reader)
    with source:
        yield from _batch_rows(path, _guarded(path, batches))


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise ConfigError(
            "Reading Parquet and Arrow files needs the package pyarrow. Install it with: pip "
            "install 'rescind[data]'"
        ) from error
    return pyarrow


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Raise FileDamaged for every error that pyarrow raises."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FileDamaged(path, f"the file is damaged: {reason}") from error


def _guarded(path: Path, batches: Iterator[Any]) -> Iterator[Any]:
    while True:
        with _reported(path):
            batch = next(batches, None)
            if batch is None:
                return
            # Offsets that point outside would otherwise crash the process, not raise.
            batch.validate(full=True)
        yield batch


def _batch_rows(path: Path, batches: Iterator[Any]) -> Rows:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _BATCH):
            part = batch.slice(start, _BATCH)
            for values in _python_rows(part):
                number += 1
                place = Place(path, number, "row")
                if isinstance(values, dict):
                    yield Row(place, values)
                else:
                    yield Problem(str(place), values)


def _python_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Yield rows as dicts; a text instead of a row says why it cannot be read."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError, TypeError):
        pass  # A date out of Python's range, for example: only its row is bad.
    for index in range(batch.num_rows):
        try:
            row: dict[str, Any] = batch.slice(index, 1).to_pylist()[0]
        except (ValueError, OverflowError, TypeError) as error:
            yield f"a value cannot be read: {error}"
        else:
            yield row


def _check_names(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FileDamaged(path, f"two columns have the name {shortened(twice)}. Rename one")


def _first(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _last(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - size))
        return file.read(size)
