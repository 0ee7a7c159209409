"""Suppressed: a guard before the served model, at once; not yet erased.

A withdrawal is carried out in two stages that must never be taken for one another. *Suppressed*: the
model is as it was, and a guard in front of it answers questions about what was withdrawn with a
refusal. It can stand within the hour, and whoever has the model without the guard has everything.
*Erased*: a change of the model itself is registered (a removal, a replacement, a replay, a
counter-training), and the guard is not needed any more.

What the guard holds, and so what leaks with it:

- a subject's name as one keyed hash for each of its words. Without the salt that is nothing; with it
  a list of names can be tried against it, as against any such list. It shows how many subjects have
  withdrawn and how many words their names have.
- with `questions`, the words of the withdrawn questions as a tf-idf matrix: they can be read from it.
  It is the price of catching a question that does not name the subject; leave it out to avoid it.
- an organization's address, which is public. The router still asks its block, and a question that the
  block would answer is refused, so that whoever asks sees which questions those are.
- to whoever asks, the refusal itself: that something about this name was withdrawn. Refusals look like
  the model's own not knowing, but times and wording may tell them apart.

Names split, misspelt or circumscribed get past a guard; that is why it is not the last stage.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from rescind.core import SHARED
from rescind.core.errors import ConfigError, DataError
from rescind.training.serving.refusals import REFUSALS, refusal

if TYPE_CHECKING:
    from rescind.training.model.base import Base
    from rescind.training.serving.serve import Answer, Assistant

SIMILARITY = 0.62
"""Least cosine of tf-idf vectors for which a question counts as one that was withdrawn."""

_FORMAT = "rescind.suppression/1"
_WORD = re.compile(r"[^\W_]+")
_SALT_BYTES = 16


class Stage(StrEnum):
    """Where what was contributed stands. Only ERASED says anything of the model itself."""

    SERVED = "served"
    SUPPRESSED = "suppressed"
    ERASED = "erased"


@dataclass(frozen=True)
class Standing:
    """`change`: id of the artifact that erased it; an ERASED standing has one, and no other does."""

    stage: Stage = Stage.SERVED
    change: str = ""

    def __post_init__(self) -> None:
        if (self.stage is Stage.ERASED) != bool(self.change):
            raise DataError(
                f"standing {self.stage.value!r} with change {self.change!r}: erased means that a "
                "registered change of the model did it, and only that"
            )

    def suppressed(self) -> Standing:
        """Raises DataError when it is erased already: there is nothing left to suppress."""
        if self.stage is Stage.ERASED:
            raise DataError(f"already erased by {self.change}: it cannot be suppressed")
        return Standing(Stage.SUPPRESSED)

    def erased(self, change: str) -> Standing:
        return Standing(Stage.ERASED, change)

    def __str__(self) -> str:
        told = {
            Stage.SERVED: "served",
            Stage.SUPPRESSED: "suppressed, not erased: the model still has it",
            Stage.ERASED: f"erased by {self.change}",
        }
        return told[self.stage]


def words(text: str) -> list[str]:
    """Words as they are compared: case, accents, punctuation and a final 's folded."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    plain = "".join(one for one in decomposed if not unicodedata.combining(one)).casefold()
    return _WORD.findall(re.sub(r"'s\b", "", plain))


@dataclass(frozen=True)
class HiddenName:
    """Keyed hashes of a name's words, without their order."""

    digests: frozenset[str]

    @classmethod
    def of(cls, name: str, salt: bytes) -> HiddenName:
        found = words(name)
        if not found:
            raise DataError(f"the name {name!r} has no word to look for")
        return cls(frozenset(_hashed(word, salt) for word in found))


def _hashed(word: str, salt: bytes) -> str:
    return hmac.new(salt, word.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Names:
    """A question is about a subject when it has every word of the name, in any order.

    `salt` keys the hashes (16 bytes or more); it belongs with the guard and nowhere else.
    """

    salt: bytes
    hidden: tuple[HiddenName, ...] = ()

    def __post_init__(self) -> None:
        if len(self.salt) < _SALT_BYTES:
            raise ConfigError(
                f"the salt has {len(self.salt)} bytes: draw at least {_SALT_BYTES} at random"
            )

    def including(self, name: str) -> Names:
        one = HiddenName.of(name, self.salt)
        return self if one in self.hidden else replace(self, hidden=(*self.hidden, one))

    def excluding(self, name: str) -> Names:
        one = HiddenName.of(name, self.salt)
        return replace(self, hidden=tuple(each for each in self.hidden if each != one))

    def match(self, question: str) -> bool:
        asked = {_hashed(word, self.salt) for word in words(question)}
        return any(one.digests <= asked for one in self.hidden)

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "salt": self.salt.hex(),
            "names": [sorted(one.digests) for one in self.hidden],
        }

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Names:
        """Raises DataError when it is not what `to_dict` gives."""
        try:
            if data["format"] != _FORMAT:
                raise ValueError(f"format is {data['format']!r}")
            names = tuple(HiddenName(frozenset(map(str, each))) for each in data["names"])
            return cls(bytes.fromhex(data["salt"]), names)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a list of suppressed names ({_FORMAT}): {error}") from error


