"""The training of a delta: choose examples, train, quantize, store, and record how it was done."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from rescind.core import (
    HIDING,
    INFINITY,
    SHARED,
    FloatTensors,
    IntTensors,
    block,
    commit,
    digest,
    encode,
    materialize,
    owner,
    qualify,
)
from rescind.core.errors import DataError, RescindError
from rescind.daemon import Tell
from rescind.ledger import Manifest, sample_bytes
from rescind.node import fisher
from rescind.node.commit_deadline import commit_deadline
from rescind.node.engine import account, run_key, trainer
from rescind.node.facts import DeltaFact, PartFact, RoundFacts, Update, next_nonce
from rescind.node.hiding import hiding_noise
from rescind.node.offers import about_offer, offer_name
from rescind.node.own_deltas import own_terms
from rescind.node.residuals import residual_of, save_residual
from rescind.node.rounds import Start, start_from
from rescind.node.session import Session
from rescind.node.statistics import contribute_statistics
from rescind.node.subjects import Withdrawn
from rescind.node.withdrawal_facts import OfferedDelta

if TYPE_CHECKING:
    from rescind.training import Example, Progress
    from rescind.training.engine.contribution import Contribution


def train(session: Session, round_id: int) -> None:
    """Train and store the update of a round. Sit the round out if it cannot be trained."""
    try:
        effort = RoundFacts.load(session.journal, round_id).action.effort
        steps = max(1, round(session.parameters.training.steps_per_round * effort))
        with commit_deadline(session, round_id, steps):
            _train(session, round_id)
    except RescindError as error:
        structlog.get_logger().error("training failed", round=round_id, reason=str(error))
        facts = RoundFacts.load(session.journal, round_id)
        decision = facts.decided()
        action = replace(decision.action, effort=0.0, data_fraction=0.0)
        failed = replace(decision, action=action, why=f"training failed: {error}")
        replace(facts, decision=failed).save(session.journal)


def _train(session: Session, round_id: int) -> None:
    parent = session.consortium.round(round_id).parent_model
    entries = session.consortium.content(parent)
    start = start_from(session, parent)
    residual = residual_of(session, own_terms(session, entries))
    trained = make_delta(session, round_id, start, residual)
    posted = _fisher(session, start, trained)
    trained.record(session, round_id)
    payload = {"round": round_id, **trained.run, **({"fisher": posted} if posted else {})}
    session.ledger.append("training-run", payload, key=f"training-run/{round_id}")
    update = Update(
        delta=trained.fact,
        salt=secrets.token_hex(32),
        nonce=next_nonce(session.journal),
        fisher=posted,
    )
    facts = RoundFacts.load(session.journal, round_id)
    replace(facts, update=update).save(session.journal)


def _fisher(session: Session, start: Start, trained: TrainedDelta) -> str | None:
    """Measure the Fisher information of the trained examples, where the consortium asks for it."""
    parameters = session.parameters
    if not parameters.post_fisher:
        return None
    prefix = owner(parameters.layout, session.me)
    totals = block(start.adapter, prefix)
    before = materialize(totals, parameters.shapes, parameters=parameters, owner=prefix)
    return fisher.measure(session, before | dict(trained.tensors), trained.examples)


@dataclass(frozen=True)
class TrainedDelta:
    """A delta in the node's own store, and how it was trained.

    Attributes:
        fact: What the journal keeps of it.
        run: What the ledger records of its training.
        tensors: The trained parameters before quantization.
        examples: The examples it was trained on.
        manifest: The commitment to these examples.
    """

    fact: DeltaFact
    run: dict[str, Any]
    tensors: FloatTensors
    examples: tuple[Example, ...]
    manifest: Manifest

    def record(self, session: Session, round_id: int, offer_id: int | None = None) -> None:
        """Append the manifest to the ledger and, where rounds are private, what they have spent.

        The manifest proves later whose data was in the delta and whose was not.

        Args:
            session: The node's session.
            round_id: The round.
            offer_id: The withdrawal or replay that the delta was trained for.
        """
        about, prefix = _place(round_id, offer_id)
        record_manifest(session, self.manifest, self.fact, round_id, offer_id)
        if "privacy" in self.run:
            names = ("epsilon", "delta", "accountant")
            spent = {name: self.run["privacy"][name] for name in names}
            key = f"{prefix}privacy-budget/{round_id}"
            session.ledger.append("privacy-budget", {**about, **spent}, key=key)


def record_manifest(
    session: Session, manifest: Manifest, fact: DeltaFact, round_id: int, offer_id: int | None
) -> None:
    """Append the manifest of a contribution to the ledger; see `TrainedDelta.record`."""
    about, prefix = _place(round_id, offer_id)
    payload = {**about, "artifact": fact.artifact, **manifest.to_json()}
    session.ledger.append("manifest", payload, key=f"{prefix}manifest/{round_id}")


def _place(round_id: int, offer_id: int | None) -> tuple[dict[str, int], str]:
    """Return what names a contribution in a ledger record, and the beginning of the record's key."""
    if offer_id is None:
        return {"round": round_id}, ""
    return {"round": round_id, **about_offer(offer_id)}, f"{offer_name(offer_id)}/"


