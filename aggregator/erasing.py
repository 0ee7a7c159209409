"""The erasure of old models and withdrawn contributions after a closed withdrawal."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import structlog

from rescind.aggregator.facts import (
    MeanFisher,
    ModelFact,
    PostedFisher,
    Published,
    Submission,
    SumFact,
)
from rescind.aggregator.incidents import AGGREGATOR, Incident
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.withdrawal_facts import EvidenceFact
from rescind.core.parameters import reference_of
from rescind.withdrawals import (
    Derived,
    Erasing,
    Erasure,
    Reason,
    Registered,
    erasure_facts,
    to_erase,
)

INCIDENT = "erased"
"""Code of the incident that says what was erased, and for which withdrawal."""


class AggregatorErasing(Erasing):
    """Erases what `rescind.withdrawals.to_erase` names, from the store and from all copies.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        super().__init__(session.consortium, session.journal)
        self._session = session
        self._evidence = session.folder / "evidence"
        self._log = structlog.get_logger().bind(organization="aggregator")

    @property
    def _keeps(self) -> bool:
        return self._session.config.aggregator.keep_withdrawn

    def _resume(self, erasure: Erasure) -> None:
        self._carry_out(erasure, self._session.incidents.newest())

    def _finish(self, erasure: Erasure) -> None:
        self._carry_out(erasure, ())

    def _carry_out(self, erasure: Erasure, known: Iterable[Incident]) -> None:
        session = self._session
        for artifact in erasure.files:
            # First of all no member can download it any more.
            Published(artifact).delete(session.journal)
        for artifact in erasure.files:
            session.store.delete(artifact)
        for path in self._evidence_files():
            if _sha256(path) in erasure.files:
                path.unlink(missing_ok=True)
        session.digests.forget()
        said = erasure.sentence()
        if not any((each.code, each.what) == (INCIDENT, said) for each in known):
            session.record_incident(AGGREGATOR, INCIDENT, said, at_will=False)
        erasure.finish(session.journal)
        self._log.info("erased", withdrawal=erasure.withdrawal_id, files=len(erasure.files))

    def _found(self) -> dict[str, Reason]:
        """Return what is to be erased and is still here, by artifact id."""
        session = self._session
        with session.consortium.chain.at_one_block():
            facts = erasure_facts(session.consortium, self._files_of_models(), self._derived)
        evidence = {_sha256(path) for path in self._evidence_files()}
        return {
            artifact: reason
            for artifact, reason in to_erase(facts).items()
            if artifact in evidence
            or session.store.has(artifact)
            or Published(artifact).holds(session.journal)
        }

    def _files_of_models(self) -> dict[int, frozenset[str]]:
        """Return every file that this aggregator built or stated for each model."""
        consortium = self._session.consortium
        built = {fact.model_id: fact.files for fact in ModelFact.all(self._session.journal)}
        aggregator = consortium.aggregator()
        for model_id in range(1, consortium.model_count() + 1):
            for stated in consortium.publications(model_id):
                # Anyone may state anything, so only the aggregator's own statements count.
                if stated.publisher == aggregator:
                    files = {stated.adapter_id, stated.opening_id}
                    built[model_id] = built.get(model_id, frozenset()) | files
        return built

    def _derived(self, contributions: tuple[Registered, ...]) -> list[Derived]:
        """Return the files that were computed from contributions, or belong to an organization."""
        journal = self._session.journal
        points: dict[tuple[int, str], set[str]] = {}
        for each in contributions:
            if not each.offer_id:
                points.setdefault((each.round_id, each.organization), set()).add(each.point_hash)
        posted = list(PostedFisher.all(journal))
        of_fisher = {f.artifact_id: points.get((f.round_id, f.organization), set()) for f in posted}
        known = [
            *(_sum(fact) for fact in SumFact.all(journal)),
            *(_fisher(fact, of_fisher) for fact in posted),
            *(_mean(fact, of_fisher) for fact in MeanFisher.all(journal)),
            *(_submission(fact) for fact in Submission.all(journal)),
            *(_evidence(path) for path in self._evidence_files()),
        ]
        return [*known, *self._orphans({file for each in known for file in each.artifacts})]

    def _orphans(self, known: Collection[str]) -> Iterator[Derived]:
        """Yield published files that no record names: a crash came before the record.

        They are computed again when they are asked for, so they go with the first erasure.
        """
        session = self._session
        recorded = {
            *known,
            session.parameters.id,
            reference_of(session.parameters),
            *(fact.evidence for fact in EvidenceFact.all(session.journal)),
            *(file for files in self._files_of_models().values() for file in files),
        }
        for published in Published.all(session.journal):
            if published.artifact_id not in recorded:
                yield Derived("file without a record", frozenset({published.artifact_id}))

    def _evidence_files(self) -> Iterator[Path]:
        yield from sorted(self._evidence.glob("withdrawal-*-model-*.json"))


def _sum(fact: SumFact) -> Derived:
    points = None if fact.points is None else frozenset(fact.points)
    files = frozenset({fact.adapter_id, fact.opening_id} - {""})
    return Derived("sum of contributions", files, points)


def _fisher(fact: PostedFisher, points: Mapping[str, Collection[str]]) -> Derived:
    what = f"Fisher of {fact.organization} in round {fact.round_id}"
    files = frozenset({fact.artifact_id})
    return Derived(what, files, frozenset(points[fact.artifact_id]), fact.organization)


def _mean(fact: MeanFisher, points: Mapping[str, Collection[str]]) -> Derived:
    held = frozenset(point for each in fact.sources for point in points.get(each, ()))
    return Derived("mean Fisher", frozenset({fact.artifact_id}), held)


def _submission(fact: Submission) -> Derived:
    what = f"submission of {fact.organization} to round {fact.round_id}"
    return Derived(what, frozenset({fact.artifact_id}), frozenset(), fact.organization)


def _evidence(path: Path) -> Derived:
    withdrawal = int(path.stem.split("-")[1])
    what = f"evidence of withdrawal {withdrawal} that no auditor attested"
    return Derived(what, frozenset({_sha256(path)}), frozenset(), withdrawal=withdrawal)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
