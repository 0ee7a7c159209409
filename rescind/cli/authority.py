"""rescind org sign|authority: the founder's certificate authority."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.options import JsonOption
from rescind.cli.organization import read_file
from rescind.cli.printing import out, plain, print_facts, reported_errors

authority_app = typer.Typer()


@authority_app.command("sign")
def org_sign(
    request: Annotated[Path, typer.Argument(help="A signing request, PEM or DER.")],
    authority: Annotated[Path, typer.Option("--ca", help="Folder of the authority.")],
    certificate: Annotated[Path, typer.Option("--out", help="Where to write the certificate.")],
    name: Annotated[
        str | None, typer.Option(help="Certify this name instead of the one in the request.")
    ] = None,
    serve: Annotated[
        list[str] | None,
        typer.Option("--serve", help="Certify these hosts instead of those in the request."),
    ] = None,
    no_serve: Annotated[
        bool, typer.Option("--no-serve", help="Certify no host: the holder only calls others.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Sign without asking.")] = False,
) -> None:
    """Show what a request asks for, sign it, and print the fingerprint.

    Creates the authority if needed. Check that the names are the requester's: anyone who holds a
    certificate with a host's name can answer for that host.
    """
    from rescind.core import write_atomically
    from rescind.core.errors import ConfigError
    from rescind.wire import CertificateAuthority, Holder, SigningRequest, fingerprint

    with reported_errors():
        if serve and no_serve:
            raise ConfigError("Pass --serve or --no-serve, not both.")
        if not certificate.parent.is_dir():
            raise ConfigError(f"{certificate.parent} is not a folder. Create it first.")
        content = read_file(request)
        asked = SigningRequest.parse(content)
        hosts = [] if no_serve else serve or [str(host.value) for host in asked.hosts]
        holder = Holder.of(name or asked.name, hosts)
        facts = {**holder.facts(), **asked.facts()}
        ca = CertificateAuthority.load(authority) if _exists(authority) else None
        for key, value in facts.items():
            out.print(plain(f"{key}: {value}"), soft_wrap=True)
        if not yes and not _confirmed():
            raise ConfigError("Not signed. Answer y, or pass --yes, to sign the request.")
        if ca is None:
            ca = CertificateAuthority.create(authority, "Rescind authority")
        pem = ca.issue(content, holder)
        write_atomically(certificate, pem)
        out.print(f"fingerprint: {fingerprint(pem)}")


@authority_app.command("authority")
def org_authority(
    folder: Annotated[Path, typer.Argument(help="A new folder for the authority.")],
    name: Annotated[str, typer.Option(help="Name of the authority.")] = "Rescind authority",
    replaces: Annotated[
        Path | None,
        typer.Option(help="Folder or certificate file of the authority that the new one replaces."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create a certificate authority.

    With --replaces it also writes bundle.pem, the old and the new one, for everyone to trust until
    all have a certificate of the new one. docs/deploy.md has the steps.
    """
    from rescind.core import write_atomically
    from rescind.core.errors import ConfigError
    from rescind.wire import CertificateAuthority
    from rescind.wire.validity import read_certificates

    with reported_errors():
        if _exists(folder):
            raise ConfigError(f"{folder} is not empty. Choose a new folder.")
        old = b""
        if replaces is not None:
            path = replaces / "authority.pem" if replaces.is_dir() else replaces
            old = read_file(path)
            read_certificates(old, path)
        ca = CertificateAuthority.create(folder, name)
        facts = {"authority": str(folder / "authority.pem")}
        if old:
            write_atomically(folder / "bundle.pem", old.rstrip() + b"\n" + ca.pem)
            facts["bundle"] = str(folder / "bundle.pem")
        print_facts(facts, as_json=as_json)


def _exists(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def _confirmed() -> bool:
    """Ask whether to sign. No answer, as in a script, means no."""
    try:
        return typer.confirm("Sign this request?")
    except typer.Abort:
        return False
