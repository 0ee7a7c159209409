"""Suppression: a guard before the served model, until the withdrawn data is erased from it.

A withdrawal is carried out in two stages that must never be confused. *Suppressed*: the model is
unchanged, and a guard in front of it answers questions about withdrawn data with a refusal. A guard
can be set up within the hour, but anyone who has the model without the guard has everything.
*Erased*: a change of the model itself is registered (a removal, a replacement, a replay, a
counter-training), and the guard is no longer needed.

The guard holds the following, which leaks with it:

- a subject's name as one keyed hash for each of its words. Without the salt that reveals nothing;
  with it, a list of names can be tried, as against any such list. It shows how many subjects have
  withdrawn and how many words their names have.
- with `questions`, the words of the withdrawn questions as a tf-idf matrix, from which they can be
  read. That is the price of catching a question that does not name the subject; leave it out to
  avoid it.
- an organization's address, which is public. The router still asks its block, and a question that
  the block would answer is refused, so that a person who asks sees which questions those are. So is
  every question that a head answers: heads are solved from sums that the organization may be in.
- the refusal itself tells a person who asks that something about this name was withdrawn. Refusals
  look like the model's own ignorance, but times and wording may distinguish them.

Names that are split, misspelt or paraphrased get past a guard. That is why it is not the last
stage.
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
from rescind.core.names import canonical_name
from rescind.training.serving.heads import texts_of_heads
from rescind.training.serving.refusals import REFUSALS, refusal
from rescind.training.text.question import Question, question_text, question_turns

if TYPE_CHECKING:
    from rescind.training.model.base import Base
    from rescind.training.serving.serve import Answer, Assistant

SIMILARITY = 0.62
"""The least cosine of tf-idf vectors at which a question counts as withdrawn."""

_FORMAT = "rescind.suppression/1"
_WORD = re.compile(r"[^\W_]+")
_SALT_BYTES = 16
"""128 bits: too many to try."""


class Stage(StrEnum):
    """The stage of a withdrawal. Only ERASED says anything about the model itself."""

    SERVED = "served"
    SUPPRESSED = "suppressed"
    ERASED = "erased"


@dataclass(frozen=True)
class Standing:
    """The stage of a contribution.

    Attributes:
        stage: The stage.
        change: The id of the artifact that erased it. Set exactly when the stage is ERASED.
    """

    stage: Stage = Stage.SERVED
    change: str = ""

    def __post_init__(self) -> None:
        if (self.stage is Stage.ERASED) != bool(self.change):
            raise DataError(
                f"The stage is {self.stage.value!r} and the change is {self.change!r}. Give the "
                "registered change of the model exactly when the stage is 'erased'."
            )

    def suppressed(self) -> Standing:
        """Return the suppressed standing. Raises DataError when it is already erased."""
        if self.stage is Stage.ERASED:
            raise DataError(
                f"This is already erased by {self.change}. There is nothing left to suppress."
            )
        return Standing(Stage.SUPPRESSED)

    def erased(self, change: str) -> Standing:
        """Return the standing after a registered change of the model."""
        return Standing(Stage.ERASED, change)

    def __str__(self) -> str:
        texts = {
            Stage.SERVED: "served",
            Stage.SUPPRESSED: "suppressed, not erased: the model still has it",
            Stage.ERASED: f"erased by {self.change}",
        }
        return texts[self.stage]


def words(text: str) -> list[str]:
    """Return the words of a text without case, accents, punctuation and final 's."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    plain = "".join(mark for mark in decomposed if not unicodedata.combining(mark)).casefold()
    return _WORD.findall(re.sub(r"'s\b", "", plain))


@dataclass(frozen=True)
class HiddenName:
    """Keyed hashes of a name's words, without their order."""

    digests: frozenset[str]

    @classmethod
    def of(cls, name: str, salt: bytes) -> HiddenName:
        """Hash the words of a name. Raises DataError for a name that is not valid or has no word."""
        parts = words(canonical_name(name))
        if not parts:
            raise DataError("A name to suppress has no word to look for. Give at least one.")
        return cls(frozenset(_hashed(word, salt) for word in parts))


