"""A node's part in withdrawals: records, deltas made again or to counteract, offers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rescind.contracts import (
    NO_ADAPTER,
    NO_MANIFEST,
    DeltaId,
    ModelKind,
    Withdrawal,
)
from rescind.core import (
    artifact_id,
    block,
    dequantize,
    digest,
    encode,
    is_hiding,
    l2_norm,
    materialize,
    owner,
)
from rescind.core.canonical_json import canonical_json
from rescind.core.round_sums import needs_rounds
from rescind.node import fisher, settle
from rescind.node.requests import chosen_method, forget_and_retain
from rescind.node.rounds import (
    Start,
    check_sum,
    fetch,
    own_sum,
    start_from,
    start_of_terms,
)
from rescind.node.session import Session
from rescind.node.subjects import forget_name, request_key
from rescind.node.tasks import delta_key, flag_key
from rescind.node.updates import (
    check_data,
    make_delta,
    own_totals,
    residual_of,
    save_residual,
)
from rescind.wire import (
    NotPublished,
    offer_typed_data,
    sign_typed,
    split,
)
from rescind.withdrawals import AmendedModel, amended_model, replay_start

if TYPE_CHECKING:
    from rescind.unlearning.problem import Outcome, Problem


def record(session: Session, withdrawal_id: int) -> None:
    """The ledger says what was asked for, and of whom; on chain is a hash."""
    it = _withdrawal(session, withdrawal_id)
    note = session.journal.get(request_key(it.subject))
    if note is not None:
        session.journal.set(request_key(it.subject), {**note, "withdrawal": it.id})
    payload = {
        "withdrawal": it.id,
        "event": "requested",
        "requested_at": it.requested_at,
        "method": it.method.value,
        "scope": "subject" if it.subject else "organization",
        "expelled": it.expelled,
    }
    if it.subject:
        known = note or {"subject": None, "salt": None}
        payload |= {"commitment": it.subject, "subject": known["subject"], "salt": known["salt"]}
    subject = note["subject"] if note else None
    session.ledger.append("withdrawal", payload, subject=subject, key=f"withdrawal/{it.id}")
    settle.anchor(session)
    session.journal.set(flag_key(it.id, "recorded"), True)
    if it.subject and note is None:
        why = "the node's journal does not know whom the withdrawal is for"
        _give_up(session, it, why)


def record_closed(session: Session, withdrawal_id: int) -> None:
    it = _withdrawal(session, withdrawal_id)
    payload = {
        "withdrawal": it.id,
        "event": "closed",
        "method": it.method.value,
        "model": it.closed_model,
        "evidence": it.evidence,
    }
    session.ledger.append("withdrawal", payload, key=f"withdrawal/{it.id}/closed")
    settle.anchor(session)
    if it.subject:
        forget_name(session.journal, it.subject)
    session.journal.set(flag_key(it.id, "closed"), True)


def retrain(session: Session, withdrawal_id: int, round_id: int) -> None:
    """Train one's delta of a round again, without who was withdrawn, and keep it."""
    it = _withdrawal(session, withdrawal_id)
    consortium = session.consortium
    check_data(session, round_id)
    amended = amended_model(consortium, it, consortium.latest_model_id())
    start_id, start = _start(session, it, amended, round_id)
    before = [t for t in amended.terms if 0 < t.round_id < round_id]
    made = make_delta(session, round_id, start, residual_of(session, before))
    registered = {
        c.artifact_id for c in consortium.contributions(round_id) if c.organization == session.me
    }
    seed = _round_seed(session, round_id)
    report = {"start": start_id, "seed": seed, **_said(made.run)}
    made.record(session, round_id, it.id)
    fact = {**made.fact, "report": report, "unchanged": made.fact["artifact"] in registered}
    session.ledger.append(
        "training-run",
        {"withdrawal": it.id, "round": round_id, "start": start_id, "seed": seed, **made.run},
        key=f"withdrawal/{it.id}/training-run/{round_id}",
    )
    session.journal.set(delta_key(it.id, round_id), fact)


