"""rescind verify."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from rescind.cli.chain_access import stopped_chain_hint
from rescind.cli.options import JsonOption, RpcOption
from rescind.cli.printing import (
    out,
    plain,
    print_json,
    reported_errors,
)
from rescind.core.errors import ConfigError


def verify_command(
    certificate: Annotated[Path, typer.Argument(help="certificate.json")],
    rpc: RpcOption = None,
    artifacts: Annotated[
        list[Path] | None,
        typer.Option(help="A folder of artifacts. Repeatable. Default: the run's own."),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="A served adapter, to compare with the chain.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a certificate against the chain and the artifacts; exit 0, or the failed check's code."""
    from rescind import audit
    from rescind.devnet import RunFolder
    from rescind.devnet.chain import url_of

    with reported_errors():
        run = RunFolder(certificate.resolve().parent)
        if rpc is None:
            if not certificate.is_file():
                raise ConfigError(f"{certificate} cannot be read: No such file.")
            if not run.facts_file.is_file():
                raise ConfigError("Pass --rpc URL: the certificate is not in the folder of a run.")
            rpc = url_of(run.facts().chain_port)
        stores = list(artifacts or (run.store, run.replay.store))
        with stopped_chain_hint(certificate.parent if run.facts_file.is_file() else None):
            verification = audit.verify(certificate, rpc_url=rpc, artifacts=stores, adapter=adapter)
        if as_json:
            print_json(
                {
                    "exit_code": verification.exit_code,
                    "checks": [asdict(check) for check in verification.checks],
                }
            )
        else:
            styles = {"passed": "green", "failed": "red", "skipped": "yellow"}
            for check in verification.checks:
                line = Text(f"{check.status:<7}", style=styles[check.status])
                line.append_text(plain(f"  {check.name:<11} {check.detail}"))
                out.print(line, soft_wrap=True)
            verdict = "accepted" if not verification.exit_code else "REFUSED"
            out.print(f"certificate {verdict}", style="bold")
        raise typer.Exit(verification.exit_code)
