"""Random kills, lost answers, drops, reorganizations and other wallets: each payment is made once."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from rescind.contracts import ChainUnavailable, SendingPaused
from rescind.contracts.rpc import Answer
from tests.support.scripted_pool import (
    ALICE,
    GWEI,
    DurableOutbox,
    FakeAccount,
    ScriptedChain,
    ScriptedNode,
    Tx,
    payment,
)

DEEPEST = 3
"""Confirmations, and blocks that a reorganization drops."""


class Killed(BaseException):
    """The process ends here."""


class FatalNode(ScriptedNode):
    """A node at whose n-th request the process that asks is killed, before or after the effect."""

    fuse: int | None = None
    after = False

    def request(self, method: str, *parameters: Any) -> Answer:
        if self.fuse is None:
            return super().request(method, *parameters)
        self.fuse -= 1
        if self.fuse > 0:
            return super().request(method, *parameters)
        self.fuse = None
        if self.after:
            super().request(method, *parameters)
        raise Killed


class Sending(RuleBasedStateMachine):
    """One key, used by processes that die, on a chain that loses things."""

    @initialize()
    def begin(self) -> None:
        self.node = FatalNode()
        self.account = FakeAccount(DurableOutbox())
        self.intents = 0
        self.unreported: list[int] = []
        self.reported: list[int] = []
        self.dropped: list[Tx] = []

    @rule(new=st.booleans(), fuse=st.none() | st.integers(1, 40), after=st.booleans())
    def send(self, new: bool, fuse: int | None, after: bool) -> None:
        """A new intent, or one again whose run was killed."""
        if new or not self.unreported:
            self.intents += 1
            self.unreported.append(self.intents)
        self.node.fuse, self.node.after = fuse, after
        self.run(self.unreported[-1])

    def run(self, intent: int) -> None:
        self.account.restarted()
        chain = ScriptedChain(self.node, DEEPEST)
        chain.clock.on_pause = lambda _: self.node.mine()
        sender = chain.sender(self.account)
        try:
            sender.tend(starting=True)
            sender.send(payment(intent))
        except (Killed, SendingPaused, ChainUnavailable):
            return
        finally:
            self.node.fuse = None
        self.unreported.remove(intent)
        self.reported.append(intent)

    @rule(count=st.integers(1, 4))
    def mine(self, count: int) -> None:
        self.node.mine(count)

    @rule()
    def lose_pool(self) -> None:
        self.node.lose_pool()

    @rule(depth=st.integers(1, DEEPEST), back=st.booleans())
    def reorganize(self, depth: int, back: bool) -> None:
        depth = min(depth, len(self.node.blocks) - 1)
        if depth:
            self.dropped = self.node.reorganize(depth)
            if back:
                self.node.pool.update({(tx.sender, tx.nonce): tx for tx in self.dropped})

    @rule(ahead=st.booleans())
    def another_wallet(self, ahead: bool) -> None:
        """The other wallet sees the pool, or takes the place of what is in it."""
        nonce = self.node.count(ALICE)
        while ahead and (ALICE, nonce) in self.node.pool:
            nonce += 1
        self.node.wallet_sends(nonce)

    @rule(gwei=st.sampled_from([1, 3, 20]))
    def base_fee(self, gwei: int) -> None:
        self.node.base_fee = gwei * GWEI

    @rule(count=st.integers(1, 3))
    def lose_answers(self, count: int) -> None:
        self.node.lost = count

    @rule(count=st.integers(1, 6))
    def lag(self, count: int) -> None:
        self.node.blind = count

    @rule(
        words=st.sampled_from(
            ["txpool is full", "nonce too low", "replacement transaction underpriced", "strange"]
        )
    )
    def refuse(self, words: str) -> None:
        self.node.refusals = [words]

    @rule(shift=st.sampled_from([-1, 1]))
    def count_wrongly(self, shift: int) -> None:
        self.node.shift = shift
        self.send(new=True, fuse=12, after=False)
        self.node.shift = 0

    def teardown(self) -> None:
        if not hasattr(self, "node"):
            return
        self.node.fuse, self.node.lost, self.node.blind, self.node.shift = None, 0, 0, 0
        self.node.refusals, self.node.base_fee = [], GWEI
        for intent in list(self.unreported):
            self.run(intent)
        assert self.unreported == [], "every payment comes to its end on a chain that works"
        paid = self.node.mined()
        wanted = [payment(intent)["data"] for intent in range(1, self.intents + 1)]
        assert sorted(paid) == sorted(wanted), "each payment once"


Sending.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestSending = Sending.TestCase