def counter_train(session: Session, withdrawal_id: int) -> None:
    """Train a delta that counteracts, on the head. What the guard does not find right is not offered."""
    it = _withdrawal(session, withdrawal_id)
    note = session.journal.get(request_key(it.subject)) or {}
    head = session.consortium.latest_model_id()
    settle.adopt(session, head)
    start_id = session.consortium.model(head).adapter_id
    problem = _problem(session, it, note, head)
    from rescind.unlearning.problem import counter_delta

    method, settings = chosen_method(
        note["counter_method"],
        note["settings"],
        retain=bool(problem.retain),
        subject=bool(it.subject),
    )
    if method.name == "task_vector" and session.parameters.layout == "shared":
        settings = replace(settings, delta=_registered(session, head))
    if method.name == "ssd" and session.parameters.post_fisher:
        settings = replace(settings, posted=(fisher.of_all(session, head),))
    outcome = method.run(problem, settings)
    report = {
        **_plain(outcome.report),
        "start": start_id,
        "model": head,
        "seed": problem.seed,
        "method": method.name,
        "source": method.source,
        "forget": len(problem.forget),
        "retain": len(problem.retain),
    }
    if "verdict" not in report:
        report |= _judged(problem, outcome)
    subject = note["subject"]
    payload = {"withdrawal": it.id, "event": "counter-trained", "report": report}
    session.ledger.append("withdrawal", payload, subject=subject, key=f"withdrawal/{it.id}/counter")
    if report["verdict"] != "ok":
        _give_up(session, it, f"the guard finds it {report['verdict']}: {report.get('why', '')}")
        return
    found = counter_delta(problem, outcome)
    artifact = session.store.put(encode(found.delta))
    fact = {
        "artifact": artifact,
        "digest_root": digest(found.delta).root,
        "residual": save_residual(session, artifact, found.residual),
        "report": report,
    }
    session.journal.set(delta_key(it.id, 0), fact)


def offer(session: Session, withdrawal_id: int, round_id: int) -> None:
    fact = session.journal.get(delta_key(withdrawal_id, round_id))
    delta = DeltaId(fact["artifact"], fact["digest_root"])
    manifest = fact.get("manifest_root", NO_MANIFEST)
    session.consortium.offer(withdrawal_id, round_id, delta, manifest)


def deposit(session: Session, withdrawal_id: int, round_id: int) -> None:
    """Send what was offered, with a signed report of its training."""
    fact = session.journal.get(delta_key(withdrawal_id, round_id))
    data, report = session.store.get(fact["artifact"]), canonical_json(fact["report"])
    document = offer_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        withdrawal_id=withdrawal_id,
        round_id=round_id,
        artifact_id=fact["artifact"],
        size=len(data),
        report=report,
    )
    manifest, _ = split(data)
    session.client.upload(data)
    signature = sign_typed(document, session.account.key)
    session.client.submit_offered(withdrawal_id, round_id, manifest, report, signature)
    payload = {
        "withdrawal": withdrawal_id,
        "event": "offered",
        "round": round_id,
        "artifact": fact["artifact"],
        "digest_root": fact["digest_root"],
    }
    key = f"withdrawal/{withdrawal_id}/offered/{round_id}"
    session.ledger.append("withdrawal", payload, key=key)
    settle.anchor(session)
    session.journal.set(flag_key(withdrawal_id, f"deposited/{round_id:06d}"), True)


def ready(session: Session, withdrawal_id: int) -> None:
    session.consortium.ready(withdrawal_id)


