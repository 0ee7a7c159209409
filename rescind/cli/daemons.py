"""rescind node ..., rescind aggregator ...: run the daemons, and send their operators' transactions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.chain_access import node_account
from rescind.cli.options import DaemonConfigOption, JsonOption
from rescind.cli.printing import (
    daemon_logging,
    out,
    print_facts,
    print_json,
    reported_errors,
    stop_on_signal,
)
from rescind.cli.toml_files import load_config

node_app = typer.Typer(no_args_is_help=True, help="An organization's daemon.")
aggregator_app = typer.Typer(no_args_is_help=True, help="The daemon that runs rounds.")


@node_app.command("run")
def node_run(config: DaemonConfigOption) -> None:
    """Run until SIGTERM. Logs are JSON lines on standard error."""
    from rescind import node
    from rescind.daemon import check_config_mode, keep_new_files_private

    with reported_errors():
        loaded = load_config(config, node.NodeConfig)
        daemon_logging()
        keep_new_files_private()
        check_config_mode(config, *loaded.chain.rpc_url, loaded.ledger.url)
        node.run(loaded, stop_on_signal())


@node_app.command("status")
def node_status(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Show what the chain and the node's journal say."""
    from rescind import node

    with reported_errors():
        _show(node.status(load_config(config, node.NodeConfig)), as_json=as_json)


