"""An organization's daemon."""

from node.config import NodeConfig
from node.daemon import Node, run, status
from node.requests import Request, request_withdrawal
from node.session import Session, open_session
from node.state import Plan, Step, Task, View, plan

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
