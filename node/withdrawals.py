"""The node's part in withdrawals: records, retrained deltas, counter-deltas, offers."""

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
    needs_rounds,
    owner,
)
from rescind.core.canonical_json import canonical_json
from rescind.node import fisher, settle
from rescind.node.adopting import adopt
from rescind.node.exchange import delta_id
from rescind.node.facts import DeltaFact, OfferedDelta, RequestFact, WithdrawalFacts
from rescind.node.requests import chosen_method, forget_and_retain
from rescind.node.residuals import residual_of, save_residual
from rescind.node.rounds import (
    Start,
    check_sum,
    fetch,
    own_sum,
    own_totals,
    start_from,
    start_of_terms,
)
from rescind.node.session import Session
from rescind.node.subjects import forget_name
from rescind.node.training import check_data, make_delta
from rescind.wire import (
    NotPublished,
    offer_typed_data,
    sign_typed,
    split,
)
from rescind.withdrawals import AmendedModel, amended_model, replay_start

if TYPE_CHECKING:
    from rescind.unlearning import Outcome, Problem


def record(session: Session, withdrawal_id: int) -> None:
    """Record a request in the ledger, with the data subject's name; the chain has only its hash."""
    withdrawal = _withdrawal(session, withdrawal_id)
    request = RequestFact.find(session.journal, withdrawal.subject)
    if request is not None:
        replace(request, withdrawal=withdrawal.id).save(session.journal)
    payload = {
        "withdrawal": withdrawal.id,
        "event": "requested",
        "requested_at": withdrawal.requested_at,
        "method": withdrawal.method.value,
        "scope": "subject" if withdrawal.subject else "organization",
        "expelled": withdrawal.expelled,
    }
    subject = request.subject if request else None
    if withdrawal.subject:
        salt = request.salt if request else None
        payload |= {"commitment": withdrawal.subject, "subject": subject, "salt": salt}
    session.ledger.append("withdrawal", payload, subject=subject, key=f"withdrawal/{withdrawal.id}")
    settle.anchor(session)
    facts = WithdrawalFacts.load(session.journal, withdrawal.id)
    replace(facts, recorded=True).save(session.journal)
    if withdrawal.subject and request is None:
        why = "the node's journal does not have the data subject of this withdrawal"
        _give_up(session, withdrawal, why)


def record_closed(session: Session, withdrawal_id: int) -> None:
    """Record in the ledger that a withdrawal is closed, and delete the data subject's name."""
    withdrawal = _withdrawal(session, withdrawal_id)
    payload = {
        "withdrawal": withdrawal.id,
        "event": "closed",
        "method": withdrawal.method.value,
        "model": withdrawal.closed_model,
        "evidence": withdrawal.evidence,
    }
    session.ledger.append("withdrawal", payload, key=f"withdrawal/{withdrawal.id}/closed")
    settle.anchor(session)
    if withdrawal.subject:
        forget_name(session.journal, withdrawal.subject)
    facts = WithdrawalFacts.load(session.journal, withdrawal.id)
    replace(facts, closed=True).save(session.journal)


def retrain(session: Session, withdrawal_id: int, round_id: int) -> None:
    """Train the node's delta of a round again, without the withdrawn data, and store it."""
    withdrawal = _withdrawal(session, withdrawal_id)
    consortium = session.consortium
    check_data(session, round_id)
    amended = amended_model(consortium, withdrawal, consortium.latest_model_id())
    start_id, start = _start(session, withdrawal, amended, round_id)
    before = [t for t in amended.terms if 0 < t.round_id < round_id]
    trained = make_delta(session, round_id, start, residual_of(session, before))
    registered = {
        c.artifact_id for c in consortium.contributions(round_id) if c.organization == session.me
    }
    origin = {"start": start_id, "seed": _round_seed(session, round_id)}
    trained.record(session, round_id, withdrawal.id)
    session.ledger.append(
        "training-run",
        {"withdrawal": withdrawal.id, "round": round_id, **origin, **trained.run},
        key=f"withdrawal/{withdrawal.id}/training-run/{round_id}",
    )
    OfferedDelta(
        withdrawal_id=withdrawal.id,
        round_id=round_id,
        delta=trained.fact,
        report={**origin, **_reported(trained.run)},
        unchanged=trained.fact.artifact in registered,
    ).save(session.journal)


