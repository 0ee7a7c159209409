"""rescind withdraw fold|start-replay|advance-replay|close: what anyone may send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.options import DaemonConfigOption, JsonOption
from rescind.cli.printing import print_facts, reported_errors
from rescind.cli.toml_files import load_config

if TYPE_CHECKING:
    from rescind.contracts import Consortium

moves_app = typer.Typer()


@contextmanager
def _opened(config: Path) -> Iterator[Consortium]:
    from rescind import node
    from rescind.daemon import load_account, open_consortium

    with reported_errors():
        loaded = load_config(config, node.NodeConfig)
        yield open_consortium(loaded.chain, load_account(loaded.identity))


@moves_app.command("fold")
def withdraw_fold(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Send every piece of the sums and folds that wait. Daemons do it by themselves; anyone may."""
    from rescind.contracts import next_piece

    with _opened(config) as consortium:
        sent = []
        while (piece := next_piece(consortium)) is not None:
            sent.append(consortium.send(piece).tx_hash)
        stale = [each for each in consortium.models_in_use() if consortium.is_stale(each)]
        print_facts({"transactions": sent, "stale_models": stale}, as_json=as_json)


@moves_app.command("start-replay")
def withdraw_start_replay(config: DaemonConfigOption, as_json: JsonOption = False) -> None:
    """Begin a replay with all withdrawals that wait for one. Anyone may."""
    with _opened(config) as consortium:
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
    with _opened(config) as consortium:
        print_facts({"transaction": consortium.advance_replay().tx_hash}, as_json=as_json)


@moves_app.command("close")
def withdraw_close(
    withdrawal: Annotated[int, typer.Argument(min=1, help="The withdrawal's number.")],
    config: DaemonConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Close a withdrawal whose models are folded, and attested where they must be. Anyone may."""
    with _opened(config) as consortium:
        receipt = consortium.close_withdrawal(withdrawal)
        facts = {"withdrawal": withdrawal, "transaction": receipt.tx_hash}
        print_facts(facts, as_json=as_json)
