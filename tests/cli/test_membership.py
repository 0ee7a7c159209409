import json

from rescind.contracts import MemberStatus
from rescind.wire import CertificateAuthority, Enrolment, fingerprint
from tests.support.chain import ETHER
from tests.support.consortium import SALT
from tests.support.files import (
    Files,
    make_certificate,
    rescind,
)


def test_after_a_penalty_the_bond_is_topped_up(files: Files) -> None:
    import numpy as np

    consortium, rng = files.consortium, np.random.default_rng(0)
    aggregator, careless = consortium.of(consortium.aggregator), consortium.organizations[0]
    aggregator.open_round()
    for member in consortium.organizations:
        consortium.of(member).commit(
            1, consortium.register(consortium.random_delta(member, rng)), SALT
        )
    aggregator.close_commits(1)
    consortium.anvil.pass_time(301)
    aggregator.close_reveals(1)
    aggregator.penalize(careless.address)
    assert consortium.of().member(careless.address).bond < ETHER
    rows = json.loads(rescind("audit", "members", *files.chain, "--json").output)["members"]
    assert rows[0]["lacking_wei"] == ETHER // 10
    paid = json.loads(rescind("node", "topup", "-c", files.nodes[0], "--json").output)
    assert (paid["paid_wei"], paid["bond_wei"]) == (ETHER // 10, ETHER)
    nothing = json.loads(rescind("node", "topup", "-c", files.nodes[0], "--json").output)
    assert (nothing["paid_wei"], nothing["transaction"]) == (0, None)


def test_a_member_that_resigns_leaves_for_good(files: Files) -> None:
    done = json.loads(rescind("node", "resign", "-c", files.nodes[1], "--json").output)
    assert done["status"] == "left"
    assert done["reclaimable_at"] > 0
    member = files.consortium.organizations[1].address
    assert files.consortium.of().member(member).status is MemberStatus.LEFT
    for command in ("resign", "topup"):
        again = rescind("node", command, "-c", files.nodes[1])
        assert again.exit_code == 15
        assert "is left: only active members" in again.output


def test_a_certificate_is_rotated_once(files: Files) -> None:
    missing = rescind("node", "rotate-certificate", "-c", files.nodes[0])
    assert missing.exit_code == 14
    mark = make_certificate(files.folder / "org-0", "org-0")
    done = json.loads(rescind("node", "rotate-certificate", "-c", files.nodes[0], "--json").output)
    assert (done["fingerprint"], done["replaced"]) == (mark, "1".zfill(64))
    assert done["transaction"]
    member = files.consortium.organizations[0].address
    assert files.consortium.of().fingerprint(member) == mark
    again = json.loads(rescind("node", "rotate-certificate", "-c", files.nodes[0], "--json").output)
    assert again["transaction"] is None


def test_a_certificate_is_renewed_on_chain_and_in_its_files(files: Files) -> None:
    authority = CertificateAuthority.create(files.folder / "authority", "authority")
    enrolment = Enrolment.in_folder(files.folder / "org-1")
    enrolment.accept(authority.issue(enrolment.request("org-1")), authority.pem)
    (files.folder / "org-1" / "ca").mkdir()
    (files.folder / "org-1" / "ca" / "authority.pem").write_bytes(authority.pem)
    done = json.loads(rescind("org", "renew", "-c", files.nodes[1], "--json").output)
    member = files.consortium.organizations[1].address
    assert done["fingerprint"] == fingerprint(enrolment.tls.certificate.read_bytes())
    assert files.consortium.of().fingerprint(member) == done["fingerprint"]
    status = json.loads(rescind("node", "status", "-c", files.nodes[1], "--json").output)
    assert [each["warning"] for each in status["certificates"]] == ["", "", ""]


def test_the_aggregator_pays_what_its_bond_lacks(files: Files) -> None:
    consortium = files.consortium
    whole = json.loads(rescind("aggregator", "bond", "-c", files.aggregator, "--json").output)
    assert whole == {"paid_wei": 0, "transaction": None}
    consortium.of(consortium.aggregator).open_round()
    for organization in consortium.organizations[:2]:
        consortium.of(organization).report_unavailable(1)
    consortium.of(consortium.organizations[2]).sit_out(1)
    consortium.of(consortium.aggregator).close_commits(1)
    members = json.loads(rescind("audit", "members", *files.chain, "--json").output)
    assert members["aggregator_lacking_wei"] == 5 * ETHER
    paid = json.loads(rescind("aggregator", "bond", "-c", files.aggregator, "--json").output)
    assert paid["paid_wei"] == 5 * ETHER
    assert consortium.of().aggregator_bond() == 10 * ETHER


def test_the_aggregator_resigns_and_takes_its_bond_back_later(files: Files) -> None:
    done = json.loads(rescind("aggregator", "resign", "-c", files.aggregator, "--json").output)
    assert done["bond_wei"] == 10 * ETHER
    early = rescind("aggregator", "reclaim", "-c", files.aggregator)
    assert early.exit_code == 15
    assert "TooEarly" in early.output
    files.consortium.anvil.pass_time(86_401)
    done = json.loads(rescind("aggregator", "reclaim", "-c", files.aggregator, "--json").output)
    assert (done["bond_before_wei"], done["bond_wei"]) == (10 * ETHER, 0)


def test_rewards_are_claimed_by_round(files: Files) -> None:
    import numpy as np

    files.consortium.play_round(np.random.default_rng(0))
    node = files.nodes[0]
    listed = json.loads(rescind("rewards", "list", "-c", node, "--json").output)
    assert listed["rounds"] == [1]
    assert listed["claimable_wei"] > 0
    claimed = json.loads(rescind("rewards", "claim", "-c", node, "--json").output)
    assert claimed["claimed_wei"] == listed["claimable_wei"]
    again = rescind("rewards", "claim", "-c", node)
    assert again.exit_code == 10
    assert "has no reward to claim" in again.output


def test_a_withdrawal_is_requested_and_its_state_shown(files: Files) -> None:
    done = rescind("withdraw", "request", "-c", files.nodes[0])
    assert "withdrawal 1 (removal, effective) is on chain" in done.output
    shown = rescind("withdraw", "status", *files.chain)
    assert "removal" in shown.output
    again = rescind("withdraw", "request", "-c", files.nodes[0])
    assert again.exit_code == 10
    assert "has already taken effect" in again.output
