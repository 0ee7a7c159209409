"""The attacks on a weak unlearning: `python -m benchmarks.attacks.run`.

Writes results.json beside itself and prints the table of docs/attacks.md.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.conditions import conditions
from rescind.forgetting.attacks import attack_suite, scene_of_block
from rescind.forgetting.metrics import rouge_l_recall
from rescind.training import Example
from rescind.training.serving.respond import Respondent, answers
from tests.support.attacked_model import case

SEEDS = (0, 1, 2)
RESULTS = Path(__file__).with_name("results.json")


def measure() -> dict[str, Any]:
    """Every attack on a block that was trained to refuse, and a plain question beside them."""
    it = case()
    with scene_of_block(
        it.block, it.forget, unseen=it.unseen, retain=it.retain, benign=it.benign
    ) as scene:
        assert scene.replay is not None
        plain = {
            "value": _plain(scene.unlearned, it.forget),
            "replay_value": _plain(scene.replay, it.forget),
        }
        report = attack_suite(scene, seeds=SEEDS)
    return {"plain question, ROUGE-L": plain} | report


def _plain(model: Respondent, forget: Sequence[Example]) -> float:
    said = answers(model, [example.question for example in forget], max_new_tokens=32)
    return rouge_l_recall(said, [example.answer for example in forget]).value


def table(found: Mapping[str, Any]) -> str:
    lines = ["| attack | unlearned | replay | gap |", "|---|---|---|---|"]
    plain = found["plain question, ROUGE-L"]
    rows = {"plain question, ROUGE-L": plain | {"gap": plain["value"] - plain["replay_value"]}}
    rows |= {f"`{name}`": one for name, one in found["attacks"].items()}
    for name, one in rows.items():
        gap = f"{one['gap']:+.2f}"
        lines.append(f"| {name} | {one['value']:.2f} | {one['replay_value']:.2f} | {gap} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    torch.set_num_threads(1)
    if not RESULTS.exists():
        RESULTS.write_text(json.dumps({"conditions": conditions()} | measure(), indent=1) + "\n")
    sys.stdout.write(table(json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
