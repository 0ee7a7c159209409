"""The order in which members move late states on.

A node sends a move that anyone may send only when it has been due for GRACE_SECONDS and its turn
has come. Turns differ by member number, so that not all nodes send the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

GRACE_SECONDS = 60
"""How long a move may be due before a node makes it."""
TURN_SECONDS = 5
"""Time between two members' turns: long enough for a transaction to be seen."""
TURNS = 12
"""After this many turns they begin again, so that large consortia do not wait for long."""


class Move(Enum):
    """A transaction that anyone may send."""

    CLOSE_COMMITS = "close-commits"
    CLOSE_REVEALS = "close-reveals"
    ABANDON = "abandon"
    FOLD = "fold"
    START_REPLAY = "start-replay"
    ADVANCE_REPLAY = "advance-replay"
    FINISH_REPLAY = "finish-replay"
    ESCALATE = "escalate"
    CLOSE_WITHDRAWAL = "close-withdrawal"


@dataclass(frozen=True)
class Due:
    """A move that the contracts would accept now.

    Attributes:
        move: The move.
        id: The round, model, replay or withdrawal that it is about.
        since: The deadline that passed, in Unix seconds; 0 if it is due without one.
    """

    move: Move
    id: int
    since: int = 0


def seconds_to_wait(due: Due, member_number: int, members: int) -> int:
    """Return how long after a move is due a member sends it.

    Turns rotate with the move's number, so that not always the same member pays.
    """
    turn = (member_number + due.id) % max(1, members) % TURNS
    return GRACE_SECONDS + TURN_SECONDS * turn


class Turns:
    """The first time at which this node saw each move that is due without a deadline.

    It is in memory only: a node that starts again waits again.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[Move, int], int] = {}

    def choose(
        self, moves: Sequence[Due], now: int, member_number: int, members: int
    ) -> Due | None:
        """Return the first move for which this member's turn has come, or None.

        Args:
            moves: The moves that are due now.
            now: Unix seconds, by the chain's clock.
            member_number: This member's number.
            members: How many members ever joined.
        """
        keys = {(due.move, due.id): due for due in moves}
        self._seen = {key: self._seen.get(key, now) for key in keys}
        for key, due in keys.items():
            since = due.since or self._seen[key]
            if now > since + seconds_to_wait(due, member_number, members):
                return due
        return None
