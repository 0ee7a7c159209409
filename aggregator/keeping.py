"""How long an aggregator keeps the files of a model in blocks: until later rounds took its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import structlog

from rescind.aggregator.facts import ModelFact, Published
from rescind.aggregator.session import AggregatorSession
from rescind.contracts import Model, ModelKind, WithdrawalState

NEWEST_KEPT = 4
"""The newest models stay, whether or not they are in use: a member may be fetching one."""


def superseded(models: Iterable[Model], needed: Collection[int]) -> list[int]:
    """Return the models whose files no one needs any more.

    A model that a withdrawal made stays, and the one that it was made from: certificates name both.

    Args:
        models: Every model of the chain, by ascending number.
        needed: Models that are needed besides.
    """
    made = list(models)
    amended = [each for each in made if each.kind is not ModelKind.ROUND]
    kept = {*needed, *(each.id for each in made[-NEWEST_KEPT:])}
    kept |= {number for each in amended for number in (each.id, each.source)}
    return [each.id for each in made if each.id not in kept]


class Keeping:
    """Deletes, in blocks, the files of models that later rounds took the place of.

    Each file has the blocks of all members, so a disk would fill with them. In a shared layout a
    replay starts from old models, which all stay. While a withdrawal is open nothing is deleted,
    because its evidence compares models.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        self._session = session
        self._seen = 0

    def delete_superseded(self) -> None:
        """Delete what is superseded, if there are models that were not looked at yet."""
        session, consortium = self._session, self._session.consortium
        if session.config.aggregator.keep_withdrawn or session.parameters.layout != "blocks":
            return
        with consortium.chain.at_one_block():
            count = consortium.model_count()
            if count == self._seen or consortium.settings().chained or _awaited(session):
                return
            round_id = consortium.current_round_id()
            needed = {consortium.latest_model_id(), *consortium.models_in_use()}
            needed |= {consortium.round(round_id).parent_model} if round_id else set()
            old = superseded([consortium.model(number) for number in range(1, count + 1)], needed)
        _delete(session, set(old) - _in_evidence(session))
        self._seen = count


def _awaited(session: AggregatorSession) -> bool:
    """Return whether a withdrawal is open, or auditors have not attested a round that is over."""
    consortium = session.consortium
    if any(each.state is not WithdrawalState.CLOSED for each in consortium.withdrawals()):
        return True
    unattested = consortium.attested_up_to() + 1 < consortium.current_round_id()
    return consortium.settings().attested and unattested


def _in_evidence(session: AggregatorSession) -> set[int]:
    """Return the models that evidence of this aggregator is about."""
    files = (session.folder / "evidence").glob("withdrawal-*-model-*.json")
    return {int(path.stem.rpartition("-")[2]) for path in files}


def _delete(session: AggregatorSession, models: Collection[int]) -> None:
    facts = ModelFact.all(session.journal)
    # Two models can be the same bytes.
    needed = {file for fact in facts if fact.model_id not in models for file in fact.files}
    for fact in facts:
        if fact.model_id not in models:
            continue
        for file in sorted(fact.files - needed):
            published = Published(file)
            if published.holds(session.journal) or session.store.has(file):
                # First of all no member can download it any more.
                published.delete(session.journal)
                session.store.delete(file)
                structlog.get_logger().info("superseded file deleted", model=fact.model_id)
