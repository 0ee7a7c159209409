"""Deltas for withdrawals, submitted to a real aggregator by members that may and that may not."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rescind.contracts import (
    REPLAY_OFFERS,
    ContractRefused,
    Parts,
    RoundState,
    WithdrawalMethod,
    WithdrawalState,
)
from rescind.core import artifact_id, encode, owners
from rescind.core.canonical_json import canonical_json
from rescind.wire import (
    AggregatorClient,
    BadSignature,
    DeltaRefused,
    SizedArtifact,
    WrongPhase,
    offer_typed_data,
    sign_typed,
)
from tests.aggregator.scene import (
    SALT,
    Member,
    Scene,
    open_scene,
)
from tests.support.chain import Anvil


@dataclass(frozen=True)
class Request:
    """A withdrawal of a data subject by the honest member, for which nothing is offered yet."""

    scene: Scene
    number: int

    def offer(self, data: bytes, named: Parts | None = None, round_id: int = 1) -> None:
        owner = self.scene.honest
        owner.record.offer(self.number, round_id, named or owner.named(data))

    def send(
        self, member: Member, data: bytes, *, round_id: int = 1, signer: Member | None = None,
        report: bytes = b"{}",
    ) -> None:  # fmt: skip
        artifact = SizedArtifact.of(data)
        document = offer_typed_data(
            chain_id=31337,
            rounds_address=member.record.deployment.rounds,
            offer_id=self.number,
            round_id=round_id,
            artifact_id=artifact.artifact_id,
            size=len(data),
            report=report,
        )
        signature = sign_typed(document, (signer or member).account.key)
        with AggregatorClient(member.address, member.tls) as client:
            client.upload(data)
            client.submit_offered(self.number, round_id, artifact, report, signature)

    def state(self) -> WithdrawalState:
        return self.scene.record.withdrawal(self.number).state


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    with open_scene(running_anvil, tmp_path_factory.mktemp("offers")) as opened:
        round_id = opened.until(RoundState.OPEN)
        for member in (opened.honest, opened.hostile):
            member.record.commit(round_id, member.named(encode(member.delta())), SALT)
        opened.until(RoundState.COMMITTED)
        for member in (opened.honest, opened.hostile):
            member.submit(round_id, encode(member.delta()))
            member.record.reveal(round_id, member.named(encode(member.delta())), SALT)
        opened.until(RoundState.FINAL)
        yield opened


def request_subject_withdrawal(scene: Scene, kind: WithdrawalMethod) -> Request:
    owner = scene.honest
    number = len(scene.record.withdrawals()) + 1
    owner.record.request_subject_withdrawal(f"{number:064x}", kind)
    return Request(scene, number)


@pytest.fixture(autouse=True)
def rewound(scene: Scene) -> Iterator[None]:
    """Take the chain back after each test: an organization has one withdrawal open at a time."""
    with scene.anvil.rewound():
        yield


def test_a_delta_is_refused_until_it_is_offered_on_chain(scene: Scene) -> None:
    request = request_subject_withdrawal(scene, WithdrawalMethod.REPLACEMENT)
    data = encode(scene.honest.delta(value=5))
    with pytest.raises(WrongPhase, match="no update of"):
        request.send(scene.honest, data)
    request.offer(data)
    with pytest.raises(WrongPhase, match="offer it on chain first"):
        request.send(scene.honest, data, round_id=2)


def test_only_the_organization_that_offered_a_delta_can_submit_it(scene: Scene) -> None:
    request = request_subject_withdrawal(scene, WithdrawalMethod.REPLACEMENT)
    data = encode(scene.honest.delta(value=6))
    request.offer(data)
    with pytest.raises(WrongPhase):
        request.send(scene.hostile, data)
    with pytest.raises(BadSignature, match="is signed by"):
        request.send(scene.honest, data, signer=scene.hostile)
    assert "bad-signature" in scene.incidents()


def test_a_delta_whose_report_is_not_json_is_refused(scene: Scene) -> None:
    request = request_subject_withdrawal(scene, WithdrawalMethod.REPLACEMENT)
    data = encode(scene.honest.delta(value=7))
    request.offer(data)
    with pytest.raises(DeltaRefused, match="not JSON"):
        request.send(scene.honest, data, report=b"{")
    assert "delta-refused" in scene.incidents()


def test_a_submitted_delta_is_in_the_model_that_closes_the_withdrawal(scene: Scene) -> None:
    request = request_subject_withdrawal(scene, WithdrawalMethod.REPLACEMENT)
    data = encode(scene.honest.delta(value=8))
    request.offer(data)
    request.send(scene.honest, data)
    request.send(scene.honest, data)
    scene.honest.record.ready(request.number)
    scene.tick_until(lambda: request.state() is WithdrawalState.CLOSED)
    entries = scene.record.content(scene.record.latest_model_id())
    assert artifact_id(data) in {
        each.parts.artifact_ids[0] for each in scene.record.registered(entries)
    }
    with pytest.raises(WrongPhase):
        request.send(scene.honest, encode(scene.honest.delta(value=9)))


@pytest.mark.parametrize(
    ("kind", "why"),
    [("digest", "commitment has hash"), ("shape", "shape"), ("bounds", "norm"), ("zero", "zero")],
)
def test_a_faulty_delta_is_refused_and_only_its_owner_is_left_out(
    scene: Scene, kind: str, why: str
) -> None:
    request, honest = request_subject_withdrawal(scene, WithdrawalMethod.REPLACEMENT), scene.honest
    salt = 20 + len(why)
    faulty = {
        "digest": honest.delta(value=salt),
        "shape": honest.delta(value=salt, rows=1),
        "bounds": honest.delta(value=2**30 + salt),
        "zero": honest.delta(value=0),
    }[kind]
    data = encode(faulty)
    wrong = honest.named(encode(honest.delta(value=100 + salt))).points
    named = Parts((artifact_id(data),), wrong) if kind in ("digest", "zero") else None
    request.offer(data, named)
    with pytest.raises(DeltaRefused, match=why):
        request.send(honest, data)
    honest.record.ready(request.number)
    scene.tick_until(lambda: request.state() is WithdrawalState.CLOSED)
    assert not scene.aggregator.session.store.has(artifact_id(data))
    head = scene.settled(awaits=True)
    adapter = scene.aggregator.session.store.load(scene.record.publications(head)[-1].adapter_id)
    assert list(owners(adapter)) == [scene.hostile.account.address.lower()]
    assert "model-incomplete" in scene.incidents()


def test_a_counter_delta_must_be_on_chain_and_have_a_report(scene: Scene) -> None:
    request = request_subject_withdrawal(scene, WithdrawalMethod.COUNTER_TRAINING)
    data = encode(scene.honest.delta(value=200))
    with pytest.raises(WrongPhase):
        request.send(scene.honest, data, round_id=0)
    with pytest.raises(ContractRefused, match="NothingOffered"):
        scene.honest.record.ready(request.number)
    request.offer(data, round_id=0)
    with pytest.raises(DeltaRefused, match="report is missing method, seed, start, verdict"):
        request.send(scene.honest, data, round_id=0)
    report = canonical_json({"method": "npo", "seed": 1, "start": "00" * 32, "verdict": "ok"})
    request.send(scene.honest, data, round_id=0, report=report)


def test_without_a_running_replay_no_start_is_given_out(scene: Scene) -> None:
    with (
        AggregatorClient(scene.honest.address, scene.honest.tls) as client,
        pytest.raises(WrongPhase, match="is not running"),
    ):
        client.replay_start(REPLAY_OFFERS + 1, 1)
