"""Compare the pay of cheats with the pay of honest training in the same seat.

    python -m benchmarks.participation.cheats

Three organizations train honestly for one round. In the second round one of them, each in turn, sends what
it did not train for; the other two train. No chain: the aggregator's scores, and the contract's split of
one ether. A seed decides the addresses, the questions and the agreed seed. Deltas are kept in `--deltas`,
so that an interrupted run goes on. Writes results/cheats.json beside this file, after each seed.

By worth is the aggregator's rule for updates that are one player. By heads is what it is compared with: equal
parts for each of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import conditions
from rescind.agents.payout import credit
from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.scoring import BenchmarkScorer, Deltas
from rescind.core import (
    ConsortiumParameters,
    Coupling,
    Totals,
    initial,
    owner,
    qualify,
    weighted_sum,
    weights,
)
from rescind.daemon import ModelSection
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import Example, LoraModel, RoundTraining, load_base
from rescind.training.engine.contribution import contribute

Delta = dict[str, NDArray[Any]]

RESULTS = Path(__file__).parent / "results" / "cheats.json"
DELTAS = Path("runs/benchmarks/cheats")
ETHER = 10**18
MEMBERS = 3
RULES = ("by heads", "by worth")
STEPS = 40
"""Half of the devnet's round, as in the tests."""
COPY_IN_TIME = "copy in time"
"""As if the commitment had hidden nothing."""
TWO_NAMES = "two names"
"""The same two updates, taken as those of one organization: what both are paid, beside what it would be
paid under one name."""
STALE_SEEDS = 12
"""A stale update takes a training of its own, so only the first seeds have one, in the last seat."""
DIFFERENCE = 1e-3
"""Share of the reward; scores are whole numbers of ten thousand, so what is less is rounding."""


class ByHeads(BenchmarkScorer):
    def _shares(self, group: Sequence[str], deltas: Deltas, parent: Totals) -> dict[str, float]:  # noqa: ARG002
        return dict.fromkeys(group, 1 / len(group))


@dataclass(frozen=True)
class Scene:
    """`rounds`: by round, each organization's honest delta; `stale`: the last one's second delta, trained
    from where the first round started."""

    parameters: ConsortiumParameters
    organizations: tuple[str, ...]
    rounds: tuple[dict[str, Delta], dict[str, Delta]]
    stale: Delta | None
    benchmark: tuple[Example, ...]

    @property
    def parent(self) -> dict[str, NDArray[np.int64]]:
        first = self.rounds[0]
        share = weights(self.parameters.layout, self.organizations)
        return weighted_sum([(first[name], share[name]) for name in self.organizations])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--coupling", choices=get_args(Coupling), action="append")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--deltas", type=Path, default=DELTAS)
    parser.add_argument("--trained-only", action="store_true", help="leave out untrained seeds")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.deltas.mkdir(parents=True, exist_ok=True)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    cases = [
        (coupling, seed, arguments.deltas)
        for seed in seeds
        for coupling in arguments.coupling or get_args(Coupling)
        if not arguments.trained_only or kept(arguments.deltas, coupling, seed).exists()
    ]
    rows: list[dict[str, Any]] = []
    with get_context("spawn").Pool(arguments.processes) as pool:
        for found in pool.imap(measure, cases):
            rows += found
            arguments.results.write_text(document(rows), encoding="utf-8")
            sys.stderr.write(f"{found[0]['layout']}, seed {found[0]['seed']} done\n")
    sys.stdout.write(table(rows))


def document(rows: Sequence[Mapping[str, Any]]) -> str:
    """JSON with a row a line."""
    head = {"conditions": conditions(), "members": MEMBERS, "steps": STEPS}
    lines = ",\n".join(json.dumps(row) for row in rows)
    return f'{json.dumps(head)[:-1]}, "rounds": [\n{lines}\n]}}\n'


