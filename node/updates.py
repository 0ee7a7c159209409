"""From private data to an update: decide, train, quantize, commit, upload, reveal."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import structlog
from safetensors.numpy import load_file, save

from rescind.agents import SIT_OUT, Action, Observation
from rescind.contracts import DeltaId
from rescind.core import (
    HIDING,
    FloatTensors,
    StoreMissing,
    Term,
    block,
    encode,
    hiding_block,
    materialize,
    owner,
    qualify,
)
from rescind.core.errors import DataError, RescindError
from rescind.core.files import write_atomically
from rescind.core.round_sums import uses_controls
from rescind.ledger import Manifest, sample_bytes
from rescind.node import fisher
from rescind.node.engine import (
    account,
    run_key,
    spent,
    trainer,
)
from rescind.node.rounds import Start, own_sum, start_from
from rescind.node.session import Session
from rescind.node.subjects import Withdrawn
from rescind.wire import (
    WrongPhase,
    sign_typed,
    split,
    update_typed_data,
)

if TYPE_CHECKING:
    from rescind.training import Example

ETHER = 10**18


def decide(session: Session, round_id: int) -> None:
    """Ask the agent, and keep what it said before acting on it."""
    agreed, observation = session.parameters, observe(session, round_id)
    decision = session.agent.decide(observation, round_id)
    action, why = decision.action, decision.why
    if action.takes_part and action.effort < 1 and uses_controls(agreed):
        action = replace(action, effort=1.0)
        why = f"{why}; with scaffold all train every step"
    fact = {
        "effort": action.effort,
        "data_fraction": action.data_fraction,
        "noise": action.noise,
        "why": why,
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
    costs, private = session.config.costs, session.parameters.training.privacy is not None
    return Observation(
        round_index=round_id,
        members=len(consortium.members()),
        participants_last_round=len(contributions),
        reward_share_last_round=credited.get(session.me, 0) / paid if paid else 0.0,
        quality=float(session.journal.get("quality", 0.0)),
        compute_price=costs.compute_price * costs.energy_by_hour[time.gmtime().tm_hour],
        reward_available=consortium.reward_available() / ETHER,
        privacy_spent=budget_used(session),
        private=private,
    )


def budget_used(session: Session) -> float:
    """Share of one's privacy budget that is spent, at most 1; 0 where nothing is private or bounded."""
    agreed, known = session.parameters.training.privacy, spent(session)
    if agreed is None or known is None or not known.history:
        return 0.0
    budget = session.config.costs.privacy_budget or agreed.target_epsilon
    return min(1.0, known.epsilon / budget) if budget else 0.0


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
    parent = session.consortium.round(round_id).parent_model
    content = session.consortium.content(parent)
    start = start_from(session, parent)
    made = make_delta(session, round_id, start, residual_of(session, content))
    posted = _fisher(session, start, made)
    made.record(session, round_id)
    session.ledger.append(
        "training-run", {"round": round_id, **made.run, **posted}, key=f"training-run/{round_id}"
    )
    nonce = int(session.journal.get("nonce", 0)) + 1
    session.journal.set("nonce", nonce)
    session.journal.set(
        f"round/{round_id:06d}/update",
        {**made.fact, **posted, "salt": secrets.token_hex(32), "nonce": nonce},
    )


def _fisher(session: Session, start: Start, made: Made) -> dict[str, str]:
    """Where the consortium asks for it: the id of the Fisher of what was trained on."""
    parameters = session.parameters
    if not parameters.post_fisher:
        return {}
    who = owner(parameters.layout, session.me)
    totals = block(start.adapter, who)
    before = materialize(totals, parameters.shapes, parameters=parameters, owner=who)
    return {"fisher": fisher.measure(session, before | dict(made.tensors), made.examples)}


@dataclass(frozen=True)
class Made:
    """A delta in one's own store. `fact`: what the journal keeps of it; `run`: what the ledger says of
    its training; `tensors`: as they were trained, on `examples`, which `manifest` commits to."""

    fact: dict[str, Any]
    run: dict[str, Any]
    tensors: FloatTensors
    examples: tuple[Example, ...]
    manifest: Manifest

    def record(self, session: Session, round_id: int, withdrawal_id: int | None = None) -> None:
        """The manifest, with what proves later who was in it and who was not; and, where rounds are
        private, what they have spent so far."""
        about = {
            "round": round_id,
            **({} if withdrawal_id is None else {"withdrawal": withdrawal_id}),
        }
        payload = {**about, "artifact": self.fact["artifact"], **self.manifest.to_json()}
        place = "" if withdrawal_id is None else f"withdrawal/{withdrawal_id}/"
        session.ledger.append("manifest", payload, key=f"{place}manifest/{round_id}")
        if "privacy" in self.run:
            spent = {name: self.run["privacy"][name] for name in ("epsilon", "delta", "accountant")}
            key = f"{place}privacy-budget/{round_id}"
            session.ledger.append("privacy-budget", {**about, **spent}, key=key)


