"""rescind ledger shred|rotate|renew|export|import|backup|restore|upgrade: keep a ledger in order."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.ledger_target import LedgerTarget, anchors
from rescind.cli.options import (
    AnchorsOfOption,
    ContractsOption,
    JsonOption,
    KeyFileOption,
    KeyProgramOption,
    LedgerOption,
    NodeConfigOption,
    RpcOption,
    RunOption,
)
from rescind.cli.printing import (
    out,
    plain,
    print_facts,
    print_json,
    reported_errors,
)

if TYPE_CHECKING:
    from rescind.ledger import MasterKey, Renewal

maintenance_app = typer.Typer()


@maintenance_app.command("shred")
def ledger_shred(
    subject: Annotated[str, typer.Option(help="The data subject whose records to destroy.")],
    why: Annotated[
        str, typer.Option(help="Reason, kept in the tombstone. Do not name a person.")
    ] = "erasure requested",
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Destroy a subject's keys and ciphertexts, here and in reachable backups. Irreversible."""
    from rescind.ledger import shred

    with reported_errors():
        with LedgerTarget(where, config, key_file, key_program).opened() as ledger:
            done = shred(ledger, subject, why)
        if as_json:
            print_json(done.__dict__)
            return
        if done.tombstone is None:
            out.print("The ledger holds no records of that subject.")
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
                    f"Backup {path} was not found. Its keys.jsonl still holds the keys wherever it is. "
                    "Put the backup back and shred again, delete it, or rotate the master key and destroy "
                    "the old one."
                ),
                style="yellow",
                soft_wrap=True,
            )


