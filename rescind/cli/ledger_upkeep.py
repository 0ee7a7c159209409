"""rescind ledger shred|rotate|export|import|backup|restore|checkpoint|cosign|anchor|upgrade"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.daemons import JsonOption
from rescind.cli.ledger_place import (
    ConfigOption,
    KeyOption,
    OrganizationOption,
    OutOption,
    Place,
    ProgramOption,
    RunOption,
    WhereOption,
    anchors,
)
from rescind.cli.printing import (
    out,
    plain,
    print_facts,
    print_json,
    reported_errors,
)
from rescind.cli.public_record import (
    ContractsOption,
    KeystoreOption,
    PasswordOption,
    RpcOption,
    open_account,
    open_record,
)

upkeep_app = typer.Typer()


@upkeep_app.command("shred")
def ledger_shred(
    subject: Annotated[str, typer.Option(help="Whose records are to be destroyed.")],
    why: Annotated[
        str, typer.Option(help="Kept in the tombstone: name nobody.")
    ] = "erasure requested",
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy a subject's keys and ciphertexts, here and in reachable backups. It cannot be undone."""
    from rescind.ledger.shredding import shred

    with reported_errors():
        with Place(where, config, key_file, key_program).opened() as ledger:
            done = shred(ledger, subject, why)
        if as_json:
            print_json(done.__dict__)
            return
        if done.tombstone is None:
            out.print("the ledger held nothing of that subject")
        else:
            out.print(
                f"{done.records} records shredded, {done.keys} keys destroyed; tombstone: record "
                f"{done.tombstone}"
            )
        for path in done.cleaned:
            out.print(plain(f"backup {path}: its copies of the keys are destroyed"))
        for path in done.out_of_reach:
            out.print(
                plain(
                    f"backup {path} is NOT there: wherever it is now, its keys.jsonl still holds the keys. "
                    "Put it back and shred again, delete it, or rotate the master key and destroy the old "
                    "one"
                ),
                style="yellow",
                soft_wrap=True,
            )


