"""The name of a base model that means the same model on another machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rescind.core.errors import ConfigError

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_CACHE = "models--"
"""Prefix of a model's folder in the Hugging Face cache: models--OWNER--NAME/snapshots/COMMIT."""


@dataclass(frozen=True)
class BaseReference:
    """The name of a base model for other machines.

    Attributes:
        name: A hub id; or, for a folder, "./" and the folder's name, which no hub id starts with.
        revision: The commit of the hub's repository, None for a folder or an unknown one.
        preset: The preset that the model is, empty if it is none.
    """

    name: str
    revision: str | None = None
    preset: str = ""

    @property
    def on_hub(self) -> bool:
        """True if the name is a hub id."""
        return not self.name.startswith((".", "/", "~"))

    @classmethod
    def of(cls, reference: str, folder: Path, preset: str = "") -> BaseReference:
        """Return the name of a model that was loaded here.

        Args:
            reference: The path, or the hub id with an optional "@revision", that it was asked for by.
            folder: The local folder that it was loaded from.
            preset: The preset that it is, if any.
        """
        if preset:
            return cls(f"./{preset}", preset=preset)
        cached = _cached(folder)
        if cached is not None:
            return cached
        name, _, revision = reference.partition("@")
        if not Path(reference).is_dir() and _HUB_ID.fullmatch(name):
            return cls(name, revision or None)
        return cls(f"./{folder.resolve().name}")

    @classmethod
    def given(cls, name: str, revision: str | None) -> BaseReference:
        """Return the name that the user chose.

        Raises:
            ConfigError: The name is empty, or a revision was given with a path.
        """
        if not name.strip():
            raise ConfigError("--base is empty. Give a hub id, or a path on the other machine.")
        reference = cls(name.strip(), revision)
        if revision and not reference.on_hub:
            raise ConfigError(
                f"--base {name} is a path, and only a hub id has a revision. Leave out --revision."
            )
        return reference


def _cached(folder: Path) -> BaseReference | None:
    """Return the hub id and commit of a folder in the Hugging Face cache."""
    *_, repository, snapshots, commit = ("", "", "", *folder.absolute().parts)
    if snapshots != "snapshots" or not repository.startswith(_CACHE):
        return None
    name = repository.removeprefix(_CACHE).replace("--", "/")
    return BaseReference(name, commit if _COMMIT.fullmatch(commit) else None)
