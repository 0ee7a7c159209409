"""Care for transactions that are signed and not final: sent again, repriced, or signed again.

Every look asks for the receipts of all versions first. Nothing here signs a call with a second nonce
unless another wallet's transaction is final under the first one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rescind.contracts.account import Account
from rescind.contracts.errors import NodeRefused, TransactionRefused
from rescind.contracts.fees import Fees, Market, in_gwei
from rescind.contracts.outgoing import MOST_BYTES, Call, Outcome, Outgoing, SendState, Version
from rescind.contracts.send_node import Broadcast, SendNode, Verdict

FILL = "fill"
"""Label of an empty transfer that fills a gap between nonces."""

_STUCK_BLOCKS = 5
"""Blocks without a transaction that pays the base fee, after which it pays more."""
_GAP_BLOCKS, _GAP_SECONDS = 3, 60.0
_WIDEST_GAP = 16
_UNSEEN_BLOCKS, _UNSEEN_SECONDS = 128, float("inf")
"""Blocks for which no version has a receipt, though its nonce is used, until they are given up where
the provider does not have the state of past blocks."""
_SETTLED_BLOCKS = 64
"""Blocks after which no back end of a provider lags so far that it does not show a payment."""
_EMPTY_GAS = 21_000
_MOST_DOUBLINGS = 12


class Tender:
    """Tends the open transactions of an account on a chain.

    Args:
        node: The chain.
        account: Signs replacements.
    """

    def __init__(self, node: SendNode, account: Account) -> None:
        self.node, self.account, self.outbox = node, account, account.outbox

    @property
    def _address(self) -> str:
        return self.account.address

    def tend(self, chain: str, last_nonce: int | None = None) -> int | None:
        """Look for receipts, send again what the pools lost, and raise fees that are too low.

        Args:
            chain: The chain's identity.
            last_nonce: Leave transactions with a greater nonce alone.

        Returns:
            The newest block's number; None if no transaction is open.
        """
        rows = self.outbox.open(chain, self._address)
        if last_nonce is not None:
            rows = [row for row in rows if row.nonce <= last_nonce]
        if not rows:
            return None
        head, count = self.node.head(), self.node.count(self._address)
        unmined = [row for row in rows if not self.look(row, head)]
        for row in unmined:
            if row.nonce < count:
                self._find_miner(chain, row, head)
        waiting = [row for row in unmined if row.nonce >= count]
        if waiting and waiting[0].nonce > count:
            self.reconcile(chain, count)
            self._fill_gap(chain, count, waiting[0].nonce, head)
        elif waiting and count:
            # A provider that always counts one too many hides the gap. Where there is none, the
            # pool refuses the empty transfer.
            self._fill_gap(chain, count - 1, count, head)
        for place, row in enumerate(waiting):
            self._send_again(row, head, first=place == 0)
        return head

    def look(self, row: Outgoing, head: int | None = None) -> Outcome | None:
        """Return where a version of a transaction was mined, and write it down if that is final.

        Args:
            row: The transaction.
            head: The newest block, if it is known.
        """
        for version in reversed(row.versions):
            outcome = self.node.outcome(version.tx_hash)
            if outcome is None:
                continue
            confirmations = self.node.chain.confirmations
            if confirmations:
                head = self.node.head() if head is None else head
            if not confirmations or (head or 0) - outcome.block >= confirmations:
                succeeded = SendState.DONE if outcome.succeeded else SendState.REVERTED
                state = SendState.CANCELLED if version.cancels else succeeded
                self.outbox.settle(row.number, state, outcome)
            return outcome
        return None

    def reconcile(self, chain: str, count: int) -> None:
        """Open what was final and is not on the chain any more.

        A key without a file forgets it instead: a chain under development was wound back.

        Args:
            chain: The chain's identity.
            count: The nonce that the chain says is the next.
        """
        finals = self.outbox.find(
            chain, self._address, "nonce >= ? AND state NOT IN ('open', 'dropped')", count
        )
        for row in finals:
            if any(self.node.outcome(version.tx_hash) for version in row.versions):
                continue
            if self.outbox.durable:
                self.outbox.reopen(row.number)
            else:
                self.outbox.drop(row.number)

    def report_daemons(self, chain: str) -> None:
        """Report the final transactions of a daemon's earlier life: its next look shows them.

        A payment waits for some blocks more, because a provider's back end may lag behind.
        """
        rows = self.outbox.find(
            chain, self._address, "by_daemon AND NOT reported AND state NOT IN ('open', 'dropped')"
        )
        for row in rows:
            if row.number in self.outbox.waiting or row.outcome is None:
                continue
            if row.call.value and self.node.head() - row.outcome.block < _SETTLED_BLOCKS:
                continue
            self.outbox.report(row.number)

    # Signing

    def sign(
        self, call: Call, nonce: int, gas: int, fees: Fees, block: int, *, cancels: bool = False
    ) -> Version:
        """Return a signed version of a call.

        Raises:
            TransactionRefused: It is larger than transaction pools take.
        """
        chain_id = int(self.node.identity().split("/")[0])
        fields: dict[str, Any] = {**call.fields, "nonce": nonce, "gas": gas, "chainId": chain_id}
        raw, tx_hash = self.account.sign_transaction({**fields, **fees.fields})
        if len(raw) > MOST_BYTES:
            raise TransactionRefused(
                f"The transaction has {len(raw):,} bytes, but transaction pools take at most "
                f"{MOST_BYTES:,}. Nothing was sent. Send less at once."
            )
        now = self.node.settings.clock.time()
        return Version(tx_hash, raw, fees, cancels, block, now)

    def empty_call(self) -> Call:
        """Return an empty transfer of the account to itself."""
        return Call(self._address, b"", 0)

    def empty_gas(self) -> int:
        """Return the gas of an empty transfer, which is more on some chains than on others."""
        try:
            return max(_EMPTY_GAS, self.node.estimate(self.empty_call().fields, self._address))
        except NodeRefused:
            return _EMPTY_GAS

    # Sending again

    def _send_again(self, row: Outgoing, head: int, *, first: bool) -> None:
        newest = row.newest
        market = self.node.market(fresh=True)
        too_low = newest.fees.max_fee < market.base_fee and not market.legacy
        known = self.node.knows(newest.tx_hash)
        stuck = head - newest.block >= _STUCK_BLOCKS
        if stuck and not known:
            # The same bytes first: the pool has lost them, or does not show them.
            key = ("lost", newest.tx_hash)
            stuck = self.node.lasts(key, head, blocks=_STUCK_BLOCKS, seconds=float("inf"))
        if first and (too_low or stuck) and self.reprice(row, market, head, needed=too_low):
            return
        if known:
            return
        answer = self.node.broadcast(newest.raw)
        if first:
            self.answer(row, answer, head)

    def answer(self, row: Outgoing, answer: Broadcast, head: int) -> None:
        """Do what a pool's answer to the newest version of a transaction asks for.

        Args:
            row: The transaction.
            answer: The pool's answer.
            head: The newest block.
        """
        for _ in range(_MOST_DOUBLINGS):
            market = self.node.market(fresh=True)
            if answer.verdict is Verdict.WRONG_TYPE and not row.newest.fees.legacy:
                self.node.legacy = True
                raised = self._replaced(row, self._legacy(row, self.node.market()), head)
            elif answer.verdict is Verdict.TOO_CHEAP:
                # Pools with a minimum of their own do not say how much it is: twice as much.
                raised = self.reprice(row, market, head, needed=True, doubled=True)
            elif answer.verdict is Verdict.NONCE_PENDING and self._in_pool(row):
                self.reprice(row, market, head, needed=True)
                return
            else:
                return
            if raised is None:
                return
            row, answer = raised

    def _in_pool(self, row: Outgoing) -> bool:
        """Return whether the pool holds an older version, and not another wallet's transaction."""
        return any(self.node.knows(version.tx_hash) for version in row.versions)

    def _legacy(self, row: Outgoing, market: Market) -> Fees:
        price = max(row.newest.fees.max_fee, market.base_fee)
        return Fees(min(price, self.node.settings.ceiling), 0, legacy=True)

    def reprice(
        self, row: Outgoing, market: Market, head: int, *, needed: bool, doubled: bool = False
    ) -> tuple[Outgoing, Broadcast] | None:
        """Replace a transaction by a version that pays more, and send it.

        Args:
            row: The transaction.
            market: What the chain asks for.
            head: The newest block.
            needed: Whether the present version cannot be mined.
            doubled: Whether to pay twice as much instead of an eighth more.

        Returns:
            The transaction with the new version, and the pool's answer; None if the version would
            be over the ceiling, or another process was faster.
        """
        old, ceiling = row.newest.fees, self.node.settings.ceiling
        fees = old.doubled() if doubled else old.replacement()
        asked = market.fees(ceiling)
        if asked is None:
            if needed:
                self._say_dear(row, market)
            return None
        fees = fees.at_least(asked)
        if fees.max_fee > ceiling and not old.legacy:
            least = old.replacement()
            fees = Fees(ceiling, min(max(fees.tip, least.tip), ceiling))
            if ceiling < least.max_fee or ceiling < market.base_fee + least.tip:
                fees = least
        if fees.max_fee > ceiling:
            if needed:
                self._say_dear(row, market)
            return None
        return self._replaced(row, fees, head)

    def _say_dear(self, row: Outgoing, market: Market) -> None:
        settings = self.node.settings
        self.node.say_once(
            ("dear", row.number),
            f"Transaction {row.newest.tx_hash} (nonce {row.nonce}) waits: the chain asks for "
            f"{in_gwei(market.least)} gwei for a unit of gas, and max_fee_gwei is "
            f"{settings.max_fee_gwei:g}. Wait, or raise max_fee_gwei.",
        )

    def _replaced(self, row: Outgoing, fees: Fees, head: int) -> tuple[Outgoing, Broadcast] | None:
        newest = row.newest
        call = self.empty_call() if newest.cancels else row.call
        gas = self.empty_gas() if newest.cancels else row.gas
        with self.outbox.exclusive():
            now = self.outbox.get(row.number)
            if now.newest != newest or now.nonce != row.nonce:
                return None
            version = self.sign(call, row.nonce, gas, fees, head, cancels=newest.cancels)
            self.outbox.add_version(row.number, version)
        row = replace(row, versions=(*row.versions, version))
        return row, self.node.broadcast(version.raw)

    # Nonces

    def _find_miner(self, chain: str, row: Outgoing, head: int) -> None:
        """Find out who used a transaction's nonce, and sign again if it was another wallet."""
        key = ("used", row.number, row.nonce)
        mined = self.node.miner_of(self._address, row.nonce)
        confirmations = self.node.chain.confirmations
        if mined is None:
            blocks = max(confirmations, _UNSEEN_BLOCKS)
            if not self.node.lasts(key, head, blocks=blocks, seconds=_UNSEEN_SECONDS):
                return
            used_by = "a transaction that the provider does not show"
        else:
            tx_hash, block = mined
            if any(version.tx_hash == tx_hash for version in row.versions):
                return
            if head - block < confirmations:
                return
            used_by = tx_hash
        self._give_up_nonce(chain, row, used_by)

    def _give_up_nonce(self, chain: str, row: Outgoing, used_by: str) -> None:
        tell = self.node.settings.tell
        where = f"Nonce {row.nonce} of {self._address} was used by another wallet ({used_by})"
        if row.label or row.newest.cancels:
            self.outbox.drop(row.number)
            return
        market = self.node.market(fresh=True)
        fees = market.fees(self.node.settings.ceiling)
        if fees is None:
            self._say_dear(row, market)
            return
        count = self.node.pending_count(self._address)
        with self.outbox.exclusive():
            now = self.outbox.get(row.number)
            if now.nonce != row.nonce or now.state is not SendState.OPEN:
                return
            nonce = max(count, row.nonce + 1, self.outbox.next_nonce(chain, self._address))
            version = self.sign(row.call, nonce, row.gas, fees, market.block)
            self.outbox.move(row.number, nonce, version)
        tell(f"{where}. The transaction that was to have it is sent with nonce {nonce}.")
        self.node.broadcast(version.raw)

    def _fill_gap(self, chain: str, count: int, nonce: int, head: int) -> None:
        """Fill nonces that no wallet uses, so that what follows can be mined.

        A provider said once that they were used, or lost another wallet's transactions.
        """
        key = ("gap", chain, self._address, count)
        if not self.node.lasts(key, head, blocks=_GAP_BLOCKS, seconds=_GAP_SECONDS):
            return
        held = {row.nonce for row in self.outbox.find(chain, self._address, "state != 'dropped'")}
        missing = [each for each in range(count, nonce) if each not in held]
        if len(missing) > _WIDEST_GAP:
            self.node.say_once(
                key,
                f"{self._address} has sent a transaction with nonce {nonce}, but the chain's next is "
                f"{count}. The provider counted wrongly: use another one.",
            )
            return
        market = self.node.market(fresh=True)
        fees = market.fees(self.node.settings.ceiling)
        if fees is None:
            return
        gas = self.empty_gas()
        for each in missing:
            version = self.sign(self.empty_call(), each, gas, fees, head, cancels=True)
            with self.outbox.exclusive():
                held = {
                    row.nonce for row in self.outbox.find(chain, self._address, "nonce = ?", each)
                }
                if each in held:
                    continue
                self.outbox.add(
                    chain,
                    self._address,
                    self.empty_call(),
                    label=FILL,
                    nonce=each,
                    gas=gas,
                    by_daemon=self.node.settings.by_daemon,
                    version=version,
                    reported=True,
                )
            self.node.broadcast(version.raw)
