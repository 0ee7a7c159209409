"""Measure whether the language model's own scores of the labels help a head: python -m
benchmarks.learning.spoken_labels

A head gives each label a score. The base model gives its text one, too: the log-likelihood of the
label as the answer to the question. The best sum over all labels is what decoding along a trie of
the labels' texts reaches at most. The weight of the model's score is chosen on one half of the test
questions and used on the other, and the other way round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.learning.tasks import TASKS
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes
from rescind.training import Example, load_base
from rescind.training.engine.batches import Encoded, encode_example
from rescind.training.heads import solve
from rescind.training.serving.respond import OneNetwork

_WEIGHTS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_MAX_LENGTH = 512
_PROMPT = "Which of the bank's topics is this message about? {}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--base", default="tiny")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--questions", type=int, default=308)
    parser.add_argument("--task", default="banking77 Dirichlet 0.1", choices=list(TASKS))
    options = parser.parse_args()
    base = load_base(options.base, device="cpu", dtype="float32")
    bare = OneNetwork(base, base.model, _MAX_LENGTH)
    sys.stdout.write("| seed | questions | head | model | both | weights |\n" + "|---" * 6 + "|\n")
    for seed in options.seed or (0, 1, 2):
        tasks = TASKS[options.task](options.data, 4, seed)
        train = [row for rows in tasks.train.values() for row in rows]
        chosen = np.random.default_rng(seed).permutation(len(tasks.test["all"]))
        test = [tasks.test["all"][place] for place in sorted(chosen[: options.questions])]
        classes = Classes(labels=tuple(sorted({row.answer for row in train})), max_rows=10_000)
        of_head = _head_scores(classes, train, test)
        questions = [_PROMPT.format(row.question) for row in test]
        of_model = label_likelihoods(bare, questions, classes.labels)
        right = np.array([classes.labels.index(row.answer) for row in test])
        both, weights = _crossed(of_head, of_model, right)
        shares = (_share(of_head, right), _share(of_model, right), both)
        cells = [str(seed), str(len(test)), *(f"{share:.3f}" for share in shares), str(weights)]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()


def _head_scores(
    classes: Classes, train: Sequence[Example], test: Sequence[Example]
) -> NDArray[np.float64]:
    statistics = classes.collect([row.question for row in train], [row.answer for row in train])
    head = solve(statistics)
    rows = NgramFeatures().of([row.question for row in test])
    return head.scores(rows) / 2.0**head.scale_bits


@torch.inference_mode()
def label_likelihoods(
    respondent: OneNetwork, questions: Sequence[str], labels: Sequence[str]
) -> NDArray[np.float64]:
    """Return log p(label, end of the answer | question), shape (questions, labels)."""
    scores = np.zeros((len(questions), len(labels)))
    for number, question in enumerate(questions):
        rows = [
            encode_example(respondent.base, Example(question, label, ""), respondent.max_length)
            for label in labels
        ]
        scores[number] = _likelihoods(respondent, rows)
    return scores


def _likelihoods(respondent: OneNetwork, rows: Sequence[Encoded]) -> NDArray[np.float64]:
    """Return log-likelihoods of answers to one question, which goes through the model once."""
    base, network = respondent.base, respondent.network
    start = rows[0].prompt_length - 1
    answers = [row.tokens[start:] for row in rows]
    longest = max(len(answer) for answer in answers)
    tokens = torch.full((len(rows), longest), base.eos)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for line, answer in enumerate(answers):
        tokens[line, : len(answer)] = torch.tensor(answer)
        mask[line, : len(answer)] = 1
    first: Any = network(input_ids=torch.tensor([rows[0].tokens[:start]]), use_cache=True)
    cache = first.past_key_values
    cache.batch_repeat_interleave(len(rows))
    seen = torch.ones((len(rows), start), dtype=torch.long)
    logits = network(
        input_ids=tokens, attention_mask=torch.cat([seen, mask], dim=1), cache=cache
    ).logits[:, :-1]
    picked = logits.float().log_softmax(dim=-1).gather(2, tokens[:, 1:, None])[:, :, 0]
    likelihoods: NDArray[np.float64] = (picked * mask[:, 1:]).sum(dim=1).double().numpy()
    return likelihoods


def _crossed(
    of_head: NDArray[np.float64], of_model: NDArray[np.float64], right: NDArray[np.int64]
) -> tuple[float, list[float]]:
    """Return the share that is right with weights chosen on the other half, and the weights."""
    halves = (slice(0, None, 2), slice(1, None, 2))
    hits, weights = 0.0, []
    for own, other in (halves, halves[::-1]):
        shares = [_share(of_head[other] + w * of_model[other], right[other]) for w in _WEIGHTS]
        weight = _WEIGHTS[int(np.argmax(shares))]
        weights.append(weight)
        hits += _share(of_head[own] + weight * of_model[own], right[own]) * len(right[own])
    return hits / len(right), weights


def _share(scores: NDArray[np.float64], right: NDArray[np.int64]) -> float:
    return float((scores.argmax(axis=1) == right).mean())


if __name__ == "__main__":
    main()
