"""Server optimizers and client rules over a first few rounds: `python -m benchmarks.servers.run`.

Writes results.json beside itself after each row, skips what is there, and prints the two tables of
docs/federated.md.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import conditions
from benchmarks.consortium import Trainer, address, history, schedule
from benchmarks.methods.scene import examples_of
from rescind.core import ConsortiumParameters, LoraParameters, dequantize
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.forgetting.history import extend
from rescind.training import Assistant, LoraModel, load_base
from rescind.training.serving.respond import token_scores

SEED, PEOPLE_SEED, ROUNDS, STEPS, RATE = 0, 5, 6, 15, 1.5e-2
LORA = LoraParameters(rank=8, alpha=16, train_a=False)
RESULTS = Path(__file__).with_name("results.json")

SERVERS: Mapping[str, Mapping[str, Any]] = {
    "fedavg, 1": {"name": "fedavg"},
    "fedavgm, 0.1": {"name": "fedavgm", "learning_rate": 0.1},
    "fedavgm, 1": {"name": "fedavgm", "learning_rate": 1.0},
    "fedadagrad, 0.01": {"name": "fedadagrad", "learning_rate": 0.01},
    "fedadam, 0.001": {"name": "fedadam", "learning_rate": 0.001},
    "fedadam, 0.01": {"name": "fedadam", "learning_rate": 0.01},
    "fedadam, 0.03": {"name": "fedadam", "learning_rate": 0.03},
    "fedyogi, 0.03": {"name": "fedyogi", "learning_rate": 0.03},
}
RULES: Mapping[str, Mapping[str, Any] | None] = {
    "none": None,
    "proximal, mu 0.001": {"name": "proximal", "mu": 0.001},
    "proximal, mu 0.01": {"name": "proximal", "mu": 0.01},
    "proximal, mu 0.1": {"name": "proximal", "mu": 0.1},
    "proximal, mu 1": {"name": "proximal", "mu": 1.0},
    "scaffold": {"name": "scaffold"},
}


def agreed(base: Any, model: LoraModel, **changes: Any) -> ConsortiumParameters:
    parameters = default_parameters("federated", base.id, model.shapes, seed=SEED)
    document = parameters.model_dump(mode="json")
    document["lora"] = LORA.model_dump(mode="json")
    document["training"] |= {"steps_per_round": STEPS, "learning_rate": RATE}
    if rule := changes.get("rule"):
        document["training"]["rule"] = rule
    if server := changes.get("server"):
        document["server"] = server
    return ConsortiumParameters.model_validate(document)


def measure(**changes: Any) -> dict[str, Any]:
    """Nats a token of all organizations' right answers after each round."""
    base = load_base(BASE_MODEL, device="cpu")
    model = LoraModel(base, LORA)
    parameters = agreed(base, model, **changes)
    population = make_population(["a", "b", "c"], seed=PEOPLE_SEED)
    data = {address(who): examples_of(rows) for who, rows in population.organizations.items()}
    pairs = [example for rows in data.values() for example in rows]
    trainer = Trainer(model, parameters, data)
    losses: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        done = history(parameters, Path(folder))
        for number in range(1, ROUNDS + 1):
            plan = [e for e in schedule(sorted(data), number, STEPS) if e.round_id == number]
            done = extend(done, plan, trainer)
            scores = token_scores(Assistant(model, parameters, done.served()), pairs)
            losses.append(-float(np.concatenate([each.log_probs for each in scores]).mean()))
        first = dequantize(done.aggregates()[0], fraction_bits=parameters.fraction_bits)
    entries = np.concatenate([value.ravel() for value in first.values()])
    return {"losses": losses, "first_rms": float(np.sqrt(np.mean(entries**2))), "n": len(pairs)}


def main() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    torch.set_num_threads(1)
    held: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else _empty()
    for part, rows in (("server", SERVERS), ("rule", RULES)):
        for name, choice in rows.items():
            if name not in held[part]:
                held[part][name] = measure(**{part: choice})
                RESULTS.write_text(json.dumps(held, indent=1) + "\n")
                sys.stderr.write(f"{part}: {name}\n")
    sys.stdout.write(table("server, learning rate", held["server"]))
    sys.stdout.write("\n" + table("rule", held["rule"]))


def table(title: str, rows: Mapping[str, Any]) -> str:
    rounds = " | ".join(str(number) for number in range(2, ROUNDS + 1))
    lines = [f"| {title} | after round 1 | {rounds} |", "|" + "---|" * (ROUNDS + 1)]
    for name, one in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{it:.3f}" for it in one["losses"]) + " |")
    sizes = {one["n"] for one in rows.values()}
    rms = next(iter(rows.values()))["first_rms"]
    lines += ["", f"n {sizes}, root mean square of the first aggregate's entries {rms:.3f}"]
    return "\n".join(lines) + "\n"


def _empty() -> dict[str, Any]:
    return {"seed": SEED, "conditions": conditions(), "server": {}, "rule": {}}


if __name__ == "__main__":
    main()
