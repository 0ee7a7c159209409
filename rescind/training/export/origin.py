"""The origin of an export: which model of which consortium it was written from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rescind.core import SHARED


@dataclass(frozen=True)
class Origin:
    """The model that an export was written from.

    Attributes:
        owner: The block's owner: a lowercase address, or SHARED for the shared adapter.
        organization: The owner's name, empty if it is not known.
        adapter_id: Artifact id of the published adapter; empty for an adapter that was not published.
        model_id: The model's number on chain, None if it is on none.
        in_use: Whether the model was in use when it was exported.
        chain_id: The chain's id, None without a chain.
        contracts: Addresses of the consortium's contracts by name.
        parameters_id: Id of the agreed parameters.
        base_model_id: Id of the base model's files.
    """

    owner: str
    organization: str = ""
    adapter_id: str = ""
    model_id: int | None = None
    in_use: bool = False
    chain_id: int | None = None
    contracts: Mapping[str, str] = field(default_factory=dict)
    parameters_id: str = ""
    base_model_id: str = ""

    @property
    def is_shared(self) -> bool:
        """True for the adapter that all organizations share."""
        return self.owner == SHARED

    @property
    def title(self) -> str:
        """The export in a few words, for a headline."""
        return "Shared adapter" if self.is_shared else f"Block of {self.organization or self.owner}"

    def to_dict(self) -> dict[str, Any]:
        """Return the origin as JSON."""
        return {
            "adapter": self.adapter_id,
            "base_model_id": self.base_model_id,
            "chain_id": self.chain_id,
            "contracts": dict(sorted(self.contracts.items())),
            "in_use_when_exported": self.in_use,
            "model": self.model_id,
            "organization": self.organization,
            "owner": self.owner,
            "parameters_id": self.parameters_id,
        }

    def metadata(self) -> dict[str, str]:
        """Return the origin as metadata of a safetensors or GGUF file: text by "rescind.name"."""
        values = self.to_dict()
        return {
            f"rescind.{name}": value
            if isinstance(value, str)
            else json.dumps(value, sort_keys=True)
            for name, value in sorted(values.items())
            if value not in ("", None, {})
        }
