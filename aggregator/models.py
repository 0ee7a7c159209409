"""The files of models: adapters and openings, summed in integers from what members contributed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog

from rescind.aggregator.adapter_file import written
from rescind.aggregator.checks import judge
from rescind.aggregator.facts import ModelFact, SumFact
from rescind.aggregator.incidents import AGGREGATOR
from rescind.aggregator.model_base import ModelBase, Share
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.withdrawal_facts import WithdrawalProgress
from rescind.contracts import Entry, WithdrawalState
from rescind.core import SHARED, Term, encode_openings, sum_key
from rescind.core.errors import ArtifactError, RescindError
from rescind.core.sums import Load
from rescind.wire import ModelFiles, NotPublished
from rescind.withdrawals import RecordedModel, accept, record_of, terms_of

HAND_OVER_SECONDS = 150
"""How long the files of models wait for a contribution that is not in the store. Every node offers
its own once a minute; without the wait a new aggregator would publish a model without anyone's."""


class ContributionsMissing(RescindError):
    """Contributions that a sum needs are not in the aggregator's store."""

    code = "contributions-missing"


class _BaseUnusable(RescindError):
    """A sum that goes on from the model before does not open."""

    code = "base-unusable"


@dataclass(frozen=True)
class Due:
    """Files that the models in use need.

    Attributes:
        unbuilt: Models whose files are to be built.
        unpublished: Models whose files are to be published.
        awaited: Models whose files wait for contributions that are not in the store.
    """

    unbuilt: tuple[int, ...] = ()
    unpublished: tuple[int, ...] = ()
    awaited: tuple[int, ...] = ()


def _named(terms: Iterable[Term]) -> str:
    """Say which contributions of a shared layout cannot be summed."""
    names = ", ".join(f"{term.organization} (round {term.round_id})" for term in terms)
    return (
        f"contributions are missing or do not open to their registered points: {names}. Their "
        "organizations can hand them over, or be removed"
    )


