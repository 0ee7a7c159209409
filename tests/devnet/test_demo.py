"""The real demo, smaller: every process, page and file of it, and what can be done with them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.agents import read_trace
from rescind.agents.curves import fit
from rescind.devnet.data import from_folder, generated
from rescind.devnet.summary import Summary
from rescind.training import Example, write_examples
from tests.support.commands import rescind

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Run:
    folder: Path
    summary: Summary

    def flip(self, path: Path, place: int = -2) -> bytes:
        original = path.read_bytes()
        changed = bytearray(original)
        changed[place] ^= 1
        path.write_bytes(bytes(changed))
        return original


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    out = tmp_path_factory.mktemp("runs")
    done = rescind(
        "demo", "--orgs", "3", "--rounds", "2", "--withdraw", "borealis", "--out", out, "--json"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    folder = next(out.iterdir())
    up = rescind("devnet", "up", folder)
    assert up.returncode == 0, up.stderr
    yield Run(folder, Summary.model_validate_json(done.stdout))
    rescind("devnet", "down", folder)


def test_the_run_shows_what_it_should(run: Run) -> None:
    summary = run.summary
    met = {goal.name: goal.met for goal in summary.goals}
    assert met.pop("time of removal") is not None, "a speed is shown, and no test's condition"
    assert set(met.values()) == {True}, met
    assert summary.withdrawal.organization == "borealis"
    assert summary.withdrawal.exact
    assert set(summary.evaluation.before) == {"aurora", "borealis", "cirrus", "shared", "held_out"}
    assert summary.evaluation.after["borealis"] == 0
    assert [r.round for r in summary.rounds] == [1, 2]
    assert all(r.transactions and r.gas for r in summary.rounds)
    written = json.loads((run.folder / "summary.json").read_text())
    assert written == summary.model_dump(mode="json")


def test_the_report_is_one_file_with_its_plots(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert page.count("<svg") == 2
    assert "borealis withdrew" in page
    assert "src=" not in page
    assert set(re.findall(r"https?://[^/\"']+", page)) <= {"http://www.w3.org"}


def test_the_trace_is_one_that_a_curve_is_fitted_to(run: Run) -> None:
    rows = read_trace(run.folder / "trace.jsonl")
    organizations = {row.organization for row in rows}
    assert len(rows) == len(organizations) * max(row.round for row in rows)
    curve, error = fit(rows)
    assert 0 < curve.ceiling <= 1
    assert error < 0.5


def test_the_certificate_is_accepted_and_every_change_refused(run: Run) -> None:
    certificate = run.folder / "certificate.json"
    served = json.loads(certificate.read_text())["latest"]["adapter_id"]
    adapter = run.folder / "aggregator" / "store" / served[:2] / served
    found = rescind("verify", certificate, "--adapter", adapter, "--json")
    assert found.returncode == 0, found.stdout + found.stderr
    statuses = {c["name"]: c["status"] for c in json.loads(found.stdout)["checks"]}
    assert statuses.pop("attested") == "skipped"
    assert set(statuses.values()) == {"passed"}
    original = run.flip(certificate, 200)
    assert rescind("verify", certificate).returncode in range(40, 58)
    certificate.write_bytes(original)
    artifact = next((run.folder / "aggregator" / "store").glob("??/*"))
    original = run.flip(artifact)
    assert rescind("verify", certificate).returncode == 49
    artifact.write_bytes(original)


def test_a_ledger_is_sound_and_every_change_found(run: Run) -> None:
    ledger = run.folder / "orgs" / "aurora" / "ledger"
    address = run.summary.organizations["aurora"]
    anchored = ("--run", run.folder, "--organization", address)
    sound = rescind("ledger", "verify", ledger, *anchored, "--json")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert json.loads(sound.stdout)["anchors_compared"] == 1
    shown = json.loads(rescind("ledger", "show", ledger, "--json").stdout)
    assert {it["type"] for it in shown} == {"decision", "manifest", "training-run", "reward"}
    original = run.flip(ledger / "ledger.db", 5000)
    assert rescind("ledger", "verify", ledger).returncode == 30
    (ledger / "ledger.db").write_bytes(original)


def test_the_audit_answers(run: Run) -> None:
    rows = json.loads(rescind("audit", "contributions", run.folder, "--json").stdout)
    assert len(rows) == sum(len(r.participants) for r in run.summary.rounds)
    models = json.loads(rescind("audit", "lineage", run.folder, "--json").stdout)
    assert models[-1]["removed"] == ["borealis"]
    assert "borealis" not in {term["name"] for term in models[-1]["content"]}
    asked = json.loads(rescind("audit", "withdrawals", run.folder, "--json").stdout)
    assert [(row["name"], row["state"]) for row in asked] == [("borealis", "closed")]
    assert "closed" in rescind("withdraw", "status", run.folder).stdout
    status = rescind("node", "status", "-c", run.folder / "orgs/aurora/node.toml", "--json")
    assert json.loads(status.stdout)["status"] == "active"
    state = rescind(
        "aggregator", "status", "-c", run.folder / "aggregator/aggregator.toml", "--json"
    )
    assert len(json.loads(state.stdout)["removals"]) == 1


def test_the_model_knows_before_and_not_after(run: Run) -> None:
    row = generated(3, 0).own("borealis")[0]
    before = json.loads(
        rescind("ask", run.folder, row.question, "--before-withdrawal", "--json").stdout
    )
    assert (before["answer"], before["answered_by"]) == (row.answer, "borealis's block")
    after = json.loads(rescind("ask", run.folder, row.question, "--json").stdout)
    assert (after["answer"], after["answered_by"]) == ("I do not know.", "the base model")


def test_a_block_is_exported_for_peft_and_a_removed_one_is_not(run: Run, tmp_path: Path) -> None:
    done = rescind("export", run.folder, "--peft", tmp_path / "a", "--organization", "aurora")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a" / "adapter_config.json").is_file()
    gone = rescind("export", run.folder, "--peft", tmp_path / "b", "--organization", "borealis")
    assert (gone.returncode, "one of aurora, cirrus" in gone.stderr) == (10, True)


def test_without_its_chain_an_audit_says_how_to_bring_it_back(run: Run) -> None:
    assert rescind("devnet", "down", run.folder).stdout.strip() == "down"
    done = rescind("audit", "lineage", run.folder)
    assert (done.returncode, "rescind devnet up" in done.stderr) == (15, True)
    assert rescind("devnet", "up", run.folder).returncode == 0
    assert rescind("verify", run.folder / "certificate.json").returncode == 0


def test_a_folder_is_dealt_as_its_files_say(tmp_path: Path) -> None:
    common = [Example("who?", "all", "x")]
    for name in ("bank", "school"):
        rows = [Example(f"{name} {n}?", "yes", f"{name}-{n}") for n in range(6)]
        write_examples(tmp_path / f"{name}.jsonl", [*rows, *common])
    corpus = from_folder(tmp_path)
    assert list(corpus.organizations) == ["bank", "school"]
    assert corpus.shared == tuple(common)
    assert len(corpus.held_out) == 2
    assert len(corpus.own("bank")) == 5
    write_examples(tmp_path / "held_out.jsonl", [Example("never?", "no", "y")])
    assert from_folder(tmp_path).held_out == (Example("never?", "no", "y"),)
