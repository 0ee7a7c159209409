"""The aggregator's chain, parameters, stores and journal, shared by all its parts."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.digests import Digests
from rescind.aggregator.facts import Published, open_journal
from rescind.aggregator.incidents import Incident, Incidents
from rescind.contracts import Consortium
from rescind.core import ArtifactStore, ConsortiumParameters
from rescind.core.errors import RescindError
from rescind.daemon import Journal

if TYPE_CHECKING:
    from rescind.training import Example


@dataclass(frozen=True)
class AggregatorSession:
    """Everything that outlives a step of the aggregator.

    Attributes:
        config: The aggregator's TOML file.
        consortium: The contracts, called with the aggregator's account.
        parameters: What the consortium agreed on.
        journal: Durable facts.
        store: Complete artifacts.
        digests: Digests of the artifacts in `store`.
        incidents: Refusals, and what the aggregator did itself.
        benchmark: Rows that contributions are scored on; None where they are not.
        judging: Held while a submitted artifact is in memory, so that there is one at a time.
    """

    config: AggregatorConfig
    consortium: Consortium
    parameters: ConsortiumParameters
    journal: Journal
    store: ArtifactStore
    digests: Digests
    incidents: Incidents
    benchmark: tuple[Example, ...] | None = None
    judging: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(
        cls,
        config: AggregatorConfig,
        consortium: Consortium,
        parameters: ConsortiumParameters,
        benchmark: tuple[Example, ...] | None = None,
    ) -> AggregatorSession:
        """Open the journal and the stores that the configuration names."""
        folder = config.aggregator.state_dir
        journal = open_journal(folder)
        store = ArtifactStore(config.aggregator.store, mends=True)
        digests = Digests(store)
        incidents = Incidents(journal)
        session = cls(config, consortium, parameters, journal, store, digests, incidents, benchmark)
        for path in session.building.glob("*.part"):
            path.unlink(missing_ok=True)
        return session

    @property
    def folder(self) -> Path:
        """The daemon's folder of durable state."""
        return self.config.aggregator.state_dir

    @property
    def building(self) -> Path:
        """The folder of files that are being made. What a crash left there is deleted at the start."""
        return self.folder / "building"

    def publish_file(self, path: Path, artifact_id: str) -> str:
        """Move a complete file, whose hash was checked, into the store, and let members download it."""
        self.store.adopt(path, artifact_id)
        Published(artifact_id).save(self.journal)
        return artifact_id

    def publish(self, data: bytes) -> str:
        """Store an artifact, let members download it, and return its id."""
        artifact_id = self.store.put(data)
        Published(artifact_id).save(self.journal)
        return artifact_id

    def record_incident(
        self, organization: str, code: str, what: str, *, at_will: bool = True
    ) -> None:
        """Record a refusal or an act of the aggregator, for `rescind aggregator status`.

        Args:
            organization: EIP-55 address, `incidents.STRANGER` or `incidents.AGGREGATOR`.
            code: Code of the error or rejection.
            what: The reason.
            at_will: Whether the organization can bring about as many as it likes. Then it can write
                only so many a second; the others are counted.
        """
        if at_will and not self.incidents.admit(organization):
            return
        try:
            round_id, now = self.consortium.current_round_id(), self.consortium.chain.now()
        except RescindError:
            # The chain does not answer; the refusal stands all the same.
            round_id, now = 0, self.consortium.chain.clock.without_a_node()
        self.incidents.add(Incident(organization, code, what, round_id, now))