def _start(
    session: Session, it: Withdrawal, amended: AmendedModel, round_id: int
) -> tuple[str, Start]:
    """What a round is trained from again, and its name on record: the id of the plain sum."""
    consortium, plain = session.consortium, not needs_rounds(session.parameters)
    parent = consortium.round(round_id).parent_model
    terms = replay_start(amended, consortium.content(parent), round_id)
    if session.parameters.layout == "blocks":
        totals = own_sum(session, terms or [])
        named = artifact_id(encode(totals)) if totals else NO_ADAPTER
        return named, Start(totals) if plain else start_of_terms(session, terms or [], list)
    if it.method is ModelKind.REPLACEMENT:
        return consortium.model(parent).adapter_id, start_from(session, parent)
    if terms is None:
        raise NotPublished(f"replay {it.id}: deltas before round {round_id} are lacking")
    named = session.client.replay_start(it.id, round_id)
    if not plain:
        listed = partial(session.client.replay_sums, it.id, round_id)
        return named, start_of_terms(session, terms, listed)
    totals = fetch(session, named)
    check_sum(session, named, totals, terms)
    return named, Start(totals)


def _problem(session: Session, it: Withdrawal, note: Mapping[str, Any], head: int) -> Problem:
    from rescind.unlearning.problem import Problem

    parameters = session.parameters
    who = owner(parameters.layout, session.me)
    held = {e.subject for e in session.examples}
    own = [e for e in session.all_examples if e.subject in held or e.subject == note["subject"]]
    retain = Path(note["retain"]) if note["retain"] else None
    forget, kept = forget_and_retain(own, note["subject"], retain)
    text = f"rescind.counter/1|{parameters.seed}|{session.me.lower()}|{it.id}"
    return Problem(
        model=session.model,
        parameters=parameters,
        owner=who,
        start=materialize(
            block(start_from(session, head).adapter, who),
            parameters.shapes,
            parameters=parameters,
            owner=who,
        ),
        forget=forget,
        retain=kept,
        seed=int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1,
        own=own,
        progress=lambda _: session.halt_if_stopped(),
    )


def _registered(session: Session, model_id: int) -> dict[str, Any]:
    """What one has registered in a model, in parameter units, by bare name."""
    who = owner(session.parameters.layout, session.me)
    totals = block(own_totals(session, model_id), who)
    kept = {name: value for name, value in totals.items() if not is_hiding(name)}
    return dequantize(kept, fraction_bits=session.parameters.fraction_bits)


def _give_up(session: Session, it: Withdrawal, why: str) -> None:
    """Nothing is offered: at its deadline the withdrawal becomes a removal of the organization."""
    log = structlog.get_logger()
    log.error("nothing is offered", withdrawal=it.id, reason=why, deadline=it.deadline)
    payload = {"withdrawal": it.id, "event": "nothing-offered", "why": why}
    session.ledger.append("withdrawal", payload, key=f"withdrawal/{it.id}/given-up")
    settle.anchor(session)
    session.journal.set(flag_key(it.id, "given-up"), True)


def _judged(problem: Problem, outcome: Outcome) -> dict[str, Any]:
    """The guard's verdict on a method that does not look itself."""
    from rescind.unlearning.guard import Guard, Limits

    model = problem.model
    model.put("reference", problem.start)
    guard = Guard(problem, model.use("reference"), Limits())
    after = {**problem.start, **outcome.tensors}
    change = {name: after[name] - problem.start[name] for name in outcome.tensors}
    model.put("counter", after)
    found = guard.look(model.use("counter"), change_norm=l2_norm(change))
    return _plain(found.to_dict())


def _said(run: Mapping[str, Any]) -> dict[str, Any]:
    """What auditors are told of a training run."""
    told = ("steps", "examples", "tokens", "first_loss", "last_loss", "manifest_root", "norm")
    return {name: run[name] for name in told}


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as JSON has them."""
    found: dict[str, Any] = json.loads(json.dumps(report, default=_number, allow_nan=False))
    return found


def _number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _round_seed(session: Session, round_id: int) -> int:
    from rescind.training import round_seed

    return round_seed(session.parameters.seed, session.me, round_id)


def _withdrawal(session: Session, withdrawal_id: int) -> Withdrawal:
    return session.consortium.withdrawals()[withdrawal_id - 1]
