"""From private data to an update: decide, train, quantize, commit, upload, reveal."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np
import structlog
from safetensors.numpy import load_file, save_file

from adapters import (
    HIDING,
    adapter_totals,
    block,
    decode,
    encode,
    hiding_block,
    materialize,
    owner,
    qualify,
    quantize,
)
from adapters.errors import RescindError
from agents import SIT_OUT, Action, Observation
from contracts import DeltaId
from ledger import manifest_root
from node.session import Session
from protocol import WrongPhase, sign_typed, split, update_typed_data


def decide(session: Session, round_id: int) -> None:
    """Ask the agent, and keep what it said before acting on it."""
    observation = observe(session, round_id)
    decision = session.agent.decide(observation, round_id)
    fact = {
        "effort": decision.action.effort,
        "data_fraction": decision.action.data_fraction,
        "why": decision.why,
        "explored": decision.explored,
        "observation": observation.to_dict(),
    }
    session.ledger.append("decision", {"round": round_id, **fact}, key=f"decision/{round_id}")
    session.journal.set(f"round/{round_id:06d}/decision", fact)


def observe(session: Session, round_id: int) -> Observation:
    """What can be seen before `round_id`: the chain's last round and one's own costs."""
    consortium = session.consortium
    last = round_id - 1
    contributions = consortium.contributions(last) if last else []
    credited = {c.organization: consortium.credited(last, c.organization) for c in contributions}
    paid = sum(credited.values())
    return Observation(
        round_index=round_id,
        members=len(consortium.members()),
        participants_last_round=len(contributions),
        reward_share_last_round=credited.get(session.me, 0) / paid if paid else 0.0,
        quality=float(session.journal.get("quality", 0.0)),
        compute_price=session.config.costs.compute_price,
    )


def sit_out(session: Session, round_id: int) -> None:
    session.consortium.sit_out(round_id)


def train(session: Session, round_id: int) -> None:
    """Train and store delta, residual and salt. A round that cannot be trained is sat out."""
    try:
        _train(session, round_id)
    except RescindError as error:
        structlog.get_logger().error("training failed", round=round_id, reason=str(error))
        fact = session.journal.get(f"round/{round_id:06d}/decision")
        fact.update(effort=0.0, data_fraction=0.0, why=f"training failed: {error}")
        session.journal.set(f"round/{round_id:06d}/decision", fact)


def _train(session: Session, round_id: int) -> None:
    from training import choose, digest_on, round_seed, train_round

    parameters, me = session.parameters, session.me
    action = action_of(session.journal.get(f"round/{round_id:06d}/decision"))
    who = owner(parameters.layout, me)
    parent = session.consortium.round(round_id).parent_model
    start = materialize(
        block(_adapter(session, parent), who), parameters.shapes, parameters=parameters, owner=who
    )
    seed = round_seed(parameters.seed, me, round_id)
    examples = choose(session.examples, action.data_fraction, seed)
    steps = max(1, round(parameters.training.steps_per_round * action.effort))
    result = train_round(
        session.model,
        parameters,
        start,
        examples,
        steps=steps,
        seed=seed,
        progress=lambda _: session.halt_if_stopped(),
    )
    update = {
        qualify(who, name): value.astype(np.float64) - start[name]
        for name, value in result.tensors.items()
    }
    quantized = quantize(
        update,
        _residual(session),
        fraction_bits=parameters.fraction_bits,
        clip_norm=parameters.clip_norm,
    )
    delta = dict(quantized.delta)
    if parameters.hiding:
        delta[qualify(who, HIDING)] = hiding_block()
    artifact = session.store.put(encode(delta))
    digest_root = digest_on(delta, session.model.base.device).root
    residual_name = _save_residual(session, artifact, quantized.residual)
    salt = secrets.token_bytes(32)
    root = manifest_root(
        (f"{e.subject}\0{e.question}\0{e.answer}".encode() for e in examples), salt
    )
    session.ledger.append(
        "training-run",
        {
            "round": round_id,
            "artifact": artifact,
            "digest_root": digest_root,
            "manifest_root": root.hex(),
            "manifest_salt": salt.hex(),
            "examples": result.examples,
            "steps": result.steps,
            "tokens": result.tokens,
            "first_loss": result.first_loss,
            "last_loss": result.last_loss,
            "seconds": round(result.seconds, 3),
            "device": str(session.model.base.device),
            "norm": quantized.norm,
            "clipped": quantized.clipped,
        },
        key=f"training-run/{round_id}",
    )
    nonce = int(session.journal.get("nonce", 0)) + 1
    session.journal.set("nonce", nonce)
    session.journal.set(
        f"round/{round_id:06d}/update",
        {
            "artifact": artifact,
            "digest_root": digest_root,
            "salt": secrets.token_hex(32),
            "nonce": nonce,
            "residual": residual_name,
        },
    )


def commit(session: Session, round_id: int) -> None:
    update = session.journal.get(f"round/{round_id:06d}/update")
    session.consortium.commit(round_id, _named(update), bytes.fromhex(update["salt"]))


def upload(session: Session, round_id: int) -> None:
    """Send the chunks that are missing, then the signed update."""
    update = session.journal.get(f"round/{round_id:06d}/update")
    data = session.store.get(update["artifact"])
    manifest, _ = split(data)
    document = update_typed_data(
        chain_id=session.consortium.deployment.chain_id,
        rounds_address=session.consortium.deployment.rounds,
        round_id=round_id,
        artifact_id=update["artifact"],
        size=len(data),
        nonce=update["nonce"],
    )
    signature = sign_typed(document, session.account.key)
    try:
        session.client.upload(data)
        session.client.submit(round_id, manifest, update["nonce"], signature)
    except WrongPhase as error:
        structlog.get_logger().warning("upload not taken", round=round_id, reason=str(error))
        return
    session.journal.set(f"round/{round_id:06d}/submitted", True)


def reveal(session: Session, round_id: int) -> None:
    update = session.journal.get(f"round/{round_id:06d}/update")
    session.consortium.reveal(round_id, _named(update), bytes.fromhex(update["salt"]))


def _named(update: dict[str, Any]) -> DeltaId:
    return DeltaId(update["artifact"], update["digest_root"])


def action_of(fact: dict[str, Any] | None) -> Action:
    return Action(fact["effort"], fact["data_fraction"]) if fact else SIT_OUT


def own_totals(session: Session, model_id: int) -> dict[str, Any]:
    """The sum of one's own deltas in a model, from one's own store."""
    terms = [t for t in session.consortium.content(model_id) if t.organization == session.me]
    return adapter_totals(terms, lambda artifact: decode(session.store.get(artifact)))  # type: ignore[arg-type, return-value]


def _adapter(session: Session, model_id: int) -> dict[str, Any]:
    if model_id == 0:
        return {}
    return dict(decode(session.store.get(session.consortium.model(model_id).adapter_id)))


def _residual(session: Session) -> dict[str, Any] | None:
    """What rounding lost in the last round that this organization contributed to."""
    name = session.journal.get("residual")
    return load_file(session.config.node.state_dir / name) if name else None


def _save_residual(session: Session, artifact: str, residual: dict[str, Any]) -> str:
    name = f"residual-{artifact}.safetensors"
    path = session.config.node.state_dir / name
    temporary = path.with_suffix(".new")
    save_file(residual, temporary)
    temporary.replace(path)
    return name
