"""Contents of an outbox for people: without keys, and without the signed bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rescind.contracts.abi import Undecodable, load_interface
from rescind.contracts.deployment import NAMES
from rescind.contracts.fees import in_ether, in_gwei
from rescind.contracts.outbox import outbox_file, shared_outbox
from rescind.contracts.outgoing import Call, Outgoing, SendState
from rescind.contracts.tending import FILL

_LONGEST = 120
"""Most characters of a call that are shown."""


@dataclass(frozen=True)
class OutboxLine:
    """One transaction of an outbox.

    Attributes:
        chain_id: The chain.
        address: The account.
        nonce: Its nonce.
        state: `open`, `done`, `reverted`, `cancelled` or `dropped`; of an open one that an empty
            transfer is to replace, `cancelling`.
        call: What it does.
        value_ether: The ether that goes along.
        max_fee_gwei: Most gwei for a unit of gas, of the newest version.
        tip_gwei: The part of it for the block's producer.
        versions: How many versions were signed.
        age_seconds: Seconds since the first version was signed.
        transaction: Hash of the version that was mined, or of the newest.
        reported: Whether the command or step that sent it learned what became of it.
    """

    chain_id: int
    address: str
    nonce: int
    state: str
    call: str
    value_ether: str
    max_fee_gwei: str
    tip_gwei: str
    versions: int
    age_seconds: int
    transaction: str
    reported: bool


def outbox_lines(keystore: Path, *, everything: bool = False) -> list[OutboxLine]:
    """Return the open transactions of a keystore's outbox, by chain and nonce.

    It needs no password and no chain.

    Args:
        keystore: The keystore.
        everything: Return those that are final, too, as far as they are kept.

    Raises:
        StoreError: The outbox cannot be read.
    """
    path = outbox_file(keystore)
    if not path.is_file():
        return []
    outbox = shared_outbox(path, "")
    condition = "1" if everything else "state = 'open'"
    return [
        _line(chain, address, row)
        for chain, address in sorted(outbox.accounts())
        for row in outbox.find(chain, address, condition)
    ]


def open_transactions(keystore: Path) -> list[str]:
    """Return one sentence for each open transaction of a keystore, for the status of a daemon."""
    return [
        f"nonce {line.nonce}: {line.call}, {line.max_fee_gwei} gwei, {line.versions} versions, for "
        f"{line.age_seconds} s, {line.transaction}"
        for line in outbox_lines(keystore)
    ]


def _line(chain: str, address: str, row: Outgoing) -> OutboxLine:
    newest = row.newest
    cancelling = newest.cancels and row.state is SendState.OPEN and row.label != FILL
    return OutboxLine(
        chain_id=int(chain.split("/")[0]),
        address=address,
        nonce=row.nonce,
        state="cancelling" if cancelling else row.state.value,
        call="empty transfer, to fill a gap" if row.label == FILL else _shown(row.call),
        value_ether=in_ether(row.call.value),
        max_fee_gwei=in_gwei(newest.fees.max_fee),
        tip_gwei=in_gwei(newest.fees.tip),
        versions=len(row.versions),
        age_seconds=max(0, int(time.time() - row.versions[0].signed_at)),
        transaction=row.outcome.tx_hash if row.outcome else newest.tx_hash,
        reported=row.reported,
    )


def _shown(call: Call) -> str:
    if not call.recipient:
        return f"creation of a contract, {len(call.data):,} bytes"
    if not call.data:
        return f"transfer to {call.recipient}"
    for name in NAMES:
        function = load_interface(name).called.get(call.data[:4])
        if function is None:
            continue
        try:
            arguments = function.decode_arguments(call.data)
        except Undecodable:
            break
        values = (v.hex() if isinstance(v, bytes) else str(v) for v in arguments.values())
        text = f"{function.source}({', '.join(values)})"
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return f"call of {call.recipient}, {len(call.data):,} bytes"
