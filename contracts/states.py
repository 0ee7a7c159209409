"""States, methods and rules as the contracts number them: in the order of definition, or by value."""

from __future__ import annotations

from enum import Enum


class MemberStatus(Enum):
    """State of a membership.

    `LEFT`: its contributions stay. `WITHDRAWING`: it is out, and models are being folded without
    it. `WITHDRAWN`: no model in use holds it.
    """

    NONE = "none"
    ADMITTED = "admitted"
    ACTIVE = "active"
    LEFT = "left"
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"

    @property
    def joined(self) -> bool:
        """True if the organization is or was a member."""
        return self not in (MemberStatus.NONE, MemberStatus.ADMITTED)


class RoundState(Enum):
    """State of a round. `JUDGED`: accepted contributions are fixed and wait for the fold."""

    NONE = "none"
    OPEN = "open"
    COMMITTED = "committed"
    REVEALED = "revealed"
    JUDGED = "judged"
    FINAL = "final"
    ABANDONED = "abandoned"

    @property
    def over(self) -> bool:
        """True if nothing more happens in the round."""
        return self in (RoundState.FINAL, RoundState.ABANDONED)


class AnswerState(Enum):
    """An organization's answer to a round. `UNAVAILABLE`: it could not get the parent model."""

    NONE = "none"
    COMMITTED = "committed"
    SAT_OUT = "sat-out"
    UNAVAILABLE = "unavailable"
    REVEALED = "revealed"


class Rule(Enum):
    """How the contributions of a part add up.

    `BLOCK`: each whole, over all rounds. `SHARE`: each with an equal share of its round, over all
    rounds. `LATEST`: each whole, and only the latest of each member.
    """

    BLOCK = "block"
    SHARE = "share"
    LATEST = "latest"

    @property
    def number(self) -> int:
        """The rule's number in the contracts."""
        return list(Rule).index(self)


class ModelKind(Enum):
    """The change that made a model out of its source: a round or an amendment."""

    ROUND = "round"
    REMOVAL = "removal"
    REPLACEMENT = "replacement"
    REPLAY = "replay"
    COUNTER_TRAINING = "counter-training"


class WithdrawalMethod(Enum):
    """One of the four ways to carry out a withdrawal."""

    REMOVAL = "removal"
    REPLACEMENT = "replacement"
    REPLAY = "replay"
    COUNTER_TRAINING = "counter-training"

    @property
    def number(self) -> int:
        """The method's number in the contracts."""
        return list(WithdrawalMethod).index(self)


class WithdrawalState(Enum):
    """State of a withdrawal.

    `PREPARING`: the organization offers. `EFFECTIVE`: models are folded. `REPLAYING`: members train
    again. `ATTESTING`: auditors measure.
    """

    NONE = "none"
    PREPARING = "preparing"
    EFFECTIVE = "effective"
    REPLAYING = "replaying"
    ATTESTING = "attesting"
    CLOSED = "closed"


class RejectReason(Enum):
    """Reason for which the aggregator rejected a contribution."""

    MISSING = 1
    WRONG_HASH = 2
    TOO_LARGE = 3
    MALFORMED = 4
    WRONG_SHAPE = 5
    WRONG_TYPE = 6
    OUT_OF_BOUNDS = 7
    BAD_SIGNATURE = 8
    WITHDRAWN = 9
    ZERO = 10
    WRONG_DIGEST = 11
