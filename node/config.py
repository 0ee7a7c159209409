"""The sections of a node's TOML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from rescind.core.names import NameInvalid, canonical_name
from rescind.daemon import ChainSettings, IdentitySettings, ModelSection, Section
from rescind.training import ReadOptions


class NodeSection(Section):
    """The [node] section.

    Attributes:
        name: The node's name in its log.
        state_dir: Folder of the journal, the store and the checkpoints.
        data: File or folder of private examples; the [data] section says what its columns mean. A
            node without it trains nothing, and contributes statistics alone.
        poll_seconds: Time between two looks at the chain.
        exports: Folders of exported copies of models, or folders that hold such folders. A copy of
            an erased model is deleted.
        keep_withdrawn: Keep what closed withdrawals took out of the models, instead of erasing it.
    """

    name: str
    state_dir: Path
    data: Path | None = None
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    exports: tuple[Path, ...] = ()
    keep_withdrawn: bool = False


class StatisticsSection(Section):
    """The [statistics] section: rows that statistics are sums of, where the members agreed on them.

    Attributes:
        data: File or folder of private rows for each task. A row has a text and a label.
        columns: How the files are read, as in [data]: `question` is the column of the text, `answer`
            that of the label.
    """

    data: Mapping[str, Path] = Field(default_factory=dict)
    columns: ReadOptions = ReadOptions()


class SplitSection(Section):
    """The [split] section: which rows are public, where the members agreed on a split coupling.

    Attributes:
        public: The subjects whose rows are public and may train the shared ranks. All other rows are
            revocable: they train the organization's private ranks only.
    """

    public: tuple[str, ...] = ()

    @field_validator("public")
    @classmethod
    def _canonical(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(canonical_name(name) for name in names)
        except NameInvalid as error:
            raise ValueError(str(error)) from error


class AggregatorLink(Section):
    """The [aggregator] section. `address` is HOST:PORT of the aggregator's service."""

    address: str


class EngineSection(Section):
    """The [engine] section: how this machine trains (docs/training.md).

    Attributes:
        micro_batch: Examples in one forward pass; by default the agreed batch size.
        batching: How examples of different lengths are put into a batch.
        pack_length: Tokens in a packed sequence.
        precision: Arithmetic of the training.
        gradient_checkpointing: Recompute activations instead of keeping them.
        compile: Whether to use torch.compile.
        deterministic: Use deterministic kernels only.
        processes: Number of processes on this machine, with a GPU each.
        checkpoint_steps: Steps between checkpoints; 0 keeps none.
    """

    micro_batch: Annotated[int, Field(ge=1)] | None = None
    batching: Literal["plain", "bucketed", "packed"] = "plain"
    pack_length: Annotated[int, Field(ge=1)] | None = None
    precision: Literal["auto", "float32", "bf16"] = "auto"
    gradient_checkpointing: bool = False
    compile: Literal["auto", "on", "off"] = "auto"
    deterministic: bool = False
    processes: Annotated[int, Field(ge=1)] = 1
    checkpoint_steps: Annotated[int, Field(ge=0)] = 25

    def settings(self) -> dict[str, Any]:
        """Return the arguments of `rescind.training.EngineSettings`."""
        return self.model_dump(exclude={"processes", "checkpoint_steps"})


class ServeSection(Section):
    """The [ledger.serve] section: the service that answers auditors and other organizations.

    Attributes:
        listen: HOST:PORT, with mutual TLS.
        disclose: Types of records that auditors may see. By default without manifests, which hold
            the secret with which names can be guessed, and without backups, which name paths of
            this machine.
        reflection: Answer gRPC reflection, for tools such as grpcurl. Leave it off but in a devnet.
    """

    listen: str
    reflection: bool = False
    disclose: tuple[str, ...] = (
        "consent",
        "decision",
        "disclosure",
        "erasure",
        "privacy-budget",
        "reward",
        "tombstone",
        "training-run",
        "withdrawal",
    )


