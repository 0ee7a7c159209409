"""Accuracy, cost and leakage of the routers: `python -m benchmarks.routers.run`.

Writes results.json beside itself after each step, skips what is there, and prints the table of
docs/routers.md. Trained blocks are kept in --cache.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.routers.leak import leak
from benchmarks.routers.world import (
    LORA,
    NOBODYS_PEOPLE,
    PEOPLE,
    REFERENCE_PEOPLE,
    LoadedBlocks,
    World,
    load_model,
    make_world,
    reworded,
    trained_block,
)
from rescind.training.routers import (
    ArrowRouter,
    LikelihoodRouter,
    PrototypeRouter,
    Router,
    prototypes,
    state_bytes,
)

COUNTS = (2, 4, 8, 16, 32, 64)
SEED = 0
MOST_ASKED = 384
WITHDRAWALS = 8
RESULTS = Path(__file__).with_name("results.json")
NOBODYS = "nobody's to base"
KINDS = ("likelihood", "arrow", "arrow, all directions", "prototypes", "prototypes, per subject")


def routers(world: World, blocks: LoadedBlocks) -> dict[str, Callable[[], Router]]:
    def posted(per_subject: bool) -> dict[str, np.ndarray]:
        return {
            name: prototypes(
                blocks.base, blocks.bare(), world.organizations[name], per_subject=per_subject
            )
            for name in blocks.blocks
        }

    means, each = posted(False), posted(True)
    made: Sequence[Callable[[], Router]] = (
        LikelihoodRouter,
        lambda: ArrowRouter(world.reference),
        lambda: ArrowRouter(world.reference, directions=LORA.rank),
        lambda: PrototypeRouter(means, world.reference),
        lambda: PrototypeRouter(each, world.reference),
    )
    return dict(zip(KINDS, made, strict=True))


def measure(router: Router, blocks: LoadedBlocks, world: World) -> dict[str, Any]:
    began = time.process_time()
    router.fit(blocks)
    fitted = time.process_time() - began
    asked = [(name, e) for name in blocks.blocks for e in world.organizations[name]]
    dice = np.random.default_rng(SEED)
    asked = [asked[at] for at in sorted(dice.permutation(len(asked))[:MOST_ASKED])]
    owners = [name for name, _ in asked]
    blocks.passes = 0
    began = time.process_time()
    choices = router.route([example.question for _, example in asked])
    seconds = time.process_time() - began
    passes = blocks.passes
    other = router.route([reworded(example) for _, example in asked])
    nobodys = router.route([example.question for example in world.nobodys])
    best = [max(one.scores, key=lambda name: one.scores[name]) for one in choices]
    return {
        "asked": len(asked),
        "right": float(
            np.mean([c.organization == w for c, w in zip(choices, owners, strict=True)])
        ),
        "right, best score": float(np.mean([b == w for b, w in zip(best, owners, strict=True)])),
        "right, reworded": float(
            np.mean([c.organization == w for c, w in zip(other, owners, strict=True)])
        ),
        "nobody's": len(nobodys),
        NOBODYS: float(np.mean([one.organization is None for one in nobodys])),
        "passes a question": passes,
        "CPU ms a question": 1000 * seconds / len(asked),
        "CPU seconds to fit": fitted,
        "state bytes": state_bytes(router),
    }


def setting(steps: int) -> dict[str, Any]:
    return {
        "seed": SEED,
        "steps": steps,
        "rank": LORA.rank,
        "people an organization": PEOPLE,
        "reference people": REFERENCE_PEOPLE,
        "nobody's people": NOBODYS_PEOPLE,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {_processor()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "peft", "transformers", "numpy")},
    }


def run(counts: Sequence[int], steps: int, cache: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if held.get("setting", {}).get("steps", steps) != steps:
        raise SystemExit(f"{RESULTS} is of another number of steps: move it away")
    held.setdefault("setting", setting(steps))
    found = held.setdefault("found", {})
    world = make_world(SEED)
    model, parameters = load_model(SEED)
    tensors: dict[str, Any] = {}
    for count in sorted(counts):
        todo = [kind for kind in KINDS if f"{count} {kind}" not in found]
        if not todo:
            continue
        for name in sorted(world.organizations)[:count]:
            if name not in tensors:
                tensors[name], seconds = trained_block(
                    model, parameters, name, world.organizations[name], steps, cache
                )
                _say(f"block of {name[-4:]}: {seconds:.1f} s")
                if seconds:
                    held.setdefault("seconds to train", {})[name] = seconds
                    _save(held)
        blocks = LoadedBlocks(model, dict(sorted(tensors.items())[:count]))
        made = routers(world, blocks)
        for kind in todo:
            began = time.process_time()
            result = measure(made[kind](), blocks, world)
            withdrawn = blocks.blocks[: min(count, WITHDRAWALS)]
            result["leak"] = leak(made[kind], blocks, world, withdrawn)
            found[f"{count} {kind}"] = result
            _save(held)
            took = time.process_time() - began
            _say(f"{count} {kind}: {took:.1f} s of CPU")
    return held


def table(held: dict[str, Any]) -> str:
    lines = [
        "| organizations | router | right | best score | reworded | nobody's to base | passes "
        "| CPU ms | state | AUC before | after, best | its control | after, learned |",
        "|" + "---|" * 13,
    ]
    for count in COUNTS:
        for kind in KINDS:
            row = held["found"].get(f"{count} {kind}")
            if row is None:
                continue
            aucs = [
                row["leak"][key] for key in ("before", "after, best", "control", "after, learned")
            ]
            cells = [
                str(count),
                kind,
                *(f"{row[k]:.2f}" for k in ("right", "right, best score", "right, reworded")),
                f"{row[NOBODYS]:.2f}",
                str(row["passes a question"]),
                f"{row['CPU ms a question']:.1f}",
                f"{row['state bytes'] / 1024:.0f} KiB",
                *(f"{auc['mean']:.2f} ± {auc['deviation']:.2f}" for auc in aucs),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _save(held: dict[str, Any]) -> None:
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")
    partial.replace(RESULTS)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--cache", type=Path, default=Path("runs/routers"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    held = run(arguments.organizations, arguments.steps, arguments.cache)
    sys.stdout.write(table(held) + "\n")


if __name__ == "__main__":
    main()
