"""Fishers posted with updates, in a real aggregator on a real chain."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from rescind.contracts import RoundState
from rescind.core import SHARED, ConsortiumParameters, encode
from rescind.unlearning.closed_form import (
    FisherMeasure,
    Posted,
    combine,
    decode,
)
from rescind.wire import (
    AggregatorClient,
    BadSignature,
    NotPublished,
    StatisticsRefused,
    WrongPhase,
    fisher_typed_data,
    sign_typed,
)
from tests.aggregator.scene import (
    SALT,
    Member,
    Scene,
    open_scene,
)
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    parameters = micro_parameters(federated=True, post_fisher=True)
    with open_scene(running_anvil, tmp_path_factory.mktemp("scene"), parameters) as opened:
        yield opened


def fisher(member: Member, value: float, count: int = 5) -> Posted:
    shapes = member.parameters.delta_shapes()
    tensors = {name: np.full(shape, value, dtype=np.float32) for name, shape in shapes.items()}
    base, measure = member.parameters.base_model_id, str(FisherMeasure())
    return Posted("fisher", base, SHARED, "ab" * 32, measure, count, tensors)


def post(member: Member, round_id: int, data: bytes, signer: Member | None = None) -> None:
    with AggregatorClient(member.address, member.tls) as client:
        artifact = client.upload(data)
        document = fisher_typed_data(
            chain_id=31337,
            rounds_address=member.record.deployment.rounds,
            round_id=round_id,
            artifact_id=artifact.artifact_id,
            size=len(data),
        )
        client.post_fisher(round_id, artifact, sign_typed(document, (signer or member).account.key))


def begin(scene: Scene, value: int) -> int:
    """Play a round up to the reveals of both members."""
    round_id = scene.until(RoundState.OPEN)
    both = {
        member.account.address: encode(member.delta(value=value + index))
        for index, member in enumerate(scene.members)
    }
    for member in scene.members:
        member.record.commit(round_id, member.named(both[member.account.address]), SALT)
    scene.until(RoundState.COMMITTED)
    for member in scene.members:
        data = both[member.account.address]
        member.submit(round_id, data)
        member.record.reveal(round_id, member.named(data), SALT)
    return round_id


def mean_of(member: Member, model: int) -> Posted:
    with AggregatorClient(member.address, member.tls) as client:
        return decode(client.download(client.fisher(model), 2**20))


def test_members_get_the_mean_fisher_and_no_single_one(scene: Scene) -> None:
    first, second = scene.members
    round_id = begin(scene, 3)
    first_fisher, second_fisher = fisher(first, 1.0, count=3), fisher(second, 5.0, count=1)
    post(first, round_id, first_fisher.encode())
    post(first, round_id, first_fisher.encode())
    scene.until(RoundState.FINAL)
    latest = scene.record.latest_model_id()
    with pytest.raises(NotPublished, match="would reveal a single"):
        mean_of(first, latest)

    round_id = begin(scene, 7)
    post(second, round_id, second_fisher.encode())
    scene.until(RoundState.FINAL)
    latest = scene.record.latest_model_id()
    mean = mean_of(first, latest)
    assert mean.encode() == combine([first_fisher, second_fisher]).encode()
    assert mean.count == 4
    with pytest.MonkeyPatch.context() as patch:
        # What was computed once is given out without reading a Fisher again.
        patch.setattr("rescind.aggregator.fishers.combine_stored", None)
        assert mean_of(second, latest).encode() == mean.encode()
    assert {float(value.mean()) for value in mean.tensors.values()} == {2.0}
    with AggregatorClient(first.address, first.tls) as client:
        with pytest.raises(NotPublished):
            client.download(second_fisher.id, 2**20)
        with pytest.raises(WrongPhase, match="there is no model"):
            client.fisher(latest + 1)


def test_posted_data_must_be_a_fisher_of_the_shared_adapter(scene: Scene) -> None:
    member, other = scene.members
    round_id = begin(scene, 11)
    good = fisher(member, 1.0)
    with pytest.raises(BadSignature, match="is signed by"):
        post(member, round_id, good.encode(), signer=other)
    with pytest.raises(WrongPhase, match="the current round is"):
        post(member, round_id + 1, good.encode())
    for data, why in (
        (b"no statistics", "not rescind.statistics/1"),
        (replace(good, measure="another").encode(), "measure"),
        (replace(good, base_model_id="00" * 32).encode(), "base_model_id"),
        (replace(good, tensors=dict(list(good.tensors.items())[1:])).encode(), "lack the tensor"),
    ):
        with pytest.raises(StatisticsRefused, match=why):
            post(member, round_id, data)
    scene.until(RoundState.FINAL)
    with pytest.raises(WrongPhase):
        post(member, round_id, good.encode())
    assert {"bad-signature", "statistics-refused"} <= set(scene.incidents())


def test_fishers_are_refused_unless_agreed_on(tmp_path: Path, anvil: Anvil) -> None:
    with open_scene(anvil, tmp_path, micro_parameters(federated=True)) as scene:
        round_id = begin(scene, 3)
        with pytest.raises(WrongPhase, match="is not expected"):
            post(scene.honest, round_id, fisher(scene.honest, 1.0).encode())
        scene.until(RoundState.FINAL)
        with pytest.raises(WrongPhase, match="posts no Fishers"):
            mean_of(scene.honest, 1)


def test_posting_fishers_needs_a_shared_layout_without_privacy() -> None:
    assert b"post_fisher" not in micro_parameters(federated=True).canonical_bytes()
    isolated = micro_parameters().model_dump(mode="json") | {"post_fisher": True}
    with pytest.raises(ValidationError, match="for layout 'shared'"):
        ConsortiumParameters.model_validate(isolated)
    private = micro_parameters(federated=True).model_dump(mode="json") | {"post_fisher": True}
    private["training"]["privacy"] = {"max_grad_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}
    with pytest.raises(ValidationError, match="not differentially private"):
        ConsortiumParameters.model_validate(private)
