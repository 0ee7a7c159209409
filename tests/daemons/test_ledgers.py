"""What a node that ran proves, forgets and brings back; what an auditor is shown, and what a witness signs."""

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
    found = rescind(*words)
    assert found.returncode == 0, found.stderr + found.stdout
    return found


def tls_of(folder: Path) -> TlsFiles:
    names = ("key.pem", "certificate.pem", "authority.pem")
    return TlsFiles(*(folder / "tls" / name for name in names))


def account_of(folder: Path) -> Account:
    return Account.load(folder / "keystore.json", (folder / "password").read_text().strip())


def test_a_node_that_ran_proves_forgets_and_is_restored(tmp_path: Path) -> None:
    gone = generated(2, seed=1).organizations["aurora"][0].subject
    with consortium(tmp_path / "run", 3) as (run, record, daemons):
        rpc = record.chain.rpc_url
        aurora, borealis = run.organization("aurora"), run.organization("borealis")
        here, there = (f"localhost:{free_port()}" for _ in range(2))
        configure(aurora / "node.toml", serve={"listen": here}, witnesses=[there], anchor_seconds=1)
        configure(borealis / "node.toml", serve={"listen": there})
        play_until(run, 1)
        for daemon in daemons.values():
            daemon.start()
        wait_for("a round", lambda: finals(record) == 1)
        number = ask(run, "aurora", "--method", "replacement", "--subject", gone)
        wait_for("the replacement", lambda: closed(record, number))
        daemons["aggregator"].stop()
        play_until(run, 2)
        daemons["aggregator"].start()
        wait_for("a round after it", lambda: finals(record) == 2)
        wait_for("the cosignatures", lambda: list((aurora / "state" / "cosignatures").glob("*")))

        presence_is_proven(run, rpc, gone, number)
        an_auditor_is_shown_one_record(run, record, rpc, here)
        witnesses_are_strict(run, here, there)

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
        forgotten_and_brought_back(run, tmp_path, gone)
        daemons["aurora"].start()
        wait_for(
            "the node again", lambda: daemons["aurora"].log.read_text().count("node started") == 2
        )
        daemons["aurora"].stop()
        an_older_state_does_not_start(run, tmp_path, daemons["aurora"])


def presence_is_proven(run, rpc: str, gone: str, withdrawal: int) -> None:
    folder = run.organization("aurora")
    for words, inside in (((), True), (("--withdrawal", str(withdrawal)), False)):
        path = folder / f"presence-{inside}.json"
        made = rescind(
            "ledger", "prove-subject", "--round", "1", "--subject", gone, "--out", path, *words,
            "--config", folder / "node.toml", "--json",
        )  # fmt: skip
        assert json.loads(made.stdout)["inside"] is inside
        found = check_disclosure(path, rpc)
        assert found.verification.exit_code == 0
        assert ("is NOT in" in found.verification.checks[-1].detail) is not inside
    later = folder / "later.json"
    done(
        "ledger", "prove-subject", "--round", "2", "--subject", gone, "--out", later,
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
    me, tls = account_of(auditor), tls_of(auditor)
    folder = run.organization("aurora")
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        runs = [it.index for it in ledger.records("training-run")]
        manifests = [it.index for it in ledger.records("manifest")]
    shown = folder / "shown.json"
    shown.write_bytes(ask_node(record, me, tls, address, organization, runs[0]))
    found = check_disclosure(shown, rpc)
    statuses = {check.name: check.status for check in found.verification.checks}
    # No contracts.json of the auditor's own is at hand to pin the consortium with.
    assert statuses.pop("pinned") == "skipped"
    assert list(statuses.values()) == ["passed"] * 5
    assert found.what is not None
    assert found.what.record.type == "training-run"  # type: ignore[union-attr]
    document = json.loads(shown.read_text())
    document["record"]["payload"]["steps"] += 1
    shown.write_text(json.dumps(document))
    assert check_disclosure(shown, rpc).verification.exit_code == 63
    with pytest.raises(NotDisclosed, match="manifest are not shown"):
        ask_node(record, me, tls, address, organization, manifests[0])
    with pytest.raises(NotDisclosed, match="no record 9999"):
        ask_node(record, me, tls, address, organization, 9999)
    stranger = Account.create(folder / "stranger.json", "x")
    with pytest.raises(NotAnAuditor, match="is not an auditor on chain"):
        ask_node(record, stranger, tls, address, organization, runs[0])
    with LedgerClient(address, tls) as client, pytest.raises(NotAnAuditor, match="s apart"):
        client.disclose(runs[0], 1, b"x" * 65)
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        told = [it.payload for it in ledger.records("disclosure")]
    assert [(it["to"], it["record"]) for it in told] == [(me.address, runs[0])]


def witnesses_are_strict(run, here: str, there: str) -> None:
    folder = run.organization("aurora")
    kept = sorted((folder / "state" / "cosignatures").glob("*"))
    newest = Checkpoint.parse(kept[-1].read_text())
    assert [it.name.split("/")[0] for it in newest.signatures] == [
        "rescind.ledger",
        "rescind.witness",
    ]
    signed = done("ledger", "cosign", "--at", there, "--config", folder / "node.toml")
    assert Checkpoint.parse(signed.stdout).size >= newest.size
    with LedgerClient(there, tls_of(folder)) as client:
        assert client.seen(client.checkpoint()[1]) == 0
    outside = folder.parent.parent / "outside"
    _, request = make_identity(outside, "outside", ("localhost",))
    authority = CertificateAuthority.load(run.authority)
    take_certificate(outside, authority.issue(request), authority.pem)
    with LedgerClient(there, tls_of(outside)) as client:
        note, key = client.checkpoint()
        with pytest.raises(NotAMember):
            client.cosign(note, key, 0, [])
    foreign = CertificateAuthority.create(outside / "ca", "another authority")
    key = load_tls_key((outside / "tls" / "key.pem").read_bytes(), "key.pem")
    pem = foreign.issue(signing_request(key, "outside", ["localhost"]))
    (outside / "tls" / "certificate.pem").write_bytes(pem)
    with (
        LedgerClient(here, tls_of(outside), patience=0.5) as client,
        pytest.raises(NodeUnavailable),
    ):
        client.checkpoint()


def forgotten_and_brought_back(run, tmp_path: Path, gone: str) -> None:
    folder = run.organization("aurora")
    config, backups = folder / "node.toml", tmp_path / "backups"
    data = folder / "data"
    rows = next(iter(data.glob("*.jsonl")))
    rows.write_text("".join(x for x in rows.read_text().splitlines(True) if gone not in x))
    done("ledger", "backup", tmp_path / "before", "--config", config)
    told = done("ledger", "shred", "--subject", gone, "--config", config, "--json")
    assert json.loads(told.stdout)["records"] >= 1
    done("ledger", "anchor", "--config", config)
    kept = json.loads(done("ledger", "backup", backups, "--config", config, "--json").stdout)
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name != "presence-True.json"):
        if not path.name.startswith(("presence", "later")):
            assert gone.encode() not in path.read_bytes(), path
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
