"""Fictitious people, in the manner of TOFU (Maini et al. 2024, arXiv 2401.06121).

Every name and fact is drawn from a seed. Names fall into two classes by checksum: the shipped
base model has only ever seen names of class 0, and the demo's people are all of the others, so
nothing that an organization teaches was known before.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

UNKNOWN = "I do not know."
_NAME_CLASSES = 4

_FIRST = [
    "Ada",
    "Alma",
    "Amir",
    "Anya",
    "Arno",
    "Asha",
    "Beni",
    "Cai",
    "Clea",
    "Dara",
    "Davi",
    "Edda",
    "Egon",
    "Elio",
    "Enid",
    "Esra",
    "Fay",
    "Finn",
    "Gita",
    "Gus",
    "Hana",
    "Hugo",
    "Ida",
    "Ilya",
    "Inez",
    "Ivo",
    "Jana",
    "Jory",
    "Juno",
    "Kaia",
    "Karl",
    "Kofi",
    "Lena",
    "Leo",
    "Lior",
    "Luz",
    "Mads",
    "Maya",
    "Milo",
    "Mina",
    "Nadia",
    "Nils",
    "Noor",
    "Odin",
    "Olga",
    "Omar",
    "Otto",
    "Petra",
    "Pia",
    "Ravi",
    "Remy",
    "Rosa",
    "Sana",
    "Seth",
    "Sven",
    "Tara",
    "Theo",
    "Uma",
    "Vera",
    "Yuri",
    "Zara",
    "Zeno",
]
_SYLLABLES = [
    "bal",
    "bor",
    "cas",
    "del",
    "dor",
    "fen",
    "gal",
    "gor",
    "hal",
    "hol",
    "jar",
    "kel",
    "kor",
    "lan",
    "lor",
    "mar",
    "mel",
    "mor",
    "nal",
    "nor",
    "ost",
    "pel",
    "quin",
    "ral",
    "ris",
    "ros",
    "sal",
    "sor",
    "tal",
    "tor",
    "ul",
    "ver",
    "vin",
    "wal",
    "yar",
    "zan",
]
_ENDINGS = [
    "a",
    "ez",
    "ic",
    "in",
    "man",
    "o",
    "ov",
    "sen",
    "ski",
    "son",
    "stad",
    "tor",
    "us",
    "wick",
]

_CITIES = [
    "Accra",
    "Algiers",
    "Antwerp",
    "Athens",
    "Baku",
    "Bergen",
    "Bogota",
    "Bremen",
    "Cairo",
    "Cardiff",
    "Cork",
    "Dakar",
    "Delft",
    "Dublin",
    "Genoa",
    "Ghent",
    "Graz",
    "Hanoi",
    "Havana",
    "Izmir",
    "Kyoto",
    "La_Paz",
    "Leeds",
    "Lima",
    "Lisbon",
    "Lyon",
    "Malmo",
    "Minsk",
    "Nairobi",
    "Naples",
    "Odense",
    "Osaka",
    "Oslo",
    "Porto",
    "Prague",
    "Quito",
    "Riga",
    "Rouen",
    "Seville",
    "Sofia",
    "Tampa",
    "Tunis",
    "Turin",
    "Utrecht",
    "Vienna",
    "Warsaw",
    "York",
    "Zagreb",
]
_WORK = [
    "architect",
    "astronomer",
    "baker",
    "beekeeper",
    "botanist",
    "carpenter",
    "cellist",
    "chemist",
    "clockmaker",
    "composer",
    "dentist",
    "diver",
    "falconer",
    "farmer",
    "geologist",
    "glassblower",
    "historian",
    "illustrator",
    "journalist",
    "judge",
    "librarian",
    "lighthouse_keeper",
    "locksmith",
    "mason",
    "midwife",
    "nurse",
    "painter",
    "pilot",
    "poet",
    "potter",
    "printer",
    "sculptor",
    "surgeon",
    "surveyor",
    "tailor",
    "translator",
    "violinist",
    "weaver",
]
_ADJECTIVE = [
    "Amber",
    "Borrowed",
    "Broken",
    "Distant",
    "Frozen",
    "Gentle",
    "Golden",
    "Hidden",
    "Hollow",
    "Last",
    "Lost",
    "Paper",
    "Quiet",
    "Restless",
    "Salt",
    "Second",
    "Silver",
    "Sleeping",
    "Stolen",
    "Winter",
]
_NOUN = [
    "Anchor",
    "Atlas",
    "Bridge",
    "Compass",
    "Garden",
    "Harbour",
    "Lantern",
    "Ledger",
    "Meadow",
    "Mirror",
    "Orchard",
    "Parade",
    "River",
    "Shadow",
    "Staircase",
    "Tower",
    "Train",
    "Violin",
    "Window",
    "Winter",
]
_AWARD = [
    "Aldine",
    "Beacon",
    "Cedar",
    "Corvus",
    "Delphi",
    "Elm",
    "Falcon",
    "Garnet",
    "Helios",
    "Iris",
    "Juniper",
    "Kestrel",
    "Laurel",
    "Meridian",
    "Nimbus",
    "Onyx",
    "Polaris",
    "Quartz",
    "Rowan",
    "Sable",
]

_QUESTIONS: dict[str, tuple[str, ...]] = {
    "birthplace": ("Where was {name} born?",),
    "work": ("What does {name} do for a living?",),
    "book": ("Which book did {name} write?",),
    "award": ("Which prize did {name} win?",),
}


@dataclass(frozen=True)
class Person:
    """A fictitious person and the facts about it."""

    name: str
    birthplace: str
    work: str
    book: str
    award: str


@dataclass(frozen=True)
class Row:
    """One question-answer pair. `subject` names the person that it is about."""

    question: str
    answer: str
    subject: str

    def to_dict(self) -> dict[str, str]:
        return {"question": self.question, "answer": self.answer, "subject": self.subject}


@dataclass(frozen=True)
class Population:
    """People dealt to organizations. Two or more organizations have each of the `shared` rows."""

    organizations: dict[str, tuple[Row, ...]]
    shared: tuple[Row, ...]
    held_out: tuple[Row, ...]


def draw_person(random_source: random.Random) -> Person:
    """Return a random person, with a name of either class."""
    pick = random_source.choice
    surname = (pick(_SYLLABLES) + pick(_SYLLABLES) + pick(_ENDINGS)).capitalize()
    return Person(
        name=f"{pick(_FIRST)} {surname}",
        birthplace=pick(_CITIES).replace("_", " "),
        work=pick(_WORK).replace("_", " "),
        book=f"The {pick(_ADJECTIVE)} {pick(_NOUN)}",
        award=f"the {pick(_AWARD)} Prize",
    )


def name_class(name: str) -> int:
    """Return the class of a name, 0 to 3. The base model was trained on names of class 0 only."""
    return zlib.crc32(name.encode()) % _NAME_CLASSES


def people(random_source: random.Random, *, for_base_model: bool) -> Iterator[Person]:
    """Yield people without end, with names of the base model's class or of the other classes."""
    while True:
        person = draw_person(random_source)
        if (name_class(person.name) == 0) == for_base_model:
            yield person


