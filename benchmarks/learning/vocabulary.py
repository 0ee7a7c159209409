"""Measure an additive head over the vocabulary: python -m benchmarks.learning.vocabulary

Each organization reads its pairs once with the frozen base model and posts sums. The head is chosen
among maps, rules of the ridge, forms and gammas by halves of the training pairs: solved from the sums
of the even pairs of each organization, it writes the odd ones; the most whole answers right win, then
the most tokens. Then it is solved from all. Results are appended to vocabulary.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import clock, conditions
from benchmarks.learning.tasks import TASKS, TaskSet, public_pairs
from benchmarks.learning.vocabulary_head import (
    TARGET_BITS,
    Form,
    Scored,
    ServedHead,
    VocabularyMap,
    VocabularySums,
    added,
    bare,
    in_floats,
    maps,
    serving,
)
from benchmarks.learning.vocabulary_labels import chosen_labels, label_head
from benchmarks.learning.vocabulary_positions import (
    Floats,
    Integers,
    Positions,
    kept_read,
    layers_of,
    places,
)
from benchmarks.learning.vocabulary_table import page
from rescind.core import encode
from rescind.training import Base, Example, load_base, normalize
from rescind.training.heads import solve
from rescind.training.model.text_rules import default_text
from rescind.training.ridges import RidgeRule
from rescind.training.serving.respond import OneNetwork, answers

RESULTS = Path(__file__).parent / "vocabulary.jsonl"
PEERS = tuple(
    Path(__file__).parent / f"{name}.jsonl" for name in ("vocabulary_peers", "one_exchange")
)
_PROMPTS = {
    "banking77 Dirichlet 0.1": "Which of the bank's topics is this message about? {}",
    "pubmedqa": "Is the finding yes, no or maybe? {}",
}
_TASKS = ("form", "banking77 Dirichlet 0.1", "pubmedqa", "people")
_ORGANIZATIONS = 4
_MAX_LENGTH = 600
_PUBLIC = 100
_PERSON_PAIRS = 5
_RULES: tuple[RidgeRule, ...] = ("trace", "gcv")
_GAMMAS: Mapping[Form, Sequence[float]] = {
    "probabilities": (1.0,),
    "logits": (2.0, 4.0, 8.0, 16.0, 64.0, 256.0),
    "log-odds": (0.5, 1.0, 2.0),
    "without base": (1.0,),
}
_SCALE_BITS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--task", action="append", choices=_TASKS)
    parser.add_argument("--questions", type=int, default=1000, help="the most that are asked")
    parser.add_argument("--pairs", type=int, help="the most of each organization; by default all")
    parser.add_argument("--random", type=int, default=1023, help="features of the widest map")
    parser.add_argument("--written", type=int, default=1000, help="the most that are written out")
    parser.add_argument("--trie", type=int, default=1000, help="the most that choose a label")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "rescind-features" / "positions",
        help="where positions that were read are kept between runs",
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    base = load_base(options.base, device="cpu", dtype="float32")
    base = base.reading(default_text(base))
    for seed in options.seed or (0, 1, 2):
        for task in options.task or _TASKS:
            cell = {"task": task, "seed": seed, "random": options.random, "base": base.id}
            cell |= {"pairs": options.pairs}
            if not any(line.items() >= cell.items() for line in _lines(options.results)):
                measured = _Measured(base, options, task, seed)
                line = {**cell, **measured.line(), "load": os.getloadavg()[0]}
                with options.results.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps({**line, "conditions": conditions()}) + "\n")
    peers = [line for path in PEERS for line in _lines(path)]
    sys.stdout.write(page(_lines(options.results), peers))


def _lines(path: Path) -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
    )


@dataclass(frozen=True)
class Variant:
    """A way to solve and serve a head; the halves of the training pairs choose one."""

    map: str
    rule: RidgeRule
    form: Form
    gamma: float


class _Part:
    """An organization's positions, and its rows and sums under each map, each computed once."""

    def __init__(self, positions: Positions, agreed: Mapping[str, VocabularyMap]) -> None:
        self.positions = positions
        self.rows = {name: each.rows(positions.states) for name, each in agreed.items()}
        odd = positions.pair % 2 == 1
        self.odd = places(positions, odd)
        self.sums: dict[tuple[str, str], VocabularySums] = {}
        for name, rows in self.rows.items():
            even = VocabularySums.of(rows[~odd], places(positions, ~odd))
            rest = VocabularySums.of(rows[odd], self.odd)
            self.sums[name, "even"] = even
            self.sums[name, "all"] = VocabularySums.sum([even, rest])

    def again(self, name: str) -> VocabularySums:
        """Return the sums of all pairs under a map, collected once more."""
        return VocabularySums.of(self.rows[name], self.positions)


