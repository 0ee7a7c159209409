"""What a withdrawal makes of a model, before the chain says so: the rules of contracts/src/Content.sol.

Everything here is a function of the public record, so a node, the aggregator and an auditor come to the
same terms by themselves.
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
    """What one withdrawal changes. `excludes`: whether the organization is gone; `from_round`: the
    first round that changes, 0 while nothing is offered."""

    withdrawal_id: int
    kind: ModelKind
    organization: str
    excludes: bool
    from_round: int

    @classmethod
    def of(cls, it: Amendment) -> Change:
        return cls(it.withdrawal_id, it.kind, it.organization, it.excludes, it.from_round)

    def replaces(self, round_id: int, organization: str) -> bool:
        """Whether a delta offered for it counts. A replay leaves alone what was before it, and what
        others gave in its first round."""
        if self.kind is ModelKind.REPLAY:
            first = round_id == self.from_round and organization == self.organization
            return round_id > self.from_round or first
        return self.kind is ModelKind.REPLACEMENT

    def must_replace(self, term: Term, layout: Layout) -> bool:
        """Whether the sum is refused while this delta is the old one."""
        later = self.kind is ModelKind.REPLAY and term.round_id > self.from_round > 0
        return later and (layout == "shared" or term.organization == self.organization)


@dataclass(frozen=True)
class Amended:
    """A model after a withdrawal. `terms`: as `Consortium.content` gives them; `offered`: the offers
    among them; `lacking`: deltas that must be replaced and are not yet."""

    change: Change
    terms: tuple[Term, ...]
    offered: tuple[Offer, ...]
    lacking: tuple[Term, ...]


def change_of(it: Withdrawal, rounds: Sequence[int], offers: Iterable[Offer]) -> Change:
    """`rounds`: final ones that the organization contributed to."""
    excludes = not it.subject and it.method is not ModelKind.COUNTER_TRAINING
    mine = {
        o.round_id for o in offers if (o.withdrawal_id, o.organization) == (it.id, it.organization)
    }
    changed = [n for n in sorted(rounds) if excludes or n in mine]
    first = 0 if it.method is ModelKind.COUNTER_TRAINING else next(iter(changed), 0)
    return Change(it.id, it.method, it.organization, excludes, first)


def amend(
    source: Sequence[Term],
    change: Change,
    earlier: Sequence[Change],
    offers: Sequence[Offer],
    layout: Layout,
) -> Amended:
    """`source`: what a model is made of; `earlier`: the withdrawals that it already has."""
    terms, offered = list(source), []
    if change.excludes:
        terms = without(terms, [change.organization], layout)
    if change.kind is ModelKind.COUNTER_TRAINING:
        given = [o for o in offers if o.withdrawal_id == change.withdrawal_id]
        order = [o.artifact_id for o in offers if not o.round_id]
        counters = [t for t in terms if not t.round_id] + [_counter(o) for o in given]
        counters.sort(key=lambda t: order.index(t.artifact_id))
        terms = [*counters, *(t for t in terms if t.round_id)]
        return Amended(change, tuple(terms), tuple(given), ())
    for place, term in enumerate(terms):
        its = _substitute(term, change, earlier, offers) if term.round_id else None
        if its is not None:
            offered.append(its)
            terms[place] = replace(term, artifact_id=its.artifact_id, digest_root=its.digest_root)
    new = {o.artifact_id for o in offered}
    lacking = [t for t in terms if change.must_replace(t, layout) and t.artifact_id not in new]
    return Amended(change, tuple(terms), tuple(offered), tuple(lacking))


def amended_model(consortium: Consortium, it: Withdrawal, source: int) -> Amended:
    """What the model in place of `source` is made of, from what is offered so far."""
    offers = consortium.offers()
    made = [Change.of(a) for a in consortium.amendments()]
    change = change_of(it, consortium.rounds_of(it.organization), offers)
    earlier = made[: consortium.model(source).amendments]
    content = consortium.content(source)
    return amend(content, change, earlier, offers, consortium.layout())  # type: ignore[arg-type]


def start_of(amended: Amended, parent: Sequence[Term], round_id: int) -> list[Term] | None:
    """What a round starts from in a replay: what the replay has of the rounds before, and the
    counter-deltas that its recorded `parent` had. None while a delta of a round before is lacking."""
    if any(t.round_id < round_id for t in amended.lacking):
        return None
    known = {t.artifact_id for t in parent if not t.round_id}
    return [
        t
        for t in amended.terms
        if 0 < t.round_id < round_id or (not t.round_id and t.artifact_id in known)
    ]


def concerned_models(consortium: Consortium, it: Withdrawal) -> list[int]:
    """Models in use that the withdrawal has yet to replace, the head first."""
    amendments = consortium.amendments()
    by = next((n for n, a in enumerate(amendments, 1) if a.withdrawal_id == it.id), 0)
    change = change_of(it, consortium.rounds_of(it.organization), consortium.offers())
    found = [n for n in consortium.models_in_use() if _concerns(consortium, change, by, n)]
    head = consortium.latest_model_id()
    return sorted(found, key=lambda n: (n != head, n))


def _concerns(consortium: Consortium, change: Change, by: int, model_id: int) -> bool:
    model = consortium.model(model_id)
    if by and model.amendments >= by:
        return False
    if consortium.is_clean(model_id, change.organization):
        return False
    everything = change.kind is ModelKind.COUNTER_TRAINING or change.excludes
    return everything or 0 < change.from_round <= model.round_id


def _substitute(
    term: Term, change: Change, earlier: Sequence[Change], offers: Sequence[Offer]
) -> Offer | None:
    """The change's own offer, unless one of an earlier withdrawal was offered after it."""
    known = {it.withdrawal_id: it for it in [*earlier, change]}
    last: dict[int, Offer] = {}
    for offer in offers:
        if (offer.round_id, offer.organization) == (term.round_id, term.organization):
            last.pop(offer.withdrawal_id, None)
            last[offer.withdrawal_id] = offer
    for offer in reversed(last.values()):
        its = known.get(offer.withdrawal_id)
        if its is not None and its.replaces(term.round_id, term.organization):
            return offer if its is change else None
    return None


def _counter(offer: Offer) -> Term:
    return Term(0, offer.organization, offer.artifact_id, WEIGHT_ONE, offer.digest_root)
