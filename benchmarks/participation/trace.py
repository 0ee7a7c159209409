"""Short rounds of real training at every effort and data fraction, as a trace for the game's curve.

    python -m benchmarks.participation.trace

One organization for each action, alone on the shipped base model, 12 rounds; writes traces/training.jsonl.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from rescind.agents import ACTIONS, TraceRow, write_trace
from rescind.agents.curves import fit
from rescind.core import WEIGHT_ONE, add_totals, weighted_sum
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import (
    Assistant,
    LoraModel,
    RoundTraining,
    evaluate,
    load_base,
)
from rescind.training.engine.contribution import contribute

TRACE = Path(__file__).with_name("traces") / "training.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20, help="of a round at full effort")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=TRACE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus, base = generated(4, arguments.seed), load_base(BASE_MODEL)
    model = LoraModel(base, default_lora("isolated"))
    parameters = default_parameters("isolated", base.id, model.shapes, seed=arguments.seed)
    rows: list[TraceRow] = []
    for place, (name, examples) in enumerate(corpus.organizations.items(), 1):
        action = ACTIONS[place]
        who = "0x" + f"{place:040x}"
        totals: dict[str, Any] = {}
        residual, quality = None, 0.0
        for round_id in range(1, arguments.rounds + 1):
            made = contribute(
                model,
                parameters,
                who,
                round_id,
                totals,
                examples,
                residual,
                RoundTraining(steps=max(1, round(arguments.steps * action.effort))),
                data_fraction=action.data_fraction,
            )
            residual = dict(made.quantized.residual)
            totals = add_totals([totals, weighted_sum([(made.quantized.delta, WEIGHT_ONE)])])
            before, quality = (
                quality,
                evaluate(Assistant(model, parameters, totals), examples).score,
            )
            rows.append(
                TraceRow(
                    organization=name,
                    round=round_id,
                    effort=action.effort,
                    data_fraction=action.data_fraction,
                    took_part=True,
                    quality_before=before,
                    quality=quality,
                    score=0,
                    paid=0.0,
                    compute_price=0.0,
                    quality_value=0.0,
                )
            )
            sys.stderr.write(f"{name} {action} round {round_id}: {quality:.3f}\n")
    arguments.out.parent.mkdir(exist_ok=True)
    write_trace(arguments.out, rows)
    curve, error = fit(rows)
    sys.stdout.write(f"{curve}, root mean square error {error:.3f}\n")


if __name__ == "__main__":
    main()
