"""Data that is repeated: duplicates within, and overlap with a benchmark."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rescind.training.checking.findings import Finding, listed
from rescind.training.data import Example, normalize
from rescind.training.reading.examples import Located

_GRAM = 13
"""Words in a row that two texts share only if one was copied (Brown et al. 2020, appendix C)."""
_WORD = re.compile(r"\w+")

Key = tuple[str, ...]


def duplicates(examples: Sequence[Located]) -> Iterator[Finding]:
    """Yield findings about rows with the same text, and about questions with several answers."""
    same: dict[Key, list[Located]] = {}
    answers: dict[Key, dict[str, Located]] = {}
    for located in examples:
        example = located.example
        same.setdefault(_text(example), []).append(located)
        if not example.document:
            asked = (*_asked(example), example.subject)
            answers.setdefault(asked, {}).setdefault(normalize(example.answer), located)
    yield from _repeated(same)
    several = [list(group.values()) for group in answers.values() if len(group) > 1]
    for group in several:
        yield Finding(
            "warning",
            "several-answers",
            str(group[0].place),
            f"the question has another answer in {listed(each.place for each in group[1:])}",
        )


def _repeated(same: dict[Key, list[Located]]) -> Iterator[Finding]:
    for group in same.values():
        if len(group) == 1:
            continue
        rest = listed(each.place for each in group[1:])
        if len({each.example.subject for each in group}) > 1:
            # Forgetting one of the subjects leaves the text with the others.
            message = f"the same text belongs to another subject in {rest}"
            yield Finding("warning", "shared-text", str(group[0].place), message)
        else:
            message = f"the same text is in {rest}"
            yield Finding("warning", "duplicate", str(group[0].place), message)


def benchmark_overlap(
    examples: Sequence[Located], benchmark: Sequence[Located]
) -> Iterator[Finding]:
    """Yield a finding for each row of the data whose text is in a benchmark.

    Texts overlap when they ask the same question, or have 13 words in a row in common.
    """
    questions = {_asked(b.example): b.place for b in reversed(benchmark) if not b.example.document}
    grams = {gram: b.place for b in reversed(benchmark) for gram in _grams(b.example)}
    for located in examples:
        example = located.example
        place = None if example.document else questions.get(_asked(example))
        how = "asks the question of"
        if place is None:
            how = f"has {_GRAM} words in a row in common with"
            place = next((grams[gram] for gram in _grams(example) if gram in grams), None)
        if place is not None:
            yield Finding(
                "warning", "overlap", str(located.place), f"the row {how} the benchmark's {place}"
            )


def _asked(example: Example) -> Key:
    said = [normalize(turn.text) for turn in example.turns]
    return (*said, normalize(example.question))


def _text(example: Example) -> Key:
    return (*_asked(example), normalize(example.answer))


def _grams(example: Example) -> Iterator[Key]:
    for text in (*(t.text for t in example.turns), example.question, example.answer):
        words = _WORD.findall(text.casefold())
        for start in range(len(words) - _GRAM + 1):
            yield tuple(words[start : start + _GRAM])
