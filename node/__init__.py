"""An organization's daemon."""

from node.config import NodeConfig
from node.daemon import Node, request_withdrawal, run, status
from node.session import Session, open_session
from node.state import Plan, Step, View, plan

__all__ = [
    "Node",
    "NodeConfig",
    "Plan",
    "Session",
    "Step",
    "View",
    "open_session",
    "plan",
    "request_withdrawal",
    "run",
    "status",
]
