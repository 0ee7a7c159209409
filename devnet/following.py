"""Follow the rounds of a run until enough are final, and say each step as it is seen on chain."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rescind.contracts import Consortium, RoundState
from rescind.core.errors import RescindError
from rescind.devnet.layout import RunFolder
from rescind.devnet.processes import Daemons
from rescind.devnet.watching import Say
from rescind.node.facts import RoundFacts, open_journal

_LOOK_SECONDS = 0.2
_ROUND_SECONDS = 3600.0
"""Time in which no round moves and no daemon works, after which a run is given up."""


def follow_rounds(
    consortium: Consortium, daemons: Daemons, target: int, last_round: int | None, say: Say
) -> float:
    """Follow rounds until `target` are final, or round `last_round` is over.

    Returns:
        Seconds since the first round opened.

    Raises:
        DaemonDied: A daemon has ended.
        TrainingFailed: A node could not train.
        RescindError: Nothing happened for an hour.
    """
    opened, reported = 0.0, (0, RoundState.NONE)
    moved = time.monotonic()
    while time.monotonic() - max(moved, daemons.watch.moved) < _ROUND_SECONDS:
        daemons.check()
        round_id = consortium.current_round_id()
        state = consortium.round(round_id).state if round_id else RoundState.NONE
        if round_id and not opened:
            opened = time.monotonic()
        if (round_id, state) != reported and round_id:
            if reported[0] and round_id > reported[0] and not reported[1].over:
                _tell(consortium, reported[0], consortium.round(reported[0]).state, say)
            reported, moved = (round_id, state), time.monotonic()
            _tell(consortium, round_id, state, say)
        states = [consortium.round(n).state for n in range(1, round_id + 1)]
        finished = states.count(RoundState.FINAL) >= target
        if finished or (last_round is not None and round_id >= last_round and state.over):
            return time.monotonic() - opened
        time.sleep(_LOOK_SECONDS)
    raise RescindError(
        f"no round moved and no daemon worked for {_ROUND_SECONDS:.0f} s: see the logs in the run "
        "folder"
    )


def _tell(consortium: Consortium, round_id: int, state: RoundState, say: Say) -> None:
    say(f"round {round_id}: {state.value}{_accepted(consortium, round_id, state)}")


def _accepted(consortium: Consortium, round_id: int, state: RoundState) -> str:
    if state is not RoundState.FINAL:
        return ""
    names = {member.address: member.name for member in consortium.members()}
    parts = [
        f"{names[address]} (score {consortium.score(round_id, address)[0] / 100:.0f} %)"
        for address in consortium.accepted(round_id)
    ]
    return f", with {', '.join(parts)}"


def await_settled(
    run: RunFolder, consortium: Consortium, daemons: Daemons, names: Sequence[str]
) -> None:
    """Wait until every node has settled the last round."""
    last = consortium.current_round_id()
    journals = [open_journal(run.node_state(name)) for name in names]
    daemons.wait_for(lambda: all(RoundFacts.load(j, last).settled for j in journals))


def await_published(consortium: Consortium, daemons: Daemons) -> None:
    """Wait until the files of the newest model are stated on chain."""
    latest = consortium.latest_model_id()
    if latest and consortium.content(latest):
        daemons.wait_for(lambda: bool(consortium.publications(latest)))