def make_delta(
    session: Session,
    round_id: int,
    start: Start,
    residual: dict[str, Any] | None,
    offer_id: int | None = None,
) -> TrainedDelta:
    """Train the node's part in a round as it was decided then, and store the delta.

    Args:
        session: The node's session.
        round_id: The round.
        start: What it is trained from.
        residual: The residual of the node's delta before it.
        offer_id: The withdrawal or replay that it is trained for, if it is one.
    """
    action, examples = RoundFacts.load(session.journal, round_id).action, session.examples
    if not action.effort or not examples:
        return _untrained(session, round_id, residual, offer_id)
    key = run_key(session, round_id, start.adapter, examples)
    contribution = train_part(session, round_id, start, residual)
    privacy = account(session, key, contribution.result)
    return _store(session, round_id, offer_id, examples, contribution, privacy)


def _untrained(
    session: Session, round_id: int, residual: dict[str, Any] | None, offer_id: int | None
) -> TrainedDelta:
    """Store a delta that changes nothing, for a contribution of statistics alone."""
    parameters, agreed = session.parameters, session.parameters.statistics
    if agreed is None:
        raise DataError(
            f"there is nothing to train on for round {round_id}, and the consortium has not agreed on "
            "statistics, which could be contributed alone. Check node.data."
        )
    prefix = owner(parameters.layout, session.me)
    shapes = {n: shape for n, shape in parameters.delta_shapes().items() if n != HIDING}
    delta: dict[str, Any] = {
        qualify(prefix, name): np.zeros(shape, dtype=np.int32) for name, shape in shapes.items()
    }
    delta[qualify(prefix, HIDING)] = hiding_noise(session, delta, round_id, offer_id)
    artifact, salt = session.store.put(encode(delta)), secrets.token_bytes(32)
    posted = contribute_statistics(session, agreed, round_id, offer_id)
    manifest = manifest_of(posted.rows, salt)
    fact = DeltaFact(
        artifact=artifact,
        point=commit(digest(delta)).hex(),
        residual=save_residual(session, artifact, residual or {}),
        manifest_root=manifest.commitment.hex(),
        manifest_salt=salt.hex(),
        data_hash=data_hash(session.examples, salt, session.public),
        without=Withdrawn.of(session.journal).commitments,
        statistics=posted.fact,
    )
    run = {
        "artifact": fact.artifact,
        "point_hash": fact.point_hash,
        "manifest_root": fact.manifest_root,
        "statistics": fact.artifacts[fact.parts.point_hashes[1]],
        **dict.fromkeys(("examples", "steps", "tokens"), 0),
        **dict.fromkeys(("first_loss", "last_loss", "norm"), 0.0),
    }
    return TrainedDelta(fact, run, {}, (), manifest)