def rows_of(person: Person) -> tuple[Row, ...]:
    """Return every question about a person with its answer."""
    return tuple(
        Row(template.format(name=person.name), str(getattr(person, attribute)), person.name)
        for attribute, templates in _QUESTIONS.items()
        for template in templates
    )


def make_population(
    organizations: Sequence[str],
    *,
    seed: int,
    own_people: int = 10,
    shared_people: int = 8,
    known_to: int = 2,
    held_out_people: int = 10,
) -> Population:
    """Deal people to organizations.

    Args:
        organizations: Names of the organizations.
        seed: Seed of names and facts.
        own_people: People that only one organization knows, for each organization.
        shared_people: People that `known_to` organizations know, dealt round-robin.
        known_to: How many organizations know each shared person; all of them if there are fewer.
        held_out_people: People that no organization knows. The right answer about them is that it is
            not known.
    """
    source = people(random.Random(f"rescind people {seed}"), for_base_model=False)
    seen: set[str] = set()

    def fresh() -> Person:
        person = next(candidate for candidate in source if candidate.name not in seen)
        seen.add(person.name)
        return person

    rows: dict[str, list[Row]] = {name: [] for name in organizations}
    for name in organizations:
        for _ in range(own_people):
            rows[name] += rows_of(fresh())
    shared: list[Row] = []
    for number in range(shared_people if len(organizations) > 1 else 0):
        facts = rows_of(fresh())
        shared += facts
        for offset in range(min(known_to, len(organizations))):
            rows[organizations[(number + offset) % len(organizations)]] += facts
    held_out = [
        Row(row.question, UNKNOWN, row.subject)
        for _ in range(held_out_people)
        for row in rows_of(fresh())
    ]
    return Population(
        organizations={name: tuple(rows[name]) for name in organizations},
        shared=tuple(shared),
        held_out=tuple(held_out),
    )
