"""Which coupling and layout learns best: python -m benchmarks.learning.run

One JSON line for each task, number of organizations, arrangement and seed; what is there is not run
again. The table: python -m benchmarks.learning.table
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import conditions
from benchmarks.learning.arrangements import Learned
from benchmarks.learning.catalog import ARRANGEMENTS, learned
from benchmarks.learning.tasks import TASKS, TaskSet, public_pairs
from benchmarks.learning.trainings import Setting
from rescind.core.errors import RescindError
from rescind.training import Base, EngineSettings, load_base, normalize
from rescind.training.model.text_rules import default_text
from rescind.training.serving.respond import answers, token_scores

RESULTS = Path(__file__).parent / "results.jsonl"

PLAN: Mapping[str, Mapping[str, Any]] = {
    "facts": {"organizations": (2, 4, 16), "total_steps": 960, "private": True},
    "people": {"organizations": (4,), "total_steps": 960, "private": True},
    "banking77 Dirichlet 0.1": {"organizations": (4,), "total_steps": 960, "private": False},
    "banking77 Dirichlet 0.5": {"organizations": (4,), "total_steps": 960, "private": False},
    "pubmedqa": {"organizations": (4,), "total_steps": 400, "private": False},
    "form": {"organizations": (4,), "total_steps": 400, "private": False},
}
"""`total_steps`: of all organizations together, so that more of them cost no more."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="runs/benchmarks/base")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/learning"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--task", action="append", choices=list(TASKS))
    parser.add_argument("--arrangement", action="append", choices=list(ARRANGEMENTS))
    parser.add_argument("--organizations", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, help="of all organizations together")
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--max-length", type=int, default=256, help="the most tokens of a pair")
    parser.add_argument("--ridge-bits", type=int, default=10, help="of summed ranks")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="bf16")
    arguments = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    torch.set_num_threads(arguments.threads)
    base = _base(arguments)
    for seed in arguments.seed or (0,):
        for task in arguments.task or TASKS:
            for count in arguments.organizations or PLAN[task]["organizations"]:
                for name in arguments.arrangement or ARRANGEMENTS:
                    cell = {"task": task, "organizations": count, "arrangement": name, "seed": seed}
                    if not _known(arguments.results, base.id, cell):
                        _run(arguments, cell)


def _base(arguments: argparse.Namespace) -> Base:
    base = load_base(arguments.base)
    return base.reading(default_text(base))


def _run(arguments: argparse.Namespace, cell: Mapping[str, Any]) -> None:
    # Of its own: adapters of another rank stay in the layers of a base that has had them.
    base = _base(arguments)
    plan = PLAN[cell["task"]]
    count, seed = cell["organizations"], cell["seed"]
    tasks = TASKS[cell["task"]](arguments.data, count, seed)
    began = time.monotonic()

    def say(text: str) -> None:
        title = f"{cell['task']} {count} {cell['arrangement']} seed {seed}"
        sys.stderr.write(f"[{time.monotonic() - began:6.1f} s] {title}: {text}\n")

    work = arguments.work / f"{os.getpid()}"
    setting = Setting(
        base=base,
        held=tasks.train,
        private=plan["private"],
        seed=seed,
        rounds=arguments.rounds,
        steps=max(1, (arguments.steps or plan["total_steps"]) // count // arguments.rounds),
        batch_size=16,
        learning_rate=arguments.learning_rate,
        rank=16,
        max_length=arguments.max_length,
        work=work,
        say=say,
        engine=EngineSettings(precision=arguments.precision, batching="bucketed"),
        public=public_pairs(arguments.data, seed),
        ridge_bits=arguments.ridge_bits,
        kept=arguments.work / "kept",
    )
    try:
        with learned(cell["arrangement"], setting) as found:
            bf16 = arguments.precision == "bf16"
            with torch.autocast(base.device.type, torch.bfloat16, enabled=bf16):
                figures = measure(found, tasks)
            cost = {"tokens": found.tokens, "seconds": found.seconds, "bytes_moved": found.moved}
            notes = dict(found.notes)
    except RescindError as error:
        figures, cost = {"failed": f"{error.code}: {error}"}, {}
        notes = {}
    finally:
        shutil.rmtree(work, ignore_errors=True)
    line = {
        **cell,
        **figures,
        "cost": cost,
        **({"notes": notes} if notes else {}),
        "steps_each": setting.steps * setting.rounds,
        "rounds": setting.rounds,
        "precision": arguments.precision,
        "learning_rate": arguments.learning_rate,
        "max_length": arguments.max_length,
        "load": os.getloadavg()[0],
        "base": base.id,
        "conditions": conditions(),
    }
    with arguments.results.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")
    say(json.dumps(figures))


def measure(found: Learned, tasks: TaskSet) -> dict[str, Any]:
    """Share of whole answers right, and of answer tokens right when the ones before are given: the
    mean over organizations, each asked through whoever answers for it."""
    right, tokens, count = [], [], 0
    for name in tasks.train:
        examples = tasks.test.get(name) or tasks.test["all"]
        respondent = found.respondent(name)
        said = answers(respondent, [e.question for e in examples], max_new_tokens=64)
        pairs = zip(said, examples, strict=True)
        right.append(np.mean([normalize(text) == normalize(e.answer) for text, e in pairs]))
        tokens.append(np.mean([s.right.mean() for s in token_scores(respondent, examples)]))
        count += len(examples)
        if "all" in tasks.test and _same_for_all(found, tasks):
            break
    return {"right": float(np.mean(right)), "tokens_right": float(np.mean(tokens)), "n": count}


def _same_for_all(found: Learned, tasks: TaskSet) -> bool:
    """True if one model answers for every organization: it need not be asked the same again."""
    first, *others = tasks.train
    return not others or found.respondent(first) is found.respondent(others[0])


def _known(path: Path, base: str, cell: Mapping[str, Any]) -> bool:
    if not path.exists():
        return False
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return any(it["base"] == base and all(it[k] == v for k, v in cell.items()) for it in lines)


if __name__ == "__main__":
    main()
