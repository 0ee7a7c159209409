"""The real demo, smaller: every process, page and file of it, and what can be done with them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.agents import read_trace
from rescind.agents.curves import fit
from rescind.audit.verify import CHECKS
from rescind.devnet.data import from_folder, generated
from rescind.devnet.defaults import BASE_MODEL
from rescind.devnet.summary import Summary
from rescind.training import Example, write_examples
from tests.support.commands import rescind
from tests.support.file_modes import open_to_others, umask

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Run:
    folder: Path
    summary: Summary
    steps: str

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.json"

    @property
    def ledger(self) -> Path:
        return self.folder / "orgs" / "aurora" / "ledger"


@contextmanager
def flipped(path: Path, position: int = -2) -> Iterator[None]:
    """Change one bit of a file for a while."""
    original = path.read_bytes()
    changed = bytearray(original)
    changed[position] ^= 1
    path.write_bytes(bytes(changed))
    try:
        yield
    finally:
        path.write_bytes(original)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    out = tmp_path_factory.mktemp("runs")
    # Private files are private whatever the umask is.
    with umask(0):
        done = rescind(
            "demo", "--orgs", "3", "--rounds", "2", "--withdraw", "borealis", "--out", out, "--json"
        )
    assert done.returncode == 0, done.stderr[-3000:]
    folder = next(out.iterdir())
    up = rescind("devnet", "up", folder)
    assert up.returncode == 0, up.stderr
    yield Run(folder, Summary.model_validate_json(done.stdout), done.stderr)
    rescind("devnet", "down", folder)


PUBLIC = frozenset(
    {
        "anvil-state.json",
        "chain.pid",
        "authority.pem",
        "certificate.json",
        "certificate.pem",
        "contracts.json",
        "organization.pem",
        "parameters.json",
        "run.json",
        "trace.jsonl",
    }
)
"""Names of files that hold what the chain, or any partner, may know."""


def test_other_users_can_enter_no_folder_of_the_run_and_read_no_private_file(run: Run) -> None:
    assert open_to_others(run.folder, PUBLIC) == []
    names = {path.name for path in run.folder.rglob("*")}
    assert {"node.db", "aggregator.db", "ledger.db", "private.jsonl", "report.html"} <= names


def test_no_log_of_the_run_names_a_person(run: Run) -> None:
    files = [path.read_text() for path in run.folder.glob("orgs/*/data/*.jsonl")]
    people = {json.loads(line)["subject"] for text in files for line in text.splitlines()}
    logs = [path.read_text() for path in run.folder.rglob("*.log")]
    assert people
    assert len(logs) > 4
    assert not [name for name in people for log in logs if name in log]


def test_the_run_meets_its_goals(run: Run) -> None:
    met = {goal.name: goal.met for goal in run.summary.goals}
    for name in ("time of removal", "time of a person's withdrawal"):
        assert met.pop(name) is not None, "a speed is shown, and no test's condition"
    assert set(met.values()) == {True}, met


def test_the_removal_is_exact_and_its_answers_are_forgotten(run: Run) -> None:
    summary = run.summary
    assert summary.withdrawal.organization == "borealis"
    assert summary.withdrawal.exact
    assert set(summary.evaluation.before) == {"aurora", "borealis", "cirrus", "shared", "held_out"}
    assert summary.evaluation.after["borealis"] == 0


def test_the_demo_shows_the_request_the_stale_model_the_fold_and_the_opening(run: Run) -> None:
    said = (
        "one person whose rows are in borealis's statistics asks to be forgotten",
        "request mined: borealis sums its rows again, without the person",
        "folded: model 3 succeeds model 2; nothing was trained",
        "has opened model 3",
        "closed: the others have opened model 3",
        "borealis asks for its contribution to be removed",
        "request mined: borealis is out, and with it model 3 in use is stale",
        "folded: model 4 succeeds model 3 with 4 contributions of the rest",
        "has opened model 4",
        "closed: all who stay have opened model 4",
    )
    places = [run.steps.find(words) for words in said]
    assert -1 not in places
    assert places == sorted(places)


def test_a_skill_is_learned_together_and_a_person_leaves_it(run: Run) -> None:
    skill, person = run.summary.evaluation.skill, run.summary.withdrawal.person
    assert skill is not None
    assert person is not None
    assert 0 < skill.alone < skill.together - 0.2
    assert skill.alone < skill.after == skill.replay <= skill.together
    assert (person.organization, person.exact) == ("borealis", True)
    assert person.rows >= 2
    assert person.seconds > 0


def test_the_summary_lists_the_rounds_and_is_saved(run: Run) -> None:
    summary = run.summary
    assert [r.round for r in summary.rounds] == [1, 2]
    assert all(r.transactions and r.gas for r in summary.rounds)
    saved = json.loads((run.folder / "summary.json").read_text())
    assert saved == summary.model_dump(mode="json")


def test_the_report_is_one_file_with_its_plots(run: Run) -> None:
    page = (run.folder / "report.html").read_text()
    assert page.count("<svg") == 3
    assert "What they learn together" in page
    assert "borealis withdrew" in page
    assert "src=" not in page
    assert set(re.findall(r"https?://[^/\"']+", page)) <= {"http://www.w3.org"}


def test_a_learning_curve_fits_the_trace(run: Run) -> None:
    rows = read_trace(run.folder / "trace.jsonl")
    organizations = {row.organization for row in rows}
    assert len(rows) == len(organizations) * max(row.round for row in rows)
    curve, error = fit(rows)
    assert 0 < curve.ceiling <= 1
    assert error < 0.5


def test_the_certificate_and_the_served_adapter_pass_every_check(run: Run) -> None:
    published = json.loads(run.certificate.read_text())["latest"]["publication"]
    store = run.folder / "aggregator" / "store"
    adapter, opening = (
        store / published[name][:2] / published[name] for name in ("adapter_id", "opening_id")
    )
    words = ("--adapter", adapter, "--opening", opening)
    result = rescind("verify", run.certificate, *words, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    statuses = {c["name"]: c["status"] for c in json.loads(result.stdout)["checks"]}
    assert {statuses.pop(name) for name in ("attested", "measurements", "rounds")} == {"none"}
    assert {statuses.pop(name) for name in ("replay", "evaluation")} == {"stated"}
    assert set(statuses.values()) == {"passed"}


def test_a_changed_certificate_is_refused(run: Run) -> None:
    with flipped(run.certificate, 200):
        assert rescind("verify", run.certificate).returncode in CHECKS.values()


def test_a_changed_artifact_is_refused(run: Run) -> None:
    with flipped(next((run.folder / "aggregator" / "store").glob("??/*"))):
        assert rescind("verify", run.certificate).returncode == 49


def test_a_ledger_matches_its_anchor(run: Run) -> None:
    address = run.summary.organizations["aurora"]
    anchored = ("--run", run.folder, "--organization", address)
    result = rescind("ledger", "verify", run.ledger, *anchored, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert json.loads(result.stdout)["anchors_compared"] == 1


def test_a_ledger_shows_the_records_of_the_rounds(run: Run) -> None:
    records = json.loads(rescind("ledger", "show", run.ledger, "--json").stdout)
    types = {record["type"] for record in records}
    assert types == {"decision", "manifest", "training-run", "reward"}


def test_a_changed_ledger_is_refused(run: Run) -> None:
    with flipped(run.ledger / "ledger.db", 5000):
        assert rescind("ledger", "verify", run.ledger).returncode == 30


def test_the_audit_lists_all_contributions(run: Run) -> None:
    rows = json.loads(rescind("audit", "contributions", run.folder, "--json").stdout)
    in_rounds = [row for row in rows if row["registered_for"] == "round"]
    assert len(in_rounds) == sum(len(r.participants) for r in run.summary.rounds)


def test_the_audit_shows_that_the_latest_model_is_without_the_organization(run: Run) -> None:
    models = json.loads(rescind("audit", "lineage", run.folder, "--json").stdout)
    assert models[-1]["removed"] == ["borealis"]
    assert "borealis" not in {term["name"] for term in models[-1]["content"]}


def test_the_withdrawal_is_listed_as_closed(run: Run) -> None:
    rows = json.loads(rescind("audit", "withdrawals", run.folder, "--json").stdout)
    assert [(row["name"], row["method"], row["state"]) for row in rows] == [
        ("borealis", "replacement", "closed"),
        ("borealis", "removal", "closed"),
    ]
    assert "closed" in rescind("withdraw", "status", run.folder).stdout


def test_a_node_and_the_aggregator_show_their_status(run: Run) -> None:
    config = run.folder / "orgs/aurora/node.toml"
    status = rescind("node", "status", "-c", config, "--json")
    assert json.loads(status.stdout)["status"] == "active"
    config = run.folder / "aggregator/aggregator.toml"
    status = rescind("aggregator", "status", "-c", config, "--json")
    assert len(json.loads(status.stdout)["removals"]) == 1


def test_the_model_answers_before_the_withdrawal_and_not_after(run: Run) -> None:
    row = generated(3, 0).own("borealis")[0]
    before = json.loads(
        rescind("ask", run.folder, row.question, "--before-withdrawal", "--json").stdout
    )
    assert (before["answer"], before["answered_by"]) == (row.answer, "borealis's block")
    after = json.loads(rescind("ask", run.folder, row.question, "--json").stdout)
    assert (after["answer"], after["answered_by"]) == ("I do not know.", "the base model")


def test_a_run_says_why_a_block_answered(run: Run) -> None:
    row = generated(3, 0).own("borealis")[0]
    before = rescind("ask", run.folder, row.question, "--before-withdrawal", "--why", "--json")
    why = json.loads(before.stdout)["why"]
    # The model after the person's withdrawal.
    assert why["model"] == run.summary.rounds[-1].round + 1
    assert [block["answered"] for block in why["blocks"]] == [True, False, False]
    assert why["blocks"][0]["organization"] == "borealis"
    after = rescind("ask", run.folder, row.question, "--why").stdout
    assert "why: No block exceeds the threshold of" in after
    assert "borealis" not in after.partition("why:")[2]


def test_the_heads_of_all_answer_a_question_of_the_skill(run: Run) -> None:
    skill = generated(3, 0).skill
    assert skill is not None
    question = skill.questions()[0].question
    answer = json.loads(rescind("ask", run.folder, question, "--json").stdout)
    assert answer["answer"] in skill.labels
    assert "'departments'" in rescind("ask", run.folder, question, "--why").stdout


@contextmanager
def away(path: Path) -> Iterator[None]:
    """Take a file away for a while."""
    other = path.with_name(f"{path.name}.away")
    path.rename(other)
    try:
        yield
    finally:
        other.rename(path)


def test_an_erased_model_answers_neither_a_new_question_nor_in_a_chat(run: Run) -> None:
    certificate = json.loads(run.certificate.read_text())
    before = certificate["replaced"][-1]["before"]["publication"]["adapter_id"]
    store = run.folder / "aggregator" / "store"
    with away(store / before[:2] / before):
        done = rescind("ask", run.folder, "Who?", "--before-withdrawal")
    assert (done.returncode, done.stderr.count("\n")) == (10, 1)
    assert "was erased when the withdrawal was closed" in done.stderr
    newest = certificate["latest"]["publication"]["adapter_id"]
    command = [sys.executable, "-W", "ignore", "-u", "-m", "rescind", "chat", str(run.folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chat:
        assert chat.stdin is not None
        assert chat.stdout is not None
        chat.stdin.write("Who is nobody?\n")
        chat.stdin.flush()
        while "answered by" not in chat.stdout.readline():
            assert chat.poll() is None
        with away(store / newest[:2] / newest):
            _, said = chat.communicate("Who is nobody?\n")
    assert (chat.returncode, said.count("error[")) == (19, 1)
    assert "are not in the run's store any more" in said.splitlines()[-1]


_LOAD_ELSEWHERE = """
import sys
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer, GenerationConfig

