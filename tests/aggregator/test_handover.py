"""An aggregator whose store is gone, or who is new, rebuilds sums from what members hand over."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rescind.aggregator import Aggregator, open_aggregator, post_bond
from rescind.contracts import Publication
from rescind.core import encode
from rescind.devnet.chain import free_port
from rescind.wire import AggregatorClient, WrongPhase
from tests.aggregator.scene import (
    Member,
    Scene,
    address_of,
    aggregator_config,
    open_scene,
)
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters

NAMES = ("first", "second", "third")


def hand_over(member: Member, address: str, contributions: list[bytes]) -> None:
    with AggregatorClient(address, member.tls) as client:
        assert len(client.wanted()) == len(contributions)
        for data in contributions:
            client.hand_over(data)
        assert client.wanted() == []


def until_published(scene: Scene, aggregator: Aggregator) -> Publication:
    """Let an aggregator act until it has published the files of the head."""
    head, own = scene.record.latest_model_id(), aggregator.session.consortium.aggregator()
    for _ in range(20):
        published = scene.record.publications(head)
        if published and published[-1].publisher == own:
            return published[-1]
        aggregator.tick()
    raise AssertionError(f"the files of model {head} were never published")


def test_sums_are_rebuilt_from_contributions_that_members_hand_over(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path) as scene:
        sent = scene.play_together()
        published = scene.record.publications(scene.settled())[-1]
        port = free_port()
        fresh = {
            "listen": f"127.0.0.1:{port}",
            "state_dir": tmp_path / "fresh-state",
            "store": str(tmp_path / "fresh-store"),
        }
        section = scene.config.aggregator.model_copy(update=fresh)
        config = scene.config.model_copy(update={"aggregator": section})
        with open_aggregator(config) as aggregator:
            for member in scene.members:
                with AggregatorClient(f"localhost:{port}", member.tls) as client:
                    own = sent[member.account.address]
                    assert len(client.wanted()) == 1
                    with pytest.raises(WrongPhase):
                        client.hand_over(b"another file")
                    client.hand_over(own)
                    client.hand_over(own)
                    assert client.wanted() == []
            aggregator.tick()
            store = aggregator.session.store
            assert store.has(published.adapter_id)
            assert store.has(published.opening_id)


@pytest.mark.slow
@pytest.mark.parametrize("federated", [False, True])
def test_an_aggregator_that_the_members_voted_for_rebuilds_what_the_model_holds(
    anvil: Anvil, tmp_path: Path, federated: bool
) -> None:
    parameters = micro_parameters(federated=federated)
    with open_scene(anvil, tmp_path, parameters, NAMES) as scene:
        rounds = [scene.play_together() for _ in range(2)]
        before = scene.record.publications(scene.settled())[-1]
        shutil.rmtree(tmp_path / "aggregator" / "store")
        account, (first, second, _) = anvil.funded(), scene.members
        proposal = first.record.propose_aggregator(account.address)
        second.record.vote(proposal)
        second.record.execute(proposal)
        config = aggregator_config(anvil, tmp_path, "successor", account, len(NAMES))
        post_bond(config)
        with open_aggregator(config) as successor:
            for member in scene.members:
                own = [sent[member.account.address] for sent in rounds]
                hand_over(member, address_of(config), own)
                member.address = address_of(config)
            after = until_published(scene, successor)
            assert (after.adapter_id, after.opening_id) == (before.adapter_id, before.opening_id)
            continued = replace(scene, aggregator=successor, config=config)
            continued.play_together()
            assert continued.settled() == before.model_id + 1


def test_a_contribution_that_is_not_the_registered_one_is_not_taken(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path) as scene:
        sent = scene.play_together()
        scene.settled()
        first, second = scene.members
        shutil.rmtree(tmp_path / "aggregator" / "store")
        with AggregatorClient(first.address, first.tls) as client:
            with pytest.raises(WrongPhase):
                client.hand_over(encode(first.delta(value=99)))
            with pytest.raises(WrongPhase):
                client.hand_over(sent[second.account.address])
            client.hand_over(sent[first.account.address])