def train_part(
    session: Session,
    round_id: int,
    start: Start,
    residual: dict[str, Any] | None,
    *,
    keep_checkpoints: bool = True,
) -> Contribution:
    """Train the node's part in a round as it was decided then, and store nothing.

    Args:
        session: The node's session.
        round_id: The round.
        start: What it is trained from.
        residual: The residual of the node's delta before it.
        keep_checkpoints: False to train every step, whatever checkpoints there are.
    """
    from rescind.training import RoundTraining
    from rescind.training.engine.contribution import contribute

    parameters = session.parameters
    action = RoundFacts.load(session.journal, round_id).action
    examples = session.examples
    key = run_key(session, round_id, start.adapter, examples)
    steps = max(1, round(parameters.training.steps_per_round * action.effort))
    with session.activities.during("training", total=steps, round_id=round_id) as tell:
        if parameters.split is not None:
            return _train_both(session, round_id, start, residual, steps, tell)
        return contribute(
            session.model,
            parameters,
            session.me,
            round_id,
            start.adapter,
            examples,
            residual,
            RoundTraining(steps=steps, progress=after_step(session, tell)),
            past=start.past,
            data_fraction=action.data_fraction,
            trainer=trainer(
                session, round_id, key, noise=action.noise, keep_checkpoints=keep_checkpoints
            ),
        )


def _train_both(
    session: Session,
    round_id: int,
    start: Start,
    residual: dict[str, Any] | None,
    steps: int,
    tell: Tell,
) -> Contribution:
    """Train private and shared ranks. They take no [engine] settings and keep no checkpoint."""
    from rescind.training.split.contribution import contribute_both

    return contribute_both(
        session.model,
        session.parameters,
        session.me,
        round_id,
        start.adapter,
        session.examples,
        session.public,
        residual,
        steps=steps,
        data_fraction=RoundFacts.load(session.journal, round_id).action.data_fraction,
        progress=after_step(session, tell),
    )


def after_step(session: Session, tell: Tell) -> Callable[[Progress], None]:
    """Return what a training calls after each step: it says how far it is, and may end it."""

    def progress(state: Progress) -> None:
        tell(state.step, state.steps, state.loss)
        session.between_batches()

    return progress


def _store(
    session: Session,
    round_id: int,
    offer_id: int | None,
    examples: Sequence[Example],
    contribution: Contribution,
    privacy: dict[str, Any],
) -> TrainedDelta:
    quantized, shared = contribution.quantized, contribution.shared
    prefix = owner(session.parameters.layout, session.me)
    stored = _put(session, quantized.delta, prefix, round_id, offer_id)
    beside = _put(session, shared.delta, SHARED, round_id, offer_id) if shared else None
    residual = quantized.residual | (shared.residual if shared else {})
    artifact = stored.artifact
    salt = secrets.token_bytes(32)
    agreed = session.parameters.statistics
    posted = contribute_statistics(session, agreed, round_id, offer_id) if agreed else None
    manifest = manifest_of((*contribution.examples, *(posted.rows if posted else ())), salt)
    fact = DeltaFact(
        artifact=artifact,
        point=stored.point,
        residual=save_residual(session, artifact, residual),
        manifest_root=manifest.commitment.hex(),
        manifest_salt=salt.hex(),
        data_hash=data_hash(examples, salt, session.public),
        without=Withdrawn.of(session.journal).commitments,
        statistics=posted.fact if posted else None,
        shared=beside,
    )
    run = {**_run(session, round_id, fact, contribution), **privacy}
    return TrainedDelta(fact, run, contribution.result.tensors, contribution.examples, manifest)


