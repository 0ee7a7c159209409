"""Artifacts at hand: folders laid out as ID[:2]/ID, and single files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rescind.core import Expected, artifact_id, decode
from rescind.core.errors import VerificationError
from rescind.core.mapped import map_file


class Stores:
    """Artifacts by id, from folders and files.

    Args:
        folders: Folders of artifacts. Missing folders are ignored.
        files: Files that are known by the SHA-256 of their bytes, whatever their names.

    Raises:
        VerificationError: A file cannot be read.
    """

    def __init__(self, folders: Sequence[Path], files: Sequence[Path] = ()) -> None:
        self._folders = [folder for folder in folders if folder.is_dir()]
        self._files: dict[str, memoryview] = {}
        for path in files:
            data = read_file(path)
            self._files[artifact_id(data)] = data

    def has(self, wanted_id: str) -> bool:
        """Return whether a store has an artifact; its bytes are not looked at."""
        return wanted_id in self._files or self._path(wanted_id) is not None

    def load(self, wanted_id: str) -> memoryview | None:
        """Return an artifact's bytes, mapped, or None where no store has it.

        Raises:
            VerificationError: The file's bytes do not hash to its name.
        """
        if wanted_id in self._files:
            return self._files[wanted_id]
        path = self._path(wanted_id)
        if path is None:
            return None
        data = read_file(path)
        if artifact_id(data) != wanted_id:
            raise VerificationError(_changed(path))
        return data

    def _path(self, wanted_id: str) -> Path | None:
        paths = (folder / wanted_id[:2] / wanted_id for folder in self._folders)
        return next((path for path in paths if path.is_file()), None)

    def tensors(
        self, wanted_id: str, expected: Expected | None = None
    ) -> dict[str, NDArray[Any]] | None:
        """Return an artifact's tensors, or None where no store has it.

        Args:
            wanted_id: The id of the artifact.
            expected: The tensors that it must have, as for `rescind.core.decode`.

        Raises:
            VerificationError: As `load`.
            ArtifactError: The bytes are not an artifact.
        """
        data = self.load(wanted_id)
        return None if data is None else dict(decode(data, expected=expected))

    def check(self) -> int:
        """Return how many files the folders hold.

        Raises:
            VerificationError: The bytes of one do not hash to its name.
        """
        count = 0
        for folder in self._folders:
            for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
                if artifact_id(read_file(path)) != path.name:
                    raise VerificationError(_changed(path))
                count += 1
        return count


def read_file(path: Path) -> memoryview:
    """Return the bytes of a file, mapped: memory does not grow with its size.

    Raises:
        VerificationError: It cannot be read.
    """
    try:
        return map_file(path)
    except OSError as error:
        raise VerificationError(f"{path} cannot be read: {error.strerror}") from error


def _changed(path: Path) -> str:
    return f"{path} was changed: its bytes do not hash to its name. Fetch the artifact again."
