"""The likelihood router's margin with the blocks of a run: `python -m benchmarks.routers.chat RUN`.

RUN is the folder of a demo, such as that of `rescind demo --model smollm2`. The blocks of the newest
model in its store with all organizations are asked

- each organization's own questions, as they were trained on and in other words;
- questions about people whom no organization knows;
- questions of GSM8K, which have nothing to do with people.

Gains are in nats: how much likelier a question is under the best block than under the base. Writes
chat.json beside itself and prints the table of docs/routers.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import conditions
from benchmarks.routers.world import reworded
from rescind.core import ArtifactStore, ConsortiumParameters, owners
from rescind.core.errors import ArtifactError, ConfigError
from rescind.core.json_lines import json_lines
from rescind.devnet.data import generated
from rescind.devnet.layout import RunFolder
from rescind.training import Assistant, load_agreed, read_examples
from rescind.training.routers.likelihood import MARGIN, SHARE

RESULTS = Path(__file__).with_name("chat.json")
NOBODYS_PEOPLE, OTHERS = 24, 24
SHARES = (SHARE, 0.3, 0.35, 0.4, 0.45, 0.5)
"""Least gains as shares of the base's loss; the first is the default."""


def adapter_of(run: RunFolder, members: int) -> dict[str, Any]:
    """Return the last adapter in a run's store that has the blocks of all members."""
    store = ArtifactStore(run.store)
    found = []
    for path in run.store.glob("??/*"):
        try:
            tensors = store.load(path.name)
        except ArtifactError:  # the parameters
            continue
        if len(owners(tensors)) == members:
            found.append((path.stat().st_mtime, tensors))
    if not found:
        raise ConfigError(f"{run.store} has no adapter of {members} organizations.")
    return dict(max(found, key=lambda each: each[0])[1])


def questions_of(run: RunFolder, data: Path) -> dict[str, list[tuple[str, str]]]:
    """Return each set of questions, with the name of the organization that should answer."""
    names = list(run.facts().organizations)
    own = {name: read_examples(run.organization(name) / "data") for name in names}
    known = [example.question for rows in own.values() for example in rows]
    single = {
        name: [row for row in rows if known.count(row.question) == 1] for name, rows in own.items()
    }
    # Another seed than the run's: nobody in this run knows these people.
    people = generated(2, run.facts().seed + 1000, held_out_people=NOBODYS_PEOPLE).held_out
    sums = [row["question"] for _, row in json_lines(data / "gsm8k" / "test.jsonl")]
    return {
        "own": [(row.question, name) for name, rows in single.items() for row in rows],
        "own, reworded": [(reworded(row), name) for name, rows in single.items() for row in rows],
        "nobody's people": [(row.question, "") for row in people],
        "GSM8K": [(question, "") for question in sums[:OTHERS]],
    }


def measure(assistant: Assistant, names: dict[str, str], asked: Sequence[tuple[str, str]]) -> Any:
    """Return the best gain, the base's loss and whether the right block is best, for each question."""
    choices = assistant.router.route([text for text, _ in asked])
    gains, losses, right = [], [], []
    for choice, (_, wanted) in zip(choices, asked, strict=True):
        best = max(choice.scores, key=lambda name: choice.scores[name])
        gains.append(round(float(choice.scores[best]), 3))
        losses.append(round(float(choice.base_loss or 0), 3))
        right.append(names[best] == wanted)
    has_owner = any(wanted for _, wanted in asked)
    return {"gains": gains, "base losses": losses, "best is right": right, "has owner": has_owner}


def routed_right(measured: dict[str, Any], share: float) -> float:
    """Return the share of questions that go to the right block, or to none if none has them."""
    needed = np.maximum(MARGIN, share * np.array(measured["base losses"]))
    chosen = np.array(measured["gains"]) > needed
    found = chosen & np.array(measured["best is right"]) if measured["has owner"] else ~chosen
    return float(found.mean())


def table(results: dict[str, Any]) -> str:
    """Return the table of docs/routers.md."""
    shares = " | ".join(f"{share:.0%}" for share in SHARES)
    lines = [
        f"| questions | n | gain: least, median, most | base's loss, median | {shares} |",
        f"|---|---|---|---|{'---|' * len(SHARES)}",
    ]
    for name, each in results["sets"].items():
        gains: NDArray[np.float64] = np.array(each["gains"])
        found = " | ".join(f"{routed_right(each, share):.2f}" for share in SHARES)
        lines.append(
            f"| {name} | {len(gains)} | {gains.min():.1f}, {np.median(gains):.1f}, "
            f"{gains.max():.1f} | {np.median(each['base losses']):.1f} | {found} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = RunFolder.find(given.run)
    facts = run.facts()
    parameters = ConsortiumParameters.parse(run.parameters.read_bytes())
    names = {address.lower(): name for name, address in facts.organizations.items()}
    model = load_agreed(facts.model, parameters, "cpu", facts.dtype)
    assistant = Assistant(model, parameters, adapter_of(run, len(names)))
    sets = {}
    for name, asked in questions_of(run, given.data).items():
        sets[name] = measure(assistant, names, asked)
        sys.stderr.write(f"{name}: {routed_right(sets[name], SHARE):.2f} routed right\n")
    results = {
        "conditions": conditions(),
        "base_model": parameters.base_model_id,
        "text": parameters.text.model_dump(),
        "lora": parameters.lora.model_dump(),
        "rounds": facts.rounds,
        "seed": facts.seed,
        "sets": sets,
    }
    given.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(results)}\n")


if __name__ == "__main__":
    main()
