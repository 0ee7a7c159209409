"""rescind org init|sign, rescind withdraw request|status."""

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

org_app = typer.Typer(no_args_is_help=True, help="An organization's identity and folder.")
withdraw_app = typer.Typer(no_args_is_help=True, help="Withdraw a contribution.")


@org_app.command("init")
def org_init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    name: Annotated[str, typer.Option(help="The organization's name.")],
    authority: Annotated[
        Path | None,
        typer.Option("--ca", help="Folder of the consortium's authority, if you have it."),
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option(help="Host name or address for the certificate. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create keystore, TLS key, signing request and ledger. Keys never leave the folder."""
    from rescind.core.errors import ConfigError
    from rescind.devnet.setup import make_identity, make_ledger, take_certificate
    from rescind.wire import CertificateAuthority

    with reported_errors():
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty. Choose a new folder.")
        address, request = make_identity(folder, name, host or ("localhost", "127.0.0.1"))
        make_ledger(folder)
        (folder / "tls" / "request.pem").write_bytes(request)
        facts = {"name": name, "address": address, "request": str(folder / "tls" / "request.pem")}
        if authority is not None:
            ca = CertificateAuthority.load(authority)
            facts["fingerprint"] = take_certificate(folder, ca.issue(request), ca.pem)
        if as_json:
            print_json(facts)
            return
        for key, value in facts.items():
            out.print(f"{key}: {value}", markup=False)
        out.print(
            "\nNext: have the request signed and your organization admitted, then write node.toml."
        )
        out.print("docs/deploy.md describes each step.")


@org_app.command("sign")
def org_sign(
    request: Annotated[Path, typer.Argument(help="An organization's tls/request.pem.")],
    authority: Annotated[Path, typer.Option("--ca", help="Folder of the authority.")],
    certificate: Annotated[Path, typer.Option("--out", help="Where to write the certificate.")],
) -> None:
    """Issue a certificate and print its fingerprint. Creates the authority if needed."""
    from rescind.core.errors import ConfigError
    from rescind.wire import CertificateAuthority, fingerprint

    with reported_errors():
        ca = (
            CertificateAuthority.load(authority)
            if authority.is_dir()
            else CertificateAuthority.create(authority, "Rescind authority")
        )
        try:
            pem = ca.issue(request.read_bytes())
        except OSError as error:
            raise ConfigError(f"{request} cannot be read: {error.strerror}.") from error
        certificate.write_bytes(pem)
        out.print(f"fingerprint: {fingerprint(pem)}")


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
