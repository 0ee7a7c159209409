import json
from pathlib import Path

import pytest

from rescind.contracts import MemberStatus
from rescind.core import write_private
from tests.support.files import Files, rescind


def propose(files: Files, *arguments: str, by: int = 0) -> dict[str, object]:
    done = rescind("govern", "propose", *arguments, "-c", files.nodes[by], "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.output)
    assert isinstance(document, dict)
    return document


def carry(files: Files, *arguments: str) -> None:
    """Proposed by the first, voted for by the second, executed by the third."""
    number = str(propose(files, *arguments)["proposal_id"])
    voted = rescind("govern", "vote", number, "-c", files.nodes[1])
    assert "rescind govern execute" in voted.output, voted.output
    done = rescind("govern", "execute", number, "-c", files.nodes[2], "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["state"] == "executed"


def test_two_of_three_members_admit_an_organization(files: Files) -> None:
    newcomer = files.consortium.anvil.funded()
    proposal = propose(files, "admit", newcomer.address.lower(), "--name", "[/new]")
    assert (proposal["votes"], proposal["needed"], proposal["state"]) == (1, 2, "open")
    early = rescind("govern", "execute", "1", "-c", files.nodes[0])
    assert early.exit_code == 15
    assert "More active members must vote" in early.output
    assert rescind("govern", "vote", "1", "-c", files.nodes[1]).exit_code == 0
    again = rescind("govern", "vote", "1", "-c", files.nodes[1])
    assert again.exit_code == 15
    assert "AlreadyVoted" in again.output
    assert rescind("govern", "execute", "1", "-c", files.nodes[1]).exit_code == 0
    assert files.consortium.of().member(newcomer.address).status is MemberStatus.ADMITTED

    listed = rescind("govern", "list", *files.chain)
    assert "name [/new]" in listed.output
    row = json.loads(rescind("govern", "list", *files.chain, "--json").output)[0]
    assert row["executed"] is True
    assert newcomer.address in row["call"]
    assert "[/new]" in rescind("audit", "members", *files.chain).output


def test_members_expel_by_name_and_the_models_must_be_cleaned(files: Files) -> None:
    carry(files, "expel", "org-2")
    row = json.loads(rescind("withdraw", "status", *files.chain, "--json").output)[0]
    assert (row["name"], row["method"], row["state"]) == ("org-2", "removal", "effective")
    assert row["expelled"] is True
    late = rescind("govern", "propose", "expel", "org-2", "-c", files.nodes[0])
    assert late.exit_code == 10
    assert "is withdrawing" in late.output
    refused = rescind("govern", "propose", "expel", "org-1", "-c", files.nodes[2])
    assert refused.exit_code == 15
    assert "only active members" in refused.output


def test_members_name_and_dismiss_auditors(files: Files) -> None:
    auditor, record = files.consortium.anvil.funded().address, files.consortium.of()
    carry(files, "auditor", auditor)
    assert auditor in record.auditors()
    assert rescind("govern", "propose", "auditor", auditor, "-c", files.nodes[0]).exit_code == 10
    carry(files, "dismiss", auditor)
    assert auditor not in record.auditors()
    refused = rescind("govern", "propose", "dismiss", auditor, "-c", files.nodes[0])
    assert refused.exit_code == 10
    assert "is not an auditor" in refused.output


def test_members_replace_the_aggregator_and_the_old_one_may_not_post_a_bond(files: Files) -> None:
    successor = files.consortium.anvil.funded().address
    carry(files, "aggregator", successor)
    members = json.loads(rescind("audit", "members", *files.chain, "--json").output)
    assert members["aggregator"] == successor
    assert members["aggregator_lacking_wei"] == 10**19
    refused = rescind("aggregator", "bond", "-c", files.aggregator)
    assert refused.exit_code == 15
    assert "does not belong to the consortium's aggregator" in refused.output


def test_members_take_an_admission_back(files: Files) -> None:
    newcomer = files.consortium.anvil.funded()
    carry(files, "admit", newcomer.address, "--name", "late")
    carry(files, "revoke", "late")
    assert files.consortium.of().member(newcomer.address).status.value == "none"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["vote", "7"], 15, "UnknownProposal(id 7). rescind govern list"),
        (["execute", "7"], 15, "UnknownProposal(id 7)"),
        (["vote", "0"], 10, "begin at 1"),
        (["propose", "auditor", "0x12"], 10, "'0x12' is not an Ethereum address"),
        (["propose", "auditor", "0x" + "0" * 40], 10, "The zero address"),
        (["propose", "auditor", "0x26ba9fEB65A16Ce9e3322b4A368987dDBBDb46eF"], 10, "EIP-55"),
        (["propose", "expel", "nobody"], 10, "Members: org-0, org-1, org-2"),
    ],
)
def test_a_bad_proposal_or_vote_is_one_clear_error(
    files: Files, arguments: list[str], code: int, message: str
) -> None:
    done = rescind("govern", *arguments, "-c", files.nodes[0])
    assert done.exit_code == code, done.output
    assert message in done.output


def test_only_a_member_with_its_password_can_propose(files: Files, tmp_path: Path) -> None:
    from tests.support.files import save_key

    stranger = tmp_path / "stranger.toml"
    text = files.nodes[0].read_text().replace("org-0.json", str(tmp_path / "key.json"))
    for name in ("contracts.json", "password"):
        text = text.replace(f'"{name}"', f'"{files.folder / name}"')
    stranger.write_text(text)
    save_key(tmp_path, "key", files.consortium.anvil.funded())
    refused = rescind("govern", "vote", "1", "-c", stranger)
    assert refused.exit_code == 10
    assert "is not a member" in refused.output

    write_private(tmp_path / "wrong", b"wrong\n")
    stranger.write_text(text.replace(str(files.folder / "password"), str(tmp_path / "wrong")))
    refused = rescind("govern", "vote", "1", "-c", stranger)
    assert refused.exit_code == 15
    assert "wrong password" in refused.output
    stranger.write_text(text.replace(str(files.folder / "password"), str(tmp_path / "none")))
    assert rescind("govern", "vote", "1", "-c", stranger).exit_code == 10
