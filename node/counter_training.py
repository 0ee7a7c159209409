"""The training of a counter-delta, which is kept only if the guard accepts it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rescind.contracts import Withdrawal
from rescind.core import (
    block,
    commit,
    dequantize,
    digest,
    encode,
    is_hiding,
    l2_norm,
    materialize,
    owner,
)
from rescind.daemon import Tell
from rescind.node import fisher
from rescind.node.adopting import adopted_id
from rescind.node.facts import DeltaFact
from rescind.node.own_deltas import own_totals
from rescind.node.requests import chosen_method, forget_and_retain
from rescind.node.residuals import save_residual
from rescind.node.retained import check_retained
from rescind.node.rounds import start_from
from rescind.node.session import Session
from rescind.node.training import after_step
from rescind.node.withdrawal_facts import OfferedDelta, RequestFact
from rescind.node.withdrawals import give_up

if TYPE_CHECKING:
    from rescind.unlearning import Outcome, Problem


def counter_train(session: Session, withdrawal_id: int) -> None:
    """Train a counter-delta on the newest model, and keep it only if the guard accepts it."""
    withdrawal = session.consortium.withdrawal(withdrawal_id)
    request = RequestFact.find(session.journal, withdrawal.subject)
    if request is None or request.counter_method is None:
        give_up(session, withdrawal, "the node's journal does not have this request's method")
        return
    head = session.consortium.latest_model_id()
    with session.activities.during("counter-training") as tell:
        problem = _problem(session, withdrawal, request, head, tell)
        method, settings = _method(session, request, problem, head)
        outcome = method.run(problem, settings)
    report = {
        **_plain(outcome.report),
        "start": adopted_id(session, head),
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
        give_up(session, withdrawal, why)
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
    delta = DeltaFact(artifact, commit(digest(counter.delta)).hex(), residual)
    OfferedDelta(withdrawal.id, 0, delta, report).save(session.journal)


def _problem(
    session: Session, withdrawal: Withdrawal, request: RequestFact, head: int, tell: Tell
) -> Problem:
    from rescind.unlearning import Problem

    parameters = session.parameters
    prefix = owner(parameters.layout, session.me)
    held = {e.subject for e in session.examples} | {request.subject}
    own = [e for e in session.all_examples if e.subject in held]
    check_retained(request, withdrawal, session.config.data)
    retain = Path(request.retain) if request.retain else None
    forget, kept = forget_and_retain(own, request.subject, retain, session.config.data)
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
        progress=after_step(session, tell),
    )


def _registered(session: Session, model_id: int) -> dict[str, Any]:
    """Return the node's own sum in a model, in parameter units, by bare tensor name."""
    prefix = owner(session.parameters.layout, session.me)
    totals = block(own_totals(session, model_id), prefix)
    kept = {name: value for name, value in totals.items() if not is_hiding(name)}
    return dequantize(kept, fraction_bits=session.parameters.fraction_bits)


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


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report with numpy's numbers as JSON has them."""
    plain: dict[str, Any] = json.loads(json.dumps(report, default=_number, allow_nan=False))
    return plain


def _number(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
