"""The erasure of old models and withdrawn contributions at a node, after a closed withdrawal."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import structlog

from rescind.core.exports import delete_exports, exports_in
from rescind.node.facts import AdoptedModel, CheckedSum, Fetched, RoundFacts
from rescind.node.residuals import delete_residual
from rescind.node.session import Session
from rescind.node.withdrawal_facts import OfferedDelta, own_artifacts
from rescind.withdrawals import (
    Derived,
    Erasing,
    Erasure,
    Reason,
    erasure_facts,
    to_erase,
)


class NodeErasing(Erasing):
    """Erases what `rescind.withdrawals.to_erase` names from everything that the node keeps.

    The ledger takes each record once. So a node that dies half-way, or that was down when a
    withdrawal was closed, goes on from there at its next start.

    Args:
        session: The node's session.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session.consortium, session.journal)
        self._session = session
        self._downloads = session.config.node.state_dir / "downloads"

    @property
    def _keeps(self) -> bool:
        return self._session.config.node.keep_withdrawn

    def _finish(self, erasure: Erasure) -> None:
        session = self._session
        for artifact in erasure.files:
            session.store.delete(artifact)
            delete_residual(session, artifact)
            (self._downloads / artifact).unlink(missing_ok=True)
        delete_exports(session.config.node.exports, erasure.files)
        self._delete_checkpoints()
        session.forget_model()
        payload = {"withdrawal": erasure.withdrawal_id, "files": dict(erasure.files)}
        key = f"withdrawal/{erasure.withdrawal_id}/erased/{erasure.number}"
        session.ledger.append("erasure", payload, key=key)
        erasure.finish(session.journal)
        structlog.get_logger().info(
            "erased", withdrawal=erasure.withdrawal_id, files=len(erasure.files)
        )

    def _delete_checkpoints(self) -> None:
        """Delete checkpoints of trainings, which hold deltas and started from models that are gone.

        The checkpoint of a round that is still to be trained stays.
        """
        session, consortium = self._session, self._session.consortium
        current = consortium.current_round_id()
        trains = current and not consortium.round(current).state.over
        if not trains or consortium.excluded_by(session.me):
            shutil.rmtree(session.config.node.state_dir / "checkpoints", ignore_errors=True)

    def _found(self) -> dict[str, Reason]:
        """Return what is to be erased, and is here or was and is not on record, by artifact id."""
        session = self._session
        files = {
            fact.model_id: {fact.adapter_id, fact.opening_id}
            for fact in AdoptedModel.all(session.journal)
        }
        with session.consortium.chain.at_one_block():
            facts = erasure_facts(session.consortium, files, lambda _: list(self._derived()))
        recorded = {file for each in Erasure.all(session.journal) for file in each.files}
        parts = {path.name for path in self._downloads.glob("*")}
        parts |= {each.adapter_id for each in exports_in(session.config.node.exports)}
        own = set(own_artifacts(session.journal).values()) - recorded
        return {
            artifact: reason
            for artifact, reason in to_erase(facts).items()
            if artifact in own or artifact in parts or session.store.has(artifact)
        }

    def _derived(self) -> Iterator[Derived]:
        """Yield files that were downloaded, and the node's own that the chain may not know."""
        session = self._session
        fetched = Fetched.all(session.journal)
        for each in fetched:
            files = frozenset({each.adapter_id, each.opening_id} - {""})
            yield Derived("sum of contributions", files, frozenset(each.points))
        known = {each.adapter_id for each in fetched}
        for fact in CheckedSum.all(session.journal):
            if fact.artifact not in known:
                yield Derived("sum of contributions", frozenset({fact.artifact}))
        for facts in RoundFacts.all(session.journal):
            if facts.update is not None:
                own = facts.update.delta.artifacts
                files = frozenset({*own.values(), facts.update.fisher or ""} - {""})
                points = frozenset(own)
                yield Derived(f"update of round {facts.round_id}", files, points, session.me)
        for offered in OfferedDelta.all(session.journal):
            files = frozenset(offered.delta.artifacts.values())
            yield Derived("delta for a withdrawal", files, frozenset(), session.me)
