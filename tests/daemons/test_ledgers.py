"""The ledger of a node that ran: proofs, shredding, backups, and statements for auditors and witnesses."""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import tomli_w

from rescind.audit import check_disclosure
from rescind.contracts import Account
from rescind.devnet.chain import free_port
from rescind.devnet.data import generated
from rescind.devnet.setup import make_identity, take_certificate
from rescind.ledger import Checkpoint, Ledger, load_key
from rescind.node.disclosing import ask as ask_node
from rescind.wire import (
    CertificateAuthority,
    LedgerClient,
    NodeUnavailable,
    NotAMember,
    NotAnAuditor,
    NotDisclosed,
    TlsFiles,
    signing_request,
)
from rescind.wire.keys import load_key as load_tls_key
from tests.support.commands import rescind
from tests.support.daemons import (
    consortium,
    finals,
    play_until,
    wait_for,
)
from tests.support.withdrawals import ask, closed

pytestmark = pytest.mark.slow


def configure(path: Path, **ledger: object) -> None:
    content = tomllib.loads(path.read_text())
    content["ledger"] |= ledger
    path.write_text(tomli_w.dumps(content))


def done(*words: str | Path) -> subprocess.CompletedProcess[str]:
    ran = rescind(*words)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran


def tls_of(folder: Path) -> TlsFiles:
    names = ("key.pem", "certificate.pem", "authority.pem")
    return TlsFiles(*(folder / "tls" / name for name in names))


def account_of(folder: Path) -> Account:
    return Account.load(folder / "keystore.json", (folder / "password").read_text().strip())


def test_a_node_that_ran_proves_forgets_and_is_restored(tmp_path: Path) -> None:
    subject = generated(2, seed=1).organizations["aurora"][0].subject
    with consortium(tmp_path / "run", 3) as (run, record, daemons):
        rpc = record.chain.rpc_url
        aurora, borealis = run.organization("aurora"), run.organization("borealis")
        aurora_address, borealis_address = (f"localhost:{free_port()}" for _ in range(2))
        configure(
            aurora / "node.toml",
            serve={"listen": aurora_address},
            witnesses=[borealis_address],
            anchor_seconds=1,
        )
        configure(borealis / "node.toml", serve={"listen": borealis_address})
        play_until(run, 1)
        for daemon in daemons.values():
            daemon.start()
        wait_for("a round", lambda: finals(record) == 1)
        number = ask(run, "aurora", "--method", "replacement", "--subject", subject)
        wait_for("the replacement", lambda: closed(record, number))
        daemons["aggregator"].stop()
        play_until(run, 2)
        daemons["aggregator"].start()
        wait_for("a round after it", lambda: finals(record) == 2)
        wait_for("the cosignatures", lambda: list((aurora / "state" / "cosignatures").glob("*")))

        presence_is_proven(run, rpc, subject, number)
        an_auditor_is_shown_one_record(run, record, rpc, aurora_address)
        witnesses_are_strict(run, aurora_address, borealis_address)

        size = record.anchor(run.facts().organizations["aurora"]).size
        given = json.dumps({"event": "given"})
        done(
            "ledger",
            "append",
            "--type",
            "consent",
            "--payload",
            given,
            "--config",
            aurora / "node.toml",
        )
        anchored = lambda: record.anchor(run.facts().organizations["aurora"]).size  # noqa: E731
        wait_for("an anchor on the timer", lambda: anchored() > size)
        for daemon in daemons.values():
            daemon.stop()
        forgotten_and_brought_back(run, tmp_path, subject)
        daemons["aurora"].start()
        wait_for(
            "the node again", lambda: daemons["aurora"].log.read_text().count("node started") == 2
        )
        daemons["aurora"].stop()
        an_older_state_does_not_start(run, tmp_path, daemons["aurora"])


def presence_is_proven(run, rpc: str, subject: str, withdrawal: int) -> None:
    folder = run.organization("aurora")
    for words, inside in (((), True), (("--withdrawal", str(withdrawal)), False)):
        path = folder / f"presence-{inside}.json"
        proven = rescind(
            "ledger", "prove-subject", "--round", "1", "--subject", subject, "--out", path, *words,
            "--config", folder / "node.toml", "--json",
        )  # fmt: skip
        assert json.loads(proven.stdout)["inside"] is inside
        result = check_disclosure(path, rpc)
        assert result.verification.exit_code == 0
        assert ("is NOT in" in result.verification.checks[-1].detail) is not inside
    later = folder / "later.json"
    done(
        "ledger", "prove-subject", "--round", "2", "--subject", subject, "--out", later,
        "--config", folder / "node.toml",
    )  # fmt: skip
    assert "is NOT in" in check_disclosure(later, rpc).verification.checks[-1].detail
    document = json.loads(later.read_text())
    later.write_text(json.dumps({**document, "round": 1}))
    assert check_disclosure(later, rpc).verification.exit_code == 65
    later.write_text(json.dumps({**document, "subject": "somebody else"}))
    assert check_disclosure(later, rpc).verification.exit_code == 66