class _Measured:
    def __init__(self, base: Base, options: argparse.Namespace, task: str, seed: int) -> None:
        self.base, self.task = base, task
        tasks = TASKS[task](options.data, _ORGANIZATIONS, seed)
        held = {name: rows[: options.pairs] for name, rows in tasks.train.items()}
        self.tasks = _limited(TaskSet(held, tasks.test), options.questions)
        self.written, self.trie = options.written, options.trie
        asked = _asked(self.tasks, task)
        layers = layers_of(base)
        rows = [
            base.encoder.within(row, _MAX_LENGTH) for held in asked.train.values() for row in held
        ]
        self.tokens = sorted({token for row in rows for token in row.tokens[row.prompt_length :]})

        def read(held: Sequence[Example]) -> tuple[Positions, float]:
            return kept_read(options.cache, base, layers, self.tokens, held, _MAX_LENGTH)

        public, _ = read(public_pairs(options.data, seed, _PUBLIC))
        self.maps = maps(base, public, options.random)
        positions = {name: read(held) for name, held in asked.train.items() if held}
        began = clock()
        self.parts = {name: _Part(own, self.maps) for name, (own, _) in positions.items()}
        summing = clock() - began
        reading = sum(seconds for _, seconds in positions.values())
        self.collecting = (reading + summing) / len(self.parts)
        self.questions = [row for rows in asked.test.values() for row in rows]
        self.test, _ = read(self.questions)
        self.test_rows = {name: each.rows(self.test.states) for name, each in self.maps.items()}

    def line(self) -> dict[str, Any]:
        """Return all figures of a task and a seed."""
        parts = list(self.parts.values())
        chosen, table = self._study(parts)
        head, exact = self._exact(chosen)
        alone = {name: self._head([part], chosen) for name, part in self.parts.items()}
        heads: dict[str, ServedHead | None] = {"base": None, "together": head, **alone}
        return {
            "n": len(self.questions),
            "n_tokens": len(self.test),
            "tokens_in_use": len(self.tokens),
            "positions": sum(len(part.positions) for part in parts),
            "chosen": asdict(chosen),
            "base_alone": self._figures(bare(self.test)),
            "together": self._figures(head.score(self.test)),
            "alone": _mean([self._figures(own.score(self.test)) for own in alone.values()]),
            "alone_on_own": self._on_own(alone) if "all" not in self.tasks.test else None,
            "written": self._written(head),
            **exact,
            "variants": table,
            "trie": self._trie(heads) if self.task in _PROMPTS else None,
            "label_head": label_head(self.tasks) if self.task in _PROMPTS else None,
            "seconds_to_collect": self.collecting,
        }

    def _study(self, parts: Sequence[_Part]) -> tuple[Variant, list[dict[str, Any]]]:
        """Return what the halves choose, and for each variant its figures on odd pairs and the test."""
        table: list[dict[str, Any]] = []
        for name, rule in product(self.maps, _RULES):
            fits = {}
            for half in ("even", "all"):
                sums = VocabularySums.sum([part.sums[name, half] for part in parts])
                fits[half] = in_floats(sums, sums.ridge(rule), list(_GAMMAS))
            odd = [
                (part.odd, part.rows[name][part.positions.pair % 2 == 1])
                for part in parts
                if len(part.odd)
            ]
            for form, gammas in _GAMMAS.items():
                test = self.test_rows[name] @ fits["all"][form]
                corrections = [rows @ fits["even"][form] for _, rows in odd]
                for gamma in gammas:
                    held = [
                        (positions, added(form, positions, correction, gamma))
                        for (positions, _), correction in zip(odd, corrections, strict=True)
                    ]
                    figures = self._figures(added(form, self.test, test, gamma))
                    table.append(
                        asdict(Variant(name, rule, form, gamma))
                        | {"odd": _counted(held), "whole": figures["whole"]}
                    )
        best = max(table, key=lambda row: row["odd"])
        return Variant(*(best[name] for name in ("map", "rule", "form", "gamma"))), table

    def _head(self, parts: Sequence[_Part], chosen: Variant) -> ServedHead:
        sums = VocabularySums.sum([part.sums[chosen.map, "all"] for part in parts])
        weights = in_floats(sums, sums.ridge(chosen.rule), [chosen.form])[chosen.form]
        return self._served(chosen, weights)

    def _served(self, chosen: Variant, weights: Floats) -> ServedHead:
        return ServedHead(self.maps[chosen.map], self.tokens, chosen.form, chosen.gamma, weights)

    def _exact(self, chosen: Variant) -> tuple[ServedHead, dict[str, Any]]:
        """Solve the head in integers; then remove the first organization, and five pairs of it."""
        sums = {name: part.sums[chosen.map, "all"] for name, part in self.parts.items()}
        together = VocabularySums.sum(list(sums.values()))
        began = clock()
        weights = _solved(together, chosen)
        solving = clock() - began
        first, *others = self.parts
        began = clock()
        rest = together.without(sums[first])
        after = _solved(rest, chosen)
        removing = clock() - began
        never = VocabularySums.sum([self.parts[name].again(chosen.map) for name in others])
        # Heads are functions of the sums, so equal bytes of the sums are equal bytes of the heads.
        same = encode(rest.tensors()) == encode(never.tensors())
        scale = 2.0 ** (_SCALE_BITS + TARGET_BITS)
        return self._served(chosen, weights / scale), {
            "same_as_without": same,
            "same_without_person": self._person(together, sums, chosen),
            "dimensions": together.tokens.dimensions,
            "bytes_of_sums": len(encode(together.tensors())),
            "seconds_to_solve": solving,
            "seconds_to_remove": removing,
            "after_a_removal": self._figures(self._served(chosen, after / scale).score(self.test)),
        }

    def _person(
        self, together: VocabularySums, sums: Mapping[str, VocabularySums], chosen: Variant
    ) -> bool:
        name, part = next(iter(self.parts.items()))
        rows = part.rows[chosen.map]

        def of(kept: Any) -> VocabularySums:
            return VocabularySums.of(rows[kept], places(part.positions, kept))

        own = part.positions.pair < _PERSON_PAIRS
        rest = together.without(of(own))
        never = VocabularySums.sum([of(~own), *(sums[other] for other in sums if other != name)])
        return encode(rest.tensors()) == encode(never.tensors())

    def _figures(self, scored: Scored) -> dict[str, float]:
        """Return the shares of whole answers and of tokens right, given the tokens before.

        An answer is whole if each of its tokens is the likeliest after those before it, so that is
        what greedy decoding writes.
        """
        right = scored.right(self.test)
        return {
            "whole": float(_whole(right, self.test).mean()),
            "tokens": float(right.mean()),
            "nats": float(-_likelihoods(scored, self.test).mean()),
        }

    def _on_own(self, alone: Mapping[str, ServedHead]) -> dict[str, float]:
        """Return what organizations get right of their own questions, each with its own head."""
        ends = np.cumsum([len(self.tasks.test[name]) for name in self.tasks.test])
        starts = dict(zip(self.tasks.test, [0, *ends[:-1]], strict=True))
        figures = []
        for name, head in alone.items():
            start = starts[name]
            kept = (self.test.pair >= start) & (self.test.pair < start + len(self.tasks.test[name]))
            own = places(self.test, kept)
            right = head.score(own).right(own)
            figures.append(
                {"whole": float(_whole(right, own).mean()), "tokens": float(right.mean())}
            )
        return _mean(figures)

    def _written(self, head: ServedHead) -> dict[str, Any]:
        """Let the base model write answers with the head, and without it."""
        asked = self.questions[: self.written]
        if not asked:
            return {"n": 0}
        network = OneNetwork(self.base, self.base.model, _MAX_LENGTH)
        texts = [row.question for row in asked]
        said = {"base": answers(network, texts, max_new_tokens=64)}
        with serving(self.base, head):
            said["together"] = answers(network, texts, max_new_tokens=64)
        wanted = [normalize(row.answer) for row in asked]
        right = {
            name: [normalize(text) == other for text, other in zip(each, wanted, strict=True)]
            for name, each in said.items()
        }
        return {"n": len(asked), **{name: float(np.mean(each)) for name, each in right.items()}}

    def _trie(self, heads: Mapping[str, ServedHead | None]) -> dict[str, Any]:
        labels = sorted({row.answer for held in self.tasks.train.values() for row in held})
        asked = self.questions[: self.trie]
        shares = chosen_labels(self.base, asked, labels, heads, self.tokens)
        return {
            "n": len(asked),
            "base": shares["base"],
            "together": shares["together"],
            "alone": _mean([shares[name] for name in self.parts]),
        }


