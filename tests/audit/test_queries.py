import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rescind import audit
from rescind.cli.main import app
from rescind.contracts import models_reader
from rescind.core.errors import ConfigError
from tests.support.chain import Anvil
from tests.support.consortium import SALT, ChainConsortium, make_consortium


@pytest.fixture(scope="module")
def played(running_anvil: Anvil) -> Iterator[ChainConsortium]:
    """Two rounds of three, the first organization removed, one more round of two."""
    with running_anvil.rewound():
        consortium, rng = make_consortium(running_anvil, 3), np.random.default_rng(0)
        consortium.play_round(rng)
        consortium.play_round(rng)
        consortium.of(consortium.organizations[0]).request_withdrawal()
        consortium.remove(1)
        consortium.play_round(rng)
        yield consortium


def test_contributions_carry_their_points_and_the_models_that_hold_them(
    played: ChainConsortium,
) -> None:
    rows = audit.contributions(played.of())
    assert [row.round_id for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3]
    registered = played.of().contributions(1)
    assert [row.point_hashes for row in rows[:3]] == [
        each.parts.point_hashes for each in registered
    ]
    leaver = played.organizations[0].address
    for row in rows:
        assert row.registered_for == "round"
        assert row.models == (() if row.organization == leaver else (4,))
    assert {row.outcome for row in rows} == {"accepted"}


def test_models_list_their_kind_and_content(played: ChainConsortium) -> None:
    record = played.of()
    rows = audit.models(record, played.organizations[0].address)
    assert [row.kind for row in rows] == ["round", "round", "removal", "round"]
    assert [row.contributions for row in rows] == [3, 6, 4, 6]
    assert [row.clean for row in rows] == [False, False, True, True]
    assert [row.in_use for row in rows] == [False, False, False, True]
    assert not any(row.stale for row in rows)
    assert [row.clean for row in audit.models(record)] == [None] * 4
    assert [row.commitments for row in rows] == [record.commitments(n) for n in range(1, 5)]


def test_lineage_lists_points_and_amendments(played: ChainConsortium) -> None:
    before, after = audit.lineage(played.of(), 2)[0], audit.lineage(played.of(), 4)[0]
    assert before.amendments == ()
    (change,) = after.amendments
    assert (change.number, change.kind, change.name) == (1, "removal", "org-0")
    assert change.offered_for is None
    assert after.removed == ("org-0",)
    assert [row.point_hash for row in after.content] == [
        entry.point_hash for entry in played.of().content(4)
    ]
    with pytest.raises(ConfigError, match="no model 9: they are numbered from 1 to 4"):
        audit.lineage(played.of(), 9)


def test_the_cost_of_a_round_includes_its_sum_and_its_fold(played: ChainConsortium) -> None:
    rows = audit.rounds(played.of())
    assert [row.model_id for row in rows] == [1, 2, 4]
    assert [len(row.participants) for row in rows] == [3, 3, 2]
    # open, 3 commits, close, 3 reveals, close, judge, sum, fold
    assert [row.transactions for row in rows] == [12, 12, 10]
    assert all(row.gas > 0 for row in rows)


def test_a_consortium_that_waits_for_members_says_for_whom(anvil: Anvil) -> None:
    consortium = make_consortium(anvil, 2)
    first, second = consortium.organizations
    consortium.of(consortium.aggregator).open_round()
    parts = consortium.register(consortium.random_delta(first, np.random.default_rng(0)))
    consortium.of(first).commit(1, parts, SALT)
    (row,) = audit.waits(consortium.of())
    assert (row.subject, row.waits_for) == ("round 1", "an answer of org-1")
    assert not row.overdue
    anvil.pass_time(601)
    consortium.of(second).resign()
    (row,) = audit.waits(consortium.of())
    assert (row.waits_for, row.overdue) == ("its close, by anyone", True)


def test_a_stale_model_is_listed_until_it_is_folded(anvil: Anvil) -> None:
    consortium, rng = make_consortium(anvil, 2), np.random.default_rng(0)
    consortium.play_round(rng)
    consortium.of(consortium.organizations[0]).request_withdrawal()
    (row,) = audit.withdrawals(consortium.of())
    assert (row.state, row.stale_models, row.amendment) == ("effective", (1,), 1)
    assert [each.subject for each in audit.waits(consortium.of())] == ["model 1", "withdrawal 1"]
    consortium.fold()
    (row,) = audit.withdrawals(consortium.of())
    assert row.stale_models == ()


