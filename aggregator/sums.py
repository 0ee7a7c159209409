"""The sums of single rounds, for whoever has to start from what a server optimizer makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rescind.contracts import Consortium
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Term,
    adapter_totals,
    decode,
    encode,
)
from rescind.core.round_sums import by_round, needs_rounds, sum_key
from rescind.daemon import Journal
from rescind.wire import WrongPhase


class RoundSums:
    """Each is made once and published. They are given out only where members need them: who knows a
    round's sum with and without an organization knows its delta."""

    def __init__(
        self,
        consortium: Consortium,
        parameters: ConsortiumParameters,
        journal: Journal,
        store: ArtifactStore,
    ) -> None:
        self._consortium, self._parameters = consortium, parameters
        self._journal, self._store = journal, store

    def of_model(self, model_id: int) -> list[str]:
        """Raises WrongPhase when there is no such model, or no member needs its rounds."""
        self._check()
        if not 1 <= model_id <= self._consortium.model_count():
            raise WrongPhase(f"there is no model {model_id}")
        return self.of(self._consortium.content(model_id))

    def of(self, terms: Iterable[Term]) -> list[str]:
        """Artifact ids by ascending round, that of the counter-deltas first. Raises WrongPhase when no
        member needs them."""
        self._check()
        return [self._published(group) for group in by_round(terms).values()]

    def _check(self) -> None:
        if self._parameters.layout != "shared" or not needs_rounds(self._parameters):
            raise WrongPhase(
                "sums of single rounds are not given out in this consortium: nobody needs them to "
                "train or to serve"
            )

    def _published(self, group: Sequence[Term]) -> str:
        key = f"round-sum/{sum_key(group)}"
        known = self._journal.get(key)
        if known is not None and self._store.has(str(known)):
            return str(known)
        artifact = self._store.put(encode(adapter_totals(group, self._load)))
        self._journal.set(f"published/{artifact}", True)
        self._journal.set(key, artifact)
        return artifact

    def _load(self, artifact_id: str) -> Any:
        return decode(self._store.get(artifact_id))
