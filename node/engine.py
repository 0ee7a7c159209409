"""How this node's machine trains a round: its settings, its checkpoint, and its privacy account."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rescind.core import ConsortiumParameters, FloatTensors, Totals, artifact_id, encode
from rescind.node.session import Session

if TYPE_CHECKING:
    from rescind.training import Example, LoraModel, RoundTraining, Trainer, TrainResult
    from rescind.training.engine.privacy import PrivacySpent

_RUNS = "privacy/run/"


def run_key(session: Session, round_id: int, adapter: Totals, examples: list[Example]) -> str:
    """One name for one training: the round, what it starts from, and the data as it is now.

    Private noise is new for every name. The same noise on other data, or on another start, would show
    their difference bare.
    """
    told = session.journal.get(f"round/{round_id:06d}/decision")
    rows = [[e.subject, e.question, e.answer] for e in examples]
    start = artifact_id(encode(adapter))
    text = json.dumps([round_id, start, told, rows], sort_keys=True)
    return hmac.new(_own_key(session), text.encode(), hashlib.sha256).hexdigest()


def _own_key(session: Session) -> bytes:
    """So that a name, which outlives the data, cannot be guessed from data."""
    if session.journal.get("engine/key") is None:
        session.journal.set("engine/key", secrets.token_hex(32))
    return bytes.fromhex(session.journal.get("engine/key"))


def trainer(session: Session, round_id: int, key: str, *, noise: float = 0.0) -> Trainer:
    """Return a replacement for `train_round` that trains as this node is configured.

    It trains in this process or in several, with this node's settings, checkpoint and privacy account.
    A round's settings are kept in the journal, so that training it again repeats them. When its
    checkpoint cannot be used (another torch, a torn disk), the round starts again from step 0.

    Args:
        session: The node's session.
        round_id: The number of the round.
        key: The run's name, from `run_key`.
        noise: Privacy noise beyond the agreed multiplier; 1 doubles it.
    """
    from rescind.training.engine.checkpoint import Checkpoint, CheckpointBroken, CheckpointMismatch
    from rescind.training.engine.round import RoundPrivacy
    from rescind.training.engine.settings import EngineSettings

    engine = session.config.engine
    name = f"round/{round_id:06d}/engine"
    if session.journal.get(name) is None:
        session.journal.set(name, engine.settings())
    folder = session.config.node.state_dir / "checkpoints" / key
    _forget_others(folder)
    settings = EngineSettings(**session.journal.get(name))
    checkpoint = Checkpoint(folder, engine.checkpoint_steps) if engine.checkpoint_steps else None
    privacy = RoundPrivacy()
    if session.parameters.training.privacy is not None:
        privacy = RoundPrivacy(
            secret=_secret(session, round_id, key),
            spent=spent(session, but=key),
            extra_noise=noise,
        )

    def train(
        model: LoraModel,
        parameters: ConsortiumParameters,
        start: FloatTensors,
        examples: Sequence[Example],
        training: RoundTraining,
    ) -> TrainResult:
        training = replace(training, settings=settings, checkpoint=checkpoint, privacy=privacy)
        try:
            return _train(session, model, parameters, start, examples, training)
        except (CheckpointBroken, CheckpointMismatch) as error:
            structlog.get_logger().warning("checkpoint not used", round=round_id, reason=str(error))
            shutil.rmtree(folder, ignore_errors=True)
            return _train(session, model, parameters, start, examples, training)

    return train


def _train(
    session: Session,
    model: LoraModel,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: Sequence[Example],
    training: RoundTraining,
) -> TrainResult:
    from rescind.training import train_round

    processes = session.config.engine.processes
    if processes == 1:
        return train_round(model, parameters, start, examples, training)
    from rescind.training.engine.distributed import train_in_processes

    return train_in_processes(
        model.base,
        parameters,
        start,
        examples,
        training,
        processes=processes,
        dtype=session.config.model.dtype,
    )


def account(session: Session, key: str, result: TrainResult) -> dict[str, Any]:
    """Enter a private round in the journal before anything of it leaves; what the ledger says of it."""
    if result.privacy is None:
        return {}
    privacy = session.parameters.training.privacy
    assert privacy is not None
    entry = session.journal.get(f"{_RUNS}{key}")
    last = result.privacy.history[-1]
    mechanism = [last.noise_multiplier, last.sample_rate, result.steps]
    session.journal.set(f"{_RUNS}{key}", {**entry, "mechanism": mechanism})
    return {
        "privacy": {
            **result.privacy.to_dict(),
            "max_grad_norm": privacy.max_grad_norm,
            "this_round": mechanism,
            "on_chain": privacy.on_chain,
        }
    }


def spent(session: Session, *, but: str | None = None) -> PrivacySpent | None:
    """What all rounds so far have spent, those trained again included; None where nothing is private.

    `but`: a run that is left out.
    """
    from rescind.training.engine.privacy import Mechanism, PrivacySpent

    privacy = session.parameters.training.privacy
    if privacy is None:
        return None
    result = PrivacySpent(privacy.delta, privacy.accountant)
    runs = session.journal.all(_RUNS)
    for key, entry in sorted(runs.items(), key=lambda run: (run[1]["round"], run[0])):
        if entry["mechanism"] is not None and key != f"{_RUNS}{but}":
            result = result.then(Mechanism(*entry["mechanism"]))
    return result


def _secret(session: Session, round_id: int, key: str) -> bytes:
    """On the disk before it is used, so that a node killed half-way goes on with the same noise."""
    name = f"{_RUNS}{key}"
    if session.journal.get(name) is None:
        fresh = {"round": round_id, "secret": secrets.token_hex(32), "mechanism": None}
        session.journal.set(name, fresh)
    return bytes.fromhex(session.journal.get(name)["secret"])


def _forget_others(folder: Path) -> None:
    """A checkpoint of a round that was never finished is of no use once another is trained."""
    if not folder.parent.is_dir():
        return
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
