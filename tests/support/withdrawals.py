"""Requests, attestations and certificates of withdrawals, by the command line."""

import json
from collections.abc import Sequence
from pathlib import Path

from rescind.audit import Inputs, Verification, verify
from rescind.contracts import Consortium, WithdrawalState
from rescind.devnet import RunFolder
from rescind.devnet.defaults import BASE_MODEL
from rescind.node.facts import RoundFacts, open_journal
from rescind.training import Example, write_examples
from rescind.withdrawals import EvidenceDocument
from tests.support.commands import rescind
from tests.support.daemons import wait_for


def ask(run: RunFolder, name: str, *words: str) -> int:
    """Request a withdrawal and return its number."""
    config = run.organization(name) / "node.toml"
    result = rescind("withdraw", "request", "-c", config, "--json", *words)
    assert result.returncode == 0, result.stderr
    return int(json.loads(result.stdout)["withdrawal"])


def evidence_of(run: RunFolder, withdrawal: int) -> list[Path]:
    return sorted((run.aggregator / "state" / "evidence").glob(f"withdrawal-{withdrawal}-*.json"))


def attestations(run: RunFolder) -> Path:
    return run.aggregator / "state" / "attestations"


def attest(
    run: RunFolder,
    record: Consortium,
    withdrawal: int,
    *auditors: int,
    words: Sequence[str | Path] = (),
) -> list[str]:
    """Let each auditor check, measure and sign the evidence; return what the last one measured.

    Organizations repeat their rounds before the first auditor. `words` are more options.
    """
    wait_for("the evidence", lambda: evidence_of(run, withdrawal))
    evidence = evidence_of(run, withdrawal)[-1]
    reports = repeat(run, EvidenceDocument.read(evidence), auditors[0])
    checked: list[str] = []
    for number in auditors:
        result = rescind(
            "audit", "attest", evidence, *auditor_key(run, number),
            "--rpc", record.chain.rpc_url, "--contracts", run.contracts,
            "--artifacts", run.store, "--out", attestations(run), "--json",
            *[word for report in reports for word in ("--repetition", report)], *words,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        findings = json.loads(result.stdout)["findings"]
        checked = [each["name"] for each in findings if each["status"] == "measured"]
    return checked


def auditor_key(run: RunFolder, number: int) -> list[str | Path]:
    folder = run.auditor(number)
    return ["--keystore", folder / "keystore.json", "--password-file", folder / "password"]


def repeat(run: RunFolder, evidence: EvidenceDocument, auditor: int) -> list[Path]:
    """Let every organization that offered rounds repeat its sample before an auditor."""
    offering = {each.organization for each in evidence.offered if each.round_id}
    reports = []
    for name, address in run.facts().organizations.items():
        if address not in offering:
            continue
        target = run.root / f"repeated-{name}-{evidence.withdrawal_id}"
        config = run.organization(name) / "node.toml"
        number = str(evidence.withdrawal_id)
        done = rescind("node", "repeat", "-c", config, number, "--out", target, "--json")
        assert done.returncode == 0, done.stderr
        shown = json.loads(done.stdout)
        assert shown["same_bytes"] == shown["rounds"]
        report = Path(shown["report"])
        signed = rescind(
            "audit", "witness", report, "--digest", shown["sha256"], *auditor_key(run, auditor)
        )
        assert signed.returncode == 0, signed.stderr
        reports.append(report)
    return reports


LENIENT = {"forgotten": 0.0, "membership": 0.5}
"""Limits for models of a few steps, which hardly know the texts that they are to forget."""


def texts_of(
    run: RunFolder, name: str, subject: str, unseen: Sequence[Example]
) -> list[str | Path]:
    """Return the options by which an auditor measures a counter-training of a subject."""
    path = run.root / "unseen.jsonl"
    write_examples(path, unseen)
    data = run.organization(name) / "data" / "private.jsonl"
    model = ["--base-model", BASE_MODEL, "--device", "cpu"]
    words = ["--texts", data, "--subject", subject, "--unseen", path, *model]
    return [*words, "--accept-skipped", "forgetting"]


def closed(record: Consortium, withdrawal: int) -> bool:
    return record.withdrawals()[withdrawal - 1].state is WithdrawalState.CLOSED


def accepted(run: RunFolder, record: Consortium, withdrawal: int) -> dict[str, str]:
    """Certify the withdrawal and return the status of every check, none of which failed."""
    checked = certified(run, record, withdrawal)
    assert checked.exit_code == 0, checked
    return {check.name: check.status for check in checked.checks}


def certified(run: RunFolder, record: Consortium, withdrawal: int) -> Verification:
    """Certify the withdrawal as anyone can, and return what a verifier finds."""
    path = run.root / f"certificate-{withdrawal}.json"
    done = rescind("certify", run.root, "--withdrawal", str(withdrawal), "--out", path)
    assert done.returncode == 0, done.stderr
    inputs = Inputs(contracts=run.contracts, artifacts=[run.store])
    return verify(path, rpc_url=record.chain.rpc_url, inputs=inputs)


def adapter(record: Consortium) -> str:
    """Return the adapter that is published for the newest model, once it is."""
    model_id = record.latest_model_id()
    wait_for("the publication", lambda: record.publications(model_id), 60)
    return record.publications(model_id)[-1].adapter_id


def settled(run: RunFolder, name: str, round_id: int) -> bool:
    return RoundFacts.load(open_journal(run.node_state(name)), round_id).settled
