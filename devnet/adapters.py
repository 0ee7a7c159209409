"""The adapters of a run: what is served, what another node opened, and that of the replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rescind.contracts import Consortium
from rescind.core import (
    ConsortiumParameters,
    StoreMissing,
    Term,
    artifact_id,
    decode,
    served_of,
)
from rescind.core.errors import StoreError
from rescind.core.mapped import Bytes, map_file
from rescind.core.optimizers import FedAvg
from rescind.devnet.layout import RunFolder


@dataclass(frozen=True)
class Replay:
    """A run that the withdrawn organization was never in.

    Attributes:
        adapter: The bytes of its last adapter; empty for the base model alone.
        seconds: From the opening of the first round to the end of the last.
    """

    adapter: Bytes
    seconds: float

    @property
    def adapter_id(self) -> str:
        """SHA-256 of the adapter."""
        return artifact_id(self.adapter)

    @property
    def totals(self) -> dict[str, Any]:
        """The adapter as integer tensors by name."""
        return dict(decode(self.adapter)) if self.adapter else {}


@dataclass(frozen=True)
class Removal:
    """A removal as the organizations that stay saw it.

    Attributes:
        adapter: The bytes of the model after it, as another node downloaded and opened them.
        seconds: From the mined request until that node had opened them.
    """

    adapter: Bytes
    seconds: float

    @property
    def adapter_id(self) -> str:
        """SHA-256 of the adapter."""
        return artifact_id(self.adapter)


def published_adapter(consortium: Consortium, model_id: int) -> str:
    """Return the artifact id of a model's adapter, or "" if nothing was published."""
    published = consortium.publications(model_id) if model_id else []
    return published[-1].adapter_id if published else ""


def served_model(
    run: RunFolder, parameters: ConsortiumParameters, adapter_id: str, terms: Sequence[Term]
) -> dict[str, Any]:
    """Return the adapter that is served for a published one, as integer tensors by name.

    Without a server optimizer it is the published adapter; with one it is computed from the model's
    `terms`. It is empty for the base model alone, whose `adapter_id` is "".

    Raises:
        StoreError: An artifact is missing in the run's store, or was changed.
    """
    if not adapter_id:
        return {}
    load = partial(load_artifact, run)
    plain = load(adapter_id)
    return plain if parameters.server == FedAvg() else served_of(parameters, terms, load)


def load_artifact(run: RunFolder, artifact: str) -> dict[str, Any]:
    """Return the integer tensors of an artifact in the run's store, by name.

    Raises:
        StoreError: The artifact is missing, or was changed.
    """
    file = run.store / artifact[:2] / artifact
    try:
        data = map_file(file)
    except FileNotFoundError as error:
        raise StoreMissing(f"{file} is not there.") from error
    except OSError as error:
        raise StoreError(f"{file} cannot be read: {error.strerror}.") from error
    if artifact_id(data) != artifact:
        raise StoreError(f"{file} does not hash to its name: the file was changed.")
    return dict(decode(data))
