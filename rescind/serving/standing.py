"""The standing of a served model on chain, and the decision that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rescind.contracts import ConsortiumReader


@dataclass(frozen=True)
class ModelKey:
    """A model of the chain.

    Attributes:
        number: Its number; 0 is the base model alone.
        commitments: The hash of its commitment for each part: after a reorganization a model of the
            same number may be another one.
    """

    number: int
    commitments: tuple[str, ...]


@dataclass(frozen=True)
class Look:
    """The chain's word at one block.

    Attributes:
        block: The block's number.
        newest: The model that rounds build on.
        newest_stale: Whether a withdrawal made it stale.
        served_stale: Whether a withdrawal made the served model stale, or a reorganization removed
            it. False if no model is served.
    """

    block: int
    newest: ModelKey
    newest_stale: bool
    served_stale: bool


def look(reader: ConsortiumReader, served: ModelKey | None) -> Look:
    """Read the standing of the newest model and of the served one, both at one block.

    Raises:
        ChainUnavailable: The chain does not answer.
    """
    with reader.chain.at_one_block() as block:
        newest = _key(reader, reader.latest_model_id())
        newest_stale = reader.is_stale(newest.number)
        served_stale = False
        if served == newest:
            served_stale = newest_stale
        elif served is not None:
            known = served.number <= reader.model_count()
            same = known and _key(reader, served.number) == served
            served_stale = not same or reader.is_stale(served.number)
    return Look(block, newest, newest_stale, served_stale)


def _key(reader: ConsortiumReader, number: int) -> ModelKey:
    return ModelKey(number, tuple(reader.commitments(number)))


class Decision(Enum):
    """The action of a server after a look at the chain."""

    KEEP = "keep"
    SWITCH = "switch"
    REFUSE = "refuse"


def decide(seen: Look, served: ModelKey | None, *, available: bool, overlap_left: bool) -> Decision:
    """Decide what is served from now on.

    Args:
        seen: What the chain says.
        served: The model that is served; None if there is none.
        available: Whether the files of the newest model can be had.
        overlap_left: Whether a model that another one replaced may still be served, because the
            files of the newer one are not there yet.
    """
    if served == seen.newest:
        return Decision.REFUSE if seen.newest_stale else Decision.KEEP
    if not seen.newest_stale and available:
        return Decision.SWITCH
    if served is None or seen.served_stale or not overlap_left:
        return Decision.REFUSE
    return Decision.KEEP
