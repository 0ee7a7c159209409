"""Bytes that a node fetches of a model in blocks: `python -m benchmarks.scale.downloads`.

For each number of members a model of all of them is adopted, and then three models after it: one
to which every member contributed, one to which a quarter did, and one after the removal of a
member. "before" is the whole adapter, which is what a node fetched before it assembled files.
Openings and header are included. Downloads are the real client's; the connection is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.scale.shapes import lora_shapes
from benchmarks.wire.measuring import processor, table
from rescind.node.adopting import adopt, adopted
from tests.support.consortium import micro_parameters
from tests.support.models_of_blocks import Blocks

RESULTS = Path(__file__).parent / "results" / "downloads.json"
MIB = 2**20


def measured(blocks: Blocks, model: int) -> dict[str, Any]:
    """Adopt a published model; return its size, the bytes that were sent, and the seconds."""
    files = blocks.client.files
    sizes = [blocks.published.read(each, 0, 1)[1] for each in (files.adapter_id, files.opening_id)]
    before, began = blocks.client.fetched, time.monotonic()
    adopt(blocks.session, model)
    seconds = time.monotonic() - began
    fact = adopted(blocks.session, model)
    assert fact is not None
    assert not fact.left_out
    return {
        "before": sum(sizes),
        "after": blocks.client.fetched - before,
        "seconds": round(seconds, 2),
    }


def play(members: int, shapes: dict[str, tuple[int, ...]], folder: Path) -> dict[str, Any]:
    parameters = micro_parameters(shapes=shapes)
    blocks = Blocks(folder, parameters, members, variants=4)
    blocks.play(1)
    blocks.publish(1)
    found = {"first model": measured(blocks, 1)}
    blocks.play(2)
    blocks.publish(2)
    found["all contribute"] = measured(blocks, 2)
    blocks.play(3, blocks.people[-max(members // 4, 1) :])
    blocks.publish(3)
    found["a quarter contributes"] = measured(blocks, 3)
    blocks.publish(4, out=blocks.people[members // 2 : members // 2 + 1])
    found["one is removed"] = measured(blocks, 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=int, default=1_000_000, help="integers in a block")
    parser.add_argument("--members", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    shapes, found, rows = lora_shapes(options.parameters), {}, []
    for members in options.members:
        with tempfile.TemporaryDirectory() as folder:
            found[str(members)] = play(members, shapes, Path(folder))
        for what, each in found[str(members)].items():
            sizes = [f"{each[name] / MIB:,.1f}" for name in ("before", "after")]
            rows.append([str(members), what, *sizes, f"{each['seconds']:.1f}"])
    head = ["members", "model", "before, MiB", "after, MiB", "adopted in, s"]
    sys.stdout.write(table(head, rows) + "\n")
    setting = {"machine": processor(), "parameters": options.parameters}
    options.json.write_text(json.dumps({"setting": setting, "bytes": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