folder, question = sys.argv[1:]
model = AutoPeftModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
model.base_model.model.generation_config = GenerationConfig.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)
inputs = tokenizer.apply_chat_template(
    [{"role": "user", "content": question}],
    add_generation_prompt=True, return_dict=True, return_tensors="pt",
)
tokens = model.generate(**inputs)[0, inputs["input_ids"].shape[1]:]
print(tokenizer.decode(tokens, skip_special_tokens=True).strip())
"""


def test_every_block_is_exported_and_answers_alike_in_another_place(
    run: Run, tmp_path: Path
) -> None:
    done = rescind("export", run.folder, "--peft", tmp_path / "a", "--all", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["organization"] for row in json.loads(done.stdout)] == ["aurora", "cirrus"]
    moved = shutil.move(tmp_path / "a" / "aurora", tmp_path / "moved")
    shutil.rmtree(tmp_path / "a")
    facts = json.loads((moved / "rescind.json").read_text())
    certificate = json.loads(run.certificate.read_text())
    assert facts["model"] == certificate["latest"]["model_id"]
    models = rescind("audit", "models", run.folder, "--json")
    assert [row["model_id"] for row in json.loads(models.stdout) if row["in_use"]] == [
        facts["model"]
    ]
    (tmp_path / "models").mkdir()
    shutil.copytree(BASE_MODEL, tmp_path / "models" / "tiny")
    question = generated(3, 0).own("aurora")[0].question
    elsewhere = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOAD_ELSEWHERE, moved, question],
        cwd=tmp_path / "models",
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(rescind("ask", run.folder, question, "--json").stdout)
    assert answer["answered_by"] == "aurora's block"
    assert elsewhere.stdout.strip() == answer["answer"]


def test_a_removed_block_is_not_exported(run: Run, tmp_path: Path) -> None:
    refused = rescind("export", run.folder, "--peft", tmp_path / "b", "--organization", "borealis")
    assert (refused.returncode, "one of aurora, cirrus" in refused.stderr) == (10, True)
    assert not (tmp_path / "b").exists()


def test_an_audit_without_a_chain_says_how_to_start_it(run: Run) -> None:
    assert rescind("devnet", "down", run.folder).stdout.strip() == "down"
    done = rescind("audit", "lineage", run.folder)
    assert (done.returncode, "rescind devnet up" in done.stderr) == (15, True)
    assert rescind("devnet", "up", run.folder).returncode == 0
    assert rescind("verify", run.certificate).returncode == 0


def test_each_file_of_a_data_folder_is_an_organization(tmp_path: Path) -> None:
    common = [Example("who?", "all", "x")]
    for name in ("bank", "school"):
        rows = [Example(f"{name} {n}?", "yes", f"{name}-{n}") for n in range(6)]
        write_examples(tmp_path / f"{name}.jsonl", [*rows, *common])
    corpus = from_folder(tmp_path)
    assert list(corpus.organizations) == ["bank", "school"]
    assert corpus.shared == tuple(common)
    assert {name: len(rows) for name, rows in corpus.kept.items()} == {"bank": 1, "school": 1}
    assert (len(corpus.held_out), len(corpus.own("bank"))) == (0, 5)
    write_examples(tmp_path / "held_out.jsonl", [Example("never?", "no", "y")])
    assert from_folder(tmp_path).held_out == (Example("never?", "no", "y"),)


def test_a_router_of_sums_is_that_of_a_run_without_the_organization(tmp_path: Path) -> None:
    """Members have the same numbers in both runs, though their nodes join when they start."""
    words = ("--router", "sums", "--orgs", "3", "--rounds", "1", "--withdraw", "borealis")
    done = rescind("demo", *words, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    summary = Summary.model_validate_json(done.stdout)
    assert summary.withdrawal.exact
    assert summary.evaluation.after == summary.evaluation.replay
    assert summary.evaluation.before["borealis"] > summary.evaluation.after["borealis"] == 0
    folder = next(tmp_path.iterdir())
    question = generated(3, 0).own("aurora")[0].question
    assert rescind("devnet", "up", folder).returncode == 0
    try:
        why = json.loads(rescind("ask", folder, question, "--why", "--json").stdout)["why"]
    finally:
        rescind("devnet", "down", folder)
    assert why["measure"].startswith("how much more the question resembles")
    assert why["blocks"][0]["organization"] == "aurora"
