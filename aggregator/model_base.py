"""The model before, from whose sums the next one is made.

A model grows by the contributions of a round, or loses those of an organization. Summed from
scratch, each model would read every contribution of every round again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import structlog
from numpy.typing import NDArray

from rescind.aggregator.facts import ModelFact
from rescind.aggregator.session import AggregatorSession
from rescind.core import Digest, Opening, Term, decode_openings, owners
from rescind.core.errors import ArtifactError, StoreError
from rescind.core.sums import Load


@dataclass(frozen=True)
class ModelBase:
    """A complete model whose files are in the store.

    Attributes:
        adapter_id: Its adapter.
        tensors: Its tensors, as views of the file.
        openings: Its openings by owner.
        contents: The contributions of each owner: how often each point's hash has each weight.
    """

    adapter_id: str
    tensors: Mapping[str, NDArray[Any]]
    openings: Mapping[str, Opening]
    contents: Mapping[str, Counter[tuple[str, int]]]

    @classmethod
    def load(
        cls, session: AggregatorSession, fact: ModelFact | None, terms: Iterable[Term]
    ) -> Self | None:
        """Return a model that later ones can be made from; None if there is none.

        Args:
            session: The aggregator's session.
            fact: The files of the model.
            terms: The contributions in it.
        """
        if fact is None or not fact.adapter_id or fact.problem:
            return None
        try:
            tensors = session.store.load(fact.adapter_id)
            openings = decode_openings(session.store.view(fact.opening_id))
        except (StoreError, ArtifactError) as error:
            structlog.get_logger().warning("model before is damaged", reason=str(error))
            return None
        forms = session.parameters.parts
        contents: dict[str, Counter[tuple[str, int]]] = {}
        for term in terms:
            name = forms[term.part].owner(term.organization)
            contents.setdefault(name, Counter())[term.point_hash, term.weight] += 1
        held = {*owners(tensors)} & openings.keys()
        contents = {name: content for name, content in contents.items() if name in held}
        return cls(fact.adapter_id, tensors, openings, contents)

    def beyond(self, name: str, terms: Sequence[Term]) -> list[Term] | None:
        """Return the terms of an owner that are not in the model; None if it has others than these."""
        content = self.contents.get(name)
        if content is None:
            return None
        left, beyond = Counter(content), []
        for term in terms:
            key = term.point_hash, term.weight
            if left[key]:
                left[key] -= 1
            else:
                beyond.append(term)
        return None if left.total() else beyond

    def loader(self, load: Load) -> Load:
        """Return what loads contributions by `load`, and this model from its open file."""

        def load_or_reuse(artifact_id: str) -> Mapping[str, NDArray[Any]]:
            return self.tensors if artifact_id == self.adapter_id else load(artifact_id)

        return load_or_reuse

    def term(self, name: str) -> Term:
        """Return the owner's block as a term of a sum."""
        return Term(0, name, self.adapter_id, 1)

    def opening(self, name: str) -> tuple[Opening, int]:
        """Return the owner's opening, and the weights that it sums."""
        weight = sum(weight * count for (_, weight), count in self.contents[name].items())
        return self.openings[name], weight


@dataclass(frozen=True)
class Share:
    """The terms from which an owner's block in a new model is summed.

    Attributes:
        name: The owner.
        new: Contributions that are read.
        base: The model before, if the owner's block there is added to them.
    """

    name: str
    new: Sequence[Term]
    base: ModelBase | None = None

    @classmethod
    def of(cls, name: str, terms: Sequence[Term], base: ModelBase | None) -> Self:
        """Return the share of an owner with these contributions."""
        beyond = base.beyond(name, terms) if base else None
        return cls(name, terms) if beyond is None else cls(name, beyond, base)

    @property
    def terms(self) -> list[Term]:
        """The terms of the sum."""
        return [*([self.base.term(self.name)] if self.base else []), *self.new]

    def opening(self, digest: Callable[[str], Digest]) -> Opening:
        """Return the owner's opening.

        Args:
            digest: Returns the digest of an artifact.
        """
        start = self.base.opening(self.name) if self.base else None
        return Opening.build(
            self.name, [(digest(t.artifact_id), t.weight) for t in self.new], start
        )
