"""The aggregator's TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rescind.daemon import ChainSettings, IdentitySettings, ModelSection, Section


class AggregatorSection(Section):
    """`rounds`: how many to finalize; none opens before `minimum_members` are active.

    `store`: a folder or an fsspec URL. `post_bond`: pay the aggregator's bond when it was never paid;
    one that was slashed is never paid again without being told to (`rescind aggregator bond`).
    """

    listen: str
    state_dir: Path
    store: str
    parameters: Path
    rounds: Annotated[int, Field(ge=0)]
    minimum_members: Annotated[int, Field(ge=1)] = 1
    post_bond: bool = True
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0


class EvaluationSection(Section):
    """`data`: a public benchmark by which contributions are scored. `method`: from the values of
    sub-models, exact Shapley values up to six organizations in a round and GTG-Shapley over at least
    `permutations` orders above; what each adds to all the others; or what each adds alone, which pays
    for sending what somebody else knows too."""

    data: Path
    method: Literal["shapley", "leave-one-out", "alone"] = "shapley"
    permutations: Annotated[int, Field(ge=1, le=100_000)] = 64


class AggregatorConfig(Section):
    """Without [model] and [evaluation], accepted contributions score the same."""

    aggregator: AggregatorSection
    chain: ChainSettings
    identity: IdentitySettings
    model: ModelSection | None = None
    evaluation: EvaluationSection | None = None
