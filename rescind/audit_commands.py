"""rescind audit contributions|lineage|withdrawals, rescind verify"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adapters.errors import ConfigError
from rescind.console import out, print_json, print_rows, reported_errors

if TYPE_CHECKING:
    from contracts import Consortium

audit_app = typer.Typer(no_args_is_help=True, help="Ask the public chain.")

RunArgument = Annotated[Path | None, typer.Argument(help="The folder of a run.")]
RpcOption = Annotated[str | None, typer.Option("--rpc", help="URL of an Ethereum node.")]
ContractsOption = Annotated[
    Path | None, typer.Option("--contracts", help="The consortium's contracts.json.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_record(run: Path | None, rpc: str | None, contracts: Path | None) -> Consortium:
    """The public record of a run, or of a consortium by RPC URL and contracts file."""
    from contracts import Chain, Consortium, Deployment
    from devnet.chain import url_of
    from devnet.layout import RunFolder

    if run is None and (rpc is None or contracts is None):
        raise ConfigError("give the folder of a run, or --rpc URL and --contracts FILE")
    if run is not None:
        folder = RunFolder.find(run)
        rpc = rpc or url_of(folder.facts().chain_port)
        contracts = contracts or folder.contracts
    assert rpc is not None
    assert contracts is not None
    deployment = Deployment.load(contracts)
    try:
        record = Consortium(Chain(rpc, deployment.chain_id), deployment)
        record.check()
    except Exception as error:
        if run is not None and getattr(error, "code", "") == "chain-unavailable":
            raise type(error)(f"{error}; bring it back with: rescind devnet up {run}") from error
        raise
    return record


@audit_app.command("contributions")
def audit_contributions(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who contributed what, and what became of it."""
    import audit

    columns = [
        ("round_id", "round"),
        ("name", "organization"),
        ("artifact_id", "delta"),
        ("weight", "weight"),
        ("score", "score"),
        ("reward_wei", "reward (wei)"),
        ("outcome", "outcome"),
    ]
    with reported_errors():
        rows = audit.contributions(open_record(run, rpc, contracts))
        print_rows(rows, columns, as_json=as_json)


@audit_app.command("lineage")
def audit_lineage(
    run: RunArgument = None,
    model: Annotated[int | None, typer.Option(help="One model; all by default.")] = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """What each model is made of."""
    import audit

    with reported_errors():
        rows = audit.lineage(open_record(run, rpc, contracts), model)
        if as_json:
            print_json([asdict(row) for row in rows])
            return
        for row in rows:
            gone = f", without {', '.join(row.removed)}" if row.removed else ""
            out.print(
                f"[bold]model {row.model_id}[/bold] ({row.kind}{gone}), from model {row.parent}, "
                f"block {row.block}, adapter {row.adapter_id[:16]}..."
            )
            for term in row.content:
                out.print(
                    f"  round {term.round_id}  {term.name:<12} weight {term.weight:>6}  "
                    f"delta {term.artifact_id[:16]}..."
                )


@audit_app.command("withdrawals")
def audit_withdrawals(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which withdrawals there are, and in what state."""
    with reported_errors():
        show_withdrawals(open_record(run, rpc, contracts), as_json=as_json)


def show_withdrawals(record: Consortium, *, as_json: bool) -> None:
    import audit

    columns = [
        ("withdrawal_id", "id"),
        ("name", "organization"),
        ("state", "state"),
        ("requested_at", "requested"),
        ("deadline", "deadline"),
        ("closed_model", "closed by model"),
        ("overdue", "overdue"),
    ]
    print_rows(audit.withdrawals(record), columns, as_json=as_json)


def verify_command(
    certificate: Annotated[Path, typer.Argument(help="certificate.json")],
    rpc: RpcOption = None,
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of artifacts; may be repeated. Default: the run's own."),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="The adapter that is served, to compare with it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a certificate against the chain and the artifacts; exit 0, or the failed check's code."""
    import audit
    from devnet.chain import url_of
    from devnet.layout import RunFolder

    with reported_errors():
        run = RunFolder(certificate.resolve().parent)
        if rpc is None:
            if not run.facts_file.is_file():
                raise ConfigError("--rpc URL is needed: the certificate is not in a run's folder")
            rpc = url_of(run.facts().chain_port)
        stores = list(artifacts or (run.store, run.replay.store))
        try:
            found = audit.verify(
                certificate, rpc_url=rpc, artifacts=stores, adapter=adapter
            )
        except Exception as error:
            if getattr(error, "code", "") == "chain-unavailable" and run.facts_file.is_file():
                hint = f"{error}; bring it back with: rescind devnet up {certificate.parent}"
                raise type(error)(hint) from error
            raise
        if as_json:
            print_json(
                {"exit_code": found.exit_code, "checks": [asdict(check) for check in found.checks]}
            )
        else:
            styles = {"passed": "green", "failed": "red", "skipped": "yellow"}
            for check in found.checks:
                mark = f"[{styles[check.status]}]{check.status:<7}[/]"
                out.print(f"{mark}  {check.name:<11} {check.detail}", soft_wrap=True)
            verdict = "accepted" if not found.exit_code else "REFUSED"
            out.print(f"certificate {verdict}", style="bold")
        raise typer.Exit(found.exit_code)
