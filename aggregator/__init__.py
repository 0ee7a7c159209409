"""The daemon that runs rounds."""

from aggregator.config import AggregatorConfig
from aggregator.daemon import Aggregator, open_aggregator, post_bond, run, status
from aggregator.state import ClaimState, Plan, Step, View, plan

__all__ = [
    "Aggregator",
    "AggregatorConfig",
    "ClaimState",
    "Plan",
    "Step",
    "View",
    "open_aggregator",
    "plan",
    "post_bond",
    "run",
    "status",
]
