"""rescind govern propose ...|vote|execute|list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    AddressArgument,
    ContractsOption,
    DaemonConfigOption,
    JsonOption,
    RpcOption,
    RunArgument,
)
from rescind.cli.parsing import address
from rescind.cli.printing import (
    out,
    plain,
    print_facts,
    print_rows,
    reported_errors,
)
from rescind.cli.toml_files import load_config

if TYPE_CHECKING:
    from rescind.node import Operator

govern_app = typer.Typer(no_args_is_help=True, help="Decide together: proposals and votes.")
propose_app = typer.Typer(
    no_args_is_help=True, help="Propose a decision. Your own vote is counted with it."
)
govern_app.add_typer(propose_app, name="propose")

ProposalArgument = Annotated[int, typer.Argument(help="The proposal's number.")]


@contextmanager
def _operator(config: Path) -> Iterator[Operator]:
    from rescind import node
    from rescind.node import Operator

    with reported_errors():
        yield Operator(load_config(config, node.NodeConfig))


def _propose(config: Path, make: Callable[[Operator], int], *, as_json: bool) -> None:
    with _operator(config) as operator:
        _show(operator, make(operator), None, as_json=as_json)


def _show(operator: Operator, number: int, transaction: str | None, *, as_json: bool) -> None:
    from rescind import audit

    row = next(
        proposal
        for proposal in audit.proposals(operator.consortium)
        if proposal.proposal_id == number
    )
    facts: dict[str, object] = asdict(row)
    if transaction is not None:
        facts["transaction"] = transaction
    print_facts(facts, as_json=as_json)
    if as_json:
        return
    if row.state == "carried":
        out.print(
            f"The proposal has enough votes. Carry it out: rescind govern execute {number} -c node.toml"
        )
    elif row.state == "open":
        out.print(f"Other members vote with: rescind govern vote {number} -c node.toml")


@propose_app.command("admit")
def propose_admit(
    organization: AddressArgument,
    name: Annotated[str, typer.Option(help="The organization's name.")],
    config: DaemonConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Propose to admit an organization. After the vote its node joins and pays the bond."""

    def make(operator: Operator) -> int:
        return operator.propose_admission(address(organization), name)

    _propose(config, make, as_json=as_json)


@propose_app.command("revoke")
def propose_revoke(
    organization: Annotated[
        str, typer.Argument(help="Name or address of an admitted organization.")
    ],
    config: DaemonConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Propose to take an admission back, before the organization joins."""

    def make(operator: Operator) -> int:
        from rescind import audit

        return operator.propose_revocation(audit.organization(operator.consortium, organization))

    _propose(config, make, as_json=as_json)


@propose_app.command("expel")
def propose_expel(
    organization: Annotated[str, typer.Argument(help="Name or address of a member.")],
    config: DaemonConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Propose to expel a member. Its contributions are removed from every model."""

    def make(operator: Operator) -> int:
        from rescind import audit

        return operator.propose_expulsion(audit.organization(operator.consortium, organization))

    _propose(config, make, as_json=as_json)


@propose_app.command("auditor")
def propose_auditor(
    auditor: AddressArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Propose an auditor, whose attestations of rounds, replays and counter-training count."""
    _propose(config, lambda operator: operator.propose_auditor(address(auditor)), as_json=as_json)


@propose_app.command("dismiss")
def propose_dismiss(
    auditor: AddressArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Propose to dismiss an auditor. Its earlier attestations stay valid."""
    _propose(config, lambda operator: operator.propose_dismissal(address(auditor)), as_json=as_json)


@propose_app.command("aggregator")
def propose_aggregator(
    aggregator: AddressArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Propose another aggregator, which is not a member.

    It has to post its bond and register its certificate before a round opens.
    """
    _propose(
        config, lambda operator: operator.propose_aggregator(address(aggregator)), as_json=as_json
    )


@govern_app.command("vote")
def govern_vote(
    proposal: ProposalArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Vote for a proposal. Each active member has one vote and cannot take it back."""
    with _operator(config) as operator:
        _show(operator, proposal, operator.vote(proposal), as_json=as_json)


@govern_app.command("execute")
def govern_execute(
    proposal: ProposalArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Carry out a proposal that has enough votes. Anyone can."""
    with _operator(config) as operator:
        _show(operator, proposal, operator.execute(proposal), as_json=as_json)


@govern_app.command("list")
def govern_list(
    run: RunArgument = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List proposals with their votes and state."""
    from rescind import audit

    columns = [
        ("proposal_id", "id"),
        ("name", "proposed by"),
        ("votes", "votes"),
        ("needed", "needed"),
        ("state", "state"),
        ("deadline", "deadline"),
    ]
    with reported_errors():
        rows = audit.proposals(open_consortium(run, rpc, contracts))
        print_rows(rows, columns, as_json=as_json)
        if not as_json:
            for row in rows:
                out.print(plain(f"{row.proposal_id}: {row.call}"), soft_wrap=True)
