"""The aggregator's chain, parameters, stores and journal, shared by all its parts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.digests import Digests
from rescind.aggregator.facts import Incident, Published, open_journal
from rescind.contracts import Consortium
from rescind.core import ArtifactStore, ConsortiumParameters
from rescind.daemon import Journal


@dataclass(frozen=True)
class AggregatorSession:
    """Everything that outlives a step of the aggregator.

    Attributes:
        config: The aggregator's TOML file.
        consortium: The contracts, called with the aggregator's account.
        parameters: What the consortium agreed on.
        journal: Durable facts.
        store: Complete artifacts.
        chunks: Chunks of uploads in progress.
        digests: Digests of the artifacts in `store`.
    """

    config: AggregatorConfig
    consortium: Consortium
    parameters: ConsortiumParameters
    journal: Journal
    store: ArtifactStore
    chunks: ArtifactStore
    digests: Digests

    @classmethod
    def open(
        cls, config: AggregatorConfig, consortium: Consortium, parameters: ConsortiumParameters
    ) -> AggregatorSession:
        """Open the journal and the stores that the configuration names."""
        folder = config.aggregator.state_dir
        journal = open_journal(folder)
        store = ArtifactStore(config.aggregator.store)
        chunks = ArtifactStore(folder / "chunks")
        digests = Digests(store)
        return cls(config, consortium, parameters, journal, store, chunks, digests)

    @property
    def folder(self) -> Path:
        """The daemon's folder of durable state."""
        return self.config.aggregator.state_dir

    def publish(self, data: bytes) -> str:
        """Store an artifact, let members download it, and return its id."""
        artifact_id = self.store.put(data)
        Published(artifact_id).save(self.journal)
        return artifact_id

    def record_incident(self, organization: str, code: str, what: str) -> None:
        """Record a refusal, for `rescind aggregator status`.

        Args:
            organization: EIP-55 address, or "unknown".
            code: Code of the error or rejection.
            what: The reason.
        """
        Incident(
            organization,
            code,
            what,
            self.consortium.current_round_id(),
            self.consortium.chain.now(),
        ).append(self.journal)