class LedgerSection(Section):
    """The [ledger] section.

    Attributes:
        dir: Folder of the ledger. Give either this or `url`.
        url: URL of a PostgreSQL database.
        key_file: File of the ledger's key.
        key_program: Command that asks a key management service for the key (docs/ledger.md).
        anchor_seconds: Time between anchors when no round writes one.
        serve: The service for auditors and other organizations.
        witnesses: HOST:PORT of the nodes that cosign each anchored checkpoint.
        clock_ran_ahead: The time of the last record that was written while the machine's clock ran
            ahead. Records carry that time until it has passed.
    """

    dir: Path | None = None
    url: str | None = None
    key_file: Path | None = None
    key_program: tuple[str, ...] = ()
    anchor_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 3600.0
    serve: ServeSection | None = None
    witnesses: tuple[str, ...] = ()
    clock_ran_ahead: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one_location(self) -> Self:
        if (self.dir is None) == (self.url is None):
            raise ValueError("give either dir or url")
        return self

    @property
    def ran_ahead(self) -> int:
        """The time up to which the clock ran ahead, in Unix seconds; 0 if it did not."""
        return math.ceil(self.clock_ran_ahead.timestamp()) if self.clock_ran_ahead else 0

    @property
    def location(self) -> Path | str:
        """The folder or the database's URL."""
        location = self.dir or self.url
        assert location is not None
        return location


class AgentSection(Section):
    """The [agent] section: who decides about taking part in a round.

    Attributes:
        policy: A learner or baseline of `rescind.agents.learners`, or "recorded", which follows
            `decisions`.
        seed: Seed of exploration.
        settings: The learner's settings that are not its defaults.
        start: Policy file of `rescind agents train` to begin with.
        frozen: Neither learn nor explore.
        decisions: File of decisions by round, for "recorded".
    """

    policy: Literal[
        "q-learning",
        "double-q",
        "sarsa",
        "bandit",
        "dqn",
        "myopic",
        "always",
        "never",
        "random",
        "recorded",
    ] = "q-learning"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    settings: Mapping[str, float | int | str] = Field(default_factory=dict)
    start: Path | None = None
    frozen: bool = False
    decisions: Path | None = None


Price = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class CostSection(Section):
    """The [costs] section; amounts in ether.

    Attributes:
        compute_price: Cost of one round at full effort.
        statistics_price: Cost of posting the statistics of all rows, as a share of `compute_price`.
        gas_price: Gwei for a unit of gas, by which the agent counts what its transactions cost.
        energy_by_hour: Factors on `compute_price` for each hour of the day, UTC.
        quality_value: Worth of a model that answers every question about your data.
        privacy_price: Cost of one unit of epsilon spent on all of your data.
        privacy_budget: Epsilon that you are ready to spend where rounds are private.
    """

    compute_price: Price = 0.02
    statistics_price: Price = 0.05
    gas_price: Price = 0.0
    energy_by_hour: Annotated[list[Price], Field(min_length=24, max_length=24)] = [1.0] * 24
    quality_value: Price = 0.5
    privacy_price: Price = 0.0
    privacy_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class NodeConfig(Section):
    """The whole file. `data` says how `node.data` is read (docs/data.md)."""

    node: NodeSection
    data: ReadOptions = ReadOptions()
    statistics: StatisticsSection = StatisticsSection()
    split: SplitSection = SplitSection()
    chain: ChainSettings
    identity: IdentitySettings
    aggregator: AggregatorLink
    model: ModelSection
    engine: EngineSection = EngineSection()
    ledger: LedgerSection
    agent: AgentSection = AgentSection()
    costs: CostSection = CostSection()

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.node.data is None and not self.statistics.data:
            raise ValueError(
                "the node has no data: give node.data, to train on, or [statistics] data, or both"
            )
        return self
