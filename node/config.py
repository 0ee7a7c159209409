"""The node's TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from protocol import ChainSettings, IdentitySettings, Section


class NodeSection(Section):
    name: str
    state_dir: Path
    data: Path
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0


class AggregatorLink(Section):
    address: str


class ModelSection(Section):
    """`path`: a folder, or a hub id. `threads`: of torch, on a CPU."""

    path: str
    device: str = "auto"
    threads: Annotated[int, Field(ge=1)] = 1


class LedgerSection(Section):
    dir: Path
    key_file: Path | None = None


class AgentSection(Section):
    policy: Literal["q-learning", "always", "never", "random", "recorded"] = "q-learning"
    seed: int = 0
    epsilon: Annotated[float, Field(ge=0, le=1)] | None = None
    decisions: Path | None = None


class CostSection(Section):
    """In ether: one round at full effort, and what a model that knows all of one's data is worth."""

    compute_price: Annotated[float, Field(ge=0)] = 0.02
    quality_value: Annotated[float, Field(ge=0)] = 0.5


class NodeConfig(Section):
    node: NodeSection
    chain: ChainSettings
    identity: IdentitySettings
    aggregator: AggregatorLink
    model: ModelSection
    ledger: LedgerSection
    agent: AgentSection = AgentSection()
    costs: CostSection = CostSection()
