"""The evidence of an answer as a short table: rescind ask --why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from rescind.cli.printing import out, plain


def print_evidence(why: Mapping[str, Any]) -> None:
    """Print why a block or head answered.

    Args:
        why: The evidence as JSON, with the number of the model that was asked.
    """
    out.print()
    out.print(plain(f"why: {why['reason']}"), soft_wrap=True)
    if why["head"]:
        out.print(_labels(why["head"]))
    if why["blocks"]:
        out.print(plain(f"router {why['router']}: {why['measure']}"), soft_wrap=True)
        out.print(_table(why))
    if why["base_loss_nats"] is not None:
        out.print(f"the base's loss on the question: {why['base_loss_nats']:.2f} nats")
    if why["threshold"] is not None:
        out.print(plain(f"threshold {why['threshold']:.2f}: {why['threshold_rule']}"))
    out.print(f"model {why['model']}")


def _table(why: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("block", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("above threshold", justify="right")
    table.add_column("")
    for block in why["blocks"]:
        above = block["above_threshold"]
        table.add_row(
            plain(block["organization"]),
            f"{block['score']:.2f}",
            "" if above is None else f"{above:+.2f}",
            "answered" if block["answered"] else "",
        )
    if why["base_loss_nats"] is not None:
        blocks_answer = any(block["answered"] for block in why["blocks"])
        table.add_row("(base)", "0.00", "", "" if blocks_answer else "answered")
    return table


def _labels(head: Mapping[str, Any]) -> Table:
    table = Table(box=None, header_style="bold")
    table.add_column("label", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("")
    for each in head["labels"]:
        answered = "answered" if each["answered"] else ""
        table.add_row(plain(each["label"]), f"{each['score']:.2f}", answered)
    others = head["labels_with_rows"] - len(head["labels"])
    if others:
        table.add_row(plain(f"({others} more)"), "", "")
    return table
