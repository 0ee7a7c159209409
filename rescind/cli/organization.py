"""rescind org init|request|accept|renew|trust: an organization's keys and certificates."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.options import JsonOption
from rescind.cli.printing import out, print_facts, print_json, reported_errors
from rescind.cli.toml_files import load_daemon

if TYPE_CHECKING:
    from rescind.wire import Enrolment

org_app = typer.Typer(no_args_is_help=True, help="An organization's identity and certificates.")

FolderArgument = Annotated[
    Path, typer.Argument(help="The organization's folder, as rescind org init made it.")
]
NameOption = Annotated[str, typer.Option(help="The organization's name.")]
ServeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--serve",
        "--host",
        help="Host name or IP address at which others reach you. Repeatable. Without it you only "
        "call others.",
    ),
]
DaemonOption = Annotated[
    bool,
    typer.Option(
        "--daemon", help="Ask for a certificate of one daemon, which only the authority renews."
    ),
]


@org_app.command("init")
def org_init(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    name: NameOption,
    authority: Annotated[
        Path | None,
        typer.Option("--ca", help="Folder of the consortium's authority, if you have it."),
    ] = None,
    serve: ServeOption = None,
    daemon: DaemonOption = False,
    as_json: JsonOption = False,
) -> None:
    """Create keystore, TLS key, signing request and ledger. Keys never leave the folder."""
    from rescind.core.errors import ConfigError
    from rescind.devnet.setup import make_account, make_ledger
    from rescind.wire import CertificateAuthority, Enrolment

    with reported_errors():
        if folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty. Choose a new folder.")
        ca = CertificateAuthority.load(authority) if authority is not None else None
        with _all_or_nothing(folder):
            enrolment = Enrolment.in_folder(folder / "tls")
            request = enrolment.request(name, serve or (), daemon=daemon)
            _write_request(enrolment, request)
            address = make_account(folder)
            make_ledger(folder)
            facts = {"name": name, "address": address, "request": str(_request_file(enrolment))}
            if ca is not None:
                facts["fingerprint"] = enrolment.accept(ca.issue(request), ca.pem)
        if as_json:
            print_json(facts)
            return
        print_facts(facts, as_json=False)
        out.print(
            "\nNext: have the request signed (rescind org accept takes the answer) and your "
            "organization admitted, then write node.toml."
        )
        out.print("docs/deploy.md describes each step.")


@org_app.command("request")
def org_request(
    folder: FolderArgument,
    name: NameOption,
    serve: ServeOption = None,
    daemon: DaemonOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make another signing request, for other names or before your certificate ends."""
    with reported_errors():
        enrolment = _enrolment(folder)
        request = enrolment.request(name, serve or (), daemon=daemon)
        _write_request(enrolment, request)
        print_facts({"name": name, "request": str(_request_file(enrolment))}, as_json=as_json)


@org_app.command("accept")
def org_accept(
    folder: FolderArgument,
    certificate: Annotated[Path, typer.Argument(help="The certificate that you were sent.")],
    authority: Annotated[
        Path | None, typer.Option("--authority", help="The authority.pem that you were sent.")
    ] = None,
    install: Annotated[
        bool,
        typer.Option(
            "--install", help="Use it at once: for an auditor, whose certificate is not on chain."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take the answer to your signing request, and issue your daemon's certificate from it.

    If the daemon has one already, the new one waits for `rescind org renew -c`.
    """
    with reported_errors():
        enrolment = _enrolment(folder)
        roots = read_file(authority) if authority is not None else None
        fingerprint = enrolment.accept(read_file(certificate), roots)
        if install:
            enrolment.install()
        facts = {
            "fingerprint": fingerprint,
            "installed": not enrolment.is_staged,
            "expires": f"{_expiry(enrolment):%Y-%m-%d}",
        }
        print_facts(facts, as_json=as_json)
        if enrolment.is_staged and not as_json:
            out.print("\nNext: rescind org renew -c CONFIG puts it on chain and into use.")


@org_app.command("renew")
def org_renew(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="node.toml or aggregator.toml of the daemon.")
    ],
    compromised: Annotated[
        bool,
        typer.Option(
            "--compromised",
            help="The key was stolen: others refuse the old certificate at once, not minutes later.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Give your daemon a new key and certificate, on chain and in its files. It need not restart.

    Your organization certificate issues it, or it is the one that `rescind org accept` took.
    """
    from rescind.daemon import load_account, open_consortium, renew_certificate

    with reported_errors():
        loaded = load_daemon(config)
        account = load_account(loaded.identity)
        consortium = open_consortium(loaded.chain, account)
        done = renew_certificate(consortium, loaded.identity.tls, compromised=compromised)
        print_facts(done, as_json=as_json)


@org_app.command("trust")
def org_trust(
    folder: FolderArgument,
    authority: Annotated[
        Path, typer.Argument(help="The authority.pem or bundle.pem that the founder sent.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Replace the authority that your daemon trusts. It need not restart.

    While a consortium changes its authority, the file holds the old one and the new one.
    """
    with reported_errors():
        names = _enrolment(folder).trust(read_file(authority))
        print_facts({"trusted": names}, as_json=as_json)


def read_file(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        ConfigError: It cannot be read.
    """
    from rescind.core.errors import ConfigError

    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error


def _enrolment(folder: Path) -> Enrolment:
    from rescind.core.errors import ConfigError
    from rescind.wire import Enrolment

    tls = folder / "tls"
    if not tls.is_dir():
        raise ConfigError(f"{folder} has no folder tls. Make one with rescind org init.")
    return Enrolment.in_folder(tls)


def _request_file(enrolment: Enrolment) -> Path:
    return enrolment.folder / "request.pem"


def _write_request(enrolment: Enrolment, request: bytes) -> None:
    from rescind.core import write_atomically

    write_atomically(_request_file(enrolment), request)


def _expiry(enrolment: Enrolment) -> object:
    from rescind.wire.validity import read_certificates

    tls = enrolment.staged if enrolment.is_staged else enrolment.tls
    return read_certificates(tls.certificate.read_bytes(), tls.certificate)[0].not_valid_after_utc


@contextlib.contextmanager
def _all_or_nothing(folder: Path) -> Iterator[None]:
    """Remove what a block made in a new or empty folder if the block fails."""
    existed = folder.exists()
    try:
        yield
    except BaseException:
        for entry in folder.iterdir() if folder.is_dir() else ():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not existed and folder.is_dir():
            folder.rmdir()
        raise
