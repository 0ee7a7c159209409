"""The aggregator's TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rescind.aggregator.uploads import Quotas
from rescind.daemon import ChainSettings, IdentitySettings, ModelSection, Section
from rescind.training import ReadOptions


class UploadsSection(Section):
    """The [aggregator.uploads] section: what uploads in progress may use, by their announced sizes.

    Attributes:
        member_files: Uploads of an organization. It sends an update, its Fisher, a delta for a
            withdrawal and a contribution that is missing.
        member_bytes: Their bytes together; by default as many of the largest artifacts.
        files: Uploads of all organizations.
        bytes: Their bytes together; by default the free disk is the only bound.
        idle_hours: Hours without a piece after which an upload is deleted.
    """

    member_files: Annotated[int, Field(ge=1)] = 4
    member_bytes: Annotated[int, Field(ge=1)] | None = None
    files: Annotated[int, Field(ge=1)] = 1024
    bytes: Annotated[int, Field(ge=1)] | None = None
    idle_hours: Annotated[float, Field(gt=0)] = 24.0

    def quotas(self, max_artifact_bytes: int) -> Quotas:
        """Return the quotas where artifacts have at most a number of bytes."""
        own = self.member_bytes or self.member_files * max_artifact_bytes
        return Quotas(
            self.member_files, own, self.files, self.bytes or 2**63, 3600 * self.idle_hours
        )


class AggregatorSection(Section):
    """The [aggregator] section.

    Attributes:
        listen: HOST:PORT to serve members on.
        state_dir: Folder of the daemon's durable state.
        store: Folder or fsspec URL of the artifacts.
        parameters: The parameters document that the consortium agreed on.
        reference: The public reference of the agreed router, where there is one.
        rounds: Number of rounds to finalize.
        minimum_members: Active members below which the first round does not open.
        post_bond: Pay the aggregator's bond if it was never paid. A slashed bond is paid again only
            by `rescind aggregator bond`.
        poll_seconds: Time between looks at the chain.
        uploads: What uploads in progress may use.
        reflection: Answer gRPC reflection, for tools such as grpcurl. Leave it off but in a devnet.
        keep_withdrawn: Keep what closed withdrawals took out of the models, instead of erasing it.
    """

    listen: str
    state_dir: Path
    store: str
    parameters: Path
    reference: Path | None = None
    rounds: Annotated[int, Field(ge=0)]
    minimum_members: Annotated[int, Field(ge=1)] = 1
    post_bond: bool = True
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 2.0
    reflection: bool = False
    keep_withdrawn: bool = False
    uploads: UploadsSection = UploadsSection()


class EvaluationSection(Section):
    """The [evaluation] section: how contributions are scored.

    Attributes:
        data: A public benchmark; the [data] section says what its columns mean.
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

    Without [model] and [evaluation], all accepted contributions score the same. `data` says how
    `evaluation.data` is read (docs/data.md).
    """

    aggregator: AggregatorSection
    chain: ChainSettings
    identity: IdentitySettings
    model: ModelSection | None = None
    evaluation: EvaluationSection | None = None
    data: ReadOptions = ReadOptions()
