"""Labels chosen for questions by a model with an additive head, or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.learning.tasks import TaskSet
from benchmarks.learning.vocabulary_head import ServedHead, bare
from benchmarks.learning.vocabulary_positions import (
    Floats,
    Positions,
    joined,
    layers_of,
    of_output,
)
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics
from rescind.training import Base, Example
from rescind.training.engine.batches import encode_example
from rescind.training.heads import solve

_MAX_LENGTH = 600


def chosen_labels(
    base: Base,
    questions: Sequence[Example],
    labels: Sequence[str],
    heads: Mapping[str, ServedHead | None],
    tokens: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Return the shares of questions that get their label, by head and by way of choosing.

    "likeliest" is the label whose whole text is the most likely, "steps" the one at which a walk along
    the trie of the labels' tokens ends that takes the likeliest allowed token at each step.

    Args:
        base: The base model.
        questions: What is asked.
        labels: The labels.
        heads: By name, all with the same map; None for the base model alone.
        tokens: The agreed tokens, which hold those of all labels.
    """
    hits: dict[str, dict[str, list[bool]]] = {
        name: {"likeliest": [], "steps": []} for name in heads
    }
    for row in questions:
        each = _positions(base, row.question, labels, tokens)
        every = joined(each)
        known = [head for head in heads.values() if head is not None]
        rows = known[0].agreed.rows(every.states)
        cuts = np.cumsum([len(positions) for positions in each])[:-1]
        for name, head in heads.items():
            normal = (bare(every) if head is None else head.score(every, rows)).normal()
            own = normal[np.arange(len(every)), every.next]
            likeliest = int(np.argmax([part.sum() for part in np.split(own, cuts)]))
            walked = _walk(np.split(normal, cuts), each)
            hits[name]["likeliest"].append(labels[likeliest] == row.answer)
            hits[name]["steps"].append(labels[walked] == row.answer)
    return {
        name: {way: float(np.mean(right)) for way, right in ways.items()}
        for name, ways in hits.items()
    }


@torch.inference_mode()
def _positions(
    base: Base, question: str, labels: Sequence[str], tokens: Sequence[int]
) -> list[Positions]:
    """Return the positions of each label as the answer; the question goes through the model once."""
    rows = [encode_example(base, Example(question, label, ""), _MAX_LENGTH) for label in labels]
    start = rows[0].prompt_length - 1
    texts = [row.tokens[start:] for row in rows]
    longest = max(len(text) for text in texts)
    padded = torch.tensor([[*text, *[base.eos] * (longest - len(text))] for text in texts])
    first: Any = base.model(input_ids=torch.tensor([rows[0].tokens[:start]]), use_cache=True)
    cache = first.past_key_values
    cache.batch_repeat_interleave(len(rows))
    output = base.model(input_ids=padded, cache=cache, output_hidden_states=True)
    return [
        of_output(
            output, line, slice(0, len(text) - 1), text[1:], layers_of(base), tokens, pair=line
        )
        for line, text in enumerate(texts)
    ]


def _walk(logs: Sequence[Floats], each: Sequence[Positions]) -> int:
    """Return the label that the likeliest allowed token at each step leads to."""
    left = list(range(len(each)))
    step = 0
    while len(left) > 1:
        # Those that are left have the same tokens so far, so they agree on what comes next.
        own = logs[left[0]][step]
        best = max({int(each[place].next[step]) for place in left}, key=lambda token: own[token])
        left = [place for place in left if int(each[place].next[step]) == best]
        step += 1
    return left[0]


def label_head(tasks: TaskSet) -> dict[str, float]:
    """Return what heads of sums over n-grams of the questions choose among labels."""
    train = {name: held for name, held in tasks.train.items() if held}
    labels = tuple(sorted({row.answer for held in train.values() for row in held}))
    classes = Classes(labels=labels, max_rows=10_000)
    sums = [
        classes.collect([row.question for row in held], [row.answer for row in held])
        for held in train.values()
    ]
    asked = [row for rows in tasks.test.values() for row in rows]
    features = NgramFeatures().of([row.question for row in asked])

    def share(statistics: RowStatistics) -> float:
        scores = np.where(statistics.counts > 0, solve(statistics).scores(features), -np.inf)
        chosen = [labels[place] for place in scores.argmax(axis=1)]
        return float(
            np.mean([label == row.answer for label, row in zip(chosen, asked, strict=True)])
        )

    return {
        "together": share(RowStatistics.sum(sums)),
        "alone": float(np.mean([share(own) for own in sums])),
    }
