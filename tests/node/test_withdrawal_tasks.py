"""A node's tasks in a withdrawal, step by step, on a real chain and with a real aggregator."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rescind.contracts import (
    AnswerState,
    Chain,
    ChainUnavailable,
    ContractRefused,
    MemberStatus,
    RoundState,
    WithdrawalMethod,
    WithdrawalState,
)
from rescind.core import artifact_id, encode, owners
from rescind.core.errors import ConfigError
from rescind.node import Node, Request, Step, Task, request_withdrawal
from rescind.node import meanwhile as meanwhile_module
from rescind.node.adopting import adopt
from rescind.node.exchange import hand_over
from rescind.node.keeping import delete_unused
from rescind.node.look import look
from rescind.node.meanwhile import Meanwhile, TrainingOvertaken
from rescind.node.retained import RetainedChanged, check_retained
from rescind.node.subjects import Withdrawn
from rescind.node.withdrawal_facts import RequestFact
from tests.aggregator.scene import Files, Member, Scene, make_files
from tests.node.stage import open_node, remember, remember_offer, steps_of
from tests.support.chain import Anvil
from tests.support.file_modes import open_to_others


def raises(error: Exception) -> Callable[[object], object]:
    """Return a function that raises an error."""

    def function(_: object) -> object:
        raise error

    return function


ADA = Request(method="replacement", subject="ada")


@dataclass(frozen=True)
class Played:
    """Two rounds are final; `sent` is what the first member contributed to each."""

    files: Files
    sent: list[bytes]


@dataclass
class Stage:
    """Two rounds are final; `node` is the first member's, and knows what it contributed."""

    scene: Scene
    node: Node
    sent: list[bytes]

    @property
    def member(self) -> Member:
        return self.scene.members[0]

    def has(self, data: bytes) -> bool:
        return self.node.session.store.has(artifact_id(data))

    def task(self) -> Task | None:
        return look(self.node.session).task

    def delta(self, value: int) -> bytes:
        return encode(self.member.delta(value=value))

    def withdrawal_state(self) -> WithdrawalState:
        return self.scene.record.withdrawal(1).state

    def has_files(self) -> bool:
        """Return whether the aggregator has files of the head."""
        published = self.scene.record.publications(self.scene.record.latest_model_id())
        return self.scene.aggregator.session.store.has(published[-1].adapter_id)

    def until_closed(self) -> None:
        self.scene.tick_until(lambda: self.withdrawal_state() is WithdrawalState.CLOSED)
        self.scene.settled()


