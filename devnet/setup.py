"""Set up a consortium: authority, identities, configuration files, contracts, admissions."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from rescind.agents import Action
from rescind.contracts import (
    Account,
    Consortium,
    DeploySettings,
    agreed_settings,
    deploy,
)
from rescind.core import (
    ConsortiumParameters,
    create_private,
    make_private_folder,
    write_private,
)
from rescind.daemon import certificate_claim, open_keystore
from rescind.devnet.chain import CHAIN_ID, check_chain, set_balance, start_chain, url_of
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.ledger import Ledger, create_key
from rescind.training import Example, write_examples
from rescind.wire import CertificateAuthority, Enrolment, TlsFiles

TaskRows = Mapping[str, Sequence[Example]]
"""An organization's rows for statistics, by task: the question is the text, the answer the label."""
ETHER = 10**18
_HOSTS = ("localhost", "127.0.0.1")
# Seconds between two looks of a daemon. Everything is on one machine, so looking often costs little.
_POLL = 0.2
AUDITORS = 2


@dataclass(frozen=True)
class Endpoints:
    """Addresses of a consortium's services.

    Attributes:
        rpc_url: URL of the chain.
        listen: Address that the aggregator listens on.
        aggregator: Address by which nodes reach the aggregator.
        hosts: Names in the aggregator's certificate.
    """

    rpc_url: str
    listen: str
    aggregator: str
    hosts: tuple[str, ...] = _HOSTS

    @classmethod
    def local(cls, facts: RunFacts) -> Endpoints:
        """Return the endpoints of a run on this machine."""
        address = f"127.0.0.1:{facts.aggregator_port}"
        return cls(url_of(facts.chain_port), address, address)


def make_identity(folder: Path, name: str, hosts: Sequence[str] = _HOSTS) -> tuple[str, bytes]:
    """Create keystore, password and the key of an organization certificate in a folder.

    Returns:
        The account's address and a certificate signing request (PEM).
    """
    request = Enrolment.in_folder(folder / "tls").request(name, hosts)
    return make_account(folder), request


def make_account(folder: Path) -> str:
    """Create keystore and password in a folder, and return the account's address."""
    make_private_folder(folder)
    password = secrets.token_urlsafe(24)
    account = Account.create(folder / "keystore.json", password)
    with create_private(folder / "password") as file:
        file.write(f"{password}\n".encode())
    return account.address


def take_certificate(folder: Path, certificate: bytes, authority: bytes) -> str:
    """Take an organization certificate and its authority's (PEM), and issue the daemon's.

    Returns:
        The fingerprint of the daemon's certificate.
    """
    return Enrolment.in_folder(folder / "tls").accept(certificate, authority)


def make_ledger(folder: Path) -> None:
    """Create an empty ledger and its key in a folder."""
    key = create_key(folder / "ledger.key")
    Ledger.create(folder / "ledger", key).close()


def load_account(folder: Path) -> Account:
    """Load the account whose keystore and password are in a folder."""
    return open_keystore(folder / "keystore.json", folder / "password")


def identity_section() -> dict[str, str]:
    """Return the [identity] section of a daemon whose folder make_identity filled."""
    return {
        "keystore": "keystore.json",
        "password_file": "password",
        "tls_key": "tls/key.pem",
        "tls_certificate": "tls/certificate.pem",
        "ca_certificate": "tls/authority.pem",
    }


def write_toml(path: Path, content: Mapping[str, Any]) -> None:
    """Write a TOML file. Only its owner can read it: the URLs in it may hold keys."""
    write_private(path, tomli_w.dumps(content).encode())


def start_consortium(
    run: RunFolder,
    facts: RunFacts,
    parameters: ConsortiumParameters,
    data: Mapping[str, Sequence[Example]],
    benchmark: Sequence[Example],
    terms: Mapping[str, Any] | None = None,
    rows: Mapping[str, TaskRows] | None = None,
    reference: bytes = b"",
    public: Mapping[str, Sequence[str]] | None = None,
) -> Consortium:
    """Start a chain and set a consortium up on it. The daemons are not started."""
    start_chain(run.chain, facts.chain_port, facts.chain)
    endpoints = Endpoints.local(facts)
    return make_consortium(
        run, facts, parameters, data, benchmark, endpoints, terms, rows, reference, public
    )


