"""Statistics that a later contribution took the place of: their files are deleted."""

from __future__ import annotations

import structlog

from rescind.aggregator.session import AggregatorSession
from rescind.contracts import ConsortiumReader, Rule, WithdrawalState


def delete_superseded(session: AggregatorSession) -> None:
    """Delete statistics that are in no model in use, between rounds and withdrawals.

    An organization's latest statistics alone count, so each round's replace those before. They hold
    what data subjects took back since, and a disk would fill with them.
    """
    consortium = session.consortium
    if Rule.LATEST not in consortium.settings().rules or session.config.aggregator.keep_withdrawn:
        return
    with consortium.chain.at_one_block():
        files = _superseded(consortium)
    for artifact in sorted(files):
        if session.store.has(artifact):
            session.store.delete(artifact)
            structlog.get_logger().info("superseded statistics deleted", artifact=artifact)


def _superseded(consortium: ConsortiumReader) -> set[str]:
    round_id = consortium.current_round_id()
    if not round_id or not consortium.round(round_id).state.over:
        return set()
    if any(each.state is not WithdrawalState.CLOSED for each in consortium.withdrawals()):
        return set()
    # A round whose contributions auditors have yet to attest needs them.
    last = consortium.attested_up_to() if consortium.settings().attested else round_id
    parts = [p for p, rule in enumerate(consortium.settings().rules) if rule is Rule.LATEST]
    models = {consortium.latest_model_id(), *consortium.models_in_use()} - {0}
    used = {entry.point_hash for model in models for entry in consortium.contents(model)}
    registered = [
        each for number in range(1, last + 1) for each in consortium.contributions(number)
    ]
    return {
        each.parts.artifact_ids[part]
        for each in [*registered, *consortium.offers()]
        for part in parts
        if each.parts.point_hashes[part] not in used
    }