def _put(
    session: Session,
    tensors: IntTensors,
    prefix: str,
    round_id: int,
    offer_id: int | None,
) -> PartFact:
    """Store a delta, with noise that hides its digest where it is agreed on.

    Args:
        session: The node's session.
        tensors: The delta, by qualified name.
        prefix: The owner of its tensors.
        round_id: The round.
        offer_id: The withdrawal or replay that it was trained for, if it is one.

    Raises:
        DataError: It changes nothing, and there is no noise.
    """
    from rescind.training import digest_on

    delta = dict(tensors)
    if session.parameters.hiding:
        delta[qualify(prefix, HIDING)] = hiding_noise(session, delta, round_id, offer_id)
    point = commit(digest_on(delta, session.model.base.device))
    if point == INFINITY:
        raise DataError(
            f"the training of round {round_id} changed nothing, and an empty delta cannot be "
            "registered. Check learning_rate in the agreed parameters and the node's data."
        )
    return PartFact(session.store.put(encode(delta)), point.hex())


def _run(
    session: Session, round_id: int, fact: DeltaFact, contribution: Contribution
) -> dict[str, Any]:
    """Return the payload of a `training-run` record."""
    result = contribution.result
    return {
        "artifact": fact.artifact,
        "point_hash": fact.point_hash,
        "manifest_root": fact.manifest_root,
        "examples": result.examples,
        "steps": result.steps,
        "tokens": result.tokens,
        "first_loss": result.first_loss,
        "last_loss": result.last_loss,
        "seconds": round(result.seconds, 3),
        "device": str(session.model.base.device),
        "norm": contribution.quantized.norm,
        "clipped": contribution.quantized.clipped,
        "engine": RoundFacts.load(session.journal, round_id).engine,
        **({"statistics": fact.statistics.artifact} if fact.statistics else {}),
        **({"shared": fact.shared.artifact} if fact.shared else {}),
    }


def check_data(session: Session, round_id: int) -> None:
    """Check that the node's data is what a round was trained on.

    A training is compared only if no other data subject was withdrawn since, because the rows of a
    withdrawn data subject may be deleted.

    Raises:
        DataError: The data has changed.
    """
    withdrawn = Withdrawn.of(session.journal).commitments
    update = RoundFacts.load(session.journal, round_id).update
    deltas = [update.delta] if update else []
    offered = OfferedDelta.all(session.journal)
    deltas += [fact.delta for fact in offered if fact.round_id == round_id]
    for delta in deltas:
        if delta.without != withdrawn or delta.manifest_salt is None:
            continue
        if not trained_on_same_data(session, delta):
            raise DataError(
                f"{session.config.node.data} is not the data that round {round_id} was trained on. "
                "Put back the rows that it had then, in their order."
            )


def trained_on_same_data(session: Session, delta: DeltaFact) -> bool:
    """Return whether a delta was trained on the examples that the node would train on now."""
    if delta.manifest_salt is None:
        return False
    salt = bytes.fromhex(delta.manifest_salt)
    return data_hash(session.examples, salt, session.public) == delta.data_hash


def data_hash(examples: Sequence[Example], salt: bytes, public: Collection[str] = ()) -> str:
    """Return the salted hash of all examples that a training may choose from, in their order.

    Args:
        examples: The examples.
        salt: The salt.
        public: The subjects whose examples are public in a split coupling.
    """

    # All rows in their order, because the choice of examples depends on both.
    def text(example: Example) -> str:
        label = ("public",) if example.subject in public else ()
        return "\0".join((example.subject, *example.content, *label))

    rows = "\0".join(map(text, examples))
    return hashlib.sha256(salt + rows.encode()).hexdigest()


def manifest_of(examples: Iterable[Example], secret: bytes) -> Manifest:
    """Return the commitment to all data of a contribution.

    Args:
        examples: What the delta was trained on, and the rows that the statistics are sums of. One
            that is both counts once.
        secret: The manifest's secret, 32 bytes.
    """
    return Manifest.of(((e.subject, sample_bytes(*e.content)) for e in examples), secret)