def make_consortium(
    run: RunFolder,
    facts: RunFacts,
    parameters: ConsortiumParameters,
    data: Mapping[str, Sequence[Example]],
    benchmark: Sequence[Example],
    endpoints: Endpoints,
    terms: Mapping[str, Any] | None = None,
    rows: Mapping[str, TaskRows] | None = None,
    reference: bytes = b"",
    public: Mapping[str, Sequence[str]] | None = None,
) -> Consortium:
    """Set up identities, files, contracts and admissions on a running Anvil or Hardhat.

    Existing identities are kept. The daemons register their certificates when they start.

    Args:
        run: The run's folder.
        facts: The run's facts; the organizations' addresses are added to them.
        parameters: The agreed parameters.
        data: The examples of each organization, by name.
        benchmark: The aggregator's examples for scores; empty for none.
        endpoints: Addresses of chain and aggregator.
        terms: Fields of `DeploySettings` that are not those of a devnet.
        rows: The rows of each organization's statistics, by name.
        reference: The public reference of the agreed router, if there is one.
        public: The subjects whose rows are public in a split coupling, by the organization's name.

    Raises:
        ChainError: The chain lacks EIP-2537, or does not give accounts ether.
    """
    chain = check_chain(endpoints.rpc_url)
    make_private_folder(run.root)
    run.parameters.write_bytes(parameters.canonical_bytes())
    authority = (
        CertificateAuthority.load(run.authority)
        if run.authority.is_dir()
        else CertificateAuthority.create(run.authority, f"{parameters.name} authority")
    )
    aggregator = _identity(run.aggregator, "aggregator", authority, endpoints.hosts)
    founder = Account.create(run.root / "founder" / "keystore.json", secrets.token_hex(16))
    auditors = [
        _identity(run.auditor(number), f"auditor {number}", authority)
        for number in range(1, AUDITORS + 1)
    ]
    members = {name: _identity(run.organization(name), name, authority) for name in data}
    for address in (founder.address, aggregator, *members.values()):
        set_balance(chain, address, 1000 * ETHER)
    settings = _settings(parameters, aggregator, auditors, terms or {})
    deployment = deploy(chain, founder, settings, run.contracts)
    consortium = Consortium(chain, deployment, founder)
    if benchmark:
        write_examples(run.aggregator / "benchmark.jsonl", benchmark)
    _write_aggregator(run, facts, endpoints, bool(benchmark), len(data), reference)
    for number, (name, examples) in enumerate(data.items()):
        beside = (rows or {}).get(name, {}), (public or {}).get(name, ())
        _write_node(run, facts, endpoints, name, number, examples, *beside)
        consortium.admit(members[name], name)
    facts.organizations = dict(members)
    run.save(facts)
    return Consortium(chain, deployment)


def join(run: RunFolder, consortium: Consortium, names: Sequence[str]) -> None:
    """Let organizations join one after the other, before their nodes would.

    A member's number follows from when it joined, and a router's sums have a column for each number.

    Args:
        run: The run's folder.
        consortium: Contracts that have admitted them.
        names: The organizations by name, in the order of their numbers.
    """
    for name in names:
        folder, deployment = run.organization(name), consortium.deployment
        account, files = load_account(folder), identity_section()
        tls = TlsFiles(
            *(folder / files[key] for key in ("tls_key", "tls_certificate", "ca_certificate"))
        )
        claim = certificate_claim(deployment, account.address, tls)
        Consortium(consortium.chain, deployment, account).join(*claim)


def copy_identities(source: RunFolder, target: RunFolder, names: Sequence[str]) -> None:
    """Copy keys and certificates, so that a replay has the same organizations."""
    # copytree creates what is missing under the umask, so the folders above are made first.
    make_private_folder(target.root)
    shutil.copytree(source.authority, target.authority)
    folders = [(source.aggregator, target.aggregator)]
    folders += [(source.organization(name), target.organization(name)) for name in names]
    for old, new in folders:
        make_private_folder(new)
        shutil.copytree(old / "tls", new / "tls")
        for file in ("keystore.json", "password"):
            write_private(new / file, (old / file).read_bytes())


def record_decisions(run: RunFolder, name: str, decisions: Mapping[int, Action]) -> None:
    """Make a node follow recorded decisions instead of its agent."""
    folder = run.organization(name)
    content = {str(n): asdict(a) for n, a in decisions.items()}
    make_private_folder(folder)
    write_private(folder / "decisions.json", json.dumps(content, indent=1).encode())


