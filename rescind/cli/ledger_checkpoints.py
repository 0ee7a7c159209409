"""rescind ledger checkpoint|cosign|ask|anchor: commit to a ledger's state, and read another's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.ledger_target import LedgerTarget
from rescind.cli.options import (
    ContractsOption,
    JsonOption,
    KeyFileOption,
    KeyProgramOption,
    KeystoreOption,
    LedgerOption,
    NodeConfigOption,
    OutOption,
    PasswordOption,
    RpcOption,
    RunOption,
)
from rescind.cli.printing import (
    print_facts,
    reported_errors,
)

checkpoints_app = typer.Typer()


@checkpoints_app.command("checkpoint")
def ledger_checkpoint(
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
) -> None:
    """Print the signed size and root (C2SP tlog-checkpoint), to keep, publish or have cosigned."""
    import sys

    with (
        reported_errors(),
        LedgerTarget(where, config, key_file, key_program).opened() as ledger,
    ):
        sys.stdout.write(str(ledger.checkpoint()))


@checkpoints_app.command("cosign")
def ledger_cosign(
    at: Annotated[str, typer.Option("--at", help="HOST:PORT of another organization's node.")],
    config: NodeConfigOption = None,
) -> None:
    """Have another organization's node cosign the newest checkpoint (C2SP tlog-cosignature).

    It cosigns only if this log extends what it cosigned before.
    """
    import sys

    from rescind.core.errors import ConfigError
    from rescind.daemon import open_consortium as open_configured_consortium
    from rescind.node.disclosing import cosigned

    with reported_errors():
        if config is None:
            raise ConfigError("Pass --config node.toml: the call uses your node's certificate.")
        target = LedgerTarget(None, config)
        with target.opened() as ledger:
            consortium = open_configured_consortium(target.node.chain)
            sys.stdout.write(str(cosigned(consortium, ledger, at, target.node)))


@checkpoints_app.command("ask")
def ledger_ask(
    index: Annotated[int, typer.Argument(min=0, help="Index of the record.")],
    at: Annotated[str, typer.Option("--at", help="HOST:PORT of the organization's node.")],
    organization: Annotated[str, typer.Option(help="The organization's address on chain.")],
    path: OutOption,
    keystore: KeystoreOption,
    password_file: PasswordOption,
    tls: Annotated[
        Path, typer.Option("--tls", help="Folder with key.pem, certificate.pem, authority.pem.")
    ],
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """As an auditor named on chain, ask an organization for one record.

    The organization's ledger records the disclosure. Check the file with `rescind ledger check`.
    """
    from rescind.core import write_private
    from rescind.daemon import open_keystore
    from rescind.node.disclosing import ask
    from rescind.wire import TlsFiles

    with reported_errors():
        files = TlsFiles(tls / "key.pem", tls / "certificate.pem", tls / "authority.pem")
        consortium = open_consortium(run, rpc, contracts)
        auditor = open_keystore(keystore, password_file)
        write_private(path, ask(consortium, auditor, files, at, organization, index))
        facts = {"file": str(path), "record": index, "auditor": auditor.address}
        print_facts(facts, as_json=as_json)


@checkpoints_app.command("anchor")
def ledger_anchor(config: NodeConfigOption = None, as_json: JsonOption = False) -> None:
    """Anchor size and root on chain now. A running node does so after each round and on a timer."""
    from rescind.core.errors import ConfigError
    from rescind.daemon import load_account
    from rescind.daemon import open_consortium as open_configured_consortium

    with reported_errors():
        if config is None:
            raise ConfigError("Pass --config node.toml: your node's key signs the anchor.")
        target = LedgerTarget(None, config)
        account = load_account(target.node.identity)
        consortium = open_configured_consortium(target.node.chain, account)
        with target.opened() as ledger:
            checkpoint = ledger.checkpoint()
        anchor = consortium.anchor(account.address)
        facts: dict[str, object] = {"size": checkpoint.size, "root": checkpoint.root.hex()}
        if (anchor.size, anchor.root) == (checkpoint.size, checkpoint.root.hex()):
            facts["transaction"] = None
        else:
            facts["transaction"] = consortium.write_anchor(
                checkpoint.size, checkpoint.root.hex()
            ).tx_hash
        print_facts(facts, as_json=as_json)