@node_app.command("repeat")
def node_repeat(
    config: DaemonConfigOption,
    withdrawal: Annotated[int, typer.Argument(min=1, help="A replay that waits for auditors.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the report and deltas.")],
    rounds: Annotated[
        list[int] | None,
        typer.Option("--round", min=1, help="A round beyond the sample. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a sample of a replay's rounds again before an auditor, and sign a report of it.

    The sample is drawn by the hash of the block in which the offers were closed. Nothing of the
    node's state changes, and its daemon may run meanwhile.
    """
    from rescind import node
    from rescind.cli.repetition import sha256_of

    with reported_errors():
        loaded = load_config(config, node.NodeConfig)
        with node.open_session(loaded, stop_on_signal()) as session:
            report = node.repeat(session, withdrawal, out_folder, more=rounds or ())
        path = out_folder / f"repetition-{withdrawal}-{report.organization}.json"
        report.save(path)
        facts = {
            "report": str(path),
            "sha256": sha256_of(path),
            "rounds": [part.round_id for part in report.rounds],
            "same_bytes": [p.round_id for p in report.rounds if p.repeated == p.offered],
            "drawn_by_block": report.block,
        }
        print_facts(facts, as_json=as_json)


@node_app.command("topup")
def node_topup(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Refill your bond after a penalty. Until then your organization cannot contribute."""
    from rescind import node
    from rescind.node import Operator

    with reported_errors():
        done = Operator(load_config(config, node.NodeConfig)).top_up()
        print_facts(done, as_json=as_json)


@node_app.command("resign")
def node_resign(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Leave the consortium for good.

    Your contributions stay in the models; you can still request a withdrawal. The node reclaims the
    bond once the exit delay is over.
    """
    from rescind import node
    from rescind.node import Operator

    with reported_errors():
        done = Operator(load_config(config, node.NodeConfig)).resign()
        print_facts(done, as_json=as_json)


@node_app.command("rotate-certificate")
def node_rotate_certificate(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Register the configured certificate's fingerprint on chain. Restart the node afterwards."""
    from rescind import node
    from rescind.node import Operator

    with reported_errors():
        done = Operator(load_config(config, node.NodeConfig)).rotate_certificate()
        print_facts(done, as_json=as_json)


@node_app.command("reclaim")
def node_reclaim(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Take your bond back, the exit delay after you left or were withdrawn."""
    with node_account(config) as (consortium, address):
        bond = consortium.member(address).bond
        receipt = consortium.reclaim_bond()
        print_facts({"reclaimed_wei": bond, "transaction": receipt.tx_hash}, as_json=as_json)


@aggregator_app.command("run")
def aggregator_run(config: DaemonConfigOption) -> None:
    """Run until SIGTERM. Logs are JSON lines on standard error."""
    from rescind import aggregator
    from rescind.daemon import check_config_mode, keep_new_files_private

    with reported_errors():
        loaded = load_config(config, aggregator.AggregatorConfig)
        daemon_logging()
        keep_new_files_private()
        check_config_mode(config, *loaded.chain.rpc_url)
        aggregator.run(loaded, stop_on_signal())


@aggregator_app.command("status")
def aggregator_status(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Show what the chain and the aggregator's journal say: rounds, removals, incidents."""
    from rescind import aggregator

    with reported_errors():
        _show(aggregator.status(load_config(config, aggregator.AggregatorConfig)), as_json=as_json)


@aggregator_app.command("bond")
def aggregator_bond(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Refill the aggregator's bond, for example after a penalty. Without it no round opens."""
    from rescind import aggregator
    from rescind.contracts import ContractRefused

    with reported_errors():
        try:
            done = aggregator.post_bond(load_config(config, aggregator.AggregatorConfig))
        except ContractRefused as error:
            if error.reason == "NotAllowed":
                raise ContractRefused(
                    "The configured keystore does not belong to the consortium's aggregator. "
                    "rescind audit members shows the aggregator's address.",
                    error.reason,
                ) from error
            raise
        print_facts(done, as_json=as_json)


@aggregator_app.command("release")
def aggregator_release(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Keep the newest model in use when later rounds are final, because it is served."""
    from rescind import aggregator

    with reported_errors():
        done = aggregator.release(load_config(config, aggregator.AggregatorConfig))
        print_facts(done, as_json=as_json)


@aggregator_app.command("retire")
def aggregator_retire(
    config: DaemonConfigOption,
    model: Annotated[int, typer.Argument(min=1, help="A released model that is not served now.")],
    as_json: JsonOption = False,
) -> None:
    """Take a released model out of use. Removals are not folded into it any more."""
    from rescind import aggregator

    with reported_errors():
        done = aggregator.retire(load_config(config, aggregator.AggregatorConfig), model)
        print_facts(done, as_json=as_json)


@aggregator_app.command("rotate-certificate")
def aggregator_rotate_certificate(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Register the configured certificate's fingerprint on chain. Restart the daemon afterwards."""
    from rescind import aggregator

    with reported_errors():
        loaded = load_config(config, aggregator.AggregatorConfig)
        print_facts(aggregator.rotate_certificate(loaded), as_json=as_json)


@aggregator_app.command("resign")
def aggregator_resign(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Give up being the aggregator. No round opens until the members name another."""
    _send(config, "resign_aggregator", as_json=as_json)


@aggregator_app.command("reclaim")
def aggregator_reclaim(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Take back the bond of a former aggregator, after the exit delay."""
    _send(config, "reclaim_aggregator_bond", as_json=as_json)


def _send(config: Path, function: str, *, as_json: bool) -> None:
    from rescind import aggregator
    from rescind.daemon import load_account, open_consortium

    with reported_errors():
        loaded = load_config(config, aggregator.AggregatorConfig)
        account = load_account(loaded.identity)
        consortium = open_consortium(loaded.chain, account)
        bond = consortium.aggregator_bond(account.address)
        receipt = getattr(consortium, function)()
        facts = {
            "account": account.address,
            "bond_before_wei": bond,
            "bond_wei": consortium.aggregator_bond(account.address),
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)


def _show(status: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    for key, value in status.items():
        if isinstance(value, Mapping):
            out.print(f"{key}:")
            for inner, detail in value.items():
                out.print(f"  {inner}: {detail}", markup=False)
        elif isinstance(value, list):
            out.print(f"{key}: {len(value)}")
            for item in value:
                out.print(f"  {item}", markup=False)
        else:
            out.print(f"{key}: {value}", markup=False)
