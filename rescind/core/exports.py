"""Marks of exported copies: which adapter a folder was written from, so that it can be erased."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from rescind.core.files import write_atomically

MARK = "rescind.json"
"""Name of the file in an exported folder that names the adapter."""
UNFINISHED = ".part"
"""End of the name of a folder that an export is being written to."""
_FORMAT = "rescind.export/1"
_OWN = ("format", "adapter", "files")


@dataclass(frozen=True)
class Export:
    """An exported copy of a model or of one block.

    Attributes:
        folder: Its folder.
        adapter_id: Artifact id of the adapter that it was written from.
        files: Names of the files that were written into the folder, with "/" for folders in it.
        facts: What else the mark says of the export. With "unfinished", all files of the folder are
            the export's.
    """

    folder: Path
    adapter_id: str
    files: tuple[str, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the mark into the folder."""
        own = {"format": _FORMAT, "adapter": self.adapter_id, "files": sorted(self.files)}
        document = {**dict(sorted(self.facts.items())), **own}
        write_atomically(self.folder / MARK, f"{json.dumps(document, indent=2)}\n".encode())

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the export in a folder; None for a folder without a valid mark."""
        try:
            document = json.loads((folder / MARK).read_bytes())
            adapter_id, files = document["adapter"], tuple(document["files"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        named = document["format"] == _FORMAT and isinstance(adapter_id, str)
        plain = all(isinstance(each, str) and _is_inside(each) for each in files)
        facts = {name: value for name, value in document.items() if name not in _OWN}
        return cls(folder, adapter_id, files, facts) if named and plain else None

    def delete(self) -> None:
        """Delete the files that were written, then the folders that are empty."""
        if self.facts.get("unfinished") is True and self.folder.name.endswith(UNFINISHED):
            shutil.rmtree(self.folder)
            return
        for name in self.files:
            (self.folder / name).unlink(missing_ok=True)
        for name in self.files:
            _remove_empty((self.folder / name).parent, self.folder)
        (self.folder / MARK).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def _is_inside(name: str) -> bool:
    """Return whether a name is a plain relative path that stays in its folder."""
    path = PurePosixPath(name)
    return str(path) == name and not path.is_absolute() and not {"..", "."} & {*path.parts, name}


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


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
