"""Auditors' signatures of rounds: the aggregator collects them, and the chain takes a quorum in order."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rescind.audit import attest_round
from rescind.contracts import Account, ContractRefused
from rescind.withdrawals import RoundAttestation, round_evidence
from tests.aggregator.scene import Scene, open_scene
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters


@dataclass
class Audited:
    """A scene whose rounds two of its two auditors have to attest."""

    scene: Scene
    auditors: list[Account]

    def sign(self, round_id: int, *auditors: Account) -> None:
        """Let auditors check a round with the aggregator's store, and put their files down."""
        store = self.scene.folder / "aggregator" / "store"
        for auditor in auditors or self.auditors:
            attestation, _ = attest_round(self.scene.record, round_id, auditor, artifacts=[store])
            self.put(attestation, f"round-{round_id}-{auditor.address}.json")

    def put(self, attestation: RoundAttestation, name: str) -> None:
        attestation.save(self.scene.aggregator.session.folder / "attestations" / name)

    def settle(self) -> None:
        """Let the aggregator act until a round waits for its members."""
        for _ in range(20):
            if self.scene.aggregator.tick():
                return
        raise AssertionError("the aggregator never waited")


@pytest.fixture
def audited(anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    with anvil.rewound():
        auditors = sorted((anvil.funded() for _ in range(2)), key=lambda each: each.address.lower())
        with open_scene(
            anvil,
            tmp_path_factory.mktemp("scene"),
            micro_parameters(federated=True),
            attested=True,
            auditors=tuple(each.address for each in auditors),
            auditor_quorum=2,
        ) as scene:
            yield Audited(scene, auditors)


def test_a_round_is_attested_once_a_quorum_of_auditors_has_signed(audited: Audited) -> None:
    scene = audited.scene
    scene.play_together()
    audited.sign(1, audited.auditors[0])
    audited.settle()
    assert not scene.record.round(1).attested
    assert not scene.record.is_payable(1)
    audited.sign(1, audited.auditors[1])
    audited.settle()
    assert scene.record.round(1).attested
    assert scene.record.is_payable(1)


def test_a_later_round_waits_for_the_signatures_of_an_earlier_one(audited: Audited) -> None:
    scene = audited.scene
    scene.play_together()
    scene.play_together()
    audited.sign(2)
    audited.settle()
    assert scene.record.attested_up_to() == 0
    audited.sign(1)
    audited.settle()
    assert scene.record.attested_up_to() == 2


def test_a_signature_that_does_not_count_is_an_incident_and_stops_nothing(
    audited: Audited,
) -> None:
    scene, stranger = audited.scene, audited.scene.hostile.account
    scene.play_together()
    evidence = round_evidence(scene.record, 1)
    audited.put(RoundAttestation.sign(scene.record, 1, evidence, stranger), "stranger.json")
    other = RoundAttestation.sign(scene.record, 1, "ab" * 32, audited.auditors[0])
    audited.put(other, "other-evidence.json")
    (scene.aggregator.session.folder / "attestations" / "broken.json").write_text("{")
    audited.settle()
    assert not scene.record.round(1).attested
    assert scene.incidents().count("attestation") == 3
    audited.sign(1)
    audited.settle()
    assert scene.record.round(1).attested


def test_a_model_is_released_only_after_its_rounds_are_attested(audited: Audited) -> None:
    scene = audited.scene
    scene.play_together()
    head = scene.settled()
    with pytest.raises(ContractRefused, match="NotAttested"):
        scene.record.release(head)
    audited.sign(1)
    audited.settle()
    scene.record.release(head)
    assert scene.record.model(head).released
