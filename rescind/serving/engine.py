"""A base model with adapters that another server loads and unloads, as vLLM does it. Imports torch.

It asks no chain: the server in front of it does, and no one else should reach this one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel, PeftModelForCausalLM, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from rescind.core.exports import Export
from rescind.serving.asked import Asked, Limits
from rescind.serving.errors import invalid, unknown_model
from rescind.serving.generation import generate
from rescind.serving.jobs import Event, Job, Routed, Worker
from rescind.serving.names import BASE
from rescind.serving.planning import encoded, room
from rescind.training import Base

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,199}")
_WEIGHTS = "adapter_model.safetensors"


class EngineModels:
    """A base model with named adapters.

    Args:
        base: The base model.
        name: The name of the bare base model.
        folder: Only exported folders inside of it are loaded.
        limits: What one request may take.
    """

    def __init__(self, base: Base, name: str, folder: Path, limits: Limits) -> None:
        self._base, self.name, self._limits = base, name, limits
        self._folder = folder.resolve()
        self._worker = Worker(limits.waiting)
        self._network: Any = base.model
        self._adapters: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._number = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._worker.waiting

    def listed(self) -> list[dict[str, Any]]:
        """Return the base model and the adapters, as vLLM lists them."""
        base: dict[str, Any] = {
            "id": self.name,
            "object": "model",
            "owned_by": "rescind",
            "root": self.name,
        }
        cards = [base | {"created": 0, "parent": None}]
        for name, folder in list(self._folders.items()):
            cards.append(base | {"id": name, "created": 0, "root": folder, "parent": self.name})
        return cards

    def load(self, name: str, path: str, *, in_place: bool = False) -> None:
        """Load an exported folder as an adapter. Blocks until that has happened.

        Raises:
            ApiError: The name is taken, or the folder is not an export that fits the base model.
        """
        if not _NAME.fullmatch(name) or name == self.name:
            raise invalid(f"lora_name {name[:80]!r} cannot be the name of an adapter.", "lora_name")
        folder = self._export(path)
        self._worker.call(lambda: self._load(name, folder, in_place=in_place))

    def unload(self, name: str) -> None:
        """Remove an adapter from memory. Blocks until that has happened.

        Raises:
            ApiError: There is no such adapter.
        """
        self._worker.call(lambda: self._unload(name))

    def _export(self, path: str) -> Path:
        """Return an exported folder that may be loaded."""
        try:
            folder = Path(path).resolve(strict=True)
            inside = folder.is_relative_to(self._folder) and folder != self._folder
            files = {
                each for each in (_WEIGHTS, "adapter_config.json") if (folder / each).is_file()
            }
            linked = any(each.is_symlink() for each in folder.iterdir()) if inside else False
        except (OSError, ValueError):
            inside, files, linked = False, set(), False
        export = Export.read(folder) if inside and not linked else None
        if export is None or not files <= set(export.files) or len(files) < 2:
            raise invalid(
                f"lora_path {path[:200]!r} is not a folder that rescind export wrote, inside of "
                "the folder of --accept-adapters.",
                "lora_path",
            )
        return folder

    def _load(self, name: str, folder: Path, *, in_place: bool) -> None:
        if name in self._adapters:
            if not in_place:
                raise invalid(f"The lora adapter '{name}' has already been loaded.", "lora_name")
            self._unload(name)
        self._number += 1
        inner = f"adapter{self._number}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._add(inner, folder)
            self._check(inner, folder)
        except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
            self._remove(inner)
            raise invalid(
                f"The adapter in {folder} cannot be loaded: {error}", "lora_path"
            ) from error
        self._adapters[name], self._folders[name] = inner, str(folder)

    def _add(self, inner: str, folder: Path) -> None:
        network = self._network
        if not isinstance(network, PeftModel):
            config = PeftConfig.from_pretrained(str(folder))
            network = PeftModelForCausalLM(self._base.model, config, adapter_name=inner)
            self._network = network
        network.load_adapter(str(folder), adapter_name=inner, is_trainable=False)
        network.eval()

    def _check(self, inner: str, folder: Path) -> None:
        """Check that every tensor of the file is in memory: one that fits nothing is left out."""
        with safe_open(folder / _WEIGHTS, framework="np") as file:
            expected = set(file.keys())
        # Without embeddings, peft does not look for the base model on the hub.
        tensors = get_peft_model_state_dict(
            self._network, adapter_name=inner, save_embedding_layers=False
        )
        loaded = set(tensors)
        if loaded != expected:
            different = sorted(loaded ^ expected)[0]
            raise ValueError(f"it does not fit the base model: only one of them has {different}")

    def _unload(self, name: str) -> None:
        if name not in self._adapters:
            raise unknown_model(f"The lora adapter '{name}' cannot be found.")
        self._remove(self._adapters.pop(name))
        del self._folders[name]

    def _remove(self, inner: str) -> None:
        network = self._network
        if not isinstance(network, PeftModel):
            return
        others = [name for name in network.peft_config if name != inner]
        if not others:
            # peft needs an adapter that is active, so the last one goes with all of peft.
            tuner: Any = network.base_model
            self._network = tuner.unload()
            return
        network.set_adapter(others[0])
        if inner in network.peft_config:
            network.delete_adapter(inner)

    def ask(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Queue a request, and return what happens to it."""

        def work(job: Job) -> None:
            network = self._use(asked.model)
            tokens = encoded(self._base, asked)
            most = room(self._base, self._limits, asked, len(tokens))
            owner = BASE if asked.model == self.name else asked.model
            job.emit(Routed(None, owner, asked.model))
            done = generate(
                self._base,
                network,
                tokens,
                asked.sampling,
                most,
                job.emit,
                lambda: job.stopped,
                strip=asked.is_chat,
            )
            if job.refusal is None:
                job.emit(done)

        return self._worker.submit(work).events()

    def _use(self, name: str) -> Any:
        network = self._network
        if name == self.name:
            if isinstance(network, PeftModel):
                tuner: Any = network.base_model
                tuner.disable_adapter_layers()
            return network
        if name not in self._adapters:
            raise unknown_model(f"The model `{name}` does not exist.")
        network.base_model.enable_adapter_layers()
        network.set_adapter(self._adapters[name])
        return network

    async def close(self) -> None:
        """End the thread."""
        self._worker.close()
