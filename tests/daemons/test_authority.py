"""The authority is changed under running daemons, as docs/deploy.md says, and rounds go on."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rescind.cli.main import app
from rescind.cli.toml_files import load_config
from rescind.contracts import Consortium
from rescind.devnet import RunFolder
from rescind.node import NodeConfig
from rescind.wire import AggregatorClient, AggregatorUnavailable, TlsFiles
from tests.support.daemons import Daemon, consortium, finals, play_until, start_nodes, wait_for

pytestmark = pytest.mark.slow


def command(*words: object) -> None:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output


def folders(run: RunFolder) -> dict[Path, str]:
    """Return the folder of each party, with the name of its daemon's configuration."""
    nodes = {run.organization(name): "node.toml" for name in run.facts().organizations}
    return {run.aggregator: "aggregator.toml", **nodes}


def change_authority(run: RunFolder) -> None:
    """Follow the steps of docs/deploy.md."""
    new = run.root / "ca2"
    command("org", "authority", new, "--replaces", run.authority)
    for folder in folders(run):
        command("org", "trust", folder, new / "bundle.pem")
    for folder, config in folders(run).items():
        request, answer = folder / "tls" / "request.pem", folder / "certificate.pem"
        command("org", "request", folder, "--name", folder.name, "--serve", "127.0.0.1")
        command("org", "sign", request, "--ca", new, "--out", answer, "--yes")
        command("org", "accept", folder, answer)
        command("org", "renew", "-c", folder / config)
    for folder in folders(run):
        command("org", "trust", folder, new / "authority.pem")


def another_round_began_and_ended(record: Consortium, daemons: dict[str, Daemon]) -> None:
    """Wait for a round that was opened after this call."""
    first = record.current_round_id() + 1
    wait_for(
        "a round after it",
        lambda: record.current_round_id() > first or finals(record) >= first,
    )
    assert all(daemon.runs for daemon in daemons.values())


def test_the_authority_changes_while_all_daemons_run(tmp_path: Path) -> None:
    with consortium(tmp_path, 1) as (run, record, daemons):
        play_until(run, 40)
        daemons["aggregator"].start()
        start_nodes(run, daemons)
        wait_for("a round", lambda: finals(record) == 1)
        name = next(iter(run.facts().organizations))
        old = tmp_path / "old"
        shutil.copytree(run.organization(name) / "tls", old)
        change_authority(run)
        another_round_began_and_ended(record, daemons)
        missed = [
            number
            for number in range(1, finals(record) + 1)
            if len(record.accepted(number)) < len(run.facts().organizations)
        ]
        assert not missed, "a member missed a round"
        address = load_config(run.organization(name) / "node.toml", NodeConfig).aggregator.address
        tls = TlsFiles(old / "key.pem", old / "certificate.pem", run.root / "ca2/authority.pem")
        with (
            AggregatorClient(address, tls, patience=0.0) as client,
            pytest.raises(AggregatorUnavailable, match="was issued by 'devnet authority'"),
        ):
            client.describe()
