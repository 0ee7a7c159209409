"""The parameters that the members of a consortium agree on before the first round."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from rescind.core.agreed_rules import ClientRule, ScaffoldRule, Selection
from rescind.core.artifact_limits import AdapterHeaderTooLarge, ArtifactLimits, artifact_limits
from rescind.core.attestation_limits import AttestationLimits
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import ConfigError
from rescind.core.features import hidden_maps
from rescind.core.frozen import Frozen
from rescind.core.hiding import HIDING, HIDING_SHAPE
from rescind.core.optimizers import FedAvg, ServerOptimizer
from rescind.core.parts import SHARED, STATISTICS, PartForm
from rescind.core.security import DigestBudgetExceeded, adapter_norm_bound, check_budget
from rescind.core.split_settings import SplitSettings, trained_shapes
from rescind.core.statistics_parameters import StatisticsParameters

Coupling = Literal["isolated", "federated", "hybrid", "split"]
Layout = Literal["blocks", "shared"]
Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LoraParameters(Frozen):
    """Shape of the low-rank adapters (Hu et al. 2021, arXiv 2106.09685).

    Attributes:
        rank: The rank of the factors.
        alpha: The scale of their product is alpha / rank.
        target_modules: The modules that get factors.
        train_a: Whether A is trained. False freezes it at its shared random start (FFA-LoRA, Sun et
            al. 2024, arXiv 2403.12313), so that averages of B are averages of the products. True in
            a shared layout averages both factors, each by itself (FedIT, Zhang et al. 2023, arXiv
            2305.05644).
        alternate: Whether odd rounds train B and even rounds A, so that averages are exact again
            (RoLoRA, Chen et al. 2025, arXiv 2502.01755). The document omits it when it is false.
    """

    rank: Annotated[int, Field(ge=1, le=1024)]
    alpha: Annotated[int, Field(ge=1, le=4096)]
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    train_a: bool
    alternate: bool = False

    @model_validator(mode="after")
    def _alternates_both(self) -> Self:
        if self.alternate and not self.train_a:
            raise ValueError("lora.alternate trains A in even rounds: set lora.train_a to true")
        return self

    @model_serializer(mode="wrap")
    def _omit_alternate(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        if not self.alternate:
            document.pop("alternate", None)
        return document


class PrivacyParameters(Frozen):
    """Differentially private training of a round (DP-SGD, Abadi et al. 2016, arXiv 1607.00133).

    Attributes:
        max_grad_norm: The L2 norm to which the gradient of each question-answer pair is clipped.
        noise_multiplier: Gaussian noise of standard deviation noise_multiplier x max_grad_norm is
            added to the sum of the gradients.
        target_epsilon: In place of a noise multiplier: the epsilon to stay below. Each organization
            finds its own multiplier and refuses a round that would exceed the target.
        rounds: The number of rounds that `target_epsilon` must last for at full effort.
        delta: The probability that the guarantee fails; it should be below one over the number of
            pairs.
        accountant: How epsilon is computed.
        on_chain: Whether an organization publishes its epsilon and delta.
    """

    max_grad_norm: Annotated[float, Field(gt=0, le=2**20)]
    noise_multiplier: Annotated[float, Field(ge=0, le=1e6)] | None = None
    target_epsilon: Annotated[float, Field(gt=0, le=1e3)] | None = None
    rounds: Annotated[int, Field(ge=1, le=2**20)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)]
    accountant: Literal["prv", "rdp"] = "prv"
    on_chain: bool = False

    @model_validator(mode="after")
    def _noise_or_target(self) -> Self:
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            raise ValueError(
                "privacy needs either noise_multiplier or target_epsilon: set exactly one"
            )
        if (self.target_epsilon is None) != (self.rounds is None):
            raise ValueError(
                "privacy.rounds is the number of rounds that target_epsilon must last for: "
                "set both or neither"
            )
        return self


class TrainingParameters(Frozen):
    """Local training of one round at full effort.

    The document omits `privacy` and `rule` when there is none.

    Attributes:
        steps_per_round: The number of optimizer steps.
        batch_size: Question-answer pairs in one step.
        learning_rate: The peak learning rate.
        max_length: The longest example, in tokens.
        privacy: Differential privacy, if any.
        rule: What a node adds to its steps, if anything (rescind.core.agreed_rules).
    """

    steps_per_round: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    max_length: Annotated[int, Field(ge=8)]
    privacy: PrivacyParameters | None = None
    rule: ClientRule | None = None

    @model_serializer(mode="wrap")
    def _omit_absent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        for name in ("privacy", "rule"):
            if getattr(self, name) is None:
                document.pop(name, None)
        return document


class TextParameters(Frozen):
    """How questions, answers and documents become tokens (docs/training.md says it exactly).

    Attributes:
        prompt: "plain" writes a line "Question: ..." and then "Answer:". "chat" uses the chat
            template of the base model's tokenizer.
        bos: Whether every text begins with the tokenizer's begin-of-text token. It is not doubled
            where a chat template writes it.
        loss: Whether training counts every token of the data, or those of answers only. Documents
            count whole. The likelihood router needs "all".
    """

    prompt: Literal["plain", "chat"] = "plain"
    bos: bool = False
    loss: Literal["all", "answers"] = "all"


class ConsortiumParameters(Frozen):
    """The document whose SHA-256 the contract holds.

    Attributes:
        name: The name of the consortium.
        base_model_id: The SHA-256 of the base model's files.
        coupling: What organizations register: "isolated", a block each; "federated", deltas of one
            shared adapter; "hybrid", a block each and statistics of their rows; "split", a block
            of private ranks each and deltas of ranks that all share.
        layout: How deltas add up: in one block for each organization, or in one shared block.
        seed: Determines the initial values.
        lora: The shape of the adapters.
        training: Local training.
        text: How text becomes tokens. The document omits the defaults.
        fraction_bits: The fixed-point resolution of a delta, 2^-fraction_bits.
        clip_norm: The bound of the L2 norm of one delta, in parameter units.
        max_artifact_bytes: The largest artifact. An adapter with a block for each of `max_members`
            must fit; `rescind.core.artifact_limits` derives it.
        max_rounds: The most rounds that an adapter may sum; bounds what its digest binds
            (rescind.core.security).
        max_members: The most members.
        hiding: Whether noise is added to every delta so that its digest reveals nothing
            (rescind.core.hiding).
        server: What makes the served adapter of the round aggregates (rescind.core.optimizers). The
            document omits plain FedAvg.
        selection: Which of a round's valid updates the aggregator sums (rescind.core.agreed_rules);
            all of them by default, and then the document omits it.
        post_fisher: Whether each organization posts the diagonal Fisher of its data with its
            update, in a shared layout. The document omits it when it is false.
        statistics: What the statistics of a hybrid coupling are sums of. The document omits it in
            other couplings.
        split: How adapters are divided in a split coupling. The document omits it in other
            couplings.
        attestation: What auditors measure before they attest a replay or a counter-training. The
            document omits the defaults.
        shapes: Every LoRA tensor of the base model, so that a delta can be checked without it.
    """

    format: Literal["rescind.parameters/1"] = "rescind.parameters/1"
    name: Annotated[str, Field(min_length=1, max_length=64)]
    base_model_id: Sha256Hex
    coupling: Coupling
    layout: Layout
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    lora: LoraParameters
    training: TrainingParameters
    text: TextParameters = TextParameters()
    fraction_bits: Annotated[int, Field(ge=8, le=24)]
    clip_norm: Annotated[float, Field(gt=0, lt=2**20)]
    max_artifact_bytes: Annotated[int, Field(ge=1024, le=2**44)]
    max_rounds: Annotated[int, Field(ge=1, lt=2**16)] = 256
    max_members: Annotated[int, Field(ge=1, le=1024)] = 64
    hiding: bool = False
    server: ServerOptimizer = FedAvg()
    selection: Selection | None = None
    post_fisher: bool = False
    statistics: StatisticsParameters | None = None
    split: SplitSettings | None = None
    attestation: AttestationLimits = AttestationLimits()
    shapes: Annotated[dict[str, tuple[int, ...]], Field(min_length=1)]

    @model_validator(mode="after")
    def _coupling_fits_layout(self) -> Self:
        wanted = "shared" if self.coupling == "federated" else "blocks"
        if self.layout != wanted:
            raise ValueError(f"coupling {self.coupling!r} needs layout {wanted!r}")
        if self.lora.alternate and self.layout != "shared":
            raise ValueError("lora.alternate is for layout 'shared': in blocks nothing is averaged")
        if isinstance(self.training.rule, ScaffoldRule) and self.layout != "shared":
            raise ValueError(
                "training.rule scaffold is for layout 'shared': in blocks there is no client drift "
                "to correct"
            )
        if self.selection is not None and self.layout != "shared":
            raise ValueError("selection is for layout 'shared': in blocks updates are not compared")
        if self.post_fisher and self.layout != "shared":
            raise ValueError(
                "post_fisher is for layout 'shared': in blocks each organization trains on its own "
                "data only"
            )
        if self.post_fisher and self.training.privacy is not None:
            raise ValueError(
                "post_fisher cannot be combined with training.privacy: a Fisher is not "
                "differentially private"
            )
        return self

    @model_validator(mode="after")
    def _statistics_fit_coupling(self) -> Self:
        if (self.statistics is not None) != (self.coupling == "hybrid"):
            raise ValueError("statistics are agreed on in coupling 'hybrid', and only there")
        if self.statistics is not None and not self.hiding:
            raise ValueError(
                "coupling 'hybrid' needs hiding: an organization whose statistics change registers "
                "its delta again, and no point can be registered twice. Set hiding to true"
            )
        if self.statistics is not None and self.server != FedAvg():
            raise ValueError(
                "coupling 'hybrid' needs the server 'fedavg': an optimizer would move the sums of "
                "statistics as if they were parameters"
            )
        return self

    @model_validator(mode="after")
    def _split_fits_coupling(self) -> Self:
        if (self.split is not None) != (self.coupling == "split"):
            raise ValueError("split is agreed on in coupling 'split', and only there")
        if self.split is None:
            return self
        try:
            self.split.check(self.lora.rank)
        except ConfigError as error:
            raise ValueError(f"split: {error}") from error
        if not self.hiding:
            raise ValueError(
                "coupling 'split' needs hiding: a round may change one part alone, and no point can "
                "be registered twice. Set hiding to true"
            )
        if self.server != FedAvg():
            raise ValueError(
                "coupling 'split' needs the server 'fedavg': private ranks are trained beside the "
                "plain average of the shared ones"
            )
        for name in ("privacy", "rule"):
            if getattr(self.training, name) is not None:
                raise ValueError(
                    f"training.{name} cannot be combined with coupling 'split', which trains two "
                    "parts with an optimizer each. Leave it out"
                )
        return self

    @model_validator(mode="after")
    def _features_are_of_the_base(self) -> Self:
        for name, classes in self.statistics.summed.items() if self.statistics else ():
            for features in hidden_maps(classes.features):
                if features.base_model_id != self.base_model_id:
                    raise ValueError(
                        f"statistics: {name!r} reads hidden states of base model "
                        f"{features.base_model_id}, and the members train {self.base_model_id}"
                    )
        router = self.statistics.router if self.statistics else None
        if router is not None and router.reference is None:
            raise ValueError("statistics: the router needs the id of its public reference")
        if router is not None and router.max_members < self.max_members:
            raise ValueError(
                f"statistics: the router has columns for {router.max_members} members, and "
                f"max_members is {self.max_members}: set the router's max_members to it"
            )
        return self

    @model_validator(mode="after")
    def _digest_binds(self) -> Self:
        try:
            for part in self.parts:
                check_budget(part.norm_bound)
        except DigestBudgetExceeded as error:
            raise ValueError(str(error)) from error
        return self

    @model_validator(mode="after")
    def _holds_every_artifact(self) -> Self:
        try:
            limits = self.artifact_limits
        except AdapterHeaderTooLarge as error:
            raise ValueError(str(error)) from error
        if limits.largest > self.max_artifact_bytes:
            raise ValueError(_too_small(limits, self.max_artifact_bytes))
        return self

    @model_serializer(mode="wrap")
    def _omit_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        if self.text == TextParameters():
            document.pop("text", None)
        if self.server == FedAvg():
            document.pop("server", None)
        if self.selection is None:
            document.pop("selection", None)
        if not self.post_fisher:
            document.pop("post_fisher", None)
        for name in ("statistics", "split"):
            if getattr(self, name) is None:
                document.pop(name, None)
        if self.attestation == AttestationLimits():
            document.pop("attestation", None)
        return document

    def canonical_bytes(self) -> bytes:
        """Return the encoding that is hashed: canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @property
    def id(self) -> str:
        """The SHA-256 of the canonical bytes, in hexadecimal."""
        return hashlib.sha256(self.canonical_bytes()).hexdigest()

    @property
    def artifact_limits(self) -> ArtifactLimits:
        """The most bytes of each kind of artifact, from the shapes, the members and the layout."""
        return artifact_limits(
            self.delta_shapes(),
            layout=self.layout,
            max_members=self.max_members,
            post_fisher=self.post_fisher,
            summed=self.summed_shapes,
        )

    @property
    def parts(self) -> tuple[PartForm, ...]:
        """The parts of a contribution."""
        blocks = self.layout == "blocks"
        delta = PartForm(
            number=0,
            rule="block" if blocks else "share",
            sum_owner=None if blocks else SHARED,
            shapes=self.delta_shapes(),
            dtype="I32",
            norm_bound=self.adapter_norm_bound,
        )
        return (delta, *self._summed_parts())

    def _summed_parts(self) -> tuple[PartForm, ...]:
        """Return the parts beside a block, which add up over all organizations."""
        if self.statistics is not None:
            sums = PartForm(
                number=1,
                rule="latest",
                sum_owner=STATISTICS,
                shapes=self.statistics.shapes,
                dtype=self.statistics.dtype,
                # Each organization's latest contribution, with weight 1.
                norm_bound=self.max_members * self.statistics.norm_bound,
            )
            return (sums,)
        if self.split is not None:
            shared = PartForm(
                number=1,
                rule="share",
                sum_owner=SHARED,
                shapes=self._with_noise(
                    trained_shapes(self.shapes, self.split, "shared", train_a=False)
                ),
                dtype="I32",
                norm_bound=self.adapter_norm_bound,
            )
            return (shared,)
        return ()

    @property
    def summed_shapes(self) -> dict[str, Mapping[str, tuple[int, ...]]]:
        """The shapes of the sums beside blocks in a model, by owner."""
        return {part.sum_owner or "": part.shapes for part in self._summed_parts()}

    def part_of(self, owner: str) -> PartForm:
        """Return the part whose tensors an owner has in a model."""
        return next((part for part in self.parts if part.sum_owner == owner), self.parts[0])

    @property
    def adapter_norm_bound(self) -> float:
        """The L2 norm up to which a digest binds one owner's integers, noise included.

        Check each owner's tensors before you accept an adapter as the one with a commitment.
        """
        return adapter_norm_bound(
            clip_norm=self.clip_norm,
            fraction_bits=self.fraction_bits,
            max_rounds=self.max_rounds,
            hiding=self.hiding,
        )

    def delta_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a delta's tensors, by bare name.

        B is always among them, A unless it is frozen, and noise if digests are hiding. In a split
        coupling they are those of the private ranks.
        """
        train_a = self.lora.train_a
        if self.split is not None:
            return self._with_noise(trained_shapes(self.shapes, self.split, "own", train_a=train_a))
        return self._with_noise(
            {n: shape for n, shape in self.shapes.items() if train_a or n.endswith(".lora_B")}
        )

    def _with_noise(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Return shapes of a part's tensors, sorted, with those of the noise if there is any."""
        noise = {HIDING: HIDING_SHAPE} if self.hiding else {}
        return dict(sorted((shapes | noise).items()))

    def frozen_in(self, round_id: int) -> frozenset[str]:
        """Return the bare names of a delta's tensors that must be zero in a round."""
        if not self.lora.alternate:
            return frozenset()
        frozen = ".lora_A" if round_id % 2 else ".lora_B"
        return frozenset(name for name in self.shapes if name.endswith(frozen))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the document.

        Raises:
            ConfigError: It is not valid, or not in its canonical encoding.
        """
        try:
            parameters = cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"consortium parameters: {where}: {message}") from error
        try:
            canonical = parameters.canonical_bytes()
        except ValueError:  # a number beyond the range of floats was read as infinity
            canonical = b""
        if canonical != data:
            raise ConfigError(
                "consortium parameters are not in canonical form (sorted keys, no spaces); "
                "write them with ConsortiumParameters.canonical_bytes()"
            )
        return parameters


def reference_of(parameters: ConsortiumParameters) -> str:
    """Return the artifact id of the router's public reference; empty without a router."""
    router = parameters.statistics.router if parameters.statistics else None
    return router.reference or "" if router else ""


def _too_small(limits: ArtifactLimits, most: int) -> str:
    """Say why a `max_artifact_bytes` does not do, with the numbers and what to change."""
    blocks = f"{limits.blocks} blocks" if limits.blocks > 1 else "1 block"
    members = max(most // (limits.largest // limits.blocks + 1), 1)
    fewer = f", lower max_members to {members}" if members < limits.blocks else ""
    return (
        f"max_artifact_bytes is {most}, but with these shapes a delta has {limits.parameters} "
        f"integers and {limits.delta} bytes, and an adapter of {blocks} with its openings has files "
        f"of {limits.adapter} and {limits.openings} bytes: set max_artifact_bytes to "
        f"{limits.largest} or more{fewer}, or lower lora.rank"
    )