def _hashed(word: str, salt: bytes) -> str:
    return hmac.new(salt, word.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Names:
    """Hidden names. A question is about a subject when it has every word of the name, in any order.

    Attributes:
        salt: The key of the hashes, at least 16 bytes. Keep it with the guard and nowhere else.
        hidden: The names.
    """

    salt: bytes
    hidden: tuple[HiddenName, ...] = ()

    def __post_init__(self) -> None:
        if len(self.salt) < _SALT_BYTES:
            raise ConfigError(
                f"The salt has {len(self.salt)} bytes: draw at least {_SALT_BYTES} at random."
            )

    def including(self, name: str) -> Names:
        """Return the names with another one."""
        hidden = HiddenName.of(name, self.salt)
        return self if hidden in self.hidden else replace(self, hidden=(*self.hidden, hidden))

    def excluding(self, name: str) -> Names:
        """Return the names without one."""
        hidden = HiddenName.of(name, self.salt)
        return replace(self, hidden=tuple(each for each in self.hidden if each != hidden))

    def match(self, question: str) -> bool:
        """Return whether a question has every word of a hidden name."""
        asked = {_hashed(word, self.salt) for word in words(question)}
        return any(name.digests <= asked for name in self.hidden)

    def to_dict(self) -> dict[str, Any]:
        """Return the names as JSON."""
        return {
            "format": _FORMAT,
            "salt": self.salt.hex(),
            "names": [sorted(name.digests) for name in self.hidden],
        }

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Names:
        """Read the document that `to_dict` returns. Raises DataError for any other."""
        try:
            if data["format"] != _FORMAT:
                raise ValueError(f"format is {data['format']!r}")
            names = tuple(HiddenName(frozenset(map(str, each))) for each in data["names"])
            return cls(bytes.fromhex(data["salt"]), names)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"This is not a list of suppressed names ({_FORMAT}): {error}."
            ) from error


