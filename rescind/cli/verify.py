"""rescind verify, rescind certify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from rescind.cli.chain_access import open_consortium, stopped_chain_hint
from rescind.cli.endpoints import NamedEndpoints
from rescind.cli.options import (
    ContractsOption,
    IndexOption,
    JsonOption,
    OutOption,
    RpcOption,
    RunArgument,
)
from rescind.cli.printing import (
    out,
    plain,
    print_contracts,
    print_facts,
    print_json,
    reported_errors,
)
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.audit import Verification
    from rescind.devnet import RunFolder
    from rescind.withdrawals import Attestation

STYLES = {
    "passed": "green",
    "measured": "green",
    "stated": "yellow",
    "failed": "red",
    "skipped": "yellow",
    "none": "dim",
}


def verify_command(
    certificate: Annotated[Path, typer.Argument(help="certificate.json")],
    rpc: RpcOption = None,
    contracts: Annotated[
        Path | None,
        typer.Option(
            "--contracts",
            help="Your own contracts.json: accept no other consortium's certificate. "
            "Default: the run's own.",
        ),
    ] = None,
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of artifacts. Repeatable. Default: the run's own."),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="A served adapter, to open against the chain.")
    ] = None,
    opening: Annotated[Path | None, typer.Option(help="The opening of that adapter.")] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="The agreed parameters.json, if no folder has it.")
    ] = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a certificate against the chain and the artifacts; exit 0, or the failed check's code."""
    from rescind import audit
    from rescind.devnet import RunFolder

    with reported_errors():
        run = RunFolder(certificate.resolve().parent)
        in_run = run.facts_file.is_file()
        named = NamedEndpoints.of(rpc) if rpc or not in_run else NamedEndpoints(())
        if not named.urls:
            named = NamedEndpoints((_url_of(certificate, run, in_run=in_run),))
        inputs = audit.Inputs(
            contracts or (run.contracts if in_run else None),
            list(artifacts or (run.store, run.replay.store)),
            adapter,
            opening,
            parameters,
        )
        with stopped_chain_hint(certificate.parent if in_run else None):
            verification = audit.verify(
                certificate, rpc_url=named.urls, agree=named.agree, inputs=inputs, index=index
            )
        _print(verification, as_json=as_json)
        raise typer.Exit(verification.exit_code)


def _url_of(certificate: Path, run: RunFolder, *, in_run: bool) -> str:
    """Return the URL of the chain of the run that a certificate is in."""
    from rescind.devnet.chain import url_of

    if not certificate.is_file():
        reason = "It is not a file." if certificate.exists() else "No such file."
        raise ConfigError(f"{certificate} cannot be read: {reason}")
    if not in_run:
        raise ConfigError("Pass --rpc URL: the certificate is not in the folder of a run.")
    return url_of(run.facts().chain_port)


def _print(verification: Verification, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "exit_code": verification.exit_code,
                "verdict": verification.verdict,
                "contracts": dict(verification.contracts),
                "checks": [asdict(check) for check in verification.checks],
                "owners": [asdict(owner) for owner in verification.owners],
            }
        )
        return
    for check in verification.checks:
        line = Text(f"{check.status:<8}", style=STYLES[check.status])
        line.append_text(plain(f"  {check.name:<13} {check.detail}"))
        out.print(line, soft_wrap=True)
    for owner in verification.owners:
        out.print(plain(f"{owner.name}: {owner.standing} ({owner.detail})"), soft_wrap=True)
    print_contracts(verification.contracts)
    out.print(plain(f"certificate {verification.verdict}"), style="bold", soft_wrap=True)


def certify_command(
    withdrawal: Annotated[
        int, typer.Option("--withdrawal", min=1, help="Number of a closed withdrawal.")
    ],
    path: OutOption,
    run: RunArgument = None,
    attestation: Annotated[
        list[Path] | None,
        typer.Option(
            help="An auditor's attestation, or a folder of them. Repeatable. Default: the run's own."
        ),
    ] = None,
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of artifacts, to name the heads of the model. Repeatable. Default: the "
            "run's own."
        ),
    ] = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the certificate of a closed withdrawal from the chain. Anyone can."""
    from rescind.audit import Stores, build_certificate, find_withdrawal, heads_at
    from rescind.devnet import RunFolder

    with reported_errors():
        reader = open_consortium(run, rpc, contracts, index)
        own = [] if run is None else [RunFolder(run).store]
        latest = find_withdrawal(reader, withdrawal).closed_model
        certificate = build_certificate(
            reader,
            withdrawal,
            attestations=_attestations(run, attestation),
            heads=heads_at(reader, latest, Stores(artifacts or own)),
        )
        certificate.save(path)
        facts = {
            "certificate": str(path),
            "withdrawal": withdrawal,
            "method": certificate.method,
            "organization": certificate.withdrawal.name,
        }
        print_facts(facts, as_json=as_json)


def _attestations(run: Path | None, given: Sequence[Path] | None) -> list[Attestation]:
    """Return the attestations of withdrawals in files and folders.

    Raises:
        EvidenceUnreadable: A file that was named is not an attestation.
    """
    from rescind.devnet import RunFolder
    from rescind.withdrawals import Attestation, EvidenceUnreadable, read_attestation

    own = [] if run is None else [RunFolder(run).aggregator / "state" / "attestations"]
    read = []
    for path in given or own:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            try:
                signed = read_attestation(file)
            except EvidenceUnreadable:
                # In a folder anyone may have put something else beside them.
                if path.is_dir():
                    continue
                raise
            if isinstance(signed, Attestation):
                read.append(signed)
        if not path.exists() and given:
            raise ConfigError(f"{path} cannot be read: there is no such file or folder.")
    return read