def _identity(
    folder: Path, name: str, authority: CertificateAuthority, hosts: Sequence[str] = _HOSTS
) -> str:
    """Return the address of a folder's account; create account and certificate if need be."""
    if (folder / "keystore.json").is_file():
        return load_account(folder).address
    address, request = make_identity(folder, name, hosts)
    take_certificate(folder, authority.issue(request), authority.pem)
    return address


def _settings(
    parameters: ConsortiumParameters,
    aggregator: str,
    auditors: Sequence[str],
    terms: Mapping[str, Any],
) -> DeploySettings:
    values = {
        **agreed_settings(parameters),
        # No auditor runs beside a devnet, and rounds that wait for one would pay no rewards.
        "attested": False,
        "aggregator": aggregator,
        "auditors": tuple(auditors),
        "auditor_quorum": len(auditors),
        "exit_seconds": 30,
        "commit_seconds": 1800,
        "reveal_seconds": 600,
        "judge_seconds": 600,
    }
    return DeploySettings.model_validate({**values, **terms})


def _chain_section(endpoints: Endpoints) -> dict[str, Any]:
    return {
        "rpc_url": endpoints.rpc_url,
        "chain_id": CHAIN_ID,
        "contracts": "../contracts.json",
    }


def model_section(facts: RunFacts) -> dict[str, Any]:
    """Return the [model] section of a daemon of the run; what is a default is left out."""
    section: dict[str, Any] = {"path": facts.model}
    if facts.dtype != "float32":
        section["dtype"] = facts.dtype
    if facts.threads != 1:
        section["threads"] = facts.threads
    if facts.shared_weights:
        section["shared_weights"] = facts.shared_weights
    return section


def _write_aggregator(
    run: RunFolder,
    facts: RunFacts,
    endpoints: Endpoints,
    scored: bool,
    members: int,
    reference: bytes,
) -> None:
    content: dict[str, Any] = {
        "aggregator": {
            "listen": endpoints.listen,
            "state_dir": "state",
            "store": str(run.store.resolve()),
            "parameters": "../parameters.json",
            "rounds": facts.rounds,
            "minimum_members": members,
            "poll_seconds": _POLL,
            "reflection": True,
            # The demo and the certificate's evaluation show the model before and after.
            "keep_withdrawn": True,
        },
        "chain": _chain_section(endpoints),
        "identity": identity_section(),
    }
    if reference:
        write_private(run.aggregator / "reference.safetensors", reference)
        content["aggregator"]["reference"] = "reference.safetensors"
    if scored:
        content["model"] = model_section(facts)
        content["evaluation"] = {"data": "benchmark.jsonl"}
    write_toml(run.aggregator / "aggregator.toml", content)


def _write_node(
    run: RunFolder,
    facts: RunFacts,
    endpoints: Endpoints,
    name: str,
    number: int,
    examples: Sequence[Example],
    rows: TaskRows,
    public: Sequence[str],
) -> None:
    folder = run.organization(name)
    write_examples(folder / "data" / "private.jsonl", examples)
    for task, labelled in rows.items():
        write_examples(folder / "data" / f"{task}.jsonl", labelled)
    statistics = {"data": {task: f"data/{task}.jsonl" for task in rows}}
    make_ledger(folder)
    agent: dict[str, Any] = {"policy": "q-learning", "seed": facts.seed * 1000 + number}
    if (folder / "decisions.json").is_file():
        agent = {"policy": "recorded", "decisions": "decisions.json"}
    # Compiling takes a minute in each process, for the seconds that a round of a demo gains.
    engine = {"engine": {"deterministic": True, "compile": "off"}} if facts.deterministic else {}
    write_toml(
        folder / "node.toml",
        {
            "node": {
                "name": name,
                "state_dir": "state",
                "data": "data/private.jsonl",
                "poll_seconds": _POLL,
                "keep_withdrawn": True,
            },
            "chain": {**_chain_section(endpoints), "contracts": "../../contracts.json"},
            "identity": identity_section(),
            "aggregator": {"address": endpoints.aggregator},
            "model": model_section(facts),
            **({"statistics": statistics} if rows else {}),
            **({"split": {"public": list(public)}} if public else {}),
            **engine,
            "ledger": {"dir": "ledger", "key_file": "ledger.key"},
            "agent": agent,
        },
    )
