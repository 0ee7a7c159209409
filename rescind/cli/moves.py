"""rescind withdraw fold|start-replay|advance-replay|finish-replay|escalate|close: anyone may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import node_account
from rescind.cli.options import DaemonConfigOption, JsonOption
from rescind.cli.printing import print_facts

if TYPE_CHECKING:
    from rescind.contracts import Consortium, Receipt

moves_app = typer.Typer()

WithdrawalArgument = Annotated[int, typer.Argument(min=1, help="The withdrawal's number.")]


@moves_app.command("fold")
def withdraw_fold(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Send every piece of the sums and folds that wait. Daemons do it by themselves; anyone may."""
    from rescind.contracts import next_piece

    with node_account(config) as (consortium, _):
        sent = []
        while (piece := next_piece(consortium)) is not None:
            sent.append(consortium.send(piece).tx_hash)
        stale = [each for each in consortium.models_in_use() if consortium.is_stale(each)]
        print_facts({"transactions": sent, "stale_models": stale}, as_json=as_json)


@moves_app.command("start-replay")
def withdraw_start_replay(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Begin a replay with all withdrawals that wait for one. Anyone may."""
    with node_account(config) as (consortium, _):
        receipt = consortium.start_replay()
        replay = consortium.current_replay()
        assert replay is not None
        facts = {
            "withdrawals": list(replay.withdrawals),
            "from_round": replay.from_round,
            "to_round": replay.to_round,
            "deadline": replay.deadline,
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)


@moves_app.command("advance-replay")
def withdraw_advance_replay(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """End a round of the replay, once all offered or its deadline passed. Anyone may."""
    with node_account(config) as (consortium, _):
        print_facts({"transaction": consortium.advance_replay().tx_hash}, as_json=as_json)


@moves_app.command("finish-replay")
def withdraw_finish_replay(
    withdrawal: WithdrawalArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Go on to the attestation of a withdrawal whose replay is over. Anyone may."""
    with node_account(config) as (consortium, _):
        receipt = consortium.finish_replay(withdrawal)
        _show(consortium, withdrawal, receipt, as_json=as_json)


@moves_app.command("escalate")
def withdraw_escalate(
    withdrawal: WithdrawalArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Turn a late withdrawal into the removal of its organization. Anyone may."""
    with node_account(config) as (consortium, _):
        receipt = consortium.escalate(withdrawal)
        _show(consortium, withdrawal, receipt, as_json=as_json)


@moves_app.command("close")
def withdraw_close(
    withdrawal: WithdrawalArgument, config: DaemonConfigOption, as_json: JsonOption = False
) -> None:
    """Close a withdrawal whose models are folded, and attested where they must be. Anyone may."""
    with node_account(config) as (consortium, _):
        receipt = consortium.close_withdrawal(withdrawal)
        _show(consortium, withdrawal, receipt, as_json=as_json)


def _show(consortium: Consortium, number: int, receipt: Receipt, *, as_json: bool) -> None:
    withdrawal = consortium.withdrawal(number)
    facts = {
        "withdrawal": number,
        "method": withdrawal.method.value,
        "state": withdrawal.state.value,
        "transaction": receipt.tx_hash,
    }
    print_facts(facts, as_json=as_json)
