"""The aggregator daemon: it runs rounds, folds and builds models, and moves withdrawals on."""

from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.daemon import (
    Aggregator,
    open_aggregator,
    run,
    status,
)
from rescind.aggregator.operator import post_bond, release, retire, rotate_certificate
from rescind.aggregator.state import (
    Plan,
    Standing,
    Step,
    View,
    plan,
)
from rescind.aggregator.withdrawal_facts import WithdrawalProgress

__all__ = [
    "Aggregator",
    "AggregatorConfig",
    "Plan",
    "Standing",
    "Step",
    "View",
    "WithdrawalProgress",
    "open_aggregator",
    "plan",
    "post_bond",
    "release",
    "retire",
    "rotate_certificate",
    "run",
    "status",
]
