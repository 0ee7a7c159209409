"""rescind rewards list|claim|claim-replay|refund|fund."""

from __future__ import annotations

from typing import Annotated

import typer

from rescind.cli.chain_access import node_account
from rescind.cli.options import DaemonConfigOption, JsonOption
from rescind.cli.printing import print_facts

rewards_app = typer.Typer(no_args_is_help=True, help="Take out what your organization earned.")

RoundsOption = Annotated[
    list[int] | None,
    typer.Option("--round", min=1, help="A round. Repeatable. Default: all that can be claimed."),
]


@rewards_app.command("list")
def rewards_list(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Show which rounds' rewards you can claim, and which of your deposits you can take back."""
    with node_account(config) as (consortium, address):
        rounds = consortium.claimable_rounds(address)
        facts = {
            "organization": address,
            "rounds": rounds,
            "claimable_wei": consortium.claimable(address, rounds),
            "replay_refund_wei": consortium.replay_refund(address),
        }
        print_facts(facts, as_json=as_json)


@rewards_app.command("claim")
def rewards_claim(
    config: DaemonConfigOption, rounds: RoundsOption = None, as_json: JsonOption = False
) -> None:
    """Take out your shares of final rounds."""
    from rescind.core.errors import ConfigError

    with node_account(config) as (consortium, address):
        wanted = rounds or consortium.claimable_rounds(address)
        if not wanted:
            raise ConfigError(
                f"{address} has no reward to claim. Where auditors attest rounds, a reward is paid "
                "only then: see rescind audit waits."
            )
        amount = consortium.claimable(address, wanted)
        receipt = consortium.claim_rewards(wanted)
        facts = {"rounds": wanted, "claimed_wei": amount, "transaction": receipt.tx_hash}
        print_facts(facts, as_json=as_json)


@rewards_app.command("claim-replay")
def rewards_claim_replay(
    config: DaemonConfigOption,
    replay: Annotated[int, typer.Option(min=1, help="Number of the replay.")],
    rounds: Annotated[
        list[int] | None,
        typer.Option("--round", min=1, help="A round that you trained again. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Take out what you earned by training rounds again. Default: all rounds of the replay."""
    from rescind.contracts import REPLAY_OFFERS
    from rescind.core.errors import ConfigError

    with node_account(config) as (consortium, address):
        replay_id = REPLAY_OFFERS + replay
        wanted = rounds or sorted(
            each.round_id
            for each in consortium.offers(replay_id)
            if each.organization == address
            and consortium.replay_is_closed(replay_id, each.round_id)
        )
        if not wanted:
            raise ConfigError(f"{address} trained no closed round of replay {replay} again.")
        receipt = consortium.claim_replay(replay_id, wanted)
        print_facts({"rounds": wanted, "transaction": receipt.tx_hash}, as_json=as_json)


@rewards_app.command("refund")
def rewards_refund(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Take back deposits for replays, as far as they were not used."""
    with node_account(config) as (consortium, address):
        amount = consortium.replay_refund(address)
        receipt = consortium.refund_replay()
        print_facts({"refunded_wei": amount, "transaction": receipt.tx_hash}, as_json=as_json)


@rewards_app.command("fund")
def rewards_fund(
    config: DaemonConfigOption,
    amount: Annotated[int, typer.Option("--wei", min=1, help="How much to add, in wei.")],
    as_json: JsonOption = False,
) -> None:
    """Add to the pool that rounds are paid from. Anyone may."""
    with node_account(config) as (consortium, _):
        receipt = consortium.fund(amount)
        facts = {
            "paid_wei": amount,
            "pool_wei": consortium.pool(),
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)
