"""Marks of exported copies: which adapter a folder was written from, so that it can be erased."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rescind.core.files import write_atomically

MARK = "rescind.json"
"""Name of the file in an exported folder that names the adapter."""
_FORMAT = "rescind.export/1"


@dataclass(frozen=True)
class Export:
    """An exported copy of a model or of one block.

    Attributes:
        folder: Its folder.
        adapter_id: Artifact id of the adapter that it was written from.
        files: Names of the files that were written into the folder.
    """

    folder: Path
    adapter_id: str
    files: tuple[str, ...]

    def save(self) -> None:
        """Write the mark into the folder."""
        document = {"format": _FORMAT, "adapter": self.adapter_id, "files": sorted(self.files)}
        write_atomically(self.folder / MARK, json.dumps(document, indent=2).encode())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the export in a folder; None for a folder without a valid mark."""
        try:
            document = json.loads((folder / MARK).read_bytes())
            adapter_id, files = document["adapter"], tuple(document["files"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        named = document["format"] == _FORMAT and isinstance(adapter_id, str)
        plain = all(isinstance(each, str) and each == Path(each).name for each in files)
        return cls(folder, adapter_id, files) if named and plain else None

    def delete(self) -> None:
        """Delete the files that were written, then the folder if it is empty."""
        for name in (*self.files, MARK):
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def exports_in(folders: Iterable[Path]) -> Iterator[Export]:
    """Yield the exports that are some folders, or lie in them."""
    for folder in folders:
        if not folder.is_dir():
            continue
        for each in [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]:
            export = Export.read(each)
            if export is not None:
                yield export


def delete_exports(folders: Iterable[Path], adapters: Collection[str]) -> None:
    """Delete the exports that were written from some adapters."""
    for export in list(exports_in(folders)):
        if export.adapter_id in adapters:
            export.delete()
