"""Lines of text files, decompressed and decoded, with bounds on what a hostile file can take."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rescind.training.reading.rows import FileDamaged, Place

MOST_CHARACTERS = 2**24
"""The longest line, cell or document: about three thousand pages."""
MARK = "\ufeff"
MARK_WITHIN = (
    "the line begins with a byte order mark (U+FEFF), as if files were joined here. Remove it"
)
_CHUNK = 2**16
_MOST_GROWTH = 250
"""How many times its size a compressed file may take, above the free allowance. Text compresses by 3
to 20; a file that is made to fill a disk or a memory, by up to 1,032."""
_FREE_GROWTH = 2**26
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks. UTF-32 precedes UTF-16, whose mark it begins with."""
_GZIP = b"\x1f\x8b"
_ARCHIVES = {
    _GZIP: "compressed twice; decompress it once",
    b"PK\x03\x04": "a zip archive, or a spreadsheet",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
    b"\xd0\xcf\x11\xe0": "an old Office document",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file with git lfs pull",
}


def is_text_encoding(name: str) -> bool:
    """Return whether Python knows a text encoding of this name."""
    try:
        text = "a".encode(name)
        return isinstance(text, bytes) and codecs.lookup(name).incrementaldecoder is not None
    except (LookupError, ValueError, TypeError):
        return False


def head(path: Path, size: int = 4096) -> bytes:
    """Return the first bytes of a file, decompressed.

    Raises:
        FileDamaged: The file cannot be read.
    """
    with _opened(path) as stream:
        return _read(stream, path, 1, size)


def text_lines(path: Path, encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, without its end.

    A line ends with LF, CR LF or CR. A byte order mark at the start is dropped.

    Args:
        path: The file, plain or compressed with gzip.
        encoding: Its encoding; by default that of its byte order mark, else UTF-8.

    Raises:
        FileDamaged: The file cannot be read, is cut off, is not text in its encoding, or has a line
            of more than `MOST_CHARACTERS`.
    """
    number, rest = 1, ""
    for text in _texts(path, encoding):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield number, line
            number += 1
        if len(rest) > MOST_CHARACTERS:
            raise FileDamaged(
                Place(path, number),
                f"the line has more than {MOST_CHARACTERS:,} characters. Split the text",
            )
    if rest:
        yield number, rest


def _texts(path: Path, encoding: str | None) -> Iterator[str]:
    """Yield the text of a file in pieces, with LF at the end of each line."""
    with _opened(path) as stream:
        begin = _read(stream, path, 1, _CHUNK)
        _check_is_text(path, begin)
        name, skipped = _encoding(path, begin, encoding)
        # Newlines are translated; a CR at the end of a piece waits for the next.
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(name)(), translate=True)
        number, most = 1, _MOST_GROWTH * path.stat().st_size + _FREE_GROWTH
        data, size = begin[skipped:], len(begin)
        while True:
            last = not data
            try:
                text = decoder.decode(data, final=last)
            except UnicodeDecodeError as error:
                raise _undecoded(path, number, error, name) from error
            except UnicodeError as error:  # what codecs such as idna raise
                reason = f"the file is not {name} text ({error})"
                raise FileDamaged(Place(path, number), reason) from error
            number += text.count("\n")
            yield text
            if last:
                return
            data = _read(stream, path, number, _CHUNK)
            size += len(data)
            if size > most:
                raise FileDamaged(
                    Place(path, number),
                    f"the file decompresses to more than {most:,} bytes, far more than text would. "
                    "Decompress it yourself if that is right",
                )


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not there" if not path.exists() else "special"
            raise FileDamaged(path, f"the file cannot be read: it is {kind}")
        file = path.open("rb")
        begin = file.read(2)
        file.seek(0)
    except OSError as error:
        raise FileDamaged(path, f"the file cannot be read: {error.strerror}") from error
    if begin == _GZIP:
        return _Closing(file)
    if path.suffix == ".gz" and begin:
        file.close()
        raise FileDamaged(path, "the name ends with .gz, and the file is not compressed with gzip")
    return file


class _Closing(gzip.GzipFile):
    """A gzip stream that closes the file below it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file)
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


def _read(stream: BinaryIO | gzip.GzipFile, path: Path, number: int, size: int) -> bytes:
    try:
        return stream.read(size)
    except EOFError as error:
        reason = "the compressed file is cut off here. Copy it again"
        raise FileDamaged(Place(path, number), reason) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        reason = f"the compressed file is damaged here: {error}"
        raise FileDamaged(Place(path, number), reason) from error
    except OSError as error:
        raise FileDamaged(path, f"the file cannot be read: {error.strerror}") from error


def _check_is_text(path: Path, begin: bytes) -> None:
    for mark, kind in _ARCHIVES.items():
        if begin.startswith(mark):
            raise FileDamaged(
                path, f"the file is {kind}. Give JSON Lines, CSV, Parquet or text, plain or in gzip"
            )


def _encoding(path: Path, begin: bytes, wanted: str | None) -> tuple[str, int]:
    """Return the encoding of a file and the size of its byte order mark."""
    for mark, name in _MARKS:
        if begin.startswith(mark):
            return name, len(mark)
    if wanted is not None:
        return wanted, 0
    _check_nul(path, begin[:1024])
    return "utf-8", 0


def _check_nul(path: Path, begin: bytes) -> None:
    """Refuse UTF-16 without a byte order mark, and files that are not text from their first line on."""
    even, odd = begin[::2].count(0), begin[1::2].count(0)
    # Zero bytes after a first line of plain text are reported with their own line.
    first_line = begin.partition(b"\n")[0]
    if 4 * max(even, odd) <= len(begin) or len(begin) < 4 or 0 not in first_line:
        return
    if 4 * min(even, odd) > max(even, odd):
        raise FileDamaged(
            Place(path, 1),
            "the file is full of zero bytes, so it is not text, or a copy of it was interrupted",
        )
    guess = "utf-16-be" if even > odd else "utf-16-le"
    raise FileDamaged(
        Place(path, 1),
        f'the file is not UTF-8. It looks like UTF-16: set encoding = "{guess}" in [data]',
    )


def _undecoded(path: Path, number: int, error: UnicodeDecodeError, name: str) -> FileDamaged:
    before = error.object[: error.start].decode(name, "ignore")
    number += before.count("\n") or before.count("\r")
    byte = error.object[error.start]
    then = (
        'Save the file as UTF-8, or set encoding in [data], "cp1252" for many files of Windows'
        if name == "utf-8"
        else "Copy the file again, or save it as UTF-8"
    )
    reason = f"byte 0x{byte:02x} is not {name} text ({error.reason}). {then}"
    return FileDamaged(Place(path, number), reason)
