"""The aggregator daemon: it runs rounds, sums updates, proves the sums and carries out withdrawals."""

from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.daemon import (
    Aggregator,
    open_aggregator,
    post_bond,
    run,
    status,
)
from rescind.aggregator.facts import WithdrawalProgress
from rescind.aggregator.state import (
    ClaimState,
    Plan,
    Step,
    View,
    plan,
)

__all__ = [
    "Aggregator",
    "AggregatorConfig",
    "ClaimState",
    "Plan",
    "Step",
    "View",
    "WithdrawalProgress",
    "open_aggregator",
    "plan",
    "post_bond",
    "run",
    "status",
]
