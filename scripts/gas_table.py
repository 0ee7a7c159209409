#!/usr/bin/env python3
"""Write the tables of docs/gas.md from contracts/snapshots: python scripts/gas_table.py [--check]

What a transaction is charged is the larger of what it uses, and of what its calldata costs at least
(EIP-7623): max(21000 + 16 n + 4 z + execution, 21000 + 40 n + 10 z), with n bytes of calldata that
are not zero and z that are. It may use 2^24 gas (EIP-7825).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parent.parent
SNAPSHOTS = ROOT / "contracts" / "snapshots"
PAGE = ROOT / "docs" / "gas.md"
BEGIN = "<!-- table: begin (scripts/gas_table.py) -->"
END = "<!-- table: end -->"
MOST_GAS = 2**24
READ_ONLY = "audit"


@dataclass(frozen=True)
class Transaction:
    """One measured call. `scenario: step` is its name in the snapshots."""

    scenario: str
    step: str
    execution: int
    nonzero: int
    zero: int

    @property
    def calldata(self) -> int:
        """Bytes."""
        return self.nonzero + self.zero

    @property
    def floor(self) -> int:
        """Gas that the calldata costs at least."""
        return 21_000 + 40 * self.nonzero + 10 * self.zero

    @property
    def gas(self) -> int:
        """Gas that the transaction is charged."""
        return max(21_000 + 16 * self.nonzero + 4 * self.zero + self.execution, self.floor)


def read() -> list[Transaction]:
    """All measured calls, by scenario in order of size, then in the order of their steps."""
    execution, nonzero, zero = (
        {
            name: int(value)
            for name, value in json.loads((SNAPSHOTS / f"{group}.json").read_text()).items()
        }
        for group in ("Execution", "CalldataNonzero", "CalldataZero")
    )
    if not execution.keys() == nonzero.keys() == zero.keys():
        raise SystemExit(
            f"{SNAPSHOTS}: the three files do not name the same calls; run forge test again"
        )
    found = []
    for name, used in execution.items():
        scenario, step = name.split(": ")
        found.append(Transaction(scenario, step, used, nonzero[name], zero[name]))
    return sorted(found, key=_order)


STEPS = (
    "propose", "vote", "execute", "open", "sitOut", "commit", "closeCommits", "reveal", "closeReveals", "judge",
    "claim", "request", "start", "offer", "ready", "advance", "sum", "fold", "close",
    "isClean", "modelsContaining (30 models)", "contentOf (400 places)",
)  # fmt: skip


def _order(transaction: Transaction) -> tuple[list[tuple[bool, int, str]], int]:
    """Numbers in a scenario's name sort as numbers."""
    words = transaction.scenario.replace(",", "").split()
    key = [(word.isdigit(), int(word) if word.isdigit() else 0, word) for word in words]
    return key, STEPS.index(transaction.step)


def table(transactions: list[Transaction]) -> str:
    """Two tables: scenarios, and their transactions."""
    lines = [
        "| what | transactions | gas in all | largest transaction | of the 2^24 allowed |",
        "|---|--:|--:|--:|--:|",
    ]
    sent = [transaction for transaction in transactions if transaction.scenario != READ_ONLY]
    for scenario, steps in groupby(sent, key=lambda transaction: transaction.scenario):
        gas = [transaction.gas for transaction in steps]
        share = f"{max(gas) / MOST_GAS:.0%}"
        lines.append(f"| {scenario} | {len(gas)} | {sum(gas):,} | {max(gas):,} | {share} |")
    lines += [
        "",
        "| transaction | execution gas | calldata bytes | gas of the transaction | charged for |",
        "|---|--:|--:|--:|---|",
    ]
    for transaction in transactions:
        charged = "calldata (floor)" if transaction.gas == transaction.floor else "use"
        gas = f"{transaction.gas:,}"
        if transaction.scenario == READ_ONLY:
            gas, charged = "none", "a call, not a transaction"
        lines.append(
            f"| {transaction.scenario}: {transaction.step} | {transaction.execution:,} | {transaction.calldata:,} | {gas} | {charged} |"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Exit code 1 if, with --check, the page is not what the snapshots say, or a transaction is too large."""
    transactions = read()
    for transaction in transactions:
        if transaction.gas > MOST_GAS and transaction.scenario != READ_ONLY:
            sys.stderr.write(
                f"{transaction.scenario}: {transaction.step} takes {transaction.gas:,} gas, more than {MOST_GAS:,}\n"
            )
            return 1
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    written = f"{before}{BEGIN}\n\n{table(transactions)}\n\n{END}{after}"
    if "--check" not in arguments:
        PAGE.write_text(written, encoding="utf-8")
    elif written != page:
        sys.stderr.write(f"{PAGE.relative_to(ROOT)} is stale: run python scripts/gas_table.py\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