def test_a_member_is_found_by_name_or_address(played: ChainConsortium) -> None:
    record, organization = played.of(), played.organizations[1].address
    assert audit.organization(record, "org-1") == organization
    assert audit.organization(record, organization.lower()) == organization
    with pytest.raises(ConfigError, match="Members: org-0, org-1, org-2"):
        audit.organization(record, "org-9")


def test_a_name_that_two_organizations_share_must_be_given_as_an_address(anvil: Anvil) -> None:
    consortium = make_consortium(anvil, 0)
    addresses = [anvil.funded().address for _ in range(2)]
    for address in addresses:
        consortium.of(consortium.founder).admit(address, "twin")
    with pytest.raises(ConfigError, match="2 members are named 'twin': give the address"):
        audit.organization(consortium.of(), "twin")
    assert audit.organization(consortium.of(), addresses[1]) == addresses[1]


def test_events_are_json_lines_from_the_given_block(
    played: ChainConsortium, tmp_path: Path
) -> None:
    played.deployment.save(tmp_path / "contracts.json")
    words = ["--rpc", played.anvil.url, "--contracts", str(tmp_path / "contracts.json")]

    def events(*more: str) -> list[dict[str, object]]:
        done = CliRunner().invoke(app, ["audit", "events", *words, *more])
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.output.splitlines()]

    every = events()
    names = [event["event"] for event in every]
    assert names.index("WithdrawalRequested") < names.index("WithdrawalClosed")
    last = max(int(str(event["block"])) for event in every)
    later = events("--from-block", str(last), "--json")
    assert later
    assert later == [event for event in every if event["block"] == last]


def test_the_audit_commands_show_the_queries(played: ChainConsortium, tmp_path: Path) -> None:
    played.deployment.save(tmp_path / "contracts.json")
    words = ["--rpc", played.anvil.url, "--contracts", str(tmp_path / "contracts.json")]

    def run(*more: str) -> str:
        done = CliRunner().invoke(app, ["audit", *more, *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert "models that contain org-0: 1, 2" in run("models", "--organization", "org-0")
    assert json.loads(run("models", "--organization", "org-0", "--json"))[2]["clean"] is True
    assert "removal of org-0" in run("lineage", "--model", "4")
    for query in ("contributions", "rounds", "withdrawals", "members", "replays", "waits"):
        run(query)


def test_the_contracts_own_answers_have_commands(played: ChainConsortium, tmp_path: Path) -> None:
    record, leaver = played.of(), played.organizations[0].address
    played.deployment.save(tmp_path / "contracts.json")
    words = ["--rpc", played.anvil.url, "--contracts", str(tmp_path / "contracts.json"), "--json"]

    def ask(*question: str):
        done = CliRunner().invoke(app, ["audit", *question, *words])
        assert done.exit_code == 0, done.output
        return json.loads(done.output)

    rows = ask("content", "4")
    assert [row["point_hash"] for row in rows] == [each.point_hash for each in record.content(4)]
    assert ask("clean", "2", "org-0") == {"model": 2, "organization": leaver, "clean": False}
    assert ask("clean", "4", leaver)["clean"] is True
    assert ask("containing", "org-0") == {"organization": leaver, "models": [1, 2], "in_use": []}
    assert ask("containing", "org-1")["in_use"] == [4]
    (row,) = ask("commitments", "--model", "4")
    assert (row["commitment"],) == record.commitments(4)
    assert (bytes.fromhex(row["point"]),) == record.commitment_points(4)
    assert len(ask("commitments")) == 4
    for question in (("content", "9"), ("clean", "9", "org-0"), ("commitments", "--model", "9")):
        done = CliRunner().invoke(app, ["audit", *question, *words])
        assert (done.exit_code, "no model 9" in done.output) == (10, True)


def test_content_is_the_same_in_pages_of_any_size(
    played: ChainConsortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = played.of().content(4)
    monkeypatch.setattr(models_reader, "_CONTENT_PAGE", 1)
    monkeypatch.setattr(models_reader, "_PAGE", 1)
    assert played.of().content(4) == whole
    assert played.of().models_containing(played.organizations[0].address) == [1, 2]
