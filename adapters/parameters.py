"""What the members of a consortium agreed on before the first round."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from adapters.errors import ConfigError
from adapters.hiding import HIDING, HIDING_SHAPE
from adapters.optimizers import FedAvg, ServerOptimizer
from adapters.security import DigestBudgetExceeded, adapter_norm_bound, check_budget

Coupling = Literal["isolated", "federated"]
Layout = Literal["blocks", "shared"]
Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Agreed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LoraParameters(_Agreed):
    """Shape of the low-rank adapters (Hu et al. 2021, arXiv 2106.09685).

    `train_a` False freezes A at its shared random start (FFA-LoRA, Sun et al. 2024, arXiv
    2403.12313), so that averages of B are averages of the products.
    """

    rank: Annotated[int, Field(ge=1, le=1024)]
    alpha: Annotated[int, Field(ge=1, le=4096)]
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    train_a: bool


class TrainingParameters(_Agreed):
    """Local training of one round at full effort. `max_length` is in tokens."""

    steps_per_round: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    max_length: Annotated[int, Field(ge=8)]


class ConsortiumParameters(_Agreed):
    """The document whose SHA-256 the contract holds.

    `clip_norm` bounds the L2 norm of one delta, in parameter units; `fraction_bits` is the
    fixed-point resolution of a delta, 2^-fraction_bits. `shapes` names every LoRA tensor of the base
    model, so that a delta can be checked without it. `max_rounds` and `max_members` bound what an
    adapter may sum, and so what its digest binds (adapters.security); `hiding` adds noise to every
    delta so that its digest tells nothing (adapters.hiding). `server` makes the served adapter of the
    round aggregates (adapters.optimizers); the document does not name it when it is plain FedAvg.
    """

    format: Literal["rescind.parameters/1"] = "rescind.parameters/1"
    name: Annotated[str, Field(min_length=1, max_length=64)]
    base_model_id: Sha256Hex
    coupling: Coupling
    layout: Layout
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    lora: LoraParameters
    training: TrainingParameters
    fraction_bits: Annotated[int, Field(ge=8, le=24)]
    clip_norm: Annotated[float, Field(gt=0, lt=2**20)]
    max_artifact_bytes: Annotated[int, Field(ge=1024, le=2**36)]
    max_rounds: Annotated[int, Field(ge=1, le=2**20)] = 256
    max_members: Annotated[int, Field(ge=1, le=128)] = 64
    hiding: bool = False
    server: ServerOptimizer = FedAvg()
    shapes: Annotated[dict[str, tuple[int, ...]], Field(min_length=1)]

    @model_validator(mode="after")
    def _coupling_fits_layout(self) -> Self:
        wanted = {"isolated": "blocks", "federated": "shared"}[self.coupling]
        if self.layout != wanted:
            raise ValueError(f"coupling {self.coupling!r} needs layout {wanted!r}")
        if self.layout == "shared" and self.lora.train_a:
            raise ValueError("layout 'shared' averages B over a frozen A: set lora.train_a false")
        return self

    @model_validator(mode="after")
    def _digest_binds(self) -> Self:
        try:
            check_budget(self.adapter_norm_bound)
        except DigestBudgetExceeded as error:
            raise ValueError(str(error)) from error
        return self

    @model_serializer(mode="wrap")
    def _plain_server_unnamed(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        if self.server == FedAvg():
            document.pop("server", None)
        return document

    def canonical_bytes(self) -> bytes:
        """The one encoding that is hashed: JSON, keys sorted, no spaces, ASCII."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
        ).encode("ascii")

    @property
    def id(self) -> str:
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @property
    def adapter_norm_bound(self) -> float:
        """What `l2_norm` of an adapter's integers, noise included, may be for its digest to bind.

        Whoever takes an adapter for the one with a digest checks this first.
        """
        return adapter_norm_bound(
            clip_norm=self.clip_norm,
            fraction_bits=self.fraction_bits,
            layout=self.layout,
            max_rounds=self.max_rounds,
            max_members=self.max_members,
            hiding=self.hiding,
        )

    def delta_shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors of a delta, by bare name: B always, A unless it is frozen, noise if hiding."""
        shapes = {
            name: shape
            for name, shape in self.shapes.items()
            if self.lora.train_a or name.endswith(".lora_B")
        }
        if self.hiding:
            shapes[HIDING] = HIDING_SHAPE
        return dict(sorted(shapes.items()))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Raises ConfigError when the document is not valid or not in its canonical encoding."""
        try:
            parameters = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise ConfigError(f"consortium parameters: {where}: {first['msg']}") from error
        if parameters.canonical_bytes() != data:
            raise ConfigError(
                "consortium parameters are not in canonical form (sorted keys, no spaces); "
                "write them with ConsortiumParameters.canonical_bytes()"
            )
        return parameters
