"""Hostile updates against a real aggregator, a real chain and mutual TLS."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import safetensors.numpy
from google.protobuf.message_factory import GetMessageClass

from rescind.contracts import (
    ContractRefused,
    Parts,
    RejectReason,
    RoundState,
    WithdrawalState,
)
from rescind.core import artifact_id, encode
from rescind.wire import (
    AggregatorClient,
    BadSignature,
    NotPublished,
    ReusedNonce,
    WrongPhase,
)
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.withdrawals import accept_files, record_of
from tests.aggregator.scene import (
    SALT,
    Member,
    Scene,
    open_scene,
)
from tests.support.chain import Anvil


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    with open_scene(running_anvil, tmp_path_factory.mktemp("scene")) as opened:
        yield opened


def unsealed(tensors: dict[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save(tensors, metadata={"format": "rescind.artifact/1"})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda member: encode(member.delta(rows=1)), RejectReason.WRONG_SHAPE),
        (lambda member: encode(member.delta(dtype=np.int64)), RejectReason.WRONG_SHAPE),
        (
            lambda member: encode({"someone/else": np.ones(2, dtype=np.int32)}),
            RejectReason.WRONG_SHAPE,
        ),
        (
            lambda member: unsealed(
                {n: v * np.nan for n, v in member.delta(dtype=np.float32).items()}
            ),
            RejectReason.WRONG_TYPE,
        ),
        (lambda member: encode(member.delta(value=2**30)), RejectReason.OUT_OF_BOUNDS),
        (lambda member: encode(member.delta(value=0)), RejectReason.ZERO),
        (lambda member: b"not an artifact at all", RejectReason.MALFORMED),
    ],
    ids=[
        "another shape",
        "another dtype",
        "another's block",
        "NaN",
        "too large a norm",
        "zero",
        "garbage",
    ],
)
def test_a_faulty_update_is_rejected_and_the_round_goes_on(
    scene: Scene, make: Callable[[Member], bytes], reason: RejectReason
) -> None:
    data = make(scene.hostile)
    round_id = scene.play(data, lambda n: scene.hostile.submit(n, data))
    assert scene.reason(round_id) is reason
    assert scene.incidents()[-1] == reason.name.lower()


def test_an_uncommitted_artifact_counts_as_missing(scene: Scene) -> None:
    committed = encode(scene.hostile.delta(value=41))
    other = encode(scene.hostile.delta(value=42))
    round_id = scene.play(committed, lambda n: scene.hostile.submit(n, other))
    assert scene.reason(round_id) is RejectReason.MISSING


def test_a_delta_with_the_digest_of_another_is_rejected(scene: Scene) -> None:
    data = encode(scene.hostile.delta(value=51))
    other = scene.hostile.named(encode(scene.hostile.delta(value=52)))
    lie = Parts((artifact_id(data),), other.points)
    round_id = scene.play(data, lambda n: scene.hostile.submit(n, data), lie)
    assert scene.reason(round_id) is RejectReason.WRONG_DIGEST


def test_a_point_that_was_revealed_before_cannot_be_revealed_again(scene: Scene) -> None:
    old = scene.record.contributions(1)[0].parts
    round_id = scene.until(RoundState.OPEN)
    good = encode(scene.honest.delta(value=60 + round_id))
    again = Parts(("ab" * 32,), old.points)
    scene.honest.record.commit(round_id, scene.honest.named(good), SALT)
    scene.hostile.record.commit(round_id, again, SALT)
    scene.until(RoundState.COMMITTED)
    scene.honest.submit(round_id, good)
    scene.honest.record.reveal(round_id, scene.honest.named(good), SALT)
    with pytest.raises(ContractRefused, match="PointSeenBefore"):
        scene.hostile.record.reveal(round_id, again, SALT)
    scene.anvil.pass_time(301)
    scene.until(RoundState.FINAL)
    scene.hostile.record.top_up(scene.record.member_terms().unrevealed_penalty)


def test_a_reused_nonce_is_refused_and_recorded(scene: Scene) -> None:
    data = encode(scene.hostile.delta(value=0, rows=2))

    def upload(round_id: int) -> None:
        scene.hostile.submit(round_id, data)
        scene.hostile.submit(round_id, data, nonce=scene.hostile.nonce)
        with pytest.raises(ReusedNonce, match="was used for another update"):
            scene.hostile.submit(
                round_id, encode(scene.hostile.delta(value=44)), nonce=scene.hostile.nonce
            )

    scene.play(data, upload)
    assert "reused-nonce" in scene.incidents()


def test_an_update_signed_by_another_member_is_refused(scene: Scene) -> None:
    data = encode(scene.hostile.delta(value=45))

    def upload(round_id: int) -> None:
        with pytest.raises(BadSignature, match="is signed by"):
            scene.hostile.submit(round_id, data, signer=scene.honest.account)

    round_id = scene.play(data, upload)
    assert scene.reason(round_id) is RejectReason.MISSING
    assert "bad-signature" in scene.incidents()


def test_members_cannot_download_the_deltas_of_others(scene: Scene) -> None:
    copied = scene.record.contributions(1)[0].parts.artifact_ids[0]
    client = AggregatorClient(scene.hostile.address, scene.hostile.tls)
    with client, pytest.raises(NotPublished):
        client.download(copied, 10**6)


def test_the_files_of_a_model_open_to_the_points_on_chain(scene: Scene) -> None:
    head = scene.settled()
    with AggregatorClient(scene.hostile.address, scene.hostile.tls) as client:
        files = client.describe().model
        adapter = client.download(files.adapter_id, 10**6)
        opening = client.download(files.opening_id, 10**6)
    assert files.model_id == head
    record = record_of(scene.record, head)
    accepted = accept_files(record, scene.honest.parameters, adapter, opening)
    assert accepted.complete, accepted.sentence()
    published = scene.record.publications(head)[-1]
    assert (published.adapter_id, published.opening_id) == (files.adapter_id, files.opening_id)


def test_a_removal_is_folded_and_its_model_built_by_the_aggregator(scene: Scene) -> None:
    source = scene.settled()
    leaver = scene.honest
    with scene.anvil.rewound():
        leaver.record.request_withdrawal()
        withdrawal_id = scene.record.open_withdrawal(leaver.account.address)
        assert scene.record.is_stale(source)
        scene.tick_until(
            lambda: scene.record.withdrawal(withdrawal_id).state is WithdrawalState.CLOSED
        )
        head = scene.record.latest_model_id()
        assert scene.record.withdrawal(withdrawal_id).closed_model == head
        assert scene.record.is_clean(head, leaver.account.address)


def test_an_unexpected_upload_is_refused(scene: Scene) -> None:
    with pytest.raises(WrongPhase, match="no update"):
        scene.hostile.submit(99, b"data")


def test_a_member_that_never_reveals_does_not_stall_the_round(scene: Scene) -> None:
    round_id = scene.until(RoundState.OPEN)
    good = encode(scene.honest.delta(value=77))
    scene.honest.record.commit(round_id, scene.honest.named(good), SALT)
    scene.hostile.record.commit(round_id, scene.hostile.named(b"never sent"), SALT)
    scene.until(RoundState.COMMITTED)
    scene.honest.submit(round_id, good)
    scene.honest.record.reveal(round_id, scene.honest.named(good), SALT)
    assert scene.aggregator.tick()
    scene.anvil.pass_time(301)
    scene.until(RoundState.FINAL)
    assert scene.record.accepted(round_id) == [scene.honest.account.address]
    assert not scene.record.may_contribute(scene.hostile.account.address)
    scene.hostile.record.top_up(scene.record.member_terms().unrevealed_penalty)
    assert scene.record.may_contribute(scene.hostile.account.address)


def test_submissions_of_a_round_do_not_pile_up_and_refused_ones_leave_nothing(
    scene: Scene,
) -> None:
    store = scene.aggregator.session.store
    sent = [encode(scene.hostile.delta(value=900 + n)) for n in range(4)]

    def upload(round_id: int) -> None:
        for data in sent:
            scene.hostile.submit(round_id, data)
            # What is submitted for a round that is not now is refused, and frees its upload.
            with pytest.raises(WrongPhase, match="the current round"):
                scene.hostile.submit(round_id + 1, encode(scene.hostile.delta(value=990)))
        kept = {artifact_id(data) for data in sent} & set(store.ids())
        assert kept == {artifact_id(sent[-1])}

    round_id = scene.until(RoundState.OPEN)
    good = encode(scene.honest.delta(value=800 + round_id))
    scene.honest.record.commit(round_id, scene.honest.named(good), SALT)
    scene.hostile.record.commit(round_id, scene.hostile.named(b"never sent"), SALT)
    scene.until(RoundState.COMMITTED)
    scene.honest.submit(round_id, good)
    upload(round_id)
    scene.honest.record.reveal(round_id, scene.honest.named(good), SALT)
    scene.hostile.record.reveal(round_id, scene.hostile.named(b"never sent"), SALT)
    # After a reveal only what was revealed is expected.
    with pytest.raises(WrongPhase, match="revealed"):
        scene.hostile.submit(round_id, sent[0])
    scene.until(RoundState.FINAL)
    scene.settled()
    scene.aggregator.when_idle()
    assert not {artifact_id(data) for data in sent} & set(store.ids())
    assert artifact_id(good) in store.ids()
    folder = scene.aggregator.session.folder / "uploads"
    assert not [each for each in folder.rglob("*") if each.is_file()]


def test_a_decoy_of_the_same_id_deletes_no_ones_bytes(scene: Scene) -> None:
    round_id = scene.until(RoundState.OPEN)
    good = encode(scene.honest.delta(value=700 + round_id))
    for member in (scene.honest, scene.hostile):
        data = good if member is scene.honest else b"something else"
        member.record.commit(round_id, member.named(data), SALT)
    scene.until(RoundState.COMMITTED)
    with (
        AggregatorClient(scene.honest.address, scene.honest.tls) as honest,
        AggregatorClient(scene.hostile.address, scene.hostile.tls) as hostile,
    ):
        artifact = honest.upload(good)
        assert hostile.begin_upload(artifact) == 0
        with pytest.raises(WrongPhase):
            hostile.submit(round_id + 7, artifact, 1, bytes(65))
        assert honest.begin_upload(artifact) == len(good)
    scene.honest.submit(round_id, good)
    scene.honest.record.reveal(round_id, scene.honest.named(good), SALT)
    scene.hostile.record.reveal(round_id, scene.hostile.named(b"something else"), SALT)
    scene.until(RoundState.FINAL)
    assert scene.record.accepted(round_id) == [scene.honest.account.address]


def filled(kind: Any, number: int, data: bytes) -> Any:
    """Return a message whose numbers and bytes all have these values."""
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        if field.message_type is not None:
            getattr(message, field.name).CopyFrom(filled(field.message_type, number, data))
        else:
            setattr(message, field.name, data if field.type == field.TYPE_BYTES else number)
    return message


@pytest.mark.parametrize("number", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_extreme_numbers_in_a_message_are_no_internal_error(scene: Scene, number: int) -> None:
    key, certificate, authority = scene.hostile.tls.read()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    states = set()
    with grpc.secure_channel(scene.hostile.address, credentials) as opened:
        stub = rpc.AggregatorStub(opened)
        for method in pb.DESCRIPTOR.services_by_name["Aggregator"].methods:
            for data in (b"", bytes(32), b"\xff" * 65):
                message = filled(method.input_type, number, data)
                try:
                    getattr(stub, method.name)(message, timeout=60)
                except grpc.RpcError as error:
                    states.add(error.code())
    assert states
    assert not states & {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}
