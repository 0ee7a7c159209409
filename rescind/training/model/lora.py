"""Named LoRA adapters on one base model, by way of peft."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model

from rescind.core import FloatTensors, LoraParameters, TextParameters
from rescind.core.errors import TrainingError
from rescind.training.model.base import Base
from rescind.training.model.config_checks import one_line

Shapes = dict[str, tuple[int, ...]]
_PREFIX = "base_model.model."
_PROBE = "probe"


def peft_config(lora: LoraParameters) -> LoraConfig:
    """Return the agreed LoRA parameters as peft takes them."""
    targets = lora.target_modules
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=targets if isinstance(targets, str) else list(targets),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence peft's warnings about its own defaults (Conv1D layers, a renamed attribute)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class LoraModel:
    """A base model with any number of named adapters, at most one of which is in use.

    Attributes:
        base: The base model, with the text rules in use.
        lora: The agreed LoRA parameters.
        shapes: The shape of each LoRA tensor, by bare name, sorted.

    Raises:
        TrainingError: LoRA does not fit the base model.
    """

    def __init__(self, base: Base, lora: LoraParameters) -> None:
        self.base = base
        self.lora = lora
        try:
            with _quiet():
                self._peft: Any = get_peft_model(base.model, peft_config(lora), adapter_name=_PROBE)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise TrainingError(
                f"LoRA does not fit this base model: {one_line(error)}. Change lora.target_modules."
            ) from error
        self._peft.eval()
        probe = self._named(_PROBE)
        self._check_factors(probe)
        self.shapes: Shapes = {name: tuple(parameter.shape) for name, parameter in probe.items()}

    def read_as(self, text: TextParameters) -> None:
        """Read and write text by these rules from now on.

        Raises:
            TrainingError: The base model's tokenizer cannot do what they say.
        """
        self.base = self.base.reading(text)

    @property
    def trainable(self) -> list[str]:
        """Names of the tensors in a delta: B always, A unless the consortium froze it."""
        return [n for n in self.shapes if n.endswith(".lora_B") or self.lora.train_a]

    def put(self, adapter: str, tensors: FloatTensors) -> None:
        """Load all tensors of an adapter, and check that memory then holds them.

        Raises:
            TrainingError: The tensors do not fit, or memory differs from them.
        """
        if set(tensors) != set(self.shapes):
            different = sorted(set(tensors) ^ set(self.shapes))[:3]
            raise TrainingError(
                f"Adapter {adapter!r} does not fit the base model. Only one of them has {different}."
            )
        if adapter not in self._peft.peft_config:
            with _quiet():
                self._peft.add_adapter(adapter, peft_config(self.lora))
            self._peft.eval()
        parameters = self._named(adapter)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(torch.from_numpy(np.array(tensors[name], dtype=np.float32)))
        loaded = self.get(adapter)
        wrong = [n for n in tensors if not np.array_equal(loaded[n], tensors[n])]
        if wrong:
            raise TrainingError(
                f"Adapter {adapter!r} in memory differs from the given one at {wrong[0]}."
            )

    def get(self, adapter: str) -> dict[str, NDArray[np.float32]]:
        """Return copies of an adapter's tensors, by bare name."""
        return {
            name: parameter.detach().cpu().numpy().astype(np.float32)
            for name, parameter in self._named(adapter).items()
        }

    def parameters(self, adapter: str) -> dict[str, torch.nn.Parameter]:
        """Return an adapter's parameters, by bare name, sorted."""
        return self._named(adapter)

    def clear(self) -> None:
        """Remove every adapter, with its tensors, and leave the bare base model."""
        self._peft.set_adapter(_PROBE)
        for name in [each for each in self._peft.peft_config if each != _PROBE]:
            self._peft.delete_adapter(name)

    def use(self, adapter: str | None) -> Any:
        """Activate an adapter, or the bare base for None, and return the model."""
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(adapter)
        return self._peft

    def _check_factors(self, factors: dict[str, torch.nn.Parameter]) -> None:
        """Refuse a target whose LoRA is not a pair of matrices (an embedding)."""
        factor_ids = {id(parameter) for parameter in factors.values()}
        for name, parameter in self._peft.named_parameters():
            if _PROBE in name.split(".") and id(parameter) not in factor_ids:
                raise TrainingError(
                    f"LoRA of {name.removeprefix(_PREFIX)} is not a pair of matrices A and B. Name "
                    "linear layers as target_modules, or 'all-linear'."
                )

    def _named(self, adapter: str) -> dict[str, torch.nn.Parameter]:
        result: dict[str, torch.nn.Parameter] = {}
        for name, parameter in self._peft.named_parameters():
            for factor in ("lora_A", "lora_B"):
                tail = f".{factor}.{adapter}.weight"
                if name.endswith(tail):
                    result[name.removeprefix(_PREFIX)[: -len(tail)] + f".{factor}"] = parameter
        return dict(sorted(result.items()))
