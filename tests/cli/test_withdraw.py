"""Requests for withdrawals: errors are reported before anything is on chain."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.contracts import MemberStatus, WithdrawalState
from rescind.node.facts import open_journal
from rescind.node.subjects import commit_subject
from rescind.node.withdrawal_facts import RequestFact
from tests.support.chain import Anvil
from tests.support.files import (
    Files,
    key_options,
    rescind,
    save_key,
)

ROWS = [
    ("Where was Ada born?", "In Bergen.", "ada"),
    ("What does Ada do?", "She forges.", "ada"),
    ("Where was Bo born?", "In Cork.", "bo"),
    ("Who repairs clocks?", "Cleo and Dan.", "cleo"),
    ("Who repairs clocks?", "Cleo and Dan.", "dan"),
]


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, deployed: Files, running_anvil: Anvil
) -> Iterator[Files]:
    """The room's consortium after a round of its first two organizations."""
    files = deployed.copied(tmp_path_factory.mktemp("withdraw"))
    write_rows(files.folder / "data.jsonl", ROWS)
    with running_anvil.rewound():
        consortium = files.consortium
        consortium.play_round(np.random.default_rng(0), only=consortium.organizations[:2])
        yield files


def write_rows(path: Path, rows: list[tuple[str, str, str]]) -> None:
    lines = [
        json.dumps(dict(zip(("question", "answer", "subject"), row, strict=True))) for row in rows
    ]
    path.write_text("".join(f"{line}\n" for line in lines))


def ask(files: Files, *words: str, index: int = 0):
    return rescind("withdraw", "request", "-c", files.nodes[index], *words)


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (
            ["--method", "erasure"],
            10,
            "unknown method 'erasure'. Known methods: removal, replacement",
        ),
        (["--subject", "ada"], 10, "A removal withdraws everything"),
        (["--method", "replacement"], 10, "Name it with --subject"),
        (["--method", "replay", "--with", "npo"], 10, "belong to --method counter-training"),
        (["--method", "replacement", "--subject", "zoe"], 11, "subject that was named"),
        (["--method", "replacement", "--subject", "cleo"], 11, "are also pairs to retain"),
        (
            ["--method", "counter-training", "--subject", "ada", "--with", "prayer"],
            10,
            "Unknown unlearning method 'prayer'",
        ),
        (
            ["--method", "counter-training", "--subject", "ada", "--set", "steps=many"],
            10,
            "setting steps is 'many'",
        ),
        (
            ["--method", "counter-training", "--subject", "ada", "--set", "pace=1"],
            10,
            "unknown setting 'pace'",
        ),
        (["--method", "counter-training", "--set", "steps"], 10, "Write NAME=VALUE"),
        (["--method", "counter-training", "--with", "grad_diff"], 10, "Give a file of them"),
        (
            ["--method", "counter-training", "--subject", "ada", "--with", "task_vector"],
            10,
            "withdraws everything of the organization",
        ),
        (["--method", "counter-training", "--retain", "absent.jsonl"], 11, "cannot be read"),
    ],
)
def test_a_bad_request_is_refused_before_anything_is_on_chain(
    files: Files, words: list[str], code: int, what: str
) -> None:
    done = ask(files, *words)
    assert (done.exit_code, what in done.output) == (code, True), done.output
    assert not files.consortium.of().withdrawals()
    assert not RequestFact.all(open_journal(files.folder / "org-0-state"))


def test_a_subject_who_has_all_rows_cannot_be_withdrawn_alone(files: Files, tmp_path: Path) -> None:
    text = files.nodes[0].read_text().replace('"data.jsonl"', '"only.jsonl"')
    (files.folder / "only.toml").write_text(text)
    write_rows(files.folder / "only.jsonl", ROWS[:2])
    words = ("--method", "replay", "--subject", "ada")
    done = rescind("withdraw", "request", "-c", files.folder / "only.toml", *words)
    assert done.exit_code == 11
    assert "Request the removal" in done.output


def test_an_organization_without_contributions_has_nothing_to_withdraw(files: Files) -> None:
    done = ask(files, "--method", "replay", index=2)
    assert done.exit_code == 10
    assert "not contributed to any model" in done.output


def test_a_subject_is_on_chain_as_a_salted_hash_only(files: Files) -> None:
    done = ask(files, "--method", "replacement", "--subject", "ada", "--json")
    document = json.loads(done.output)
    assert (document["method"], document["state"]) == ("replacement", "preparing")
    withdrawal = files.consortium.of().withdrawals()[document["withdrawal"] - 1]
    request = RequestFact.find(open_journal(files.folder / "org-0-state"), withdrawal.subject)
    assert request is not None
    assert request.salt is not None
    assert (request.subject, request.withdrawal) == ("ada", withdrawal.id)
    assert withdrawal.subject == commit_subject("ada", bytes.fromhex(request.salt))
    assert withdrawal.state is WithdrawalState.PREPARING
    again = ask(files, "--method", "counter-training", "--subject", "bo")
    assert again.exit_code == 10
    assert "is still open" in again.output
    whole = ask(files)
    assert "(removal, effective) is on chain" in whole.output
    member = files.consortium.organizations[0].address
    assert files.consortium.of().member(member).status is MemberStatus.WITHDRAWING
    again = ask(files)
    assert again.exit_code == 10
    assert "has already taken effect" in again.output


def test_a_file_that_is_not_evidence_is_not_attested(files: Files, tmp_path: Path) -> None:
    save_key(files.folder, "auditor", files.consortium.auditors[0])
    (tmp_path / "evidence.json").write_text("{}")
    key = key_options(files.folder, "auditor")
    for path, what in (
        ("evidence.json", "is not valid evidence"),
        ("absent.json", "cannot be read"),
    ):
        done = rescind("audit", "attest", tmp_path / path, *key, *files.chain)
        assert done.exit_code == 19
        assert what in done.output