def counter_train(session: Session, withdrawal_id: int) -> None:
    """Train a counter-delta on the newest model, and keep it only if the guard accepts it."""
    withdrawal = _withdrawal(session, withdrawal_id)
    request = RequestFact.find(session.journal, withdrawal.subject)
    if request is None or request.counter_method is None:
        _give_up(session, withdrawal, "the node's journal does not have this request's method")
        return
    head = session.consortium.latest_model_id()
    adopt(session, head)
    problem = _problem(session, withdrawal, request, head)
    method, settings = _method(session, request, problem, head)
    outcome = method.run(problem, settings)
    report = {
        **_plain(outcome.report),
        "start": session.consortium.model(head).adapter_id,
        "model": head,
        "seed": problem.seed,
        "method": method.name,
        "source": method.source,
        "forget": len(problem.forget),
        "retain": len(problem.retain),
    }
    if "verdict" not in report:
        report |= _judged(problem, outcome)
    payload = {"withdrawal": withdrawal.id, "event": "counter-trained", "report": report}
    key = f"withdrawal/{withdrawal.id}/counter"
    session.ledger.append("withdrawal", payload, subject=request.subject, key=key)
    if report["verdict"] != "ok":
        why = f"the guard's verdict is {report['verdict']}: {report.get('why', '')}"
        _give_up(session, withdrawal, why)
        return
    _keep_counter_delta(session, withdrawal, problem, outcome, report)


def _method(session: Session, request: RequestFact, problem: Problem, head: int) -> Any:
    """Return the requested unlearning method and its settings."""
    assert request.counter_method is not None
    method, settings = chosen_method(
        request.counter_method,
        request.settings,
        retain=bool(problem.retain),
        subject=request.subject is not None,
    )
    if method.name == "task_vector" and session.parameters.layout == "shared":
        settings = replace(settings, delta=_registered(session, head))
    if method.name == "ssd" and session.parameters.post_fisher:
        settings = replace(settings, posted=(fisher.of_all(session, head),))
    return method, settings


def _keep_counter_delta(
    session: Session,
    withdrawal: Withdrawal,
    problem: Problem,
    outcome: Outcome,
    report: dict[str, Any],
) -> None:
    from rescind.unlearning import counter_delta

    counter = counter_delta(problem, outcome)
    artifact = session.store.put(encode(counter.delta))
    residual = save_residual(session, artifact, counter.residual)
    delta = DeltaFact(artifact, digest(counter.delta).root, residual)
    OfferedDelta(withdrawal.id, 0, delta, report).save(session.journal)


def offer(session: Session, withdrawal_id: int, round_id: int) -> None:
    """Register a delta for a withdrawal on chain."""
    delta = OfferedDelta.load(session.journal, withdrawal_id, round_id).delta
    manifest = delta.manifest_root or NO_MANIFEST
    session.consortium.offer(withdrawal_id, round_id, delta_id(delta), manifest)


def deposit(session: Session, withdrawal_id: int, round_id: int) -> None:
    """Send an offered delta to the aggregator, with a signed report of its training."""
    offered = OfferedDelta.load(session.journal, withdrawal_id, round_id)
    _send(session, offered)
    payload = {
        "withdrawal": withdrawal_id,
        "event": "offered",
        "round": round_id,
        "artifact": offered.delta.artifact,
        "digest_root": offered.delta.digest_root,
    }
    key = f"withdrawal/{withdrawal_id}/offered/{round_id}"
    session.ledger.append("withdrawal", payload, key=key)
    settle.anchor(session)
    facts = WithdrawalFacts.load(session.journal, withdrawal_id)
    deposited = tuple(sorted({*facts.deposited, round_id}))
    replace(facts, deposited=deposited).save(session.journal)


def _send(session: Session, offered: OfferedDelta) -> None:
    data = session.store.get(offered.delta.artifact)
    report = canonical_json(offered.report)
    document = offer_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        withdrawal_id=offered.withdrawal_id,
        round_id=offered.round_id,
        artifact_id=offered.delta.artifact,
        size=len(data),
        report=report,
    )
    chunk_list, _ = split(data)
    session.client.upload(data)
    signature = sign_typed(document, session.account.key)
    session.client.submit_offered(
        offered.withdrawal_id, offered.round_id, chunk_list, report, signature
    )


def ready(session: Session, withdrawal_id: int) -> None:
    """Tell the chain that every delta of a withdrawal is offered."""
    session.consortium.ready(withdrawal_id)