def make_delta(
    session: Session, round_id: int, start: Start, residual: dict[str, Any] | None
) -> Made:
    """Train one's part in a round from `start`, as it was decided then, and store it."""
    from rescind.training import RoundTraining, digest_on
    from rescind.training.engine.contribution import contribute

    parameters, me = session.parameters, session.me
    action = action_of(session.journal.get(f"round/{round_id:06d}/decision"))
    examples = session.examples
    key = run_key(session, round_id, start.adapter, examples)
    found = contribute(
        session.model,
        parameters,
        me,
        round_id,
        start.adapter,
        examples,
        residual,
        RoundTraining(
            steps=max(1, round(parameters.training.steps_per_round * action.effort)),
            progress=lambda _: session.halt_if_stopped(),
        ),
        past=start.past,
        data_fraction=action.data_fraction,
        trainer=trainer(session, round_id, key, noise=action.noise),
    )
    privacy = account(session, key, found.result)
    delta = dict(found.quantized.delta)
    if parameters.hiding:
        delta[qualify(owner(parameters.layout, me), HIDING)] = hiding_block()
    artifact = session.store.put(encode(delta))
    salt = secrets.token_bytes(32)
    manifest = _manifest(found.examples, salt)
    fact = {
        "artifact": artifact,
        "digest_root": digest_on(delta, session.model.base.device).root,
        "residual": save_residual(session, artifact, found.quantized.residual),
        "manifest_root": manifest.commitment.hex(),
        "manifest_salt": salt.hex(),
        "data_hash": _data_hash(examples, salt),
        "without": Withdrawn.of(session.journal).commitments,
    }
    result = found.result
    run = {
        **{k: fact[k] for k in ("artifact", "digest_root", "manifest_root")},
        "examples": result.examples,
        "steps": result.steps,
        "tokens": result.tokens,
        "first_loss": result.first_loss,
        "last_loss": result.last_loss,
        "seconds": round(result.seconds, 3),
        "device": str(session.model.base.device),
        "norm": found.quantized.norm,
        "clipped": found.quantized.clipped,
        "engine": session.journal.get(f"round/{round_id:06d}/engine"),
        **privacy,
    }
    return Made(fact, run, result.tensors, found.examples, manifest)


def check_data(session: Session, round_id: int) -> None:
    """Raises DataError when one's data is not what a round was trained on, as far as it can be told:
    nothing is compared where a data subject was withdrawn since."""
    gone = Withdrawn.of(session.journal).commitments
    facts = {
        **session.journal.all(f"round/{round_id:06d}/update"),
        **session.journal.all("retrained/"),
    }
    for key, fact in facts.items():
        about = key.startswith("round/") or key.endswith(f"/{round_id:06d}")
        if not about or fact.get("without") != gone:
            continue
        found = _data_hash(session.examples, bytes.fromhex(fact["manifest_salt"]))
        if found != fact["data_hash"]:
            raise DataError(
                f"{session.config.node.data} is not what round {round_id} was trained on: put back "
                "the rows that it had then, in their order"
            )


def _data_hash(examples: Sequence[Example], salt: bytes) -> str:
    """Of all that could be chosen from, in its order, which the choice depends on."""
    rows = "\0".join(f"{e.subject}\0{e.question}\0{e.answer}" for e in examples)
    return hashlib.sha256(salt + rows.encode()).hexdigest()


def _manifest(examples: Iterable[Example], secret: bytes) -> Manifest:
    return Manifest.of(((e.subject, sample_bytes(e.question, e.answer)) for e in examples), secret)


def commit(session: Session, round_id: int) -> None:
    update = session.journal.get(f"round/{round_id:06d}/update")
    salt = bytes.fromhex(update["salt"])
    session.consortium.commit(round_id, _named(update), salt, update["manifest_root"])


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
        if "fisher" in update:
            fisher.post(session, round_id, update["fisher"])
    except WrongPhase as error:
        structlog.get_logger().warning("upload not taken", round=round_id, reason=str(error))
        return
    session.journal.set(f"round/{round_id:06d}/submitted", True)


def reveal(session: Session, round_id: int) -> None:
    update = session.journal.get(f"round/{round_id:06d}/update")
    salt = bytes.fromhex(update["salt"])
    session.consortium.reveal(round_id, _named(update), salt, update["manifest_root"])


def _named(update: dict[str, Any]) -> DeltaId:
    return DeltaId(update["artifact"], update["digest_root"])


def action_of(fact: dict[str, Any] | None) -> Action:
    if not fact:
        return SIT_OUT
    return Action(fact["effort"], fact["data_fraction"], fact.get("noise", 0.0))


def own_totals(session: Session, model_id: int) -> dict[str, Any]:
    """The sum of one's own deltas in a model, from one's own store."""
    return own_sum(session, session.consortium.content(model_id))


def residual_of(session: Session, content: Iterable[Term]) -> dict[str, Any] | None:
    """What rounding lost in the last of one's own deltas in a model, None without any."""
    mine = [t for t in content if t.round_id and t.organization == session.me]
    if not mine:
        return None
    last = max(mine, key=lambda term: term.round_id)
    path = session.config.node.state_dir / _residual_name(last.artifact_id)
    if not path.is_file():
        raise StoreMissing(f"{path} is not there: it belongs to the delta of round {last.round_id}")
    return load_file(path)


def _residual_name(artifact: str) -> str:
    return f"residual-{artifact}.safetensors"


def save_residual(session: Session, artifact: str, residual: dict[str, Any]) -> str:
    name = _residual_name(artifact)
    path = session.config.node.state_dir / name
    write_atomically(path, save(residual))
    return name
