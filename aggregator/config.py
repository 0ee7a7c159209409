"""The aggregator's TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rescind.daemon import ChainSettings, IdentitySettings, ModelSection, Section


class AggregatorSection(Section):
    """The [aggregator] section.

    Attributes:
        listen: HOST:PORT to serve members on.
        state_dir: Folder of the daemon's durable state.
        store: Folder or fsspec URL of the artifacts.
        parameters: The parameters document that the consortium agreed on.
        rounds: Number of rounds to finalize.
        minimum_members: Active members below which the first round does not open.
        post_bond: Pay the aggregator's bond if it was never paid. A slashed bond is paid again only
            by `rescind aggregator bond`.
        poll_seconds: Time between looks at the chain.
        reflection: Answer gRPC reflection, for tools such as grpcurl. Leave it off but in a devnet.
        keep_withdrawn: Keep what closed withdrawals took out of the models, instead of erasing it.
    """

    listen: str
    state_dir: Path
    store: str
    parameters: Path
    rounds: Annotated[int, Field(ge=0)]
    minimum_members: Annotated[int, Field(ge=1)] = 1
    post_bond: bool = True
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    reflection: bool = False
    keep_withdrawn: bool = False


class EvaluationSection(Section):
    """The [evaluation] section: how contributions are scored.

    Attributes:
        data: A public benchmark.
        method: "shapley": exact Shapley values of the sub-models for up to six organizations in a
            round, GTG-Shapley for more. "leave-one-out": what each organization adds to all others.
            "alone": what each adds on its own; it also pays an organization for sending what another
            one knows too.
        permutations: Fewest orders that GTG-Shapley draws.
    """

    data: Path
    method: Literal["shapley", "leave-one-out", "alone"] = "shapley"
    permutations: Annotated[int, Field(ge=1, le=100_000)] = 64


class AggregatorConfig(Section):
    """The aggregator's configuration.

    Without [model] and [evaluation], all accepted contributions score the same.
    """

    aggregator: AggregatorSection
    chain: ChainSettings
    identity: IdentitySettings
    model: ModelSection | None = None
    evaluation: EvaluationSection | None = None
