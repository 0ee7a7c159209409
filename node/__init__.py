"""The daemon of an organization: it trains, contributes, and carries out withdrawals."""

from rescind.node.config import CostSection, NodeConfig
from rescind.node.daemon import Node, run
from rescind.node.operator import Operator
from rescind.node.repeating import repeat
from rescind.node.requests import Request, request_withdrawal
from rescind.node.session import Session, open_session
from rescind.node.state import Plan, RoundView, Step, Task, View, plan
from rescind.node.status import status

__all__ = [
    "CostSection",
    "Node",
    "NodeConfig",
    "Operator",
    "Plan",
    "Request",
    "RoundView",
    "Session",
    "Step",
    "Task",
    "View",
    "open_session",
    "plan",
    "repeat",
    "request_withdrawal",
    "run",
    "status",
]
