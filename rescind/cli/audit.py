"""rescind audit ...: queries of rounds, withdrawals, members and events."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    ContractsOption,
    IndexOption,
    JsonOption,
    RpcOption,
    RunArgument,
)
from rescind.cli.printing import (
    print_facts,
    print_json,
    print_rows,
    reported_errors,
)

if TYPE_CHECKING:
    from rescind.contracts import Consortium

audit_app = typer.Typer(no_args_is_help=True, help="Query the public chain.")


@audit_app.command("contributions")
def audit_contributions(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List contributions with point, score, reward, outcome and the models that hold them."""
    from rescind import audit

    columns = [
        ("round_id", "round"),
        ("registered_for", "registered for"),
        ("name", "organization"),
        ("artifact_ids", "artifact"),
        ("point_hashes", "point"),
        ("score", "score"),
        ("reward_wei", "reward (wei)"),
        ("outcome", "outcome"),
        ("models", "in models"),
    ]
    with reported_errors():
        rows = audit.contributions(open_consortium(run, rpc, contracts, index))
        print_rows(rows, columns, as_json=as_json)


@audit_app.command("rounds")
def audit_rounds(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List rounds with their participants and their cost on chain."""
    from rescind import audit

    columns = [
        ("round_id", "round"),
        ("state", "state"),
        ("participants", "took part"),
        ("sat_out", "sat out"),
        ("unavailable", "could not get the model"),
        ("attested", "attested"),
        ("transactions", "transactions"),
        ("gas", "gas"),
        ("model_id", "model"),
    ]
    with reported_errors():
        print_rows(
            audit.rounds(open_consortium(run, rpc, contracts, index)), columns, as_json=as_json
        )


@audit_app.command("withdrawals")
def audit_withdrawals(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List withdrawals and their state."""
    with reported_errors():
        show_withdrawals(open_consortium(run, rpc, contracts, index), as_json=as_json)


def show_withdrawals(consortium: Consortium, *, as_json: bool) -> None:
    """Print the table of withdrawals."""
    from rescind import audit

    columns = [
        ("withdrawal_id", "id"),
        ("name", "organization"),
        ("method", "method"),
        ("state", "state"),
        ("subject", "subject"),
        ("requested_at", "requested"),
        ("deadline", "deadline"),
        ("amendment", "amendment"),
        ("stale_models", "stale models"),
        ("closed_model", "closed by model"),
        ("overdue", "overdue"),
    ]
    print_rows(audit.withdrawals(consortium), columns, as_json=as_json)


@audit_app.command("replays")
def audit_replays(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List replays: their rounds, and whom they wait for."""
    from rescind import audit

    columns = [
        ("number", "replay"),
        ("withdrawals", "for withdrawals"),
        ("from_round", "from round"),
        ("to_round", "to round"),
        ("round_id", "at round"),
        ("waits_for", "waits for"),
        ("deadline", "deadline"),
        ("offered", "offered"),
        ("amendment", "amendment"),
    ]
    with reported_errors():
        print_rows(
            audit.replays(open_consortium(run, rpc, contracts, index)), columns, as_json=as_json
        )


@audit_app.command("waits")
def audit_waits(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what the consortium waits for, until when, and what anyone may do then."""
    from rescind import audit

    columns = [
        ("subject", "what"),
        ("waits_for", "waits for"),
        ("deadline", "deadline"),
        ("overdue", "overdue"),
        ("consequence", "then anyone may"),
    ]
    with reported_errors():
        print_rows(
            audit.waits(open_consortium(run, rpc, contracts, index)), columns, as_json=as_json
        )


@audit_app.command("members")
def audit_members(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """List members, auditors and the aggregator with their bonds."""
    from rescind import audit

    columns = [
        ("name", "organization"),
        ("number", "number"),
        ("organization", "address"),
        ("status", "status"),
        ("bond_wei", "bond (wei)"),
        ("lacking_wei", "lacking (wei)"),
        ("exit_at", "bond free at"),
        ("claimable_wei", "reward (wei)"),
    ]
    with reported_errors():
        membership = audit.membership(open_consortium(run, rpc, contracts, index))
        if any(row.epsilon is not None for row in membership.members):
            columns += [("epsilon", "epsilon spent"), ("delta", "delta")]
        if as_json:
            print_json(asdict(membership))
            return
        print_rows(membership.members, columns, as_json=False)
        rest = {key: value for key, value in vars(membership).items() if key != "members"}
        print_facts(rest, as_json=False)


@audit_app.command("events")
def audit_events(
    run: RunArgument = None,
    from_block: Annotated[int, typer.Option(min=0, help="First block to read.")] = 0,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    index: IndexOption = None,
    _: JsonOption = True,
) -> None:
    """Print every event of the contracts in order, one JSON object in each line."""
    with reported_errors():
        for event in open_consortium(run, rpc, contracts, index).events(from_block):
            line = {
                "block": event.block,
                "transaction": event.tx_hash,
                "contract": event.contract,
                "event": event.name,
                "args": {key: _json_value(value) for key, value in event.args.items()},
            }
            sys.stdout.write(json.dumps(line) + "\n")


def _json_value(value: object) -> object:
    """Return bytes as hexadecimal, and integers that JSON readers would round as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    return value