class Questions:
    """Withdrawn questions. A question counts as withdrawn when its tf-idf vector is close to one.

    The vectors count words and pairs of words. Questions about different people are alike except
    for the names, so the threshold rises to the largest similarity of a question that must still be
    answered.
    """

    def __init__(
        self,
        withdrawn: Sequence[str],
        answered: Sequence[str] = (),
        *,
        similarity: float = SIMILARITY,
    ) -> None:
        """Learn the vectors.

        Args:
            withdrawn: Questions to refuse.
            answered: Questions that must still be answered.
            similarity: The least threshold, above 0 and at most 1.

        Raises:
            DataError: There is no withdrawn question, or a question is in both lists.
            ConfigError: The similarity is out of range.
        """
        if not withdrawn:
            raise DataError(
                "There is no withdrawn question. Give at least one, or suppress by name only."
            )
        if not 0 < similarity <= 1:
            raise ConfigError(f"similarity is {similarity}. It must be above 0, at most 1.")
        self._vectorizer = TfidfVectorizer(analyzer=_terms)
        self._vectorizer.fit([*withdrawn, *answered])
        self._matrix = self._vectorizer.transform(list(withdrawn))
        others = self.similarity(answered) if answered else np.zeros(0)
        if others.size and others.max() > 1 - 1e-6:
            both = answered[int(others.argmax())]
            raise DataError(
                f"The question {both[:60]!r} is both withdrawn and to be answered. Remove it from "
                "one list."
            )
        self.threshold = max(similarity, float(others.max(initial=0.0)) + 1e-9)

    def similarity(self, questions: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return each question's largest cosine with a withdrawn one, 0..1, (questions,)."""
        vectors = self._vectorizer.transform(list(questions))
        cosines = (vectors @ self._matrix.T).toarray()
        return np.asarray(cosines.max(axis=1), dtype=np.float64)

    def match(self, question: str) -> bool:
        """Return whether a question counts as withdrawn."""
        return bool(self.similarity([question])[0] >= self.threshold)


def _terms(text: str) -> list[str]:
    single = words(text)
    return [*single, *map(" ".join, pairwise(single))]


@dataclass(frozen=True)
class Suppression:
    """The questions to refuse.

    Attributes:
        names: Subjects whose questions are refused.
        questions: Withdrawn questions.
        organizations: Owners of blocks that may not answer. Nor may any head, which is solved from
            the sum of all organizations.
    """

    names: Names | None = None
    questions: Questions | None = None
    organizations: frozenset[str] = field(default_factory=frozenset)

    def matched(self, question: str) -> str | None:
        """Return the reason to refuse a question, "name" or "question", or None."""
        if self.names is not None and self.names.match(question):
            return "name"
        if self.questions is not None and self.questions.match(question):
            return "question"
        return None


class SuppressedAssistant:
    """An Assistant behind a guard, with the same methods.

    Measured as a Respondent, it gives the questions that it refuses to the bare base. Such figures
    describe the guard and say nothing about the model.
    """

    stage = Stage.SUPPRESSED

    def __init__(
        self,
        assistant: Assistant,
        suppression: Suppression,
        *,
        refusals: Sequence[str] = REFUSALS,
    ) -> None:
        """Put a guard before an assistant.

        Args:
            assistant: The assistant.
            suppression: The questions to refuse.
            refusals: Texts of refusals.

        Raises:
            ConfigError: An organization has no block of its own that could be left out.
        """
        self.suppression = suppression
        self._refusals = tuple(refusals)
        self._seed = assistant.parameters.seed
        self._assistant = assistant
        self._suppressed = frozenset(name.lower() for name in suppression.organizations)
        if self._suppressed and assistant.blocks == (SHARED,):
            raise ConfigError(
                "A shared adapter has no block of one organization to leave out. "
                "Instead suppress its subjects by name."
            )

    @property
    def base(self) -> Base:
        """The base model."""
        return self._assistant.base

    @property
    def max_length(self) -> int:
        """The most tokens that a question with its answer may have."""
        return self._assistant.max_length

    def groups(self, questions: Sequence[Question]) -> Iterator[tuple[Any, list[int]]]:
        """Yield each network with the indices of the questions that it answers."""
        refused, asked = self._split(questions)
        if refused:
            yield self._assistant.model.use(None), refused
        for network, indices in self._assistant.groups([questions[index] for index in asked]):
            yield network, [asked[index] for index in indices]

    def ask(self, question: Question) -> Answer:
        """Return the answer or refusal to one question."""
        return self.ask_many([question])[0]

    def ask_many(self, questions: Sequence[Question], *, max_new_tokens: int = 96) -> list[Answer]:
        """Return answers and refusals. A refusal has no organization and no gains."""
        from rescind.training.serving.evidence import Evidence
        from rescind.training.serving.serve import Answer

        refused, asked = self._split(questions)
        refusals: dict[int, Answer] = {
            index: Answer(
                refusal(question_text(questions[index]), self._seed, self._refusals),
                None,
                {},
                Evidence.guarded(),
            )
            for index in refused
        }
        if asked:
            replies = self._assistant.ask_many(
                [questions[index] for index in asked], max_new_tokens=max_new_tokens
            )
            refusals |= {
                index: self._shown(reply) for index, reply in zip(asked, replies, strict=True)
            }
        return [refusals[index] for index in range(len(questions))]

    def _split(self, questions: Sequence[Question]) -> tuple[list[int], list[int]]:
        matched = [self._matched(question) for question in questions]
        if self._suppressed:
            for index in texts_of_heads(self._assistant.skills, questions):
                matched[index] = True
        left = [index for index, hit in enumerate(matched) if not hit]
        if self._suppressed and left:
            routes, _ = self._assistant.route([questions[index] for index in left])
            for index, route in zip(left, routes, strict=True):
                matched[index] = route in self._suppressed
        refused = [index for index, hit in enumerate(matched) if hit]
        return refused, [index for index, hit in enumerate(matched) if not hit]

    def _matched(self, question: Question) -> bool:
        """Return whether a question or a turn before it is to be refused.

        "Where was she born?" is about the person whom an earlier turn named.
        """
        texts = [question_text(question), *(turn.text for turn in question_turns(question))]
        return any(self.suppression.matched(text) is not None for text in texts)

    def _shown(self, reply: Answer) -> Answer:
        """Return a reply without what its scores say of the suppressed blocks."""
        gains = {n: gain for n, gain in reply.gains.items() if n not in self._suppressed}
        evidence = reply.evidence.without(self._suppressed) if reply.evidence else None
        return replace(reply, gains=gains, evidence=evidence)
