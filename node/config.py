"""The node's TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rescind.daemon import ChainSettings, IdentitySettings, ModelSection, Section


class NodeSection(Section):
    name: str
    state_dir: Path
    data: Path
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0


class AggregatorLink(Section):
    address: str


class NodeModelSection(ModelSection):
    """The [model] section of a node.

    Attributes:
        dtype: Type of the frozen base weights.
    """

    dtype: Literal["float32", "bfloat16"] = "float32"


class EngineSection(Section):
    """How this machine trains (docs/training.md). `processes`: on this machine, a GPU each.
    `checkpoint_steps`: 0 keeps no checkpoint."""

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
        """What training.settings.EngineSettings is made of."""
        return self.model_dump(exclude={"processes", "checkpoint_steps"})


class ServeSection(Section):
    """`listen`: HOST:PORT, mutual TLS. `disclose`: types of records that auditors are shown; a manifest
    holds the secret with which names can be tried, a backup the paths of this machine."""

    listen: str
    disclose: tuple[str, ...] = (
        "consent",
        "decision",
        "disclosure",
        "privacy-budget",
        "reward",
        "tombstone",
        "training-run",
        "withdrawal",
    )


class LedgerSection(Section):
    """`dir`, or `url` of a PostgreSQL database. `key_program`: asks a key management service
    (docs/ledger.md). `anchor_seconds`: between anchors when no round writes one. `serve`: answer auditors and other
    organizations. `witnesses`: HOST:PORT of nodes that are to cosign each anchored checkpoint."""

    dir: Path | None = None
    url: str | None = None
    key_file: Path | None = None
    key_program: tuple[str, ...] = ()
    anchor_seconds: Annotated[float, Field(ge=1)] = 3600.0
    serve: ServeSection | None = None
    witnesses: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.dir is None) == (self.url is None):
            raise ValueError("give either dir or url")
        return self

    @property
    def where(self) -> Path | str:
        found = self.dir or self.url
        assert found is not None
        return found


class AgentSection(Section):
    """`policy`: a learner or baseline of agents.learners, or `recorded`, which follows `decisions`.
    `settings`: of the learner's configuration, what is not its default. `start`: a policy file of
    `rescind agents train` to begin with. `frozen`: neither learn nor explore."""

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


class CostSection(Section):
    """In ether. `compute_price`: one round at full effort; `energy_by_hour`: what it is multiplied by
    in each hour of the day, UTC. `quality_value`: what a model that knows all of one's data is worth.
    `privacy_price`: one unit of epsilon spent on all of one's data; `privacy_budget`: how much epsilon
    one is ready to spend, where the consortium's rounds are private."""

    compute_price: Annotated[float, Field(ge=0)] = 0.02
    energy_by_hour: Annotated[
        list[Annotated[float, Field(ge=0)]], Field(min_length=24, max_length=24)
    ] = [1.0] * 24
    quality_value: Annotated[float, Field(ge=0)] = 0.5
    privacy_price: Annotated[float, Field(ge=0)] = 0.0
    privacy_budget: Annotated[float, Field(gt=0)] | None = None


class NodeConfig(Section):
    node: NodeSection
    chain: ChainSettings
    identity: IdentitySettings
    aggregator: AggregatorLink
    model: NodeModelSection
    engine: EngineSection = EngineSection()
    ledger: LedgerSection
    agent: AgentSection = AgentSection()
    costs: CostSection = CostSection()