def measure(case: tuple[Coupling, int, Path]) -> list[dict[str, Any]]:
    """Score one seed's second round honestly, and with each cheat in each seat."""
    torch.set_num_threads(1)
    coupling, seed, folder = case
    scene = open_scene(coupling, seed, folder)
    section, model = EvaluationSection(data=Path()), ModelSection(path=str(BASE_MODEL))
    scorer = BenchmarkScorer(section, model, scene.parameters, scene.benchmark)
    heads = ByHeads(section, model, scene.parameters, scene.benchmark)
    heads._known = scorer._known  # Losses are found once for both.
    rules = dict(zip(RULES, (heads, scorer), strict=True))
    second, parent = scene.rounds[1], scene.parent
    honest = {rule: pay(its.score(second, parent)) for rule, its in rules.items()}
    rows: dict[str, dict[str, Any]] = {}

    def note(cheat: str, seat: int, rule: str, paid: float, instead: float) -> None:
        start: dict[str, Any] = {"layout": scene.parameters.layout, "seed": seed, "cheat": cheat}
        row = rows.setdefault(cheat, start | {"seats": [], "paid": {}, "honest": {}})
        if seat not in row["seats"]:
            row["seats"].append(seat)
        row["paid"].setdefault(rule, []).append(round(paid, 5))
        row["honest"].setdefault(rule, []).append(round(instead, 5))

    for seat, cheat in enumerate(scene.organizations):
        victim = scene.organizations[(seat + 1) % MEMBERS]
        others = {name: delta for name, delta in second.items() if name != cheat}
        for name, delta in cheats(scene, cheat, victim, seed):
            for rule, its in rules.items():
                paid = pay(its.score({**others, cheat: delta}, parent))
                note(name, seat, rule, paid[cheat], honest[rule][cheat])
                if name == COPY_IN_TIME:
                    alone = pay(its.score(others, parent))
                    note(TWO_NAMES, seat, rule, paid[cheat] + paid[victim], alone[victim])
    return list(rows.values())


def pay(scores: Mapping[str, int]) -> dict[str, float]:
    """Shares of the round's reward."""
    credits_ = credit(ETHER, ETHER, list(scores.values()))
    return {name: wei / ETHER for name, wei in zip(scores, credits_, strict=True)}


def addresses(seed: int) -> tuple[str, ...]:
    names = (hashlib.sha256(f"cheats {seed} {n}".encode()).hexdigest() for n in range(MEMBERS))
    return tuple(sorted(f"0x{name[:40]}" for name in names))


def kept(folder: Path, coupling: Coupling, seed: int) -> Path:
    return folder / f"{coupling}-{seed}.npz"


def open_scene(coupling: Coupling, seed: int, folder: Path) -> Scene:
    """Load a seed's deltas, or train and keep them."""
    base, path = load_base(BASE_MODEL), kept(folder, coupling, seed)
    model, corpus = LoraModel(base, default_lora(coupling)), generated(MEMBERS, seed)
    parameters = default_parameters(coupling, base.id, model.shapes, seed=seed)
    names = addresses(seed)
    if not path.exists():
        rows = dict(zip(names, corpus.organizations.values(), strict=True))
        _train(model, parameters, rows, path, stale=seed < STALE_SEEDS)
    known: dict[str, dict[str, Delta]] = {"first": {}, "second": {}, "stale": {}}
    with np.load(path) as file:
        for key in file.files:
            which, name, tensor = key.split("|")
            known[which].setdefault(name, {})[tensor] = file[key]
    stale = known["stale"].get(names[-1]) if seed < STALE_SEEDS else None
    return Scene(parameters, names, (known["first"], known["second"]), stale, corpus.shared)


def _train(
    model: LoraModel,
    parameters: ConsortiumParameters,
    rows: Mapping[str, Sequence[Example]],
    path: Path,
    *,
    stale: bool,
) -> None:
    def train(name: str, round_id: int, start: Totals) -> Delta:
        made = contribute(
            model,
            parameters,
            name,
            round_id,
            start,
            list(rows[name]),
            None,
            RoundTraining(steps=STEPS),
        )
        return dict(made.quantized.delta)

    first = {name: train(name, 1, {}) for name in rows}
    share = weights(parameters.layout, list(rows))
    parent = weighted_sum([(first[name], share[name]) for name in rows])
    found = {"first": first, "second": {name: train(name, 2, parent) for name in rows}}
    if stale:
        last = list(rows)[-1]
        found["stale"] = {last: train(last, 2, {})}
    flat = {
        f"{which}|{name}|{tensor}": value
        for which, deltas in found.items()
        for name, delta in deltas.items()
        for tensor, value in delta.items()
    }
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **flat)  # type: ignore[arg-type]
    partial.rename(path)


