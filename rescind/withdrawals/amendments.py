"""Models after a withdrawal, computed before the chain registers them.

The rules are those of contracts/src/Content.sol. Every function depends only on the public record,
so a node, the aggregator and an auditor come to the same terms independently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rescind.contracts import (
    Amendment,
    Consortium,
    ModelKind,
    Offer,
    Withdrawal,
)
from rescind.core import (
    WEIGHT_ONE,
    Layout,
    Term,
    without,
)


@dataclass(frozen=True)
class Change:
    """The change that one withdrawal makes to a model.

    Attributes:
        withdrawal_id: Number of the withdrawal.
        kind: Its method.
        organization: Address of the organization that withdraws.
        excludes: Whether nothing of the organization remains.
        from_round: The first round that changes; 0 while nothing is offered.
    """

    withdrawal_id: int
    kind: ModelKind
    organization: str
    excludes: bool
    from_round: int

    @classmethod
    def of(cls, amendment: Amendment) -> Change:
        """Return the change of an amendment on chain."""
        return cls(
            amendment.withdrawal_id,
            amendment.kind,
            amendment.organization,
            amendment.excludes,
            amendment.from_round,
        )

    def replaces(self, round_id: int, organization: str) -> bool:
        """Return whether a delta offered in place of an organization's delta of a round counts.

        A replay does not change the rounds before its first one, nor what other organizations
        contributed to its first one.
        """
        if self.kind is ModelKind.REPLAY:
            own_first = round_id == self.from_round and organization == self.organization
            return round_id > self.from_round or own_first
        return self.kind is ModelKind.REPLACEMENT

    def must_replace(self, term: Term, layout: Layout) -> bool:
        """Return whether the chain refuses the new model while it holds this old delta."""
        later = self.kind is ModelKind.REPLAY and term.round_id > self.from_round > 0
        return later and (layout == "shared" or term.organization == self.organization)


@dataclass(frozen=True)
class AmendedModel:
    """A model after a withdrawal.

    Attributes:
        change: The change of the withdrawal.
        terms: The deltas in it, in the order of `Consortium.content`.
        offered: The offers that are among the terms.
        missing: Deltas that must be replaced and for which nothing is offered yet.
    """

    change: Change
    terms: tuple[Term, ...]
    offered: tuple[Offer, ...]
    missing: tuple[Term, ...]


def change_of(withdrawal: Withdrawal, rounds: Sequence[int], offers: Iterable[Offer]) -> Change:
    """Return the change of a withdrawal that is not on chain as an amendment yet.

    Args:
        withdrawal: The withdrawal.
        rounds: The final rounds that its organization contributed to.
        offers: All offers on chain.
    """
    excludes = not withdrawal.subject and withdrawal.method is not ModelKind.COUNTER_TRAINING
    own = (withdrawal.id, withdrawal.organization)
    replaced = {o.round_id for o in offers if (o.withdrawal_id, o.organization) == own}
    changed = [number for number in sorted(rounds) if excludes or number in replaced]
    first = next(iter(changed), 0)
    if withdrawal.method is ModelKind.COUNTER_TRAINING:
        first = 0
    return Change(withdrawal.id, withdrawal.method, withdrawal.organization, excludes, first)


def amend(
    source: Sequence[Term],
    change: Change,
    earlier: Sequence[Change],
    offers: Sequence[Offer],
    layout: Layout,
) -> AmendedModel:
    """Apply a change to the content of a model.

    Args:
        source: The content of the model.
        change: The change to apply.
        earlier: The changes that the model already has.
        offers: All offers, in the order of the chain.
        layout: The consortium's layout, which decides the weights.
    """
    terms = list(source)
    if change.excludes:
        terms = without(terms, [change.organization], layout)
    if change.kind is ModelKind.COUNTER_TRAINING:
        return _with_counter_deltas(terms, change, offers)
    offered: list[Offer] = []
    for index, term in enumerate(terms):
        substitute = _substitute(term, change, earlier, offers) if term.round_id else None
        if substitute is not None:
            offered.append(substitute)
            terms[index] = replace(
                term, artifact_id=substitute.artifact_id, digest_root=substitute.digest_root
            )
    new = {offer.artifact_id for offer in offered}
    missing = [t for t in terms if change.must_replace(t, layout) and t.artifact_id not in new]
    return AmendedModel(change, tuple(terms), tuple(offered), tuple(missing))


def amended_model(consortium: Consortium, withdrawal: Withdrawal, source: int) -> AmendedModel:
    """Return the model that takes the place of model `source`, with what is offered so far."""
    offers = consortium.offers()
    changes = [Change.of(amendment) for amendment in consortium.amendments()]
    change = change_of(withdrawal, consortium.rounds_of(withdrawal.organization), offers)
    earlier = changes[: consortium.model(source).amendments]
    content = consortium.content(source)
    return amend(content, change, earlier, offers, consortium.layout())  # type: ignore[arg-type]


def replay_start(amended: AmendedModel, parent: Sequence[Term], round_id: int) -> list[Term] | None:
    """Return the content of the model that a replay trains a round from.

    It holds the replay's deltas of the rounds before, and the counter-deltas that the round's
    recorded parent had.

    Args:
        amended: The model after the replay.
        parent: The content of the model from which the round was trained originally.
        round_id: The round.

    Returns:
        The terms, or None while a delta of an earlier round is missing.
    """
    if any(term.round_id < round_id for term in amended.missing):
        return None
    counter_deltas = {term.artifact_id for term in parent if not term.round_id}
    return [
        term
        for term in amended.terms
        if 0 < term.round_id < round_id
        or (not term.round_id and term.artifact_id in counter_deltas)
    ]


def concerned_models(consortium: Consortium, withdrawal: Withdrawal) -> list[int]:
    """Return the models in use that a withdrawal has yet to replace, the head first."""
    amendments = consortium.amendments()
    own = [number for number, a in enumerate(amendments, 1) if a.withdrawal_id == withdrawal.id]
    rounds = consortium.rounds_of(withdrawal.organization)
    change = change_of(withdrawal, rounds, consortium.offers())
    concerned = [
        model_id
        for model_id in consortium.models_in_use()
        if _concerns(consortium, change, own[0] if own else 0, model_id)
    ]
    head = consortium.latest_model_id()
    return sorted(concerned, key=lambda model_id: (model_id != head, model_id))


def _concerns(consortium: Consortium, change: Change, amendment: int, model_id: int) -> bool:
    """`amendment`: the number of the change on chain, 0 before it has one."""
    model = consortium.model(model_id)
    if amendment and model.amendments >= amendment:
        return False
    if consortium.is_clean(model_id, change.organization):
        return False
    all_rounds = change.kind is ModelKind.COUNTER_TRAINING or change.excludes
    return all_rounds or 0 < change.from_round <= model.round_id


def _with_counter_deltas(
    terms: Sequence[Term], change: Change, offers: Sequence[Offer]
) -> AmendedModel:
    """Counter-deltas come first, in the order in which they were offered."""
    offered = [o for o in offers if o.withdrawal_id == change.withdrawal_id]
    order = [o.artifact_id for o in offers if not o.round_id]
    counters = [t for t in terms if not t.round_id] + [_counter_delta(o) for o in offered]
    counters.sort(key=lambda term: order.index(term.artifact_id))
    kept = [t for t in terms if t.round_id]
    return AmendedModel(change, (*counters, *kept), tuple(offered), ())


def _substitute(
    term: Term, change: Change, earlier: Sequence[Change], offers: Sequence[Offer]
) -> Offer | None:
    """The change's own offer, unless an earlier withdrawal's offer came after it."""
    change_of = {each.withdrawal_id: each for each in [*earlier, change]}
    latest: dict[int, Offer] = {}
    for offer in offers:
        if (offer.round_id, offer.organization) == (term.round_id, term.organization):
            # Remove first, so that an offer that is repeated moves to the end of the order.
            latest.pop(offer.withdrawal_id, None)
            latest[offer.withdrawal_id] = offer
    for offer in reversed(latest.values()):
        made_for = change_of.get(offer.withdrawal_id)
        if made_for is not None and made_for.replaces(term.round_id, term.organization):
            return offer if made_for is change else None
    return None


def _counter_delta(offer: Offer) -> Term:
    return Term(0, offer.organization, offer.artifact_id, WEIGHT_ONE, offer.digest_root)
