"""The daemon that runs rounds."""

from aggregator.config import AggregatorConfig
from aggregator.daemon import Aggregator, open_aggregator, run, status
from aggregator.state import Plan, Step, View, plan

__all__ = [
    "Aggregator",
    "AggregatorConfig",
    "Plan",
    "Step",
    "View",
    "open_aggregator",
    "plan",
    "run",
    "status",
]