def cheats(scene: Scene, cheat: str, victim: str, seed: int) -> Iterator[tuple[str, Delta]]:
    """Each cheat's name and update. A zero delta and an exact replay the contract refuses."""
    first, second = scene.rounds
    dice = np.random.default_rng(seed)
    honest = second[cheat]
    yield "next to zero", _touched({name: np.zeros_like(value) for name, value in honest.items()})
    yield (
        "random",
        {
            name: np.rint(
                dice.normal(0, max(1.0, float(np.abs(value).mean())), value.shape)
            ).astype(np.int32)
            for name, value in honest.items()
        },
    )
    yield "sign-flipped", {name: -value for name, value in honest.items()}
    for scale in (0.5, 1.0, 2.0):
        yield f"own last update x {scale:g}", _touched(_scaled(first[cheat], scale))
    if scene.parameters.layout == "blocks":
        yield "another's block as it was", _touched(_moved(scene, cheat, victim, {}))
    for scale in (0.5, 1.0, 2.0):
        update = _scaled(first[victim], scale)
        yield f"another's last update x {scale:g}", _touched(_moved(scene, cheat, victim, update))
    if scene.parameters.layout == "shared":
        together = [first[name].items() for name in scene.organizations]
        summed: dict[str, Any] = {}
        for items in together:
            for name, value in items:
                summed[name] = summed.get(name, 0) + value / MEMBERS
        yield (
            "the last sum again",
            {name: np.rint(v).astype(np.int32) for name, v in summed.items()},
        )
    if scene.stale is not None and cheat == scene.organizations[-1]:
        yield "stale", scene.stale
    yield COPY_IN_TIME, _touched(_moved(scene, cheat, victim, second[victim]))


def _moved(scene: Scene, cheat: str, victim: str, update: Delta) -> Delta:
    """The cheat's update that ends where the victim's block would with `update`, which may be empty."""
    parameters = scene.parameters
    if parameters.layout == "shared":
        return update
    parent, bits = scene.parent, parameters.fraction_bits
    here, there = (owner("blocks", name) for name in (cheat, victim))
    result: Delta = {}
    for bare, shape in parameters.shapes.items():
        mine, theirs = (
            initial(parameters.seed, name, bare, shape, fraction_bits=bits)
            + parent[qualify(name, bare)] // 10_000
            for name in (here, there)
        )
        end = theirs + update.get(qualify(there, bare), 0)
        result[qualify(here, bare)] = (end - mine).astype(np.int32)
    return result


def _scaled(delta: Delta, scale: float) -> Delta:
    return {name: np.rint(scale * value).astype(np.int32) for name, value in delta.items()}


def _touched(delta: Delta) -> Delta:
    changed = {name: value.copy() for name, value in delta.items()}
    changed[max(changed)].flat[0] += 1
    return changed


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """For each rule: how often the cheat was paid more than honest training in the same seat, by more than
    rounding; the mean pay of both, in shares of the reward; the largest difference."""
    head = "".join(f"| {rule}: more often, paid, honest, most " for rule in RULES)
    lines = [f"{'layout':7} {'cheat':28} {'rounds':>6} {head}"]
    keys = dict.fromkeys((row["layout"], row["cheat"]) for row in rows)
    for layout, cheat in sorted(keys, key=lambda key: key[0]):
        mine = [row for row in rows if (row["layout"], row["cheat"]) == (layout, cheat)]
        line, count = "", 0
        for rule in RULES:
            paid, honest = (
                np.array([share for row in mine for share in row[what][rule]])
                for what in ("paid", "honest")
            )
            count = paid.size
            line += (
                f"| {int(np.sum(paid > honest + DIFFERENCE)):20} {paid.mean():6.3f} "
                f"{honest.mean():6.3f} {(paid - honest).max():+7.3f} "
            )
        lines.append(f"{layout:7} {cheat:28} {count:6} {line}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
