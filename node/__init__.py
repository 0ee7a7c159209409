"""An organization's daemon."""

from rescind.node.config import NodeConfig
from rescind.node.daemon import Node, run, status
from rescind.node.requests import Request, request_withdrawal
from rescind.node.session import Session, open_session
from rescind.node.state import (
    Plan,
    Step,
    Task,
    View,
    plan,
)

__all__ = [
    "Node",
    "NodeConfig",
    "Plan",
    "Request",
    "Session",
    "Step",
    "Task",
    "View",
    "open_session",
    "plan",
    "request_withdrawal",
    "run",
    "status",
]
