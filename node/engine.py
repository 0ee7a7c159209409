"""The training engine of a node: settings, checkpoint and privacy account of a round."""

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

from rescind.core import ConsortiumParameters, FloatTensors, Totals, encoded_id
from rescind.node.facts import RoundFacts
from rescind.node.run_facts import PrivateRun, RunNameKey
from rescind.node.session import Session

if TYPE_CHECKING:
    from rescind.training import (
        EngineSettings,
        Example,
        LoraModel,
        PrivacySpent,
        RoundPrivacy,
        RoundTraining,
        Trainer,
        TrainResult,
    )


def run_key(session: Session, round_id: int, adapter: Totals, examples: list[Example]) -> str:
    """Return the name of one training run: the round, its start, and the data as it is now.

    Private noise is drawn separately for every name: the same noise on other data, or from another
    start, would reveal their difference.

    Args:
        session: The node's session.
        round_id: The round.
        adapter: The totals that it starts from.
        examples: All examples that it may train on.
    """
    decision = RoundFacts.load(session.journal, round_id).decision
    rows = [[e.subject, *e.content] for e in examples]
    start = encoded_id(adapter)
    text = json.dumps(
        [round_id, start, decision.to_json() if decision else None, rows], sort_keys=True
    )
    return hmac.new(_name_key(session), text.encode(), hashlib.sha256).hexdigest()


def _name_key(session: Session) -> bytes:
    # Names outlive the data; with a secret key, data cannot be guessed from them.
    key = RunNameKey.find(session.journal)
    if key is None:
        key = RunNameKey(secrets.token_hex(32))
        key.save(session.journal)
    return bytes.fromhex(key.secret)


def trainer(
    session: Session,
    round_id: int,
    key: str,
    *,
    noise: float = 0.0,
    keep_checkpoints: bool = True,
) -> Trainer:
    """Return a replacement for `train_round` that trains as this node is configured.

    It trains in this process or in several, with this node's settings, checkpoint and privacy
    account. A round's settings are kept in the journal, so that training it again repeats them.
    When its checkpoint cannot be used (another torch, a torn disk), the round starts again from
    step 0.

    Args:
        session: The node's session.
        round_id: The number of the round.
        key: The run's name, from `run_key`.
        noise: Privacy noise beyond the agreed multiplier; 1 doubles it.
        keep_checkpoints: False to read, write and delete no checkpoint.
    """
    from rescind.training import Checkpoint

    folder = session.config.node.state_dir / "checkpoints" / key
    steps = session.config.engine.checkpoint_steps if keep_checkpoints else 0
    if keep_checkpoints:
        _delete_other_checkpoints(folder)
    checkpoint = Checkpoint(folder, steps) if steps else None
    settings = _kept_settings(session, round_id)
    privacy = _round_privacy(session, round_id, key, noise)

    def train(
        model: LoraModel,
        parameters: ConsortiumParameters,
        start: FloatTensors,
        examples: Sequence[Example],
        training: RoundTraining,
    ) -> TrainResult:
        configured = replace(training, settings=settings, checkpoint=checkpoint, privacy=privacy)
        return _train_or_start_over(
            session, model, parameters, start, examples, configured, folder, round_id
        )

    return train


def _kept_settings(session: Session, round_id: int) -> EngineSettings:
    """Return the settings that a round was first trained with, from the journal."""
    from rescind.training import EngineSettings

    facts = RoundFacts.load(session.journal, round_id)
    if facts.engine is None:
        facts = replace(facts, engine=session.config.engine.settings())
        facts.save(session.journal)
    assert facts.engine is not None
    return EngineSettings(**facts.engine)


def _round_privacy(session: Session, round_id: int, key: str, noise: float) -> RoundPrivacy:
    """Return a run's secret, and what other runs have spent; empty where rounds are not private."""
    from rescind.training import RoundPrivacy

    if session.parameters.training.privacy is None:
        return RoundPrivacy()
    return RoundPrivacy(
        secret=_secret(session, round_id, key),
        spent=spent(session, but=key),
        extra_noise=noise,
    )


def _train_or_start_over(
    session: Session,
    model: LoraModel,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: Sequence[Example],
    training: RoundTraining,
    folder: Path,
    round_id: int,
) -> TrainResult:
    """Train, and train from step 0 if the checkpoint in `folder` cannot be used."""
    from rescind.training import CheckpointBroken, CheckpointMismatch

    try:
        return _train(session, model, parameters, start, examples, training)
    except (CheckpointBroken, CheckpointMismatch) as error:
        structlog.get_logger().warning("checkpoint not used", round=round_id, reason=str(error))
        shutil.rmtree(folder, ignore_errors=True)
        return _train(session, model, parameters, start, examples, training)


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
    )


def account(session: Session, key: str, result: TrainResult) -> dict[str, Any]:
    """Record what a private round spent, before anything of it leaves the node.

    Args:
        session: The node's session.
        key: The run's name, from `run_key`.
        result: The training's result.

    Returns:
        The "privacy" entry of the ledger's record; empty if rounds are not private.
    """
    if result.privacy is None:
        return {}
    privacy = session.parameters.training.privacy
    assert privacy is not None
    run = PrivateRun.find(session.journal, key)
    assert run is not None
    last = result.privacy.history[-1]
    mechanism = (last.noise_multiplier, last.sample_rate, result.steps)
    replace(run, mechanism=mechanism).save(session.journal)
    return {
        "privacy": {
            **result.privacy.to_dict(),
            "max_grad_norm": privacy.max_grad_norm,
            "this_round": list(mechanism),
            "on_chain": privacy.on_chain,
        }
    }


def spent(session: Session, *, but: str | None = None) -> PrivacySpent | None:
    """Return what all private rounds have spent so far, including those that were trained again.

    Args:
        session: The node's session.
        but: Name of a run to leave out.

    Returns:
        None where rounds are not private.
    """
    privacy = session.parameters.training.privacy
    if privacy is None:
        return None
    from rescind.training import Mechanism, PrivacySpent

    result = PrivacySpent(privacy.delta, privacy.accountant)
    for run in PrivateRun.all(session.journal):
        if run.mechanism is not None and run.name != but:
            result = result.then(Mechanism(*run.mechanism))
    return result


def _secret(session: Session, round_id: int, key: str) -> bytes:
    # Saved before it is used, so that a node killed half-way continues with the same noise.
    run = PrivateRun.find(session.journal, key)
    if run is None:
        run = PrivateRun(key, round_id, secrets.token_hex(32))
        run.save(session.journal)
    return bytes.fromhex(run.secret)


def _delete_other_checkpoints(folder: Path) -> None:
    # A checkpoint of a round that was never finished is useless once another round is trained.
    if not folder.parent.is_dir():
        return
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
