"""Send a call of an account exactly once, and wait until it is final.

1. The same call whose outcome no caller learned is resumed, no matter which process signed it.
2. Otherwise gas, fees and funds are checked; a refusal leaves no trace.
3. Nonce, signature and row are made under the outbox's lock, and are on the disk.
4. The bytes are broadcast. Whatever the answer, they may have arrived.
5. The sender waits for a receipt of any version, and tends what is open up to its nonce.
6. The outcome is written down as reported and returned. From then on the same call is a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rescind.contracts.account import Account
from rescind.contracts.errors import (
    ChainUnavailable,
    ContractRefused,
    FundsMissing,
    NodeRefused,
    NonceTaken,
    SendingPaused,
    TransactionRefused,
)
from rescind.contracts.fees import Fees, in_ether, in_gwei
from rescind.contracts.outgoing import Call, Outcome, Outgoing, SendState
from rescind.contracts.send_node import SendNode, Verdict
from rescind.contracts.tending import Tender
from rescind.contracts.transaction_faults import INSUFFICIENT_FUNDS
from rescind.contracts.types import Receipt
from rescind.contracts.waiting import Pace, Patience

MOST_GAS = 2**24
"""Most gas of one transaction (EIP-7825)."""
_GAS_MARGIN = 1.3
_DEAR_SECONDS, _DEAR_SECONDS_OF_DAEMON = 600.0, 60.0
"""How long to wait for fees under the ceiling before anything is signed."""
_DEAR_PAUSE = 5.0


class Sender:
    """Sends transactions of an account on a chain.

    Args:
        node: The chain.
        account: Signs.
    """

    def __init__(self, node: SendNode, account: Account) -> None:
        self.node, self.account, self.outbox = node, account, account.outbox
        self.tender = Tender(node, account)

    def chain(self) -> str:
        """Return the chain's identity, under which the outbox has its transactions."""
        identity = self.node.identity()
        chain_id, _, genesis = identity.partition("/")
        if genesis:
            return identity
        # The provider does not show the first block: the chain is the one that was used last.
        return next(iter(self.outbox.chains(int(chain_id))), identity)

    def send(
        self, transaction: dict[str, Any], *, label: str = "", nonce: int | None = None
    ) -> Receipt:
        """Send a call, or resume it, and return its receipt once it is final.

        Args:
            transaction: `to` unless it creates a contract, `data` and `value`.
            label: Its place in a plan. A transaction with a label is sent once, however often.
            nonce: The nonce that it must have.

        Raises:
            NodeRefused: The call would be reverted. Nothing was sent.
            ContractRefused: The contract reverted it.
            FundsMissing: The account cannot pay for it.
            TransactionRefused: No pool takes it, or its operator cancelled it.
            NonceTaken: It cannot have the nonce.
            SendingPaused: It is not final yet; the same call goes on waiting.
            ChainUnavailable: The node does not answer.
        """
        call, chain = Call.of(transaction), self.chain()
        row = self._earlier(chain, call, label)
        if row is not None:
            self._say_resumed(row)
        else:
            row = self._sign(chain, call, label, nonce)
        with self._waited_for(row):
            return self._report(self._final(chain, row))

    def cancel(self, nonce: int) -> Outgoing:
        """Replace an open transaction by an empty transfer, and return what became of it.

        Raises:
            TransactionRefused: No transaction with that nonce is open.
        """
        chain = self.chain()
        rows = [row for row in self.outbox.open(chain, self.account.address) if row.nonce == nonce]
        if not rows:
            raise TransactionRefused(
                f"No open transaction of {self.account.address} has nonce {nonce}. rescind outbox "
                "list shows the open ones."
            )
        row, market = rows[0], self.node.market(fresh=True)
        fees = row.newest.fees.replacement()
        fees = fees.at_least(market.fees(self.node.settings.ceiling) or fees)
        gas = self.tender.empty_gas()
        with self.outbox.exclusive():
            version = self.tender.sign(
                self.tender.empty_call(), nonce, gas, fees, market.block, cancels=True
            )
            self.outbox.add_version(row.number, version)
        self.node.broadcast(version.raw)
        with self._waited_for(row):
            final = self._final(chain, row)
        self.outbox.report(row.number)
        return final

    # Resuming

    def _earlier(self, chain: str, call: Call, label: str) -> Outgoing | None:
        """Return the same call whose outcome no caller learned, unless it failed."""
        for row in self.outbox.unreported(chain, self.account.address, call, label):
            if row.state in (SendState.OPEN, SendState.DONE):
                return row
            self.outbox.report(row.number)
        return None

    def _say_resumed(self, row: Outgoing) -> None:
        if row.process == self.outbox.process or row.label:
            return
        state = "was mined meanwhile" if row.state is SendState.DONE else "is still open"
        self.node.settings.tell(
            f"Transaction {row.newest.tx_hash} (nonce {row.nonce}) of an earlier run {state}. It is "
            "resumed, and no second one is sent."
        )

    @contextmanager
    def _waited_for(self, row: Outgoing) -> Iterator[None]:
        self.outbox.waiting.append(row.number)
        try:
            yield
        finally:
            self.outbox.waiting.remove(row.number)

    # Signing

    def _sign(self, chain: str, call: Call, label: str, nonce: int | None) -> Outgoing:
        """Check a new call, write it down, and broadcast it."""
        gas = self._gas(call)
        fees, block = self._affordable()
        self._check_funds(call, gas, fees)
        counted = self._counted(chain)
        with self.outbox.exclusive():
            row = self._earlier(chain, call, label)
            if row is not None:
                return row
            chosen = max(counted, self.outbox.next_nonce(chain, self.account.address))
            if nonce is not None and chosen != nonce:
                raise NonceTaken(
                    f"The next nonce of {self.account.address} is {chosen} instead of {nonce}, because "
                    "its key sent another transaction in the meantime."
                )
            row = self.outbox.add(
                chain,
                self.account.address,
                call,
                label=label,
                nonce=chosen,
                gas=gas,
                by_daemon=self.node.settings.by_daemon,
                version=self.tender.sign(call, chosen, gas, fees, block),
            )
        self._broadcast(row, block)
        return row

    def _gas(self, call: Call) -> int:
        try:
            gas = self.node.estimate(call.fields, self.account.address)
        except NodeRefused as error:
            if error.fault is INSUFFICIENT_FUNDS:
                raise self._poor(call.value) from None
            raise
        return max(gas, min(int(gas * _GAS_MARGIN), MOST_GAS))

    def _affordable(self) -> tuple[Fees, int]:
        """Return fees under the ceiling, and the newest block. Wait for them if need be."""
        settings = self.node.settings
        began = settings.clock.monotonic()
        limit = _DEAR_SECONDS_OF_DAEMON if settings.by_daemon else _DEAR_SECONDS
        said = False
        while True:
            market = self.node.market(fresh=said)
            fees = market.fees(settings.ceiling)
            if fees is not None:
                return fees, market.block
            words = (
                f"The chain asks for {in_gwei(market.least)} gwei for a unit of gas, and max_fee_gwei is "
                f"{settings.max_fee_gwei:g}. Nothing is sent before it asks for less. Wait, or raise "
                "max_fee_gwei."
            )
            if settings.stop.is_set() or settings.clock.monotonic() - began >= limit:
                raise ChainUnavailable(words)
            if not said:
                settings.tell(words)
            said = True
            settings.clock.pause(_DEAR_PAUSE, settings.stop)

    def _check_funds(self, call: Call, gas: int, fees: Fees) -> None:
        needed = call.value + gas * fees.max_fee
        if needed and self.node.balance(self.account.address) < needed:
            raise self._poor(needed)

    def _poor(self, needed: int) -> FundsMissing:
        address = self.account.address
        held = self.node.balance(address)
        return FundsMissing(
            f"{address} has {in_ether(held)} ether, but this transaction needs up to "
            f"{in_ether(needed)} ether with its gas. Send at least {in_ether(max(1, needed - held))} ether "
            f"to {address}, then try again."
        )

    def _counted(self, chain: str) -> int:
        """Return the next nonce by the provider's account, which may be behind or ahead."""
        address = self.account.address
        counted, expected = self.node.pending_count(address), self.outbox.next_nonce(chain, address)
        if counted < expected:
            self.tender.reconcile(chain, counted)
        elif counted > expected:
            # A nonce that is too high leaves a gap, so one wrong answer must not be enough.
            counted = min(counted, self.node.pending_count(address))
        return counted

    def next_nonce(self) -> int:
        """Return the nonce that the next new transaction gets, if no other process is faster."""
        chain = self.chain()
        counted = self._counted(chain)
        return max(counted, self.outbox.next_nonce(chain, self.account.address))

    def _broadcast(self, row: Outgoing, block: int) -> None:
        answer = self.node.broadcast(row.newest.raw)
        if answer.verdict is Verdict.IMPOSSIBLE:
            self.outbox.drop(row.number)
            raise TransactionRefused(
                f"{self.node.chain.shown} refuses a transaction of {len(row.newest.raw):,} bytes and "
                f"{row.gas:,} gas: {answer.words}. Nothing was sent. Use another endpoint."
            )
        if answer.verdict is Verdict.NO_FUNDS:
            raise self._poor(row.call.value + row.gas * row.newest.fees.max_fee)
        self.tender.answer(row, answer, block)

    # Waiting

    def _final(self, chain: str, row: Outgoing) -> Outgoing:
        """Wait until a transaction is final, and return it."""
        settings = self.node.settings
        resumed = row.process != self.outbox.process
        pace = Pace(settings.clock, deep=bool(self.node.chain.confirmations), at_once=resumed)
        patience = Patience(settings.clock)
        mined: Outcome | None = None
        while True:
            row = self.outbox.get(row.number)
            if row.state is SendState.DROPPED:
                raise NonceTaken(
                    f"Nonce {row.nonce} of {self.account.address} belongs to another transaction now. "
                    "Try again."
                )
            try:
                was_mined, mined = mined, self.tender.look(row)
                if mined is not None or self.node.knows(row.newest.tx_hash):
                    pace.shown()
                elif was_mined is not None:
                    pace.restart()
                else:
                    pace.lost()
                if mined is not None and self.outbox.get(row.number).state.final:
                    return self.outbox.get(row.number)
                if pace.tending_due():
                    head = self.tender.tend(chain, row.nonce)
                    if head is not None:
                        patience.saw(head)
                patience.answered()
            except ChainUnavailable as error:
                patience.missed(error, self._paused(row, str(error)))
            why = patience.over(mined=mined is not None)
            if settings.stop.is_set():
                why = "the process was asked to stop"
            if why:
                raise self._paused(row, f"It was not final when {why}.")
            settings.clock.pause(pace.pause(), settings.stop)

    def _paused(self, row: Outgoing, why: str) -> SendingPaused:
        return SendingPaused(
            f"Transaction {row.newest.tx_hash} (nonce {row.nonce}) stays in the outbox, and the same "
            f"command or step resumes it; it is never sent twice. {why}"
        )

    def _report(self, row: Outgoing) -> Receipt:
        self.outbox.report(row.number)
        assert row.outcome is not None
        if row.state is SendState.REVERTED:
            raise ContractRefused(
                f"transaction {row.outcome.tx_hash} was mined, but the contract reverted it"
            )
        if row.state is SendState.CANCELLED:
            raise TransactionRefused(
                f"The transaction with nonce {row.nonce} was cancelled: {row.outcome.tx_hash} took its "
                "place."
            )
        outcome = row.outcome
        return Receipt(outcome.tx_hash, outcome.block, outcome.gas_used, outcome.created)

    # Upkeep

    def tend(self, *, starting: bool = False) -> None:
        """Tend what is open. A daemon calls it before each look.

        Args:
            starting: Look as well for final transactions that a reorganization dropped.
        """
        chain = self.chain()
        if starting and self.outbox.next_nonce(chain, self.account.address):
            with suppress(NodeRefused):
                self.tender.reconcile(chain, self.node.count(self.account.address))
        self.tender.tend(chain)
        if self.node.settings.by_daemon:
            self.tender.report_daemons(chain)
