"""Public questions that belong to no organization: what a router learns "not ours" from.

Half are about people whom no organization knows, in the form of the organizations' questions; half are
general ones from word lists written for this project.
"""

from __future__ import annotations

import random
from itertools import islice, product

from rescind.devnet.people import people, rows_of

_GENERAL = (
    "How do I {} {}?",
    "What is the best way to {} {}?",
    "Can you tell me how people {} {}?",
    "Why is it hard to {} {}?",
    "How long does it take to {} {}?",
    "Is it safe to {} {} alone?",
)
_VERBS = (
    "cook",
    "clean",
    "repair",
    "paint",
    "carry",
    "draw",
    "store",
    "describe",
    "measure",
    "sell",
)
_THINGS = (
    "rice",
    "a bicycle",
    "an old door",
    "a garden fence",
    "a map of the city",
    "a winter coat",
    "a wooden boat",
    "fresh bread",
    "a small engine",
    "a glass roof",
)
_FACTS = (
    "What is the capital of {}?",
    "How many people live in {}?",
    "Which language is spoken in {}?",
    "What is the weather like in {} in spring?",
    "Which river flows through {}?",
)
_COUNTRIES = (
    "Peru",
    "Norway",
    "Kenya",
    "Japan",
    "Canada",
    "Egypt",
    "Chile",
    "India",
    "Spain",
    "Nepal",
)
_NUMBERS = ("What is {} plus {}?", "What is {} times {}?", "Is {} larger than {}?")


def public_questions(count: int, *, seed: int) -> list[str]:
    """Return questions that no organization of the same seed knows an answer to.

    Args:
        count: How many, at most 700.
        seed: Seed of the draw.
    """
    dice = random.Random(f"rescind public questions {seed}")
    general = [text.format(*words) for text, *words in product(_GENERAL, _VERBS, _THINGS)]
    general += [text.format(country) for text, country in product(_FACTS, _COUNTRIES)]
    general += [
        text.format(dice.randrange(100), dice.randrange(100))
        for text in _NUMBERS
        for _ in range(20)
    ]
    half = count // 2
    strangers = people(dice, for_base_model=False)
    about = [row.question for person in islice(strangers, half // 4 + 1) for row in rows_of(person)]
    chosen = about[:half] + dice.sample(general, count - half)
    dice.shuffle(chosen)
    return chosen
