"""rescind round ...: answers to a round, and moves of a late round, by hand.

Daemons send all of these by themselves. The commands are for an operator whose daemon is down.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import node_account
from rescind.cli.options import DaemonConfigOption, JsonOption
from rescind.cli.printing import print_facts
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.contracts import Consortium, Receipt

round_app = typer.Typer(
    no_args_is_help=True, help="Answer a round, or move a late one on, without a daemon."
)


@round_app.command("sit-out")
def round_sit_out(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Sit out the round that is open, so that it need not wait for you."""
    _send(config, lambda consortium, number: consortium.sit_out(number), as_json=as_json)


@round_app.command("report-unavailable")
def round_report_unavailable(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """State that you cannot get the model that the open round starts from.

    If more than half of the active members do, the aggregator loses a share of its bond.
    """
    _send(config, lambda consortium, number: consortium.report_unavailable(number), as_json=as_json)


@round_app.command("close")
def round_close(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """End the phase in which members commit or reveal, once all did or it is late. Anyone may."""
    from rescind.contracts import RoundState

    def close(consortium: Consortium, number: int) -> Receipt:
        state = consortium.round(number).state
        if state is RoundState.OPEN:
            return consortium.close_commits(number)
        if state is RoundState.COMMITTED:
            return consortium.close_reveals(number)
        raise ConfigError(
            f"Round {number} is {state.value}. Only an open or a committed round is closed: see "
            "rescind audit waits."
        )

    _send(config, close, as_json=as_json)


@round_app.command("abandon")
def round_abandon(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """End a round that was not judged in time, or whose parent became stale. Anyone may."""
    _send(config, lambda consortium, number: consortium.abandon(number), as_json=as_json)


@round_app.command("penalize")
def round_penalize(
    organization: Annotated[str, typer.Argument(help="Name or address of the member.")],
    config: DaemonConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Take the penalty from a member that committed and did not reveal. Anyone may."""
    from rescind import audit

    with node_account(config) as (consortium, _):
        member = audit.organization(consortium, organization)
        receipt = consortium.penalize(member)
        facts = {
            "organization": member,
            "bond_wei": consortium.member(member).bond,
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)


def _send(config: Path, act: Callable[[Consortium, int], Receipt], *, as_json: bool) -> None:
    with node_account(config) as (consortium, _):
        number = consortium.current_round_id()
        if not number:
            raise ConfigError("No round was opened yet.")
        receipt = act(consortium, number)
        facts = {
            "round": number,
            "state": consortium.round(number).state.value,
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)