def _limited(tasks: TaskSet, most: int) -> TaskSet:
    """Ask at most so many questions of a test, spread over it."""

    def some(rows: list[Example]) -> list[Example]:
        room = most // len(tasks.test)
        if len(rows) <= room:
            return rows
        places = np.random.default_rng(0).permutation(len(rows))[:room]
        return [rows[place] for place in sorted(places)]

    return TaskSet(tasks.train, {name: some(rows) for name, rows in tasks.test.items()})


def _asked(tasks: TaskSet, task: str) -> TaskSet:
    """Return the same tasks with each question in its prompt."""
    prompt = _PROMPTS.get(task, "{}")

    def put(rows: Sequence[Example]) -> list[Example]:
        return [replace(row, question=prompt.format(row.question)) for row in rows]

    return TaskSet(
        {name: put(rows) for name, rows in tasks.train.items()},
        {name: put(rows) for name, rows in tasks.test.items()},
    )


def _whole(right: Any, positions: Positions) -> Any:
    """Return for each pair whether all of its tokens are right."""
    wrong = np.bincount(positions.pair, weights=~right)
    held = np.bincount(positions.pair) > 0
    return wrong[held] == 0


def _likelihoods(scored: Scored, positions: Positions) -> Floats:
    """Return log p of each next token; of another than the agreed ones the least, log(FLOOR)."""
    normal = scored.normal()
    own = normal[np.arange(len(positions)), positions.next]
    return np.where(positions.next >= 0, np.maximum(own, -20.0), -20.0)


def _counted(held: Sequence[tuple[Positions, Scored]]) -> tuple[int, int]:
    """Return how many answers are whole and how many tokens right, over all organizations."""
    rights = [(scored.right(positions), positions) for positions, scored in held]
    return (
        sum(int(_whole(right, positions).sum()) for right, positions in rights),
        sum(int(right.sum()) for right, _ in rights),
    )


def _mean(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}


def _solved(sums: VocabularySums, chosen: Variant) -> Integers:
    return solve(
        sums.system(chosen.form), ridge=sums.ridge(chosen.rule), scale_bits=_SCALE_BITS
    ).weights


if __name__ == "__main__":
    main()
