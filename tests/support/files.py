"""A consortium of three on a real chain, with the files that its operators have."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w
from typer.testing import CliRunner, Result

from rescind.cli.main import app
from rescind.contracts import Account
from rescind.core import ArtifactStore, write_private
from rescind.wire import (
    CertificateAuthority,
    fingerprint,
    new_key,
    signing_request,
)
from tests.support.chain import Anvil
from tests.support.consortium import ChainConsortium, make_consortium

PASSWORD = "correct horse"


def rescind(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in arguments])


@dataclass(frozen=True)
class Files:
    """A consortium and its operators' files.

    `nodes` are the node.toml of the organizations, in the order of `consortium.organizations`.
    """

    folder: Path
    consortium: ChainConsortium
    nodes: Sequence[Path]
    aggregator: Path

    @property
    def chain(self) -> list[str]:
        """Options that name the public record."""
        contracts = str(self.folder / "contracts.json")
        return ["--rpc", self.consortium.anvil.url, "--contracts", contracts]

    def copied(self, folder: Path) -> Files:
        """Return the same consortium with copies of all files in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        consortium = replace(self.consortium, store=ArtifactStore(folder / "store"))
        nodes = [folder / node.name for node in self.nodes]
        return Files(folder, consortium, nodes, folder / self.aggregator.name)

    @property
    def founder(self) -> list[str]:
        """Options that name the founder's key."""
        return key_options(self.folder, "founder")


def key_options(folder: Path, name: str) -> list[str]:
    key, password = folder / f"{name}.json", folder / "password"
    return ["--keystore", str(key), "--password-file", str(password)]


def make_files(folder: Path, anvil: Anvil, **settings: object) -> Files:
    consortium = make_consortium(anvil, 3, store=folder / "store", **settings)
    consortium.deployment.save(folder / "contracts.json")
    (folder / "parameters.json").write_bytes(consortium.parameters.canonical_bytes())
    write_private(folder / "password", f"{PASSWORD}\n".encode())
    save_key(folder, "founder", consortium.founder)
    nodes = [
        _node(folder, anvil, f"org-{index}", account)
        for index, account in enumerate(consortium.organizations)
    ]
    return Files(folder, consortium, nodes, _aggregator(folder, anvil, consortium.aggregator))


def save_key(folder: Path, name: str, account: Account) -> Path:
    account.save(folder / f"{name}.json", PASSWORD)
    return folder / f"{name}.json"


def make_certificate(folder: Path, name: str) -> str:
    """Make a key, its certificate and an authority under `folder`; return the fingerprint."""
    authority = CertificateAuthority.create(folder / "ca", "test")
    pem = authority.issue(signing_request(new_key(folder / "key.pem"), name))
    (folder / "certificate.pem").write_bytes(pem)
    return fingerprint(pem)


def _node(folder: Path, anvil: Anvil, name: str, account: Account) -> Path:
    content = {
        "node": {"name": name, "state_dir": f"{name}-state", "data": "data.jsonl"},
        "aggregator": {"address": "localhost:1"},
        "model": {"path": "model"},
        "ledger": {"dir": "ledger"},
    }
    return _write(folder, anvil, name, account, content)


def _aggregator(folder: Path, anvil: Anvil, account: Account) -> Path:
    section = {
        "listen": "127.0.0.1:1",
        "state_dir": "aggregator-state",
        "store": "store",
        "parameters": "parameters.json",
        "rounds": 1,
    }
    return _write(folder, anvil, "aggregator", account, {"aggregator": section})


def _write(folder: Path, anvil: Anvil, name: str, account: Account, content: Any) -> Path:
    save_key(folder, name, account)
    content["chain"] = {"rpc_url": anvil.url, "chain_id": 31337, "contracts": "contracts.json"}
    content["identity"] = {
        "keystore": f"{name}.json",
        "password_file": "password",
        "tls_key": f"{name}/key.pem",
        "tls_certificate": f"{name}/certificate.pem",
        "ca_certificate": f"{name}/ca/authority.pem",
    }
    path = folder / f"{name}.toml"
    path.write_bytes(tomli_w.dumps(content).encode())
    return path
