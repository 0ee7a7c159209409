"""Opening the public record from the command line: of a run, or by RPC URL and contracts file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.contracts import Account, Consortium

RunArgument = Annotated[Path | None, typer.Argument(help="The folder of a run.")]
RpcOption = Annotated[str | None, typer.Option("--rpc", help="URL of an Ethereum node.")]
ContractsOption = Annotated[
    Path | None, typer.Option("--contracts", help="The consortium's contracts.json.")
]
ConfirmationsOption = Annotated[
    int, typer.Option(min=0, max=10_000, help="Blocks on top of one before it counts as final.")
]
KeystoreOption = Annotated[
    Path, typer.Option("--keystore", help="Ethereum key (Web3 Secret Storage, version 3).")
]
PasswordOption = Annotated[
    Path, typer.Option("--password-file", help="File with the keystore's password.")
]


def open_record(run: Path | None, rpc: str | None, contracts: Path | None) -> Consortium:
    """The public record of a run, or of a consortium by RPC URL and contracts file."""
    from rescind.contracts import Chain, Consortium, Deployment
    from rescind.devnet.chain import url_of
    from rescind.devnet.layout import RunFolder

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


def open_account(keystore: Path, password_file: Path) -> Account:
    """Raises ConfigError for the password's file, KeystoreError for the keystore."""
    from rescind.daemon import open_keystore

    return open_keystore(keystore, password_file)
