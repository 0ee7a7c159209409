"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DaemonConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The daemon's TOML file.")]
OutOption = Annotated[Path, typer.Option("--out", help="The file to write.")]

# Which consortium: the folder of a run, or an RPC URL and a contracts file.
RunArgument = Annotated[Path | None, typer.Argument(help="The folder of a run.")]
RequiredRunArgument = Annotated[Path, typer.Argument(help="The folder of a run.")]
RunOption = Annotated[
    Path | None,
    typer.Option("--run", help="The folder of a run, instead of --rpc and --contracts."),
]
RpcOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rpc", help="URL of an Ethereum node. Repeatable: others stand in. Or set RESCIND_RPC."
    ),
]
RequiredRpcOption = Annotated[
    list[str],
    typer.Option(
        "--rpc",
        envvar="RESCIND_RPC",
        help="URL of an Ethereum node. Repeatable: others stand in.",
    ),
]
ContractsOption = Annotated[
    Path | None, typer.Option("--contracts", help="The consortium's contracts.json.")
]
RequiredContractsOption = Annotated[
    Path, typer.Option("--contracts", help="The consortium's contracts.json.")
]
IndexOption = Annotated[
    Path | None,
    typer.Option(
        "--index",
        help="A file that keeps the contracts' events, so that the next command reads new blocks "
        "only. It is created if it is not there.",
    ),
]
ConfirmationsOption = Annotated[
    int,
    typer.Option(min=0, max=10_000, help="Blocks that must follow before a block counts as final."),
]
MaxFeeOption = Annotated[
    float | None,
    typer.Option(
        "--max-fee-gwei",
        envvar="RESCIND_MAX_FEE_GWEI",
        min=0,
        help="Most gwei for a unit of gas: above it transactions wait. Default: 500.",
    ),
]

# Keys and identities.
KeystoreOption = Annotated[
    Path, typer.Option("--keystore", help="Ethereum key (Web3 Secret Storage, version 3).")
]
PasswordOption = Annotated[
    Path, typer.Option("--password-file", help="File with the keystore's password.")
]
AddressArgument = Annotated[str, typer.Argument(help="Ethereum address.")]
OrganizationNameOption = Annotated[str, typer.Option("--name", help="The organization's name.")]
FingerprintOption = Annotated[
    str,
    typer.Option(
        "--fingerprint", help="Fingerprint of its certificate, as rescind org sign printed it."
    ),
]

# Which ledger, and under which key.
LedgerOption = Annotated[
    str | None,
    typer.Option("--ledger", envvar="RESCIND_LEDGER", help="A folder, or postgresql://..."),
]
LedgerArgument = Annotated[str | None, typer.Argument(help="The same as --ledger.", metavar="DIR")]
NodeConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A node's node.toml, instead of --ledger.")
]
KeyFileOption = Annotated[
    Path | None,
    typer.Option("--key-file", help="The ledger's key file. Default: RESCIND_LEDGER_KEY."),
]
KeyProgramOption = Annotated[
    str | None,
    typer.Option("--key-program", help="A program, with arguments, that asks a key service."),
]
AnchorsOfOption = Annotated[
    str | None,
    typer.Option("--organization", help="Address of the organization whose anchors to compare."),
]
