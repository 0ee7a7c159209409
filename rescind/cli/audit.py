"""rescind audit contributions|rounds|models|lineage|withdrawals|members|events|attest."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    ContractsOption,
    JsonOption,
    KeystoreOption,
    PasswordOption,
    RpcOption,
    RunArgument,
)
from rescind.cli.printing import (
    out,
    plain,
    print_facts,
    print_json,
    print_rows,
    reported_errors,
)

if TYPE_CHECKING:
    from rescind.audit import ModelRow
    from rescind.contracts import Consortium

audit_app = typer.Typer(no_args_is_help=True, help="Query the public chain.")


@audit_app.command("contributions")
def audit_contributions(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List contributions with weight, score, reward and outcome."""
    from rescind import audit

    columns = [
        ("round_id", "round"),
        ("name", "organization"),
        ("artifact_id", "delta"),
        ("digest_root", "digest"),
        ("weight", "weight"),
        ("score", "score"),
        ("reward_wei", "reward (wei)"),
        ("outcome", "outcome"),
    ]
    with reported_errors():
        rows = audit.contributions(open_consortium(run, rpc, contracts))
        print_rows(rows, columns, as_json=as_json)


@audit_app.command("rounds")
def audit_rounds(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List rounds with their participants and their cost on chain."""
    from rescind import audit

    columns = [
        ("round_id", "round"),
        ("state", "state"),
        ("participants", "took part"),
        ("sat_out", "sat out"),
        ("transactions", "transactions"),
        ("gas", "gas"),
        ("model_id", "model"),
    ]
    with reported_errors():
        print_rows(audit.rounds(open_consortium(run, rpc, contracts)), columns, as_json=as_json)


@audit_app.command("models")
def audit_models(
    run: RunArgument = None,
    organization: Annotated[
        str | None,
        typer.Option(
            help="Name or address of an organization: also show whether each model is free of it."
        ),
    ] = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List models: their origin, whether they are in use, and what proves their sum."""
    from rescind import audit

    columns = [
        ("model_id", "model"),
        ("kind", "kind"),
        ("parent", "parent"),
        ("round_id", "last round"),
        ("deltas", "deltas"),
        ("in_use", "in use"),
        ("released", "released"),
        ("digest_root", "digest"),
        ("settled", "sum"),
        ("transaction", "transaction"),
    ]
    with reported_errors():
        consortium = open_consortium(run, rpc, contracts)
        address = None if organization is None else audit.organization(consortium, organization)
        rows = audit.models(consortium, address)
        if address is not None:
            columns.insert(1, ("clean", "clean"))
        print_rows(rows, columns, as_json=as_json)
        if address is not None and not as_json:
            held = [str(row.model_id) for row in rows if not row.clean]
            out.print(plain(f"models that contain {organization}: {', '.join(held) or 'none'}"))


@audit_app.command("lineage")
def audit_lineage(
    run: RunArgument = None,
    model: Annotated[int | None, typer.Option(help="Number of one model. Default: all.")] = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the contributions that each model consists of."""
    from rescind import audit

    with reported_errors():
        rows = audit.lineage(open_consortium(run, rpc, contracts), model)
        if as_json:
            print_json([asdict(row) for row in rows])
            return
        for row in rows:
            _show_model(row)


def _show_model(row: ModelRow) -> None:
    removed = f", without {', '.join(row.removed)}" if row.removed else ""
    out.print(
        plain(
            f"model {row.model_id} ({row.kind}{removed}), from model {row.parent}, block {row.block}, "
            f"adapter {row.adapter_id[:16]}..., digest {row.digest_root[:16]}..."
        ),
        style="bold",
    )
    for amendment in row.amendments:
        change = "out" if amendment.excludes else f"changed from round {amendment.from_round} on"
        out.print(
            plain(
                f"  withdrawal {amendment.withdrawal_id} ({amendment.kind}): {amendment.name} {change}, "
                f"first in model {amendment.first_model or '-'}"
            )
        )
    for term in row.content:
        origin = f"round {term.round_id}" if term.round_id else "counter"
        out.print(
            plain(
                f"  {origin}  {term.name:<12} weight {term.weight:>6}  "
                f"delta {term.artifact_id[:16]}...  digest {term.digest_root[:16]}..."
            )
        )


@audit_app.command("withdrawals")
def audit_withdrawals(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List withdrawals and their state."""
    with reported_errors():
        show_withdrawals(open_consortium(run, rpc, contracts), as_json=as_json)


def show_withdrawals(consortium: Consortium, *, as_json: bool) -> None:
    """Print the table of withdrawals."""
    from rescind import audit

    columns = [
        ("withdrawal_id", "id"),
        ("name", "organization"),
        ("method", "method"),
        ("state", "state"),
        ("subject", "subject"),
        ("requested_at", "requested"),
        ("deadline", "deadline"),
        ("closed_model", "closed by model"),
        ("overdue", "overdue"),
    ]
    print_rows(audit.withdrawals(consortium), columns, as_json=as_json)


@audit_app.command("members")
def audit_members(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List members, auditors and the aggregator with their bonds."""
    from rescind import audit

    columns = [
        ("name", "organization"),
        ("organization", "address"),
        ("status", "status"),
        ("bond_wei", "bond (wei)"),
        ("lacking_wei", "lacking (wei)"),
        ("exit_at", "bond free at"),
        ("pending_reward_wei", "reward (wei)"),
    ]
    with reported_errors():
        membership = audit.membership(open_consortium(run, rpc, contracts))
        if any(row.epsilon is not None for row in membership.members):
            columns += [("epsilon", "epsilon spent"), ("delta", "delta")]
        if as_json:
            print_json(asdict(membership))
            return
        print_rows(membership.members, columns, as_json=False)
        rest = {key: value for key, value in vars(membership).items() if key != "members"}
        print_facts(rest, as_json=False)


@audit_app.command("events")
def audit_events(
    run: RunArgument = None,
    from_block: Annotated[int, typer.Option(min=0, help="First block to read.")] = 0,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    _: JsonOption = True,
) -> None:
    """Print every event of the contracts in order, one JSON object in each line."""
    with reported_errors():
        for event in open_consortium(run, rpc, contracts).events(from_block):
            line = {
                "block": event.block,
                "transaction": event.tx_hash,
                "contract": event.contract,
                "event": event.name,
                "args": {key: _json_value(value) for key, value in event.args.items()},
            }
            sys.stdout.write(json.dumps(line) + "\n")


@audit_app.command("attest")
def audit_attest(
    evidence: Annotated[Path, typer.Argument(help="The evidence file that the aggregator wrote.")],
    keystore: KeystoreOption,
    password_file: PasswordOption,
    file: Annotated[
        Path, typer.Option("--out", help="File or folder for the attestation.")
    ] = Path(),
    artifacts: Annotated[
        list[Path] | None, typer.Option(help="A folder of artifacts. Repeatable.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(help="The new adapter's file.")] = None,
    run: Annotated[Path | None, typer.Option(help="The folder of a run, for its chain.")] = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """As an auditor, check the evidence of a replay or counter-training and sign it."""
    from rescind.audit import attest
    from rescind.daemon import open_keystore
    from rescind.devnet import RunFolder
    from rescind.withdrawals import EvidenceDocument

    with reported_errors():
        consortium = open_consortium(run, rpc, contracts)
        stores = artifacts or ([RunFolder(run).store] if run is not None else [])
        document = EvidenceDocument.read(evidence)
        account = open_keystore(keystore, password_file)
        attestation, findings = attest(
            consortium, document, account, artifacts=stores, adapter=adapter
        )
        withdrawal_id, source = attestation.withdrawal_id, attestation.source
        name = f"withdrawal-{withdrawal_id}-model-{source}-{attestation.auditor}.json"
        path = file / name if file.is_dir() else file
        attestation.save(path)
        if as_json:
            print_json(
                {"attestation": str(path), **attestation.model_dump(mode="json")}
                | {"findings": [asdict(finding) for finding in findings]}
            )
            return
        for finding in findings:
            status = "passed " if finding.made else "skipped"
            out.print(plain(f"{status}  {finding.name:<11} {finding.detail}"), soft_wrap=True)
        out.print(plain(f"attested by {attestation.auditor}: {path}"), soft_wrap=True)


def _json_value(value: object) -> object:
    """Return bytes as hexadecimal, and integers that JSON readers would round as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    return value
