"""Several transactions of one key that belong together, and go on after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rescind.contracts.account import Account
from rescind.contracts.outbox import Outbox, Plan
from rescind.contracts.sending import Sender
from rescind.contracts.types import Receipt

if TYPE_CHECKING:
    from rescind.contracts.chain import Chain


class SendPlan:
    """A plan in the outbox of an account. Each of its steps is sent once, however often it is asked.

    Args:
        chain: The chain.
        account: Signs.
        plan: The plan as the outbox has it.
        begun: Whether a step of it was sent before.
    """

    def __init__(self, chain: Chain, account: Account, plan: Plan, *, begun: bool) -> None:
        self._chain, self._account, self._plan, self.begun = chain, account, plan, begun

    @classmethod
    def of(cls, chain: Chain, account: Account, name: str) -> SendPlan:
        """Return the plan of a name that is not carried out, or a new one.

        Args:
            chain: The chain.
            account: Signs.
            name: The same plan again has the same name.
        """
        sender = Sender(chain.send_node, account)
        identity, outbox = sender.chain(), account.outbox
        plan = outbox.plan(identity, account.address, name, sender.next_nonce)
        begun = _sent(outbox, identity, account.address, plan)
        if not begun:
            plan = outbox.restart_plan(plan, sender.next_nonce())
        return cls(chain, account, plan, begun=begun)

    @property
    def nonce(self) -> int:
        """The nonce of the first transaction."""
        return self._plan.nonce

    def send(self, step: str, transaction: dict[str, Any], nonce: int | None = None) -> Receipt:
        """Send a step, or return its receipt if it was sent before.

        Args:
            step: Names it.
            transaction: As for `Chain.send`.
            nonce: The nonce that it must have.

        Raises:
            NonceTaken: It cannot have the nonce.
        """
        label = f"plan {self._plan.number}: {step}"
        return self._chain.send(self._account, transaction, label=label, nonce=nonce)

    def close(self) -> None:
        """Write down that the plan is carried out, or cannot be."""
        self._account.outbox.close_plan(self._plan)


def _sent(outbox: Outbox, chain: str, address: str, plan: Plan) -> bool:
    rows = outbox.find(
        chain, address, "label LIKE ? AND state != 'dropped'", f"plan {plan.number}: %"
    )
    return bool(rows)