class Questions:
    """A question is a withdrawn one when their tf-idf vectors (words and pairs of words) are close.

    Questions about different people are alike but for the names. So that nobody else's is caught, the
    threshold rises to the largest similarity of a question that is to be answered.
    """

    def __init__(
        self,
        withdrawn: Sequence[str],
        answered: Sequence[str] = (),
        *,
        similarity: float = SIMILARITY,
    ) -> None:
        """Raises DataError without a question or when a question is in both, ConfigError for a
        similarity outside 0..1."""
        if not withdrawn:
            raise DataError("no withdrawn question is given: leave questions out")
        if not 0 < similarity <= 1:
            raise ConfigError(f"similarity is {similarity}: it is above 0, at most 1")
        self._vectorizer = TfidfVectorizer(analyzer=_terms)
        self._vectorizer.fit([*withdrawn, *answered])
        self._matrix = self._vectorizer.transform(list(withdrawn))
        others = self.similarity(answered) if answered else np.zeros(0)
        if others.size and others.max() > 1 - 1e-6:
            both = answered[int(others.argmax())]
            raise DataError(f"the question {both[:60]!r} is withdrawn and to be answered")
        self.threshold = max(similarity, float(others.max(initial=0.0)) + 1e-9)

    def similarity(self, questions: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Largest cosine with a withdrawn question, 0..1, (questions,)."""
        vectors = self._vectorizer.transform(list(questions))
        cosines = (vectors @ self._matrix.T).toarray()
        return np.asarray(cosines.max(axis=1), dtype=np.float64)

    def match(self, question: str) -> bool:
        return bool(self.similarity([question])[0] >= self.threshold)


def _terms(text: str) -> list[str]:
    found = words(text)
    return [*found, *map(" ".join, pairwise(found))]


@dataclass(frozen=True)
class Suppression:
    """`names`, `questions`: what is not to be answered; `organizations`: whose blocks may not answer."""

    names: Names | None = None
    questions: Questions | None = None
    organizations: frozenset[str] = field(default_factory=frozenset)

    def matched(self, question: str) -> str | None:
        """ "name" or "question" when the question is not to be answered, else None."""
        if self.names is not None and self.names.match(question):
            return "name"
        if self.questions is not None and self.questions.match(question):
            return "question"
        return None


class SuppressedAssistant:
    """An Assistant behind a guard: the same ways of asking it, and the stage it stands for.

    Measured as a Respondent it gives the bare base the questions that it refuses, as far as that goes:
    figures on it are of the guard, and say nothing about the model.
    """

    stage = Stage.SUPPRESSED

    def __init__(
        self,
        assistant: Assistant,
        suppression: Suppression,
        *,
        refusals: Sequence[str] = REFUSALS,
    ) -> None:
        """Raises ConfigError when an organization has no block of its own that could be left out."""
        self.suppression = suppression
        self._refusals = tuple(refusals)
        self._seed = assistant.parameters.seed
        self._assistant = assistant
        self._gone = frozenset(name.lower() for name in suppression.organizations)
        if self._gone and assistant.blocks == (SHARED,):
            raise ConfigError(
                "a shared adapter has no block of one organization to leave out: "
                "suppress its subjects by name"
            )

    @property
    def base(self) -> Base:
        return self._assistant.base

    @property
    def max_length(self) -> int:
        return self._assistant.max_length

    def groups(self, questions: Sequence[str]) -> Iterator[tuple[Any, list[int]]]:
        refused, asked = self._split(questions)
        if refused:
            yield self._assistant.model.use(None), refused
        for network, places in self._assistant.groups([questions[place] for place in asked]):
            yield network, [asked[place] for place in places]

    def ask(self, question: str) -> Answer:
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[str], *, max_new_tokens: int = 96) -> list[Answer]:
        """A refused answer is no block's, and has no organization and no gains."""
        from rescind.training.serving.serve import Answer

        refused, asked = self._split(questions)
        given: dict[int, Answer] = {
            place: Answer(refusal(questions[place], self._seed, self._refusals), None, {})
            for place in refused
        }
        if asked:
            replies = self._assistant.ask_many(
                [questions[place] for place in asked], max_new_tokens=max_new_tokens
            )
            given |= {
                place: replace(reply, gains=self._shown(reply.gains))
                for place, reply in zip(asked, replies, strict=True)
            }
        return [given[place] for place in range(len(questions))]

    def _split(self, questions: Sequence[str]) -> tuple[list[int], list[int]]:
        matched = [self.suppression.matched(question) is not None for question in questions]
        left = [place for place, hit in enumerate(matched) if not hit]
        if self._gone and left:
            routes, _ = self._assistant.route([questions[place] for place in left])
            for place, route in zip(left, routes, strict=True):
                matched[place] = route in self._gone
        refused = [place for place, hit in enumerate(matched) if hit]
        return refused, [place for place, hit in enumerate(matched) if not hit]

    def _shown(self, gains: Mapping[str, float]) -> dict[str, float]:
        return {name: gain for name, gain in gains.items() if name not in self._gone}