def an_auditor_is_shown_one_record(run, record, rpc: str, address: str) -> None:
    organization = run.facts().organizations["aurora"]
    auditor = run.auditor(1)
    auditor_account, tls = account_of(auditor), tls_of(auditor)
    folder = run.organization("aurora")
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        runs = [entry.index for entry in ledger.records("training-run")]
        manifests = [entry.index for entry in ledger.records("manifest")]
    shown = folder / "shown.json"
    shown.write_bytes(ask_node(record, auditor_account, tls, address, organization, runs[0]))
    result = check_disclosure(shown, rpc)
    statuses = {check.name: check.status for check in result.verification.checks}
    # No contracts.json of the auditor's own is at hand to pin the consortium with.
    assert statuses.pop("pinned") == "skipped"
    assert list(statuses.values()) == ["passed"] * 5
    assert result.what is not None
    assert result.what.record.type == "training-run"
    document = json.loads(shown.read_text())
    document["record"]["payload"]["steps"] += 1
    shown.write_text(json.dumps(document))
    assert check_disclosure(shown, rpc).verification.exit_code == 63
    with pytest.raises(NotDisclosed, match="manifest are not shown"):
        ask_node(record, auditor_account, tls, address, organization, manifests[0])
    with pytest.raises(NotDisclosed, match="no record 9999"):
        ask_node(record, auditor_account, tls, address, organization, 9999)
    stranger = Account.create(folder / "stranger.json", "x")
    with pytest.raises(NotAnAuditor, match="is not an auditor on chain"):
        ask_node(record, stranger, tls, address, organization, runs[0])
    with LedgerClient(address, tls) as client, pytest.raises(NotAnAuditor, match="s apart"):
        client.disclose(runs[0], 1, b"x" * 65)
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        disclosures = [entry.payload for entry in ledger.records("disclosure")]
    assert [(entry["to"], entry["record"]) for entry in disclosures] == [
        (auditor_account.address, runs[0])
    ]


def witnesses_are_strict(run, own_address: str, witness_address: str) -> None:
    folder = run.organization("aurora")
    kept = sorted((folder / "state" / "cosignatures").glob("*"))
    newest = Checkpoint.parse(kept[-1].read_text())
    assert [signature.name.split("/")[0] for signature in newest.signatures] == [
        "rescind.ledger",
        "rescind.witness",
    ]
    signed = done("ledger", "cosign", "--at", witness_address, "--config", folder / "node.toml")
    assert Checkpoint.parse(signed.stdout).size >= newest.size
    with LedgerClient(witness_address, tls_of(folder)) as client:
        assert client.seen(client.checkpoint()[1]) == 0
    outside = folder.parent.parent / "outside"
    _, request = make_identity(outside, "outside", ("localhost",))
    authority = CertificateAuthority.load(run.authority)
    take_certificate(outside, authority.issue(request), authority.pem)
    with LedgerClient(witness_address, tls_of(outside)) as client:
        note, key = client.checkpoint()
        with pytest.raises(NotAMember):
            client.cosign(note, key, 0, [])
    foreign = CertificateAuthority.create(outside / "ca", "another authority")
    key = load_tls_key((outside / "tls" / "key.pem").read_bytes(), "key.pem")
    pem = foreign.issue(signing_request(key, "outside", ["localhost"]))
    (outside / "tls" / "certificate.pem").write_bytes(pem)
    with (
        LedgerClient(own_address, tls_of(outside), patience=0.5) as client,
        pytest.raises(NodeUnavailable),
    ):
        client.checkpoint()


def forgotten_and_brought_back(run, tmp_path: Path, subject: str) -> None:
    folder = run.organization("aurora")
    config, backups = folder / "node.toml", tmp_path / "backups"
    data = folder / "data"
    rows = next(iter(data.glob("*.jsonl")))
    rows.write_text("".join(x for x in rows.read_text().splitlines(True) if subject not in x))
    done("ledger", "backup", tmp_path / "before", "--config", config)
    shredded = done("ledger", "shred", "--subject", subject, "--config", config, "--json")
    assert json.loads(shredded.stdout)["records"] >= 1
    done("ledger", "anchor", "--config", config)
    kept = json.loads(done("ledger", "backup", backups, "--config", config, "--json").stdout)
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name != "presence-True.json"):
        if not path.name.startswith(("presence", "later")):
            assert subject.encode() not in path.read_bytes(), path
    shutil.rmtree(folder / "ledger")
    old = next((tmp_path / "before").iterdir())
    refused = rescind("ledger", "restore", old, "--config", config)
    assert refused.returncode == 16
    assert "the chain anchors" in refused.stderr
    done("ledger", "restore", kept["path"], "--config", config)
    sound = json.loads(done("ledger", "fsck", "--config", config, "--json").stdout)
    assert (sound["sound"], sound["problems"]) == (True, [])
    assert sound["anchors_compared"] >= 3


def an_older_state_does_not_start(run, tmp_path: Path, daemon) -> None:
    folder = run.organization("aurora")
    shutil.rmtree(folder / "ledger")
    old = next((tmp_path / "before").iterdir())
    config = folder / "node.toml"
    done("ledger", "restore", old, "--config", config, "--without-chain")
    fsck = rescind("ledger", "fsck", "--config", config)
    assert fsck.returncode == 30
    assert "the chain anchors" in fsck.stdout
    daemon.start()
    wait_for("the refusal", lambda: not daemon.runs, 60)
    assert (
        "ledger-behind" in daemon.log.read_text() or "is an older state" in daemon.log.read_text()
    )
