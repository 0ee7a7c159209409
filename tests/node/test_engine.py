import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.agents import Action, Observation
from rescind.contracts import StatedPrivacy
from rescind.core import PrivacyParameters
from rescind.core.errors import ConfigError
from rescind.daemon import Journal
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.node import CostSection
from rescind.node.config import EngineSection
from rescind.node.deciding import budget_used
from rescind.node.engine import (
    account,
    run_key,
    spent,
    trainer,
)
from rescind.node.facts import Decision, RoundFacts
from rescind.node.run_facts import PrivateRun
from rescind.node.settle import epsilon_of, publish_privacy
from rescind.training import BudgetSpent, LoraModel, PrivacySpent, RoundTraining, load_base
from rescind.training.engine.contribution import contribute
from tests.support.models import (
    ME,
    digest,
    examples,
    parameters_of,
)

SEEN = Observation(1, 4, 0, 0.0, 0.0, 0.02)


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), default_lora("isolated"))


def session_of(model: LoraModel, folder: Path, privacy=None, **engine):
    folder.mkdir(exist_ok=True)
    journal = Journal(folder / "node.db")
    for number in (1, 2, 3, 4):
        decision = Decision(Action(1.0, 1.0), "always", explored=False, observation=SEEN)
        RoundFacts(number, decision=decision).save(journal)
    return SimpleNamespace(
        model=model,
        parameters=parameters_of(model, privacy=privacy),
        journal=journal,
        config=SimpleNamespace(
            node=SimpleNamespace(state_dir=folder),
            engine=EngineSection(**{"checkpoint_steps": 1, **engine}),
            model=SimpleNamespace(dtype="float32"),
        ),
    )


def train(session, round_id: int, rows=None, adapter=None, noise: float = 0.0, **engine):
    rows = examples() if rows is None else rows
    key = run_key(session, round_id, adapter or {}, rows)
    contribution = contribute(
        session.model,
        session.parameters,
        ME,
        round_id,
        adapter or {},
        rows,
        None,
        RoundTraining(steps=5, **engine),
        trainer=trainer(session, round_id, key, noise=noise),
    )
    return contribution.result, account(session, key, contribution.result)


PRIVACY = PrivacyParameters(max_grad_norm=1.0, noise_multiplier=1.0, delta=1e-5, accountant="rdp")


def test_a_round_trained_again_keeps_the_settings_that_it_was_trained_with(
    model: LoraModel, tmp_path: Path
) -> None:
    session = session_of(model, tmp_path, batching="bucketed")
    first, record = train(session, 1)
    assert record == {}
    kept = RoundFacts.load(session.journal, 1).engine
    assert kept is not None
    assert kept["batching"] == "bucketed"
    session.config.engine = EngineSection(batching="plain")
    again, _ = train(session, 1)
    assert digest(again) == digest(first)
    assert spent(session) is None


def test_the_journal_sums_the_privacy_that_rounds_spend(model: LoraModel, tmp_path: Path) -> None:
    session = session_of(model, tmp_path, PRIVACY)
    epsilons = []
    for number in (1, 2, 3):
        _, record = train(session, number)
        epsilons.append(record["privacy"]["epsilon"])
        assert record["privacy"]["delta"] == 1e-5
        assert record["privacy"]["this_round"] == [1.0, 0.4, 5]
    assert epsilons == sorted(set(epsilons))
    privacy = spent(session)
    assert privacy is not None
    assert privacy.steps == 15
    assert privacy.epsilon == pytest.approx(epsilons[-1])
    reopened = Journal(tmp_path / "node.db")
    assert len(PrivateRun.all(reopened)) == 3
    assert not any("secret" in key for key in record["privacy"])


@pytest.mark.slow
def test_extra_noise_spends_less_privacy_in_each_round(model: LoraModel, tmp_path: Path) -> None:
    noisy, plain = (session_of(model, tmp_path / name, PRIVACY) for name in ("a", "b"))
    added = []
    for number in (1, 2):
        _, record = train(noisy, number, noise=1.0)
        assert record["privacy"]["this_round"] == [2.0, 0.4, 5]
        train(plain, number)
        added.append(epsilon_of(noisy, number))
    assert epsilon_of(noisy, 1) == added[0], "a second call gives the same"
    assert sum(added) == pytest.approx(spent(noisy).epsilon)
    assert 0 < sum(added) < spent(plain).epsilon
    noisy.config.costs = CostSection(privacy_budget=2 * spent(noisy).epsilon)
    assert budget_used(noisy) == pytest.approx(0.5)


def test_less_noise_than_agreed_is_rejected(model: LoraModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="less than was agreed on"):
        train(session_of(model, tmp_path, PRIVACY), 1, noise=-0.5)


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[Any], None]:
    def kill(progress: Any) -> None:
        if progress.step == step:
            raise Killed

    return kill


