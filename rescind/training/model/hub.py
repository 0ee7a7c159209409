"""Downloads of base models by hub id."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub import errors as hub_errors

from rescind.core.errors import TrainingError
from rescind.training.model.files import (
    CODE_FILES,
    CONFIG,
    INDEX,
    SMALL_FILES,
    WEIGHTS,
    weight_files,
)

_ADAPTER = "adapter_config.json"
_SNAPSHOTS = "snapshots"
_CACHED = "models--"


@dataclass(frozen=True)
class HubModel:
    """A model on the hub.

    Attributes:
        id: Its hub id, such as "org/name".
        revision: A branch, a tag or a commit; None for the main branch.
    """

    id: str
    revision: str | None = None

    @classmethod
    def parse(cls, reference: str) -> Self:
        """Read "org/name" or "org/name@revision"."""
        name, _, revision = reference.partition("@")
        return cls(name, revision or None)

    @classmethod
    def of_folder(cls, folder: Path) -> Self | None:
        """Return the model that a folder of the hub's cache holds, with its commit, else None."""
        commit = folder.resolve()
        owner = commit.parent.parent.name
        if commit.parent.name != _SNAPSHOTS or not owner.startswith(_CACHED):
            return None
        return cls(owner.removeprefix(_CACHED).replace("--", "/"), commit.name)


def download(reference: str, *, remote_code: bool = False) -> Path:
    """Return the local folder of a model on the hub. What is there already is not fetched again.

    The weights are the one safetensors file, or the shards that the index names; other copies in
    the repository are left out.

    Args:
        reference: A hub id, optionally with "@revision".
        remote_code: Fetch Python files as well.

    Raises:
        TrainingError: The hub does not give the files: it does not know the model, wants a login,
            or cannot be reached. The message says which.
    """
    model = HubModel.parse(reference)
    names = [*SMALL_FILES, "*.safetensors.index.json", _ADAPTER]
    if remote_code:
        names.append(CODE_FILES)
    folder = _fetch(model, names)
    if (folder / _ADAPTER).is_file() or not (folder / CONFIG).is_file():
        return folder  # not a base model: the checks of the files say so
    commit = HubModel(model.id, folder.name)
    if (folder / INDEX).is_file():
        _fetch(commit, [*names, WEIGHTS])  # where both are, the single file is the one loaded
    weights = weight_files(folder)
    _fetch(commit, [*names, *(file.relative_to(folder).as_posix() for file in weights)])
    if not any(file.is_file() for file in weights):
        _refuse_pickled(commit)
    return folder


def _fetch(model: HubModel, names: list[str]) -> Path:
    try:
        return Path(snapshot_download(model.id, revision=model.revision, allow_patterns=names))
    except Exception as error:  # the hub's client raises many unrelated types
        raise TrainingError(_explained(model, error)) from error


def _refuse_pickled(model: HubModel) -> None:
    """Refuse a repository that has weights only in a format that can run code when it is read."""
    try:
        files = HfApi().list_repo_files(model.id, revision=model.revision)
    except Exception as error:  # as above
        raise TrainingError(_explained(model, error)) from error
    pickled = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickled:
        raise TrainingError(
            f"Base model {model.id!r} has only pickled weights on the hub ({pickled[0]}), which can "
            "run any code when they are read. Take a revision with *.safetensors, or load the model "
            "where you trust it, save it with save_pretrained(folder), and name that folder."
        )


def _explained(model: HubModel, error: Exception) -> str:
    """Say why the hub did not give a model, in one line."""
    name = f"{model.id}@{model.revision}" if model.revision else model.id
    if isinstance(error, hub_errors.GatedRepoError):
        return (
            f"Base model {name!r} is gated. Accept its terms on its page on the hub, then log in "
            "with `hf auth login` or set HF_TOKEN."
        )
    if isinstance(error, hub_errors.RevisionNotFoundError):
        return f"Base model {model.id!r} has no revision {model.revision!r} on the hub. Check it."
    if isinstance(error, hub_errors.RepositoryNotFoundError):
        return (
            f"Base model {name!r} is neither a folder nor a model on the hub that you may read. "
            "Check the name; for a private model log in with `hf auth login` or set HF_TOKEN."
        )
    if isinstance(error, hub_errors.HFValidationError):
        return f"Base model {name!r} is neither a folder nor a valid hub id. Check the path."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"The disk is full: base model {name!r} was not fetched. Free space, and try again."
    return (
        f"Base model {name!r} is not a folder here, and the hub cannot be reached for it "
        f"({type(error).__name__}). Check the name and the network, or copy the model's folder to "
        "this machine and name the folder."
    )
