"""rescind withdraw request|status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    ContractsOption,
    DaemonConfigOption,
    JsonOption,
    RpcOption,
    RunArgument,
)
from rescind.cli.printing import out, print_json, reported_errors
from rescind.cli.toml_files import load_config

withdraw_app = typer.Typer(no_args_is_help=True, help="Withdraw a contribution.")


@withdraw_app.command("request")
def withdraw_request(
    config: DaemonConfigOption,
    method: Annotated[
        str, typer.Option(help="removal, replacement, replay or counter-training.")
    ] = "removal",
    subject: Annotated[
        str | None, typer.Option(help="Data subject, as named in the data file. Default: all data.")
    ] = None,
    counter_method: Annotated[
        str | None, typer.Option("--with", help="How to counter-train: npo, grad_diff, ...")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of that method, NAME=VALUE. Repeatable."),
    ] = None,
    retain: Annotated[
        Path | None,
        typer.Option(help="JSONL file of more pairs that counter-training should keep."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Request on chain that your contributions are taken back. You cannot undo it.

    Leave your node running: it carries out its part.
    """
    from rescind import node
    from rescind.cli.parsing import assignments

    with reported_errors():
        request = node.Request(method, subject, counter_method, assignments(settings or ()), retain)
        withdrawal = node.request_withdrawal(load_config(config, node.NodeConfig), request)
        if as_json:
            print_json(withdrawal)
        else:
            out.print(
                f"withdrawal {withdrawal['withdrawal']} ({withdrawal['method']}, "
                f"{withdrawal['state']}) is on chain: {withdrawal['transaction']}",
                soft_wrap=True,
            )


@withdraw_app.command("status")
def withdraw_status(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List withdrawals with method, state, deadline, organization and subject."""
    from rescind.cli.audit import show_withdrawals

    with reported_errors():
        show_withdrawals(open_consortium(run, rpc, contracts), as_json=as_json)