@upkeep_app.command("rotate")
def ledger_rotate(
    new_key_file: Annotated[
        Path | None, typer.Option("--new-key-file", help="Made when it is not there.")
    ] = None,
    new_key_program: Annotated[
        str | None, typer.Option("--new-key-program", help="In place of a file.")
    ] = None,
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Wrap all keys anew under another master key; no record is rewritten. Then destroy the old one."""
    import shlex

    from rescind.core.errors import ConfigError
    from rescind.ledger import create_key, load_key

    with reported_errors():
        if (new_key_file is None) == (new_key_program is None):
            raise ConfigError("give either --new-key-file or --new-key-program")
        place = Place(where, config, key_file, key_program)
        with place.opened() as ledger:
            if new_key_file is not None and not new_key_file.exists():
                create_key(new_key_file)
            ledger.rotate(load_key(new_key_file, shlex.split(new_key_program or "")))
            told = {"ledger": ledger.database.name, "log": ledger.id, "size": ledger.size}
        print_facts(told, as_json=as_json)
        if not as_json:
            out.print("Use the new key from now on, and destroy the old one.")


@upkeep_app.command("export")
def ledger_export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole ledger, encrypted as it is, to move it to another database. A copy that shredding does
    not know of: `backup` makes one that it does."""
    from rescind.ledger import snapshot

    with reported_errors():
        with Place(where, config, key_file, key_program).opened() as ledger:
            made = snapshot.write(ledger, folder)
        print_facts({"folder": str(folder), "size": made.size, "root": made.root}, as_json=as_json)


@upkeep_app.command("import")
def ledger_import(
    folder: Annotated[Path, typer.Argument(help="What export or backup wrote.")],
    where: WhereOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the ledger that was exported, under the key that it had. Everything is recomputed."""
    from rescind.ledger import snapshot

    with reported_errors():
        place = Place(where, None, key_file, key_program)
        report = snapshot.load(folder, place.where, place.key())
        print_facts({"size": report.size, "root": report.root}, as_json=as_json)


@upkeep_app.command("backup")
def ledger_backup(
    folder: Annotated[Path, typer.Argument(help="A new folder is made in this one.")],
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """A copy that the ledger remembers, so that shredding reaches it. The key is not in it."""
    from rescind.ledger import snapshot

    with reported_errors():
        with Place(where, config, key_file, key_program).opened() as ledger:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            target = folder.resolve() / f"ledger-{ledger.id[:8]}-{stamp}"
            made = snapshot.write(ledger, target)
            told = {"path": str(target), "size": made.size, "root": made.root}
            entry = ledger.append("backup", told)
        print_facts({**told, "record": entry.index}, as_json=as_json)


@upkeep_app.command("restore")
def ledger_restore(
    folder: Annotated[Path, typer.Argument(help="What backup wrote.")],
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    organization: OrganizationOption = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    without_chain: Annotated[
        bool, typer.Option("--without-chain", help="Do not ask what was anchored.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a backup back where no ledger is. Refused when the chain anchors more than it holds."""
    from rescind.core.errors import ConfigError
    from rescind.ledger import snapshot

    with reported_errors():
        place = Place(where, config, key_file, key_program)
        chain = None if without_chain else place.chain(run, rpc, contracts, organization)
        if chain is None and not without_chain:
            raise ConfigError(
                "was more anchored since? Name the chain (--config, --run, or --rpc and --contracts, with "
                "--organization), or say --without-chain"
            )
        known = anchors(chain)
        report = snapshot.load(folder, place.where, place.key(), known)
        told = {"size": report.size, "root": report.root, "anchors_compared": len(known)}
        print_facts(told, as_json=as_json)


@upkeep_app.command("upgrade")
def ledger_upgrade(where: WhereOption = None, config: ConfigOption = None) -> None:
    """Bring the tables of an older version to what this one knows."""
    from rescind.ledger.database import Database, migrate

    with reported_errors():
        database = Database(Place(where, config).where)
        with database.writing() as connection:
            migrate(connection)
        database.check()
        out.print(f"{database.name} has the newest schema", soft_wrap=True)


@upkeep_app.command("checkpoint")
def ledger_checkpoint(
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
) -> None:
    """Size and root, signed (C2SP tlog-checkpoint): to keep, to publish, or to have cosigned."""
    import sys

    with (
        reported_errors(),
        Place(where, config, key_file, key_program).opened() as ledger,
    ):
        sys.stdout.write(str(ledger.checkpoint()))


@upkeep_app.command("cosign")
def ledger_cosign(
    at: Annotated[str, typer.Option("--at", help="HOST:PORT of another organization's node.")],
    config: ConfigOption = None,
) -> None:
    """Have another organization's node cosign the newest checkpoint (C2SP tlog-cosignature); it does only
    if this log is a continuation of what it cosigned before."""
    import sys

    from rescind.core.errors import ConfigError
    from rescind.node.disclosing import cosigned

    with reported_errors():
        if config is None:
            raise ConfigError("this node's certificate calls: give --config node.toml")
        place = Place(None, config)
        with place.opened() as ledger:
            sys.stdout.write(str(cosigned(ledger, at, place.node)))


@upkeep_app.command("ask")
def ledger_ask(
    index: Annotated[int, typer.Argument(min=0, help="Of the record.")],
    at: Annotated[str, typer.Option("--at", help="HOST:PORT of the organization's node.")],
    organization: Annotated[str, typer.Option(help="Its address on chain.")],
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
    """As an auditor who is named on chain, ask for one record; the organization's ledger notes it. Check
    the file with `rescind ledger check`."""
    from rescind.node.disclosing import ask
    from rescind.wire import TlsFiles

    with reported_errors():
        files = TlsFiles(tls / "key.pem", tls / "certificate.pem", tls / "authority.pem")
        record, auditor = open_record(run, rpc, contracts), open_account(keystore, password_file)
        path.write_bytes(ask(record, auditor, files, at, organization, index))
        told = {"file": str(path), "record": index, "auditor": auditor.address}
        print_facts(told, as_json=as_json)


@upkeep_app.command("anchor")
def ledger_anchor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Put size and root on chain now; a running node does it after each round and on a timer."""
    from rescind.core.errors import ConfigError
    from rescind.daemon import load_account, open_consortium

    with reported_errors():
        if config is None:
            raise ConfigError("the node's key signs it: give --config node.toml")
        place = Place(None, config)
        account = load_account(place.node.identity)
        consortium = open_consortium(place.node.chain, account)
        with place.opened() as ledger:
            it = ledger.checkpoint()
        known = consortium.anchor(account.address)
        told: dict[str, object] = {"size": it.size, "root": it.root.hex()}
        if (known.size, known.root) == (it.size, it.root.hex()):
            told["transaction"] = None
        else:
            told["transaction"] = consortium.write_anchor(it.size, it.root.hex()).tx_hash
        print_facts(told, as_json=as_json)