def _start(
    session: Session, withdrawal: Withdrawal, amended: AmendedModel, round_id: int
) -> tuple[str, Start]:
    """Return the artifact id of the plain sum that a round is trained from again, and the start."""
    consortium, plain = session.consortium, not needs_rounds(session.parameters)
    parent = consortium.round(round_id).parent_model
    terms = replay_start(amended, consortium.content(parent), round_id)
    if session.parameters.layout == "blocks":
        totals = own_sum(session, terms or [])
        named = artifact_id(encode(totals)) if totals else NO_ADAPTER
        return named, Start(totals) if plain else start_of_terms(session, terms or [], list)
    if withdrawal.method is ModelKind.REPLACEMENT:
        return consortium.model(parent).adapter_id, start_from(session, parent)
    if terms is None:
        raise NotPublished(
            f"replay {withdrawal.id}: some deltas before round {round_id} are not offered yet"
        )
    named = session.client.replay_start(withdrawal.id, round_id)
    if not plain:
        listed = partial(session.client.replay_sums, withdrawal.id, round_id)
        return named, start_of_terms(session, terms, listed)
    totals = fetch(session, named)
    check_sum(session, named, totals, terms)
    return named, Start(totals)


def _problem(session: Session, withdrawal: Withdrawal, request: RequestFact, head: int) -> Problem:
    from rescind.unlearning import Problem

    parameters = session.parameters
    prefix = owner(parameters.layout, session.me)
    held = {e.subject for e in session.examples} | {request.subject}
    own = [e for e in session.all_examples if e.subject in held]
    retain = Path(request.retain) if request.retain else None
    forget, kept = forget_and_retain(own, request.subject, retain)
    text = f"rescind.counter/1|{parameters.seed}|{session.me.lower()}|{withdrawal.id}"
    return Problem(
        model=session.model,
        parameters=parameters,
        owner=prefix,
        start=materialize(
            block(start_from(session, head).adapter, prefix),
            parameters.shapes,
            parameters=parameters,
            owner=prefix,
        ),
        forget=forget,
        retain=kept,
        seed=int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1,
        own=own,
        progress=lambda _: session.halt_if_stopped(),
    )


def _registered(session: Session, model_id: int) -> dict[str, Any]:
    """Return the node's own sum in a model, in parameter units, by bare tensor name."""
    prefix = owner(session.parameters.layout, session.me)
    totals = block(own_totals(session, model_id), prefix)
    kept = {name: value for name, value in totals.items() if not is_hiding(name)}
    return dequantize(kept, fraction_bits=session.parameters.fraction_bits)


def _give_up(session: Session, withdrawal: Withdrawal, why: str) -> None:
    """Offer nothing: at its deadline the withdrawal becomes a removal of the organization."""
    structlog.get_logger().error(
        "nothing is offered", withdrawal=withdrawal.id, reason=why, deadline=withdrawal.deadline
    )
    payload = {"withdrawal": withdrawal.id, "event": "nothing-offered", "why": why}
    session.ledger.append("withdrawal", payload, key=f"withdrawal/{withdrawal.id}/given-up")
    settle.anchor(session)
    facts = WithdrawalFacts.load(session.journal, withdrawal.id)
    replace(facts, given_up=True).save(session.journal)


def _judged(problem: Problem, outcome: Outcome) -> dict[str, Any]:
    """Return the guard's verdict on a method that does not ask the guard itself."""
    from rescind.unlearning.guard import Guard, Limits

    model = problem.model
    model.put("reference", problem.start)
    guard = Guard(problem, model.use("reference"), Limits())
    after = {**problem.start, **outcome.tensors}
    change = {name: after[name] - problem.start[name] for name in outcome.tensors}
    model.put("counter", after)
    verdict = guard.look(model.use("counter"), change_norm=l2_norm(change))
    return _plain(verdict.to_dict())


def _reported(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what auditors see of a training run."""
    names = ("steps", "examples", "tokens", "first_loss", "last_loss", "manifest_root", "norm")
    return {name: run[name] for name in names}


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with numpy's numbers as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(report, default=_number, allow_nan=False))
    return plain


def _number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _round_seed(session: Session, round_id: int) -> int:
    from rescind.training import round_seed

    return round_seed(session.parameters.seed, session.me, round_id)


def _withdrawal(session: Session, withdrawal_id: int) -> Withdrawal:
    return session.consortium.withdrawals()[withdrawal_id - 1]
