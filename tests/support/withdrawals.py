"""Requests, attestations and certificates of withdrawals, by the command line."""

import json
from pathlib import Path

from rescind.audit import Inputs, Verification, verify
from rescind.contracts import Consortium, WithdrawalState
from rescind.devnet import RunFolder
from rescind.node.facts import RoundFacts, open_journal
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


def attest(run: RunFolder, record: Consortium, withdrawal: int, *auditors: int) -> list[str]:
    """Let each auditor check and sign the evidence; return what the last one checked."""
    wait_for("the evidence", lambda: evidence_of(run, withdrawal))
    checked: list[str] = []
    for number in auditors:
        folder = run.auditor(number)
        result = rescind(
            "audit", "attest", evidence_of(run, withdrawal)[-1],
            "--keystore", folder / "keystore.json", "--password-file", folder / "password",
            "--rpc", record.chain.rpc_url, "--contracts", run.contracts,
            "--artifacts", run.store, "--out", attestations(run), "--json",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        findings = json.loads(result.stdout)["findings"]
        checked = [finding["name"] for finding in findings if finding["made"]]
    return checked


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