class Models:
    """Builds and publishes the files of models.

    Args:
        session: The aggregator's session.
    """

    def __init__(self, session: AggregatorSession) -> None:
        self._session = session
        self._opened: set[Term] = set()
        self._missed: dict[str, int] = {}
        self._summing = threading.Lock()
        self._log = structlog.get_logger().bind(organization="aggregator")

    def due(self) -> Due:
        """Return which models in use need files, or need their files published."""
        session, consortium = self._session, self._session.consortium
        unbuilt, unpublished, awaited = [], [], []
        for model_id in consortium.models_in_use():
            if consortium.is_stale(model_id):
                continue
            fact = self._fact(model_id)
            if fact is None and not self._can_be_built(model_id):
                awaited.append(model_id)
            elif fact is None or any(session.store.has(each) for each in fact.missing):
                unbuilt.append(model_id)
            elif fact.adapter_id and not fact.published:
                unpublished.append(model_id)
        return Due(tuple(unbuilt), tuple(unpublished), tuple(awaited))

    def _can_be_built(self, model_id: int) -> bool:
        """Return whether a model's contributions are all there, or were waited for.

        Each contribution is waited for once, not once for each model: a member that never hands one
        over must not delay every later model.
        """
        session = self._session
        terms = self.terms(session.consortium.contents(model_id))
        missing = [t.artifact_id for t in terms if not session.store.has(t.artifact_id)]
        if not missing:
            return True
        # In memory only: an aggregator that starts again waits again.
        now = session.consortium.chain.now()
        since = [self._missed.setdefault(each, now) for each in missing]
        return now >= max(since) + HAND_OVER_SECONDS

    def build(self, model_id: int) -> None:
        """Build the files of a model and check them as any holder does.

        In blocks, owners whose contributions are missing or do not open are left out; in a shared
        layout the model then has no files. A new attempt is made when a missing contribution came.
        """
        session = self._session
        began = time.monotonic()
        record = record_of(session.consortium, model_id)
        commitments = session.consortium.commitments(model_id)
        terms = self.terms(record.entries)
        missing = tuple(t.artifact_id for t in terms if not session.store.has(t.artifact_id))
        try:
            adapter_id, opening_id, problem = self._build(record, terms)
        except (ArtifactError, ContributionsMissing) as error:
            adapter_id, opening_id, problem = "", "", str(error)
        if problem:
            self._log.warning("model is not complete", model=model_id, reason=problem)
            session.record_incident(
                AGGREGATOR, "model-incomplete", f"model {model_id}: {problem}", at_will=False
            )
        former = tuple(ModelFact.built(session.journal, model_id) - {adapter_id, opening_id})
        ModelFact(
            model_id, commitments, adapter_id, opening_id, missing, problem, former=former
        ).save(session.journal)
        self._note_withdrawals(model_id, adapter_id, time.monotonic() - began)

    def publish(self, model_id: int) -> None:
        """State on chain which files are a model."""
        fact = self._fact(model_id)
        if fact is None or not fact.adapter_id:
            return
        consortium = self._session.consortium
        files = (fact.adapter_id, fact.opening_id)
        # An earlier aggregator may have stated the same: a member believes only the present one.
        aggregator = consortium.aggregator()
        said = [each for each in consortium.publications(model_id) if each.publisher == aggregator]
        if not any((each.adapter_id, each.opening_id) == files for each in said):
            consortium.publish(model_id, *files)
        replace(fact, published=True).save(self._session.journal)

    def files(self, model_id: int) -> ModelFiles:
        """Return the files of a model.

        Raises:
            NotPublished: They are not built, or cannot be built.
        """
        fact = self._fact(model_id) if model_id else None
        if fact is None or not fact.adapter_id:
            raise NotPublished(f"the files of model {model_id} are not built yet")
        return ModelFiles(model_id, fact.adapter_id, fact.opening_id)

    def newest(self) -> ModelFiles:
        """Return the files of the head, or while they are not built, of the model it succeeds."""
        consortium = self._session.consortium
        model_id = consortium.latest_model_id()
        while model_id:
            fact = self._fact(model_id)
            if fact is not None and fact.adapter_id:
                return ModelFiles(model_id, fact.adapter_id, fact.opening_id)
            model_id = consortium.model(model_id).source
        return ModelFiles()

    def terms(self, entries: Iterable[Entry]) -> list[Term]:
        """Return the contribution behind each entry, with its weight."""
        return terms_of(self._session.consortium, entries)

    def sum_of(self, entries: Sequence[Entry]) -> ModelFiles:
        """Publish the sum of some entries of a shared layout, with its opening.

        Raises:
            NotPublished: A contribution is missing, or does not open to its point.
        """
        terms = self.terms(entries)
        if not terms:
            return ModelFiles()
        # Members ask for the same sum at the same time, and again when a call takes too long.
        with self._summing:
            return self._sum_of(entries, terms)

    def _sum_of(self, entries: Sequence[Entry], terms: Sequence[Term]) -> ModelFiles:
        journal, store = self._session.journal, self._session.store
        fact = SumFact.load(journal, terms)
        if fact is None or not (store.has(fact.adapter_id) and store.has(fact.opening_id)):
            points = self._session.consortium.points({each.point_hash for each in entries})
            record = RecordedModel(0, tuple(entries), (), points)
            try:
                adapter_id, opening_id, _ = self._build(record, terms)
            except (ArtifactError, ContributionsMissing) as error:
                raise NotPublished(f"the sum cannot be built yet: {error}") from error
            fact = SumFact(sum_key(terms), adapter_id, opening_id, tuple(points))
            fact.save(journal)
        return ModelFiles(0, fact.adapter_id, fact.opening_id)

    def missing_of(self, organization: str) -> list[str]:
        """Return the contributions of an organization to models in use that are not in the store."""
        consortium, store = self._session.consortium, self._session.store
        wanted: dict[str, None] = {}
        for model_id in consortium.models_in_use():
            fact = self._fact(model_id)
            if fact is not None and not fact.missing:
                continue
            own = [e for e in consortium.contents(model_id) if e.organization == organization]
            for term in self.terms(own):
                if not store.has(term.artifact_id):
                    wanted[term.artifact_id] = None
        return list(wanted)

    def opens(self, term: Term) -> bool:
        """Return whether a stored contribution is well-formed and opens to its registered point.

        A member may have registered anything for its own withdrawal. A delta of other shapes than
        the agreed ones would end the sum of all, so it counts as missing.
        """
        session = self._session
        if not session.store.has(term.artifact_id):
            return False
        if term not in self._opened:
            verdict = judge(
                term.organization,
                term.artifact_id,
                session.store,
                session.digests,
                session.parameters,
                submitted=True,
                point_hash=term.point_hash,
                round_id=term.round_id,
                part=term.part,
                member=session.consortium.member(term.organization).number,
            )
            if not verdict.accepted:
                return False
            self._opened.add(term)
        return True

    def _fact(self, model_id: int) -> ModelFact | None:
        """Return the files of a model; None before they are built, and once the store lost them."""
        session = self._session
        commitments = session.consortium.commitments(model_id)
        fact = ModelFact.load(session.journal, model_id, commitments)
        if fact is None or not fact.adapter_id:
            return fact
        files = (fact.adapter_id, fact.opening_id)
        return fact if all(session.store.has(each) for each in files) else None

    def _build(self, record: RecordedModel, terms: Sequence[Term]) -> tuple[str, str, str]:
        """Return the ids of adapter and openings, and in blocks who is left out and why."""
        base = self._base(record.model_id)
        try:
            return self._built(record, terms, base)
        except _BaseUnusable as error:
            self._log.warning("summed from all contributions", reason=str(error))
        return self._built(record, terms, None)

    def _base(self, model_id: int) -> ModelBase | None:
        """Return the model that a model was made from; None if it cannot be used."""
        source = self._session.consortium.model(model_id).source if model_id else 0
        if not source:
            return None
        terms = self.terms(self._session.consortium.contents(source))
        return ModelBase.load(self._session, self._fact(source), terms)

    def _built(
        self, record: RecordedModel, terms: Sequence[Term], base: ModelBase | None
    ) -> tuple[str, str, str]:
        session, parameters = self._session, self._session.parameters
        forms = parameters.parts
        owned: dict[str, list[Term]] = {}
        for term in terms:
            owned.setdefault(forms[term.part].owner(term.organization), []).append(term)
        shares = {name: Share.of(name, group, base) for name, group in owned.items()}
        lost = {name for name, share in shares.items() if not all(map(self.opens, share.new))}
        if SHARED in lost:
            raise ContributionsMissing(_named(term for term in terms if not self.opens(term)))
        kept = {name: share for name, share in shares.items() if name not in lost}
        openings = {name: share.opening(session.digests.of) for name, share in kept.items()}
        groups = {name: share.terms for name, share in kept.items()}
        # A file that changes between two looks gives a sum that does not open.
        load: Load = session.store.load
        reload: Load = partial(session.store.load, check=False)
        if base is not None:
            load, reload = base.loader(load), base.loader(reload)
        shapes, sums = parameters.delta_shapes(), parameters.summed_shapes
        with written(session.building, groups, shapes, load, reload, sums=sums) as file:
            digests = file.scanned.digests
            acceptance = accept(record, parameters, file.tensors(), openings, digests)
            failed = {check.owner for check in acceptance.owners if not check.opened}
            if any(kept[name].base for name in failed & kept.keys()):
                raise _BaseUnusable(acceptance.sentence())
            if not acceptance.servable:
                raise ContributionsMissing(acceptance.sentence())
            adapter_id = session.publish_file(file.path, file.scanned.artifact_id)
        problem = "" if acceptance.complete else acceptance.sentence()
        return adapter_id, session.publish(encode_openings(openings.values())), problem

    def _note_withdrawals(self, model_id: int, adapter_id: str, seconds: float) -> None:
        """Record the progress of the open withdrawals that are in a model."""
        consortium, journal = self._session.consortium, self._session.journal
        amendments = consortium.model(model_id).amendments
        for withdrawal in consortium.withdrawals():
            over = withdrawal.state is WithdrawalState.CLOSED
            if over or not 0 < withdrawal.amendment <= amendments:
                continue
            WithdrawalProgress(
                withdrawal=withdrawal.id,
                organization=withdrawal.organization,
                method=withdrawal.method.value,
                adapter=adapter_id,
                began=float(withdrawal.requested_at),
                arithmetic_seconds=seconds,
            ).save(journal)