def test_a_round_resumed_after_a_kill_spends_no_more_privacy(
    model: LoraModel, tmp_path: Path
) -> None:
    session = session_of(model, tmp_path, PRIVACY)
    with pytest.raises(Killed):
        train(session, 1, progress=kill_at(3))
    assert spent(session) == PrivacySpent(1e-5, "rdp")
    resumed, _ = train(session, 1)
    assert resumed.resumed_at == 3
    again, record = train(session, 1)
    assert digest(again) == digest(resumed)
    assert record["privacy"]["steps"] == 5
    privacy = spent(session)
    assert privacy is not None
    assert privacy.steps == 5


def test_a_round_trained_again_on_other_data_draws_new_noise_and_spends_again(
    model: LoraModel, tmp_path: Path
) -> None:
    session = session_of(model, tmp_path, PRIVACY)
    first, _ = train(session, 1)
    other, record = train(session, 1, rows=examples()[:-1])
    secrets = {run.secret for run in PrivateRun.all(session.journal)}
    assert len(secrets) == 2
    assert record["privacy"]["steps"] == 10
    assert digest(first) != digest(other)


@pytest.mark.slow
def test_a_target_epsilon_holds_over_all_rounds(model: LoraModel, tmp_path: Path) -> None:
    privacy = PRIVACY.model_copy(
        update={"noise_multiplier": None, "target_epsilon": 4.0, "rounds": 2}
    )
    session = session_of(model, tmp_path, privacy)
    for number in (1, 2):
        _, record = train(session, number)
    assert 3.5 < record["privacy"]["epsilon"] <= 4.0
    with pytest.raises(BudgetSpent):
        train(session, 3)


def checkpoints(folder: Path) -> list[Path]:
    return list((folder / "checkpoints").rglob("*.safetensors"))


def test_a_round_starts_over_from_a_damaged_checkpoint(model: LoraModel, tmp_path: Path) -> None:
    session = session_of(model, tmp_path)
    with pytest.raises(Killed):
        train(session, 1, progress=kill_at(1))
    [file] = checkpoints(tmp_path)
    file.write_bytes(b"torn")
    result, _ = train(session, 1)
    assert result.resumed_at == 0


def test_a_checkpoint_is_deleted_when_another_round_is_trained(
    model: LoraModel, tmp_path: Path
) -> None:
    session = session_of(model, tmp_path)
    with pytest.raises(Killed):
        train(session, 2, progress=kill_at(1))
    assert checkpoints(tmp_path)
    train(session, 3)
    assert not checkpoints(tmp_path)


def test_without_noise_epsilon_has_no_bound(model: LoraModel, tmp_path: Path) -> None:
    session = session_of(
        model, tmp_path, PRIVACY.model_copy(update={"noise_multiplier": 0.0}), checkpoint_steps=0
    )
    _, record = train(session, 1)
    assert record["privacy"]["epsilon"] is None
    privacy = spent(session)
    assert privacy is not None
    assert math.isinf(privacy.epsilon)


def test_a_run_key_depends_on_round_start_and_data(model: LoraModel, tmp_path: Path) -> None:
    session = session_of(model, tmp_path)
    name = next(n for n in sorted(model.shapes) if n.endswith("lora_B"))
    adapter = {f"{ME}/{name}": np.ones(model.shapes[name], dtype=np.int64)}
    keys = {
        run_key(session, 1, {}, examples()),
        run_key(session, 1, adapter, examples()),
        run_key(session, 2, {}, examples()),
        run_key(session, 1, {}, examples(9)),
    }
    assert len(keys) == 4
    assert run_key(session, 1, {}, examples()) in keys


class Record:
    """The part of the public record that holds the epsilon spent."""

    def __init__(self) -> None:
        self.stated: list[tuple[float, float]] = []

    def privacy_spent(self, organization: str):
        if not self.stated:
            return None
        epsilon, delta = self.stated[-1]
        return StatedPrivacy(epsilon, delta, 1)

    def state_privacy(self, epsilon: float, delta: float) -> None:
        self.stated.append((epsilon, delta))


@pytest.mark.parametrize("agreed", [True, False])
def test_epsilon_goes_on_chain_once_a_round_where_it_is_agreed(
    model: LoraModel, tmp_path: Path, agreed: bool
) -> None:
    session = session_of(model, tmp_path, PRIVACY.model_copy(update={"on_chain": agreed}))
    session.me, session.consortium = ME, Record()
    publish_privacy(session)
    for number in (1, 2):
        train(session, number)
        publish_privacy(session)
        publish_privacy(session)

    stated = session.consortium.stated
    assert len(stated) == (2 if agreed else 0)
    if agreed:
        assert 0 < stated[0][0] < stated[1][0] == spent(session).epsilon
