"""Models in blocks without a chain: contributions, published files, and a node that adopts them."""

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from rescind.contracts import Entry
from rescind.core import (
    WEIGHT_ONE,
    ArtifactStore,
    ConsortiumParameters,
    Digest,
    Opening,
    Term,
    commit,
    encode,
    encode_openings,
    owner,
    point_hash,
    qualify,
    scan,
    sum_points,
)
from rescind.core.adapter_stream import adapter_bytes
from rescind.daemon import Journal
from rescind.node.facts import DeltaFact, RoundFacts, Update
from rescind.node.unavailable import Unavailable
from rescind.wire import ModelFiles
from tests.support.stored_client import StoredClient


class Blocks:
    """Rounds of organizations with a block each. The first organization has a node.

    Args:
        folder: Where the stores are.
        parameters: What is agreed on.
        members: Number of organizations.
        variants: So many different deltas are drawn; all others have the values of one of them.
    """

    def __init__(
        self, folder: Path, parameters: ConsortiumParameters, members: int, variants: int = 2**30
    ) -> None:
        self.parameters, self.variants = parameters, variants
        self.people = [f"0x{n + 1:040x}" for n in range(members)]
        self.published = ArtifactStore(folder / "aggregator")
        self.entries: list[Entry] = []
        self.terms: dict[str, list[tuple[Term, Digest]]] = {}
        self.points: dict[str, bytes] = {}
        self.models: dict[int, list[Entry]] = {}
        self.client = StoredClient(self.published, folder / "downloads")
        consortium = SimpleNamespace(
            content=lambda model, part=0: self.models[model],
            contents=lambda model: self.models[model],
            points=lambda hashes: self.points,
            commitments=lambda model: (self.commitment(model),),
        )
        (folder / "node").mkdir()
        self.session: Any = SimpleNamespace(
            me=self.people[0],
            config=SimpleNamespace(node=SimpleNamespace(state_dir=folder / "node")),
            parameters=parameters,
            consortium=consortium,
            client=self.client,
            journal=Journal(folder / "node.db"),
            store=ArtifactStore(folder / "node" / "store"),
            unavailable=Unavailable(),
        )

    def commitment(self, model: int) -> str:
        return point_hash(
            sum_points([(self.points[e.point_hash], e.weight) for e in self.models[model]])
        )

    def play(self, round_id: int, members: Collection[str] | None = None) -> None:
        """Let organizations contribute to a round; all by default."""
        for person in self.people if members is None else members:
            dice = np.random.default_rng((round_id, self.people.index(person) % self.variants))
            delta = {
                qualify(owner("blocks", person), name): dice.integers(-9, 9, shape, dtype=np.int32)
                for name, shape in self.parameters.delta_shapes().items()
            }
            data = encode(delta)
            artifact, digest = self.published.put(data), scan(data).digest
            point = commit(digest)
            self.points[point_hash(point)] = point
            number = self.people.index(person)
            entry = Entry(round_id, person, number, WEIGHT_ONE, point_hash(point))
            term = Term(round_id, person, artifact, WEIGHT_ONE, point_hash(point))
            self.entries.append(entry)
            self.terms.setdefault(owner("blocks", person), []).append((term, digest))
            if person == self.session.me:
                self.session.store.put(data)
                update = Update(DeltaFact(artifact, point.hex(), ""), "00", round_id)
                RoundFacts(round_id, update=update).save(self.session.journal)

    def publish(self, model: int, out: Collection[str] = ()) -> ModelFiles:
        """Publish the model of all contributions but those of some organizations."""
        self.models[model] = [each for each in self.entries if each.organization not in out]
        kept = {o: t for o, t in self.terms.items() if t[0][0].organization not in out}
        groups = {name: [term for term, _ in terms] for name, terms in kept.items()}
        path = self.session.config.node.state_dir / "published"
        with path.open("wb") as file:
            pieces = adapter_bytes(groups, self.parameters.delta_shapes(), self.published.load)
            for piece in pieces:
                file.write(piece)
        with path.open("rb") as file:
            adapter = scan(file).artifact_id
        self.published.adopt(path, adapter)
        opened = [
            Opening.build(name, [(digest, WEIGHT_ONE) for _, digest in terms])
            for name, terms in kept.items()
        ]
        self.client.files = ModelFiles(model, adapter, self.published.put(encode_openings(opened)))
        return self.client.files
