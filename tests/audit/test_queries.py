import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rescind import audit
from rescind.cli.main import app
from rescind.core.errors import ConfigError
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium


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


def test_contributions_carry_their_digest_roots(played: ChainConsortium) -> None:
    rows = audit.contributions(played.of())
    assert [row.round_id for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3]
    assert all(row.digest_root == played.digest_of(row.artifact_id).root for row in rows)
    assert {row.outcome for row in rows} == {"accepted"}


def test_models_list_their_kind_content_and_proof_transaction(played: ChainConsortium) -> None:
    record = played.of()
    rows = audit.models(record, played.organizations[0].address)
    assert [row.kind for row in rows] == ["round", "round", "removal", "round"]
    assert [row.deltas for row in rows] == [3, 6, 4, 6]
    assert [row.clean for row in rows] == [False, False, True, True]
    assert [row.in_use for row in rows] == [False, False, False, True]
    assert {row.settled for row in rows} == {"proven"}
    assert [row.clean for row in audit.models(record)] == [None] * 4
    for row in rows:
        contract, function, _ = record.input_of(row.transaction)
        assert (contract, function) == ("Lineage", "prove")
        assert row.digest_root == played.digest_of(row.adapter_id).root
    dirty = [row.model_id for row in rows if not row.clean]
    assert dirty == record.models_containing(played.organizations[0].address)


def test_lineage_lists_digests_and_amendments(played: ChainConsortium) -> None:
    before, after = audit.lineage(played.of(), 2)[0], audit.lineage(played.of(), 4)[0]
    assert before.amendments == ()
    (change,) = after.amendments
    assert (change.withdrawal_id, change.kind, change.name) == (1, "removal", "org-0")
    assert change.excludes
    assert change.first_model == 3
    assert after.removed == ("org-0",)
    assert all(t.digest_root == played.digest_of(t.artifact_id).root for t in after.content)
    with pytest.raises(ConfigError, match="no model 9: they are numbered from 1 to 4"):
        audit.lineage(played.of(), 9)


def test_the_cost_of_a_round_includes_its_proof(played: ChainConsortium) -> None:
    rows = audit.rounds(played.of())
    assert [row.model_id for row in rows] == [1, 2, 4]
    # open, 3 commits, close, 3 reveals, close, aggregate, prove
    assert [row.transactions for row in rows] == [11, 11, 9]
    assert all(row.gas > 0 for row in rows)


def test_a_member_is_found_by_name_or_address(played: ChainConsortium) -> None:
    record, who = played.of(), played.organizations[1].address
    assert audit.organization(record, "org-1") == who
    assert audit.organization(record, who.lower()) == who
    with pytest.raises(ConfigError, match="Members: org-0, org-1, org-2"):
        audit.organization(record, "org-9")


def test_a_name_that_two_members_share_must_be_given_as_an_address(anvil: Anvil) -> None:
    consortium = make_consortium(anvil, 0)
    addresses = [anvil.funded().address for _ in range(2)]
    for index, address in enumerate(addresses):
        consortium.of(consortium.founder).admit(address, "twin", f"{index + 1:064x}")
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
    assert "withdrawal 1 (removal): org-0 out" in run("lineage", "--model", "4")
    assert len(json.loads(run("rounds", "--json"))) == 3
    assert "withdrawn" in run("members")
    for command in ("contributions", "rounds", "withdrawals"):
        assert run(command)
