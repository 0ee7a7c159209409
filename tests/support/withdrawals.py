"""What the people around a withdrawal do: ask, attest, certify, verify; each by the command line."""

import json
from pathlib import Path

from rescind.audit import Inputs, verify
from rescind.contracts import Consortium, WithdrawalState
from rescind.devnet import RunFolder
from rescind.node.facts import RoundFacts, open_journal
from tests.support.commands import rescind
from tests.support.daemons import wait_for


def ask(run: RunFolder, name: str, *words: str) -> int:
    """The withdrawal's number."""
    config = run.organization(name) / "node.toml"
    done = rescind("withdraw", "request", "-c", config, "--json", *words)
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout)["withdrawal"])


def evidence_of(run: RunFolder, withdrawal: int) -> list[Path]:
    return sorted((run.aggregator / "state" / "evidence").glob(f"withdrawal-{withdrawal}-*.json"))


def attestations(run: RunFolder) -> Path:
    return run.aggregator / "state" / "attestations"


def attest(run: RunFolder, record: Consortium, withdrawal: int, *auditors: int) -> list[str]:
    """Each auditor checks the evidence and signs it; what the last one was told."""
    wait_for("the evidence", lambda: evidence_of(run, withdrawal))
    told: list[str] = []
    for number in auditors:
        folder = run.auditor(number)
        done = rescind(
            "audit", "attest", evidence_of(run, withdrawal)[-1],
            "--keystore", folder / "keystore.json", "--password-file", folder / "password",
            "--rpc", record.chain.rpc_url, "--contracts", run.contracts,
            "--artifacts", run.store, "--out", attestations(run), "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = [it["name"] for it in json.loads(done.stdout)["findings"] if it["made"]]
    return told


def closed(record: Consortium, withdrawal: int) -> bool:
    return record.withdrawals()[withdrawal - 1].state is WithdrawalState.CLOSED


def accepted(run: RunFolder, record: Consortium, withdrawal: int) -> dict[str, str]:
    """Of the withdrawal's certificate, every check's status; none failed."""
    path = run.root / f"certificate-{withdrawal}.json"
    done = rescind(
        "aggregator", "certify", "-c", run.aggregator / "aggregator.toml",
        "--withdrawal", str(withdrawal), "--out", path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = verify(
        path,
        rpc_url=record.chain.rpc_url,
        inputs=Inputs(contracts=run.contracts, artifacts=[run.store]),
    )
    assert found.exit_code == 0, found
    return {check.name: check.status for check in found.checks}


def adapter(record: Consortium) -> str:
    return record.model(record.latest_model_id()).adapter_id


def settled(run: RunFolder, name: str, round_id: int) -> bool:
    return RoundFacts.load(open_journal(run.node_state(name)), round_id).settled