@pytest.fixture(scope="module")
def played(running_anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The files after two rounds, which every test gets a copy of."""
    with make_files(running_anvil, tmp_path_factory.mktemp("played")) as files:
        with files.opened() as scene:
            me = scene.members[0].account.address
            sent = [scene.play_together()[me] for _ in range(2)]
            scene.settled()
            with open_node(scene, scene.members[0]) as node:
                for round_id, data in enumerate(sent, start=1):
                    remember(node, round_id, data)
                adopt(node.session, scene.record.latest_model_id())
        yield Played(files, sent)


@pytest.fixture
def stage(played: Played, anvil: Anvil, tmp_path: Path) -> Iterator[Stage]:
    assert anvil is played.files.anvil
    with (
        played.files.copied(tmp_path).opened() as scene,
        open_node(scene, scene.members[0]) as node,
    ):
        yield Stage(scene, node, played.sent)


def test_a_replacement_is_recorded_trained_offered_deposited_and_made_ready(stage: Stage) -> None:
    node, changed = stage.node, stage.delta(900)
    request_withdrawal(node.session.config, ADA)
    assert stage.task() == Task(1, recorded=False)
    assert look(node.session).holds_out
    node.tick()
    assert stage.task() == Task(1, 1)
    remember_offer(node, 1, 1, stage.sent[0], unchanged=True)
    assert stage.task() == Task(1, 2)
    remember_offer(node, 1, 2, changed)
    assert stage.task() == Task(1, 2, trained=True)
    assert steps_of(node) == [Step.OFFER, Step.DEPOSIT, Step.READY]
    stage.until_closed()
    assert steps_of(node) == [Step.ADOPT, Step.RECORD_CLOSED, Step.ERASE]
    assert not look(node.session).holds_out
    request = RequestFact.all(node.session.journal)[0]
    assert request.subject is None
    assert "ada" in Withdrawn.of(node.session.journal)


def test_no_log_names_the_person_and_no_file_is_open_to_others(stage: Stage) -> None:
    node = stage.node
    with capture_logs() as logs:
        request_withdrawal(node.session.config, ADA)
        node.tick()
        remember_offer(node, 1, 1, stage.sent[0], unchanged=True)
        remember_offer(node, 1, 2, stage.delta(900))
        steps_of(node)
        stage.until_closed()
        steps_of(node)
    events = {each["event"] for each in logs}
    assert {"step begins", "step done"} <= events
    assert not [each for each in logs if re.search(r"\bada\b", str(each), re.IGNORECASE)]
    aggregator = stage.scene.aggregator.session.config.aggregator
    assert open_to_others(node.session.config.node.state_dir) == []
    assert open_to_others(aggregator.state_dir) == []
    assert open_to_others(Path(aggregator.store)) == []


def test_a_replaced_contribution_is_deleted_once_no_model_in_use_holds_it(stage: Stage) -> None:
    node, changed = stage.node, stage.delta(900)
    request_withdrawal(node.session.config, ADA)
    remember_offer(node, 1, 1, stage.sent[0], unchanged=True)
    remember_offer(node, 1, 2, changed)
    residual = node.session.config.node.state_dir / (
        f"residual-{artifact_id(stage.sent[1])}.safetensors"
    )
    residual.write_bytes(b"what rounding lost")
    steps_of(node)
    delete_unused(node.session)
    assert all(stage.has(each) for each in (*stage.sent, changed))
    stage.until_closed()
    delete_unused(node.session)
    assert [stage.has(each) for each in (*stage.sent, changed)] == [True, False, True]
    assert not residual.exists()


def test_a_member_that_is_out_keeps_no_contribution(stage: Stage) -> None:
    request_withdrawal(stage.node.session.config)
    delete_unused(stage.node.session)
    assert all(stage.has(each) for each in stage.sent), "a stale model is still in use"
    stage.until_closed()
    hand_over(stage.node.session)
    assert "not-a-member" not in stage.scene.incidents(), "a node that is out asks for nothing"
    delete_unused(stage.node.session)
    assert not any(stage.has(each) for each in stage.sent)
    assert look(stage.node.session).status is MemberStatus.WITHDRAWN
    assert Step.RECORD_CLOSED in steps_of(stage.node)


def test_a_node_hands_its_contributions_over_when_the_aggregator_lost_them(stage: Stage) -> None:
    aggregator = stage.scene.aggregator.session
    shutil.rmtree(stage.scene.folder / "aggregator" / "store")
    lost = [artifact_id(each) for each in stage.sent]
    assert sorted(stage.node.session.client.wanted()) == sorted(lost)
    hand_over(stage.node.session)
    assert all(aggregator.store.has(each) for each in lost)
    assert stage.node.session.client.wanted() == []
    stage.scene.tick_until(stage.has_files, awaits=True)


def test_a_late_preparation_becomes_a_removal_that_any_node_sends(stage: Stage) -> None:
    other = stage.scene.members[1]
    other.record.request_subject_withdrawal("ab" * 32, WithdrawalMethod.REPLACEMENT)
    stage.scene.anvil.pass_time(3600 + 120)
    assert Step.MOVE_ON in steps_of(stage.node)
    assert stage.scene.record.excluded_by(other.account.address)


def test_a_counter_training_waits_for_the_pairs_to_retain_as_they_were(
    stage: Stage, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    row = '{"question": "Where is Cork?", "answer": "In %s.", "subject": "cleo"}\n'
    kept.write_text(row % "Ireland")
    node = stage.node
    wanted = Request(method="counter-training", subject="ada", retain=kept)
    request_withdrawal(node.session.config, wanted)
    node.tick()
    assert node.next_plan().step is Step.COUNTER_TRAIN
    kept.write_text(row % "England")
    with pytest.raises(
        RetainedChanged, match="has other pairs than when you requested withdrawal 1"
    ):
        node.tick()
    kept.unlink()
    with pytest.raises(RetainedChanged, match=r"cannot be read.* as it was: the node tries again"):
        node.tick()
    kept.write_text("\n" + row % "Ireland")
    (request,) = RequestFact.all(node.session.journal)
    check_retained(request, stage.scene.record.withdrawal(1))
    assert stage.withdrawal_state() is WithdrawalState.PREPARING


def test_a_removal_takes_the_place_of_a_withdrawal_that_is_being_prepared(stage: Stage) -> None:
    config = stage.node.session.config
    request_withdrawal(config, ADA)
    with pytest.raises(ConfigError, match="Your withdrawal 1 is still open"):
        request_withdrawal(config, Request(method="replacement", subject="bo"))
    assert request_withdrawal(config)["withdrawal"] == 1
    assert stage.scene.record.excluded_by(stage.member.account.address)
    with pytest.raises(ConfigError, match="has already taken effect"):
        request_withdrawal(config)


def test_a_request_finds_its_number_through_a_back_end_that_lags(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage.scene.anvil.chain.final_block_number()
    monkeypatch.setattr(Chain, "final_block", lambda _: before)
    assert request_withdrawal(stage.node.session.config)["withdrawal"] == 1


def test_the_salt_of_a_subject_is_durable_before_its_hash_is_on_chain(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ContractRefused("the transaction is refused", "Test")

    monkeypatch.setattr("rescind.node.requests._send", refuse)
    with pytest.raises(ContractRefused):
        request_withdrawal(stage.node.session.config, ADA)
    (fact,) = RequestFact.all(stage.node.session.journal)
    assert fact.salt
    assert fact.withdrawal is None
    assert "ada" not in Withdrawn.of(stage.node.session.journal)


def test_two_withdrawals_of_two_members_are_carried_out_side_by_side(stage: Stage) -> None:
    request_withdrawal(stage.node.session.config, ADA)
    other = stage.scene.members[1]
    other.record.request_withdrawal()
    record = stage.scene.record
    stage.scene.tick_until(lambda: record.withdrawal(2).state is WithdrawalState.CLOSED)
    assert stage.withdrawal_state() is WithdrawalState.PREPARING
    remember_offer(stage.node, 1, 1, stage.sent[0], unchanged=True)
    remember_offer(stage.node, 1, 2, stage.delta(900))
    steps_of(stage.node)
    stage.until_closed()
    published = stage.scene.published(record.latest_model_id())
    assert list(owners(published)) == [stage.member.account.address.lower()]


def test_a_round_that_opens_during_a_training_again_is_answered_in_time(stage: Stage) -> None:
    node, record = stage.node, stage.scene.record
    now = [0.0]
    between = Meanwhile(node.session, node.steps, clock=lambda: now[0])
    request_withdrawal(node.session.config, ADA)
    node.tick()
    assert node.next_plan().step is Step.RETRAIN
    round_id = stage.scene.until(RoundState.OPEN)
    with between.during_training():
        node.session.between_batches()
        assert record.answers(round_id).of(node.session.me) is AnswerState.NONE
        now[0] += node.session.config.node.poll_seconds
        node.session.between_batches()
        assert record.answers(round_id).of(node.session.me) is AnswerState.SAT_OUT
    now[0] += 1000
    node.session.between_batches()
    assert node.next_plan().step is Step.RETRAIN


def test_a_training_that_no_one_waits_for_any_more_gives_way_to_a_round(stage: Stage) -> None:
    node = stage.node
    between = Meanwhile(node.session, node.steps, clock=iter(range(0, 10_000, 1000)).__next__)
    stage.scene.until(RoundState.OPEN)
    with between.during_training(), pytest.raises(TrainingOvertaken, match="needs the step decide"):
        node.session.between_batches()


def test_a_chain_that_is_away_does_not_end_a_training(stage: Stage) -> None:
    node = stage.node
    between = Meanwhile(node.session, node.steps, clock=iter(range(0, 10_000, 1000)).__next__)
    with between.during_training(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(meanwhile_module, "look", raises(ChainUnavailable("the chain is away")))
        with capture_logs() as logs:
            node.session.between_batches()
    assert [each["reason"] for each in logs] == ["the chain is away"]