@maintenance_app.command("rotate")
def ledger_rotate(
    new_key_file: Annotated[
        Path | None, typer.Option("--new-key-file", help="Created if it does not exist.")
    ] = None,
    new_key_program: Annotated[
        str | None, typer.Option("--new-key-program", help="A program instead of a file.")
    ] = None,
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encrypt all keys under a new master key. Records stay as they are; destroy the old key."""
    from rescind.core.errors import ConfigError
    from rescind.ledger import create_key

    with reported_errors():
        if (new_key_file is None) == (new_key_program is None):
            raise ConfigError("Pass either --new-key-file or --new-key-program.")
        target = LedgerTarget(where, config, key_file, key_program)
        with target.opened() as ledger:
            if new_key_file is not None and not new_key_file.exists():
                create_key(new_key_file)
            ledger.rotate(_new_key(new_key_file, new_key_program))
            facts = {"ledger": ledger.database.name, "log": ledger.id, "size": ledger.size}
        print_facts(facts, as_json=as_json)
        if not as_json:
            out.print("Use the new key from now on and destroy the old one.")


@maintenance_app.command("renew")
def ledger_renew(
    new_key_file: Annotated[
        Path | None, typer.Option("--new-key-file", help="Created if it does not exist.")
    ] = None,
    new_key_program: Annotated[
        str | None, typer.Option("--new-key-program", help="A program instead of a file.")
    ] = None,
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """After a theft of the master key: new keys and secrets, and every record encrypted again.

    Stop the node first. Repeat the command if it was interrupted.
    """
    from rescind.core.errors import ConfigError
    from rescind.ledger import create_key

    with reported_errors():
        if (new_key_file is None) == (new_key_program is None):
            raise ConfigError("Pass either --new-key-file or --new-key-program.")
        target = LedgerTarget(where, config, key_file, key_program)
        is_new = new_key_file is not None and not new_key_file.exists()
        if new_key_file is not None and is_new:
            create_key(new_key_file)
        new_key = _new_key(new_key_file, new_key_program)
        done = _renewed(target, new_key, finish=not is_new)
        if as_json:
            print_json(done.__dict__)
            return
        _print_renewal(done)


def _new_key(file: Path | None, program: str | None) -> MasterKey:
    """Return the key to change to; RESCIND_LEDGER_KEY may still hold the old one."""
    import shlex

    from rescind.ledger import KeyProgram, read_key

    return read_key(file) if file is not None else KeyProgram(tuple(shlex.split(program or "")))


def _renewed(target: LedgerTarget, new_key: MasterKey, *, finish: bool) -> Renewal:
    """Renew a ledger, or finish a renewal to a key that opens it already."""
    from rescind.ledger import Ledger, LedgerKeyError, finish_renewal, renew

    if finish:
        try:
            with Ledger.open(target.where, new_key) as ledger:
                return finish_renewal(ledger)
        except LedgerKeyError:
            pass  # The ledger is still under the old key.
    with target.opened() as ledger:
        return renew(ledger, new_key)


def _print_renewal(done: Renewal) -> None:
    out.print(
        f"log {done.old_log} ended with {done.size} records and continues as {done.log}; renewal: "
        f"record {done.record}",
        soft_wrap=True,
    )
    for path in done.destroyed:
        out.print(plain(f"backup {path}: all its keys are destroyed"), soft_wrap=True)
    for path in done.out_of_reach:
        out.print(
            plain(
                f"Backup {path} was not found. The stolen key opens it wherever it is. Delete it."
            ),
            style="yellow",
            soft_wrap=True,
        )
    out.print(
        "Use the new key from now on, destroy the old one, anchor the ledger, and make a new backup.",
        soft_wrap=True,
    )


@maintenance_app.command("export")
def ledger_export(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the whole ledger, still encrypted, to move it to another database.

    Shredding does not reach this copy. Use `backup` for a copy that it reaches.
    """
    from rescind.ledger import snapshot

    with reported_errors():
        with LedgerTarget(where, config, key_file, key_program).opened() as ledger:
            written = snapshot.write(ledger, folder)
        print_facts(
            {"folder": str(folder), "size": written.size, "root": written.root}, as_json=as_json
        )


@maintenance_app.command("import")
def ledger_import(
    folder: Annotated[Path, typer.Argument(help="A folder that export or backup wrote.")],
    where: LedgerOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a ledger from an export, under its old key. Every hash is recomputed and compared."""
    from rescind.ledger import snapshot

    with reported_errors():
        target = LedgerTarget(where, None, key_file, key_program)
        report = snapshot.load(folder, target.where, target.key())
        print_facts({"size": report.size, "root": report.root}, as_json=as_json)


@maintenance_app.command("backup")
def ledger_backup(
    folder: Annotated[Path, typer.Argument(help="The backup goes into a new folder in this one.")],
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a copy that the ledger remembers, so that shredding reaches it. It holds no key."""
    from rescind.ledger import snapshot

    with reported_errors():
        with LedgerTarget(where, config, key_file, key_program).opened() as ledger:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            target = folder.resolve() / f"ledger-{ledger.id[:8]}-{stamp}"
            written = snapshot.write(ledger, target)
            facts = {"path": str(target), "size": written.size, "root": written.root}
            entry = ledger.append("backup", facts)
        print_facts({**facts, "record": entry.index}, as_json=as_json)


@maintenance_app.command("restore")
def ledger_restore(
    folder: Annotated[Path, typer.Argument(help="A folder that backup wrote.")],
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    organization: AnchorsOfOption = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    without_chain: Annotated[
        bool, typer.Option("--without-chain", help="Do not compare with the anchors on chain.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup where there is no ledger. Refused if the chain anchors more than it holds."""
    from rescind.core.errors import ConfigError
    from rescind.ledger import snapshot

    with reported_errors():
        target = LedgerTarget(where, config, key_file, key_program)
        chain = None if without_chain else target.chain(run, rpc, contracts, organization)
        if chain is None and not without_chain:
            raise ConfigError(
                "The backup may be older than the newest anchor. Pass --config, --run, or --rpc and "
                "--contracts with --organization, to compare, or --without-chain to skip that."
            )
        anchored = anchors(chain)
        report = snapshot.load(folder, target.where, target.key(), anchored)
        facts = {"size": report.size, "root": report.root, "anchors_compared": len(anchored)}
        print_facts(facts, as_json=as_json)


@maintenance_app.command("upgrade")
def ledger_upgrade(where: LedgerOption = None, config: NodeConfigOption = None) -> None:
    """Migrate the tables of an older version to this version's schema."""
    from rescind.ledger import Database, migrate

    with reported_errors():
        database = Database(LedgerTarget(where, config).where)
        with database.writing() as connection:
            migrate(connection)
        database.check()
        out.print(f"{database.name} has the newest schema", soft_wrap=True)
