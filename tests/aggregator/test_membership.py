"""A real aggregator serves active members, and others only as far as models in use need them."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rescind.aggregator.membership import HAND_OVER
from rescind.contracts import Consortium, MemberStatus
from rescind.daemon import (
    NotTheAggregator,
    ServerCheck,
    certificate_claim,
    certificate_owners,
    check_aggregator,
    renew_certificate,
)
from rescind.wire import AggregatorClient, CertificateAuthority, NotAMember, fingerprint
from tests.aggregator.scene import Member, Scene, open_scene, tls_of
from tests.support.chain import Anvil
from tests.wire.identities import enrolled

NAMES = ("first", "second", "third")


def client(scene: Scene, member: Member) -> AggregatorClient:
    check = ServerCheck(scene.record, check_aggregator, seconds=0.0)
    return AggregatorClient(member.address, member.tls, check=check)


@pytest.mark.slow
def test_only_active_members_are_served(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path, names=NAMES) as scene:
        sent = scene.play_together()
        model = scene.settled()
        adapter = scene.record.publications(model)[-1].adapter_id
        leaver, removed, stayer = scene.members
        leaver.record.resign()
        with client(scene, leaver) as left:
            with pytest.raises(NotAMember, match="it is left, and served only for"):
                left.describe()
            with pytest.raises(NotAMember):
                left.download(adapter, 2**20)
            with pytest.raises(NotAMember):
                left.model(model)
            # Its contributions stay in the models, so a new aggregator may need them.
            assert left.wanted() == []
            shutil.rmtree(tmp_path / "aggregator" / "store")
            assert len(left.wanted()) == 1
            left.hand_over(sent[leaver.account.address])
        with client(scene, removed) as out:
            assert out.describe()
            removed.record.request_withdrawal()
            with pytest.raises(NotAMember, match="needs nothing from the aggregator"):
                out.wanted()
            with pytest.raises(NotAMember):
                out.download(adapter, 2**20)
            scene.tick_until(
                lambda: (
                    scene.record.member(removed.account.address).status is MemberStatus.WITHDRAWN
                )
            )
            with pytest.raises(NotAMember, match="is withdrawn"):
                out.describe()
        with client(scene, stayer) as active:
            assert active.describe()
        assert scene.incidents().count("not-a-member") >= 2


def test_a_member_is_served_from_the_block_on_in_which_it_joins(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path, names=NAMES) as scene:
        first, second, third = scene.members
        account = anvil.funded()
        tls = tls_of(tmp_path / "late", CertificateAuthority.load(tmp_path / "ca"))
        proposal = first.record.propose_admission(account.address, "late")
        late = replace(
            third, account=account, tls=tls,
            record=Consortium(anvil.chain, scene.record.deployment, account),
        )  # fmt: skip
        claim = certificate_claim(scene.record.deployment, account.address, tls)
        with client(scene, late) as newcomer:
            with pytest.raises(NotAMember, match="does not belong to a member"):
                newcomer.describe()
            second.record.vote(proposal)
            first.record.execute(proposal)
            with pytest.raises(NotAMember):
                newcomer.describe()
            before = len(scene.incidents())
            with pytest.raises(NotAMember):
                newcomer.describe()
            # The refusal is remembered for its block: a stranger costs one look-up and one incident.
            assert len(scene.incidents()) == before
            late.record.join(*claim)
            assert newcomer.describe()


def test_a_replaced_aggregator_is_not_the_aggregator_any_more(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path, names=NAMES) as scene:
        first, second, _ = scene.members
        with client(scene, first) as connected:
            assert connected.describe()
            proposal = first.record.propose_aggregator(anvil.funded().address)
            second.record.vote(proposal)
            assert connected.describe()
            second.record.execute(proposal)
            with pytest.raises(NotTheAggregator, match="nothing is sent to it"):
                connected.upload(b"a delta")


def test_a_certificate_is_renewed_while_the_aggregator_runs(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path, names=NAMES) as scene:
        member, authority = scene.members[0], CertificateAuthority.load(tmp_path / "ca")
        enrolment = enrolled(tmp_path / "enrolled", authority, "first")
        member = replace(member, tls=enrolment.tls)
        enrolment.renew()
        address = member.account.address
        old = renew_certificate(member.record, enrolment.tls)["fingerprint"]
        before = enrolment.tls.read()[1]
        with client(scene, member) as connected:
            assert connected.describe()
            done = renew_certificate(member.record, enrolment.tls)
            assert (done["replaced"], done["fingerprint"]) == (
                old,
                fingerprint(enrolment.tls.read()[1]),
            )
            assert connected.describe()
        # The one before counts for some minutes, so that no call fails in between.
        assert certificate_owners(scene.record, before) == [address]
        renewed = enrolment.tls.read()[1]
        anvil.pass_time(601)
        assert certificate_owners(scene.record, before) == []
        renew_certificate(member.record, enrolment.tls, compromised=True)
        assert certificate_owners(scene.record, renewed) == []
        assert certificate_owners(scene.record, enrolment.tls.read()[1]) == [address]


def test_hand_over_is_these_calls_and_no_others() -> None:
    assert {"GetWanted", "HandOver", "BeginUpload", "PutPiece", "CopyPiece"} == HAND_OVER
