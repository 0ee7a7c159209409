"""rescind outbox list|cancel: the transactions that a key has signed."""

from __future__ import annotations

from typing import Annotated

import typer

from rescind.cli.chain_access import sending_chain
from rescind.cli.options import (
    ConfirmationsOption,
    JsonOption,
    KeystoreOption,
    MaxFeeOption,
    PasswordOption,
    RequiredRpcOption,
)
from rescind.cli.printing import print_facts, print_rows, reported_errors

outbox_app = typer.Typer(
    no_args_is_help=True, help="Transactions that a key has signed and that are not final."
)

_COLUMNS = (
    ("chain_id", "chain"),
    ("nonce", "nonce"),
    ("state", "state"),
    ("call", "call"),
    ("value_ether", "ether"),
    ("max_fee_gwei", "max fee (gwei)"),
    ("tip_gwei", "tip (gwei)"),
    ("versions", "versions"),
    ("age_seconds", "age (s)"),
    ("transaction", "transaction"),
)


@outbox_app.command("list")
def outbox_list(
    keystore: KeystoreOption,
    everything: Annotated[
        bool, typer.Option("--all", help="Show those that are final, too, as far as they are kept.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the open transactions of a keystore. No password is needed."""
    from rescind.contracts import outbox_lines
    from rescind.core.errors import ConfigError

    with reported_errors():
        if not keystore.is_file():
            raise ConfigError(f"There is no keystore {keystore}.")
        lines = outbox_lines(keystore, everything=everything)
        print_rows(lines, _COLUMNS, as_json=as_json)


@outbox_app.command("cancel")
def outbox_cancel(
    nonce: Annotated[
        int, typer.Argument(min=0, help="The nonce, as rescind outbox list shows it.")
    ],
    rpc: RequiredRpcOption,
    keystore: KeystoreOption,
    password_file: PasswordOption,
    confirmations: ConfirmationsOption = 0,
    max_fee_gwei: MaxFeeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace an open transaction by an empty transfer of the account to itself.

    If the transaction itself is mined first, the command says so.
    """
    from rescind.daemon import open_keystore

    with reported_errors():
        account = open_keystore(keystore, password_file)
        chain = sending_chain(rpc, confirmations, max_fee_gwei)
        final = chain.cancel(account, nonce)
        facts = {
            "nonce": nonce,
            "state": final.state.value,
            "transaction": final.outcome.tx_hash if final.outcome else None,
        }
        print_facts(facts, as_json=as_json)
