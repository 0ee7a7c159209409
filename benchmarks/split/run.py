"""Learning with the split layout, and the traces of revocable data: `python -m benchmarks.split.run`.

Writes results.json beside itself after each setting, skips what is there, and prints the table of
docs/split.md.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import LoraParameters, Totals, add_totals
from rescind.core.layout import split_sum
from rescind.core.split_settings import SplitSettings
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.training import (
    Assistant,
    Example,
    LoraModel,
    evaluate,
    load_base,
    round_seed,
)
from rescind.training.split.plan import Label
from rescind.training.split.train import contribute_split

SEED, ORGANIZATIONS, OWN_PEOPLE, PUBLIC_PEOPLE = 0, 4, 6, 6
ROUNDS, OPEN_STEPS, REVOCABLE_STEPS = 3, 40, 40
SHARED_RANK, SHARED_RATE = 4, 1.5e-2
RETAIN_SHARES = (1.0, 0.5, 0.1)
RESULTS = Path(__file__).with_name("results.json")
LORA = LoraParameters(rank=8, alpha=16, train_a=True)

Data = tuple[dict[str, list[Example]], list[Example], list[Example]]


def make_data() -> Data:
    """Each organization's own examples, those that all have and may show, and nobody's."""
    names = [f"0x{number:040x}" for number in range(1, ORGANIZATIONS + 1)]
    population = make_population(
        names,
        seed=SEED,
        own_people=OWN_PEOPLE,
        shared_people=PUBLIC_PEOPLE,
        known_to=ORGANIZATIONS,
    )
    public = [Example(r.question, r.answer, r.subject) for r in population.shared]
    own = {
        name: [
            e
            for e in (Example(r.question, r.answer, r.subject) for r in rows)
            if e not in set(public)
        ]
        for name, rows in population.organizations.items()
    }
    return own, public, [Example(r.question, r.answer, r.subject) for r in population.held_out]


def train(model: LoraModel, parameters: Any, how: SplitSettings, data: Data, absent: str) -> Totals:
    """Totals after all rounds; the organization `absent` has no revocable data."""
    own, public, _ = data
    totals: dict[str, NDArray[np.int64]] = {}
    residuals: dict[str, dict[Any, Any]] = {name: {} for name in own}
    for number in range(1, ROUNDS + 1):
        deltas = {}
        for name, private in own.items():
            revocable = [] if name == absent else private
            labels: list[Label] = ["revocable"] * len(revocable)
            labels += ["public"] * len(public)
            given = contribute_split(
                model,
                parameters,
                how,
                name,
                totals,
                revocable + public,
                labels,
                residuals[name],
                open_steps=OPEN_STEPS,
                revocable_steps=REVOCABLE_STEPS if revocable else 0,
                seed=round_seed(SEED, name, number),
            )
            parts = {"shared": given.shared, "own": given.own}
            deltas[name] = {
                tensor: value
                for part in parts.values()
                if part
                for tensor, value in part.delta.items()
            }
            residuals[name] = {key: part.residual for key, part in parts.items() if part}
        totals = add_totals([totals, split_sum(deltas)])
    return totals


def scores(
    model: LoraModel, parameters: Any, how: SplitSettings, data: Data, totals: Totals
) -> dict[str, Any]:
    own, public, held_out = data
    assistant = Assistant(model, parameters, totals, split=how)
    return {
        "own": [evaluate(assistant, rows).score for rows in own.values()],
        "public": evaluate(assistant, public).score,
        "nobody's": evaluate(assistant, held_out).score,
    }


def measure(retain_share: float) -> dict[str, Any]:
    began = time.process_time()
    data = make_data()
    first = next(iter(data[0]))
    model = LoraModel(load_base(BASE_MODEL, device="cpu"), LORA)
    parameters = default_parameters("isolated", model.base.id, model.shapes, seed=SEED)
    parameters = parameters.model_copy(update={"lora": LORA})
    how = SplitSettings(SHARED_RANK, retain_share, SHARED_RATE)
    whole = train(model, parameters, how, data, absent="")
    dropped = {name: value for name, value in whole.items() if not name.startswith(first)}
    shared_only = {name: value for name, value in whole.items() if name.startswith("shared/")}
    never = train(model, parameters, how, data, absent=first)
    never = {name: value for name, value in never.items() if not name.startswith(first)}
    return {
        "everybody": scores(model, parameters, how, data, whole),
        "first's block dropped": scores(model, parameters, how, data, dropped),
        "first's revocable data never there": scores(model, parameters, how, data, never),
        "shared ranks alone": scores(model, parameters, how, data, shared_only),
        "same bytes": all(np.array_equal(dropped[n], never[n]) for n in dropped),
        "shared ranks moved by it": _distance(dropped, never),
        "CPU seconds": time.process_time() - began,
    }


def _distance(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """L2 of the difference of the shared tensors, as a share of the L2 of the first."""
    names = [name for name in one if name.startswith("shared/")]
    apart = sum(float(np.square((one[n] - other[n]).astype(float)).sum()) for n in names)
    size = sum(float(np.square(one[n].astype(float)).sum()) for n in names)
    return float(np.sqrt(apart / size))


def table(held: dict[str, Any]) -> str:
    lines = [
        "| retain share | | own facts of the four | public | nobody's | same bytes | shared ranks moved |",
        "|" + "---|" * 7,
    ]
    for share, row in held["found"].items():
        for state in (
            "everybody",
            "first's block dropped",
            "first's revocable data never there",
            "shared ranks alone",
        ):
            one = row[state]
            own = " ".join(f"{value:.2f}" for value in one["own"])
            last = state == "first's block dropped"
            same = ("yes" if row["same bytes"] else "no") if last else ""
            moved = f"{row['shared ranks moved by it']:.3f}" if last else ""
            nobodys = one["nobody's"]
            lines.append(
                f"| {share} | {state} | {own} | {one['public']:.2f} | {nobodys:.2f} | {same} | {moved} |"
            )
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    held: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    held.setdefault(
        "setting",
        {
            "seed": SEED,
            "rounds": ROUNDS,
            "open steps": OPEN_STEPS,
            "revocable steps": REVOCABLE_STEPS,
            "shared rank": SHARED_RANK,
            "shared learning rate": SHARED_RATE,
            "rank": LORA.rank,
            "machine": platform.machine(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "peft", "transformers", "numpy")},
        },
    )
    found = held.setdefault("found", {})
    for share in RETAIN_SHARES:
        if str(share) not in found:
            found[str(share)] = measure(share)
            RESULTS.write_text(json.dumps(held, indent=1) + "\n")
            sys.stderr.write(
                f"retain share {share}: {found[str(share)]['CPU seconds']:.0f} s of CPU\n"
            )
    sys.stdout.write(table(held) + "\n")


if __name__ == "__main__":
    main()
