"""Public questions that belong to no organization: what a router learns "not ours" from.

Most are about people whom no organization knows, in the form of the organizations' questions; the
rest are general ones from word lists written for this project.
"""

from __future__ import annotations

import random
from itertools import islice, product

from rescind.core import artifact_id
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics, reference_bytes
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


_ABOUT_PEOPLE = 0.8
"""Share of the questions that name a stranger. With half of them, a third of the strangers who share a
first or last name with somebody's people were taken for theirs (seeds 0 to 2)."""
_REFERENCE = 1000
"""Questions of a reference. Twice as many hide half of what the organizations know."""
_BUCKETS = 1023
"""Names of a few hundred people, told apart; a router of them is solved in half a second."""
_LEAST_QUESTIONS = 1024
"""Room for the questions of an organization that has few."""


def public_questions(count: int, *, seed: int) -> list[str]:
    """Return questions that no organization of the same seed knows an answer to.

    Args:
        count: How many, at most 3000.
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
    named = int(count * _ABOUT_PEOPLE)
    strangers = people(dice, for_base_model=False)
    about = [
        row.question for person in islice(strangers, named // 4 + 1) for row in rows_of(person)
    ]
    chosen = about[:named] + dice.sample(general, count - named)
    dice.shuffle(chosen)
    return chosen


def public_reference(seed: int) -> bytes:
    """Return the artifact of the public questions from which a demo's router is solved."""
    return reference_bytes(NgramFeatures(buckets=_BUCKETS), public_questions(_REFERENCE, seed=seed))


def router_of(reference: bytes, max_members: int, most_questions: int) -> RouterStatistics:
    """Return the router that the organizations of a demo agree on.

    Args:
        reference: What `public_reference` returned.
        max_members: The most members of the consortium.
        most_questions: The most questions that an organization has.
    """
    return RouterStatistics(
        features=NgramFeatures(buckets=_BUCKETS),
        reference=artifact_id(reference),
        max_members=max_members,
        max_rows=max(_LEAST_QUESTIONS, 2 * most_questions),
    )
