"""Decide what may be erased after closed withdrawals, as a pure function of the public record.

Both daemons use it: the aggregator and every node hold files of models and contributions. The
function works on the registered points and the ids of files, so it needs neither bytes nor keys.

1. An amendment is settled once every withdrawal that it is for is closed.
2. A contribution that a settled amendment took out of the models, and a model that holds one, are
   withdrawn. A model in use is never withdrawn.
3. What models in use, the round under way, open withdrawals and pending attestations need is kept.
4. All else that is withdrawn, and every sum that holds a withdrawn contribution, is to be erased.

A withdrawal that was requested after another was closed holds nothing of that other one back, so a
series of requests cannot put an erasure off for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rescind.contracts import REPLAY_OFFERS, Amendment, ModelKind, WithdrawalMethod

_TRAINS_FROM_PARENTS = (WithdrawalMethod.REPLACEMENT, WithdrawalMethod.REPLAY)


@dataclass(frozen=True)
class Registered:
    """A part of a contribution, as an event on chain registered it.

    Attributes:
        point_hash: Hash of its point.
        artifact_id: Its file.
        organization: The contributor.
        round_id: The round; 0 for a counter-delta.
        offer_id: 0 for what was revealed in the round; otherwise the withdrawal or the replay.
    """

    point_hash: str
    artifact_id: str
    organization: str
    round_id: int
    offer_id: int = 0


@dataclass(frozen=True)
class HeldModel:
    """A model of the chain, and the files of it that are at hand.

    Attributes:
        model_id: Its number.
        source: The model that it succeeds.
        kind: What it was folded for.
        amendments: How many amendments its content has.
        content: Points of the contributions in it.
        artifacts: Adapters and openings that anyone stated for it, or that were built for it.
    """

    model_id: int
    source: int
    kind: ModelKind
    amendments: int
    content: frozenset[str]
    artifacts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class HeldWithdrawal:
    """A withdrawal, as far as erasure depends on it.

    Attributes:
        withdrawal_id: Its number.
        organization: Whose contributions it concerns.
        method: How it is carried out.
        requested: Place of its request in the order of requests and closings on chain.
        closed: Place of its closing in that order; None while it is open.
        replay: The replay that it joined; 0 for none.
        evidence: SHA-256 of what auditors attested; empty for nothing.
    """

    withdrawal_id: int
    organization: str
    method: WithdrawalMethod
    requested: int
    closed: int | None = None
    replay: int = 0
    evidence: str = ""


@dataclass(frozen=True)
class Derived:
    """Files that were computed from contributions: a sum with its opening, a Fisher, evidence.

    Attributes:
        what: What it is, in words.
        artifacts: Ids of the files.
        points: Points of the contributions in it; None if that is not known.
        organization: Whose alone it is: it goes with the organization. Empty for a common file.
        withdrawal: For evidence, the withdrawal that it was written for.
    """

    what: str
    artifacts: frozenset[str]
    points: frozenset[str] | None = None
    organization: str = ""
    withdrawal: int = 0


@dataclass(frozen=True)
class ErasureFacts:
    """Everything that an erasure depends on.

    Attributes:
        contributions: Every registered part of a contribution, in the order of the chain.
        models: Models of the chain. Those whose files are not at hand may be left out, unless they
            are in use, the round's parent, or the source of an amended model.
        in_use: Models in use, stale ones too.
        amendments: Every amendment, in order.
        withdrawals: Every withdrawal.
        parent: The model that the round under way starts from; 0 if no round is under way.
        round_id: The round under way; 0 for none.
        parents: The recorded parent of each round, where rounds are chained; empty in blocks.
        unattested: Points of accepted contributions to final rounds that auditors have not attested
            yet, where the consortium asks for it.
        derived: Files that were computed from contributions.
        needed: Files that are needed whatever the chain says, for example the agreed parameters.
    """

    contributions: tuple[Registered, ...]
    models: tuple[HeldModel, ...]
    in_use: frozenset[int]
    amendments: tuple[Amendment, ...] = ()
    withdrawals: tuple[HeldWithdrawal, ...] = ()
    parent: int = 0
    round_id: int = 0
    parents: Mapping[int, int] = field(default_factory=dict)
    unattested: frozenset[str] = frozenset()
    derived: tuple[Derived, ...] = ()
    needed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reason:
    """Why a file is to be erased: the withdrawal, and what the file is, in words."""

    withdrawal_id: int
    what: str


def to_erase(facts: ErasureFacts) -> dict[str, Reason]:
    """Return the files to erase, by artifact id, each with its reason.

    A file that is not at hand may be among them: that it is not must be checked by the caller.
    """
    return _Plan(facts).erased()


class _Plan:
    """The steps of `to_erase`, with what they share."""

    def __init__(self, facts: ErasureFacts) -> None:
        self._facts = facts
        self._models = {model.model_id: model for model in facts.models}
        self._registered: dict[str, list[Registered]] = {}
        for each in facts.contributions:
            self._registered.setdefault(each.point_hash, []).append(each)
        self._settled = dict(self._settlements())

    def erased(self) -> dict[str, Reason]:
        points, models = self._withdrawn_points(), self._withdrawn_models()
        kept_models = self._kept_models(models)
        kept_points = self._kept_points(kept_models)
        kept = self._kept_files(kept_models, kept_points)
        result: dict[str, Reason] = {}
        for point in sorted(points):
            for each in self._registered[point]:
                what = f"contribution of {each.organization} to {_place(each)}"
                result.setdefault(each.artifact_id, Reason(points[point], what))
        for model_id, withdrawals in sorted(models.items()):
            for artifact in sorted(self._models[model_id].artifacts):
                result.setdefault(artifact, Reason(withdrawals[0], f"file of model {model_id}"))
        withdrawn_points = {point: points[point] for point in points if point not in kept_points}
        for derived in self._facts.derived:
            withdrawal = self._withdrawn_by(derived, withdrawn_points)
            for artifact in sorted(derived.artifacts) if withdrawal else ():
                result.setdefault(artifact, Reason(withdrawal, derived.what))
        return {artifact: why for artifact, why in result.items() if artifact not in kept}

    # 1. Settled amendments.

    def _settlements(self) -> Iterator[tuple[int, int]]:
        """Yield each settled amendment with the last withdrawal that it is for."""
        for amendment in self._facts.amendments:
            concerned = list(self._withdrawals_of(amendment))
            if concerned and all(each.closed is not None for each in concerned):
                last = max(concerned, key=lambda each: each.closed or 0)
                yield amendment.number, last.withdrawal_id

    def _withdrawals_of(self, amendment: Amendment) -> Iterator[HeldWithdrawal]:
        for each in self._facts.withdrawals:
            if amendment.kind is ModelKind.REMOVAL:
                concerned = each.organization == amendment.organization
            elif amendment.offer_id >= REPLAY_OFFERS:
                concerned = each.replay == amendment.offer_id
            else:
                concerned = each.withdrawal_id == amendment.offer_id
            if concerned:
                yield each

    # 2. What is withdrawn.

    def _withdrawn_points(self) -> dict[str, int]:
        """Return the withdrawn points, each with the withdrawal that it is withdrawn for."""
        result: dict[str, int] = {}
        for amendment in self._facts.amendments:
            withdrawal = self._settled.get(amendment.number)
            if withdrawal is None or amendment.kind is ModelKind.COUNTER_TRAINING:
                continue
            for each in self._facts.contributions:
                if _concerns(amendment, each):
                    result.setdefault(each.point_hash, withdrawal)
        for each in self._facts.contributions:
            # Also what was offered and is in no model: a repeated offer, or one that was given up.
            if each.offer_id and (closed := self._offered_for(each.offer_id)):
                result.setdefault(each.point_hash, closed)
        return result

    def _offered_for(self, offer_id: int) -> int:
        """Return the last withdrawal of an offer if all of them are closed, else 0."""
        concerned = [
            each
            for each in self._facts.withdrawals
            if offer_id in (each.withdrawal_id, each.replay)
        ]
        if not concerned or any(each.closed is None for each in concerned):
            return 0
        return max(concerned, key=lambda each: each.closed or 0).withdrawal_id

    def _withdrawn_models(self) -> dict[int, list[int]]:
        """Return the withdrawn models, each with the withdrawals that it is withdrawn for."""
        result: dict[int, list[int]] = {}
        for amendment in self._facts.amendments:
            if amendment.number not in self._settled:
                continue
            for model in self._models.values():
                old = model.amendments < amendment.number and self._holds(model, amendment)
                if old and model.model_id not in self._facts.in_use:
                    withdrawal = self._settled[amendment.number]
                    result.setdefault(model.model_id, []).append(withdrawal)
        return result

    def _holds(self, model: HeldModel, amendment: Amendment) -> bool:
        """Return whether a model holds a contribution that an amendment changes."""
        return any(
            _concerns(amendment, each)
            for point in model.content
            for each in self._registered.get(point, ())
        )

    # 3. What is kept.

    def _kept_models(self, withdrawn: Mapping[int, Sequence[int]]) -> set[int]:
        facts = self._facts
        kept = set(self._models) - set(withdrawn)
        kept |= facts.in_use | {facts.parent}
        unsettled = [a.number for a in facts.amendments if a.number not in self._settled]
        for model in facts.models:
            # The evidence of an open withdrawal compares the model with the one before it.
            if model.kind is not ModelKind.ROUND and model.amendments in unsettled:
                kept.add(model.source)
        kept |= set(self._held_back(withdrawn))
        return kept & set(self._models)

    def _held_back(self, withdrawn: Mapping[int, Sequence[int]]) -> Iterator[int]:
        """Yield the withdrawn models from which an open withdrawal trains rounds again.

        A model that was withdrawn already when the open withdrawal was requested is not held back.
        """
        facts = self._facts
        closed = {each.withdrawal_id: each.closed for each in facts.withdrawals}
        for each in facts.withdrawals:
            if each.closed is not None or each.method not in _TRAINS_FROM_PARENTS:
                continue
            for number in self._rounds_of(each.organization) & set(facts.parents):
                parent = facts.parents[number]
                closings = [closed[withdrawal] or 0 for withdrawal in withdrawn.get(parent, ())]
                if all(each.requested < closing for closing in closings):
                    yield parent

    def _rounds_of(self, organization: str) -> set[int]:
        return {
            each.round_id for each in self._facts.contributions if each.organization == organization
        }

    def _kept_points(self, kept_models: Iterable[int]) -> set[str]:
        facts = self._facts
        kept = set(facts.unattested)
        for model_id in kept_models:
            kept |= self._models[model_id].content
        for each in facts.contributions:
            in_flight = facts.round_id and not each.offer_id and each.round_id == facts.round_id
            awaited = each.offer_id and not self._offered_for(each.offer_id)
            if in_flight or awaited:
                kept.add(each.point_hash)
        return kept

    def _kept_files(self, kept_models: Iterable[int], kept_points: Iterable[str]) -> set[str]:
        kept = set(self._facts.needed)
        for point in kept_points:
            kept |= {each.artifact_id for each in self._registered.get(point, ())}
        for model_id in kept_models:
            kept |= self._models[model_id].artifacts
        # What was attested for a closed withdrawal is what its certificate names.
        return kept | {each.evidence for each in self._facts.withdrawals if each.evidence}

    # 4. What is derived.

    def _withdrawn_by(self, derived: Derived, withdrawn_points: Mapping[str, int]) -> int:
        """Return the withdrawal for which a derived file is erased, or 0."""
        if derived.organization and (removed := self._removed(derived.organization)):
            return removed
        if derived.withdrawal:
            own = [w for w in self._facts.withdrawals if w.withdrawal_id == derived.withdrawal]
            return derived.withdrawal if own and own[0].closed is not None else 0
        held = (
            withdrawn_points
            if derived.points is None
            else [p for p in withdrawn_points if p in derived.points]
        )
        return max((withdrawn_points[point] for point in held), default=0)

    def _removed(self, organization: str) -> int:
        """Return the closed withdrawal by which an organization is out, or 0."""
        removals = [
            each.number
            for each in self._facts.amendments
            if each.kind is ModelKind.REMOVAL and each.organization == organization
        ]
        return max((self._settled.get(number, 0) for number in removals), default=0)


def _concerns(amendment: Amendment, each: Registered) -> bool:
    """Return whether an amendment changes a contribution, or takes it out."""
    if amendment.kind is ModelKind.REPLAY:
        in_rounds = amendment.from_round <= each.round_id <= amendment.to_round
        return in_rounds and each.offer_id != amendment.offer_id
    if each.organization != amendment.organization:
        return False
    if amendment.kind is ModelKind.REPLACEMENT:
        in_rounds = each.round_id >= max(1, amendment.from_round)
        return in_rounds and each.offer_id != amendment.offer_id
    return True


def _place(each: Registered) -> str:
    return f"round {each.round_id}" if each.round_id else "a counter-training"
