"""A consortium whose first organization was removed, with its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rescind.audit import EvaluationPart, Inputs, Verification, build_certificate, verify
from rescind.contracts import Account, Entry
from rescind.core import Opening, digest, encode, encode_openings, owner
from tests.support.consortium import ChainConsortium

EMPTY_OBJECT = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@dataclass(frozen=True)
class Story:
    """Two rounds of three organizations, then the first one is removed."""

    consortium: ChainConsortium
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def path(self) -> Path:
        return self.folder / "certificate.json"

    def check(self, inputs: Inputs | None = None) -> Verification:
        inputs = inputs or Inputs(self.folder / "contracts.json", [self.store])
        return verify(self.path, rpc_url=self.consortium.anvil.url, inputs=inputs)

    def failed(self) -> set[str]:
        return {check.name for check in self.check().checks if check.status == "failed"}

    def certify(self, withdrawal_id: int = 1, *, evaluated: bool = True) -> None:
        if not evaluated:
            build_certificate(self.consortium.of(), withdrawal_id).save(self.path)
            return
        (self.folder / "evaluation.json").write_text("{}")
        build_certificate(
            self.consortium.of(),
            withdrawal_id,
            evaluation=EvaluationPart(
                before={"a": 1.0},
                after={"a": 0.0},
                replay=None,
                files={"evaluation.json": EMPTY_OBJECT},
            ),
        ).save(self.path)

    def publish(self, publisher: Account | None = None) -> tuple[str, str]:
        """Store and publish adapter and opening of the head; return their ids."""
        consortium = self.consortium
        reader = consortium.of(publisher or consortium.aggregator)
        model_id = reader.latest_model_id()
        entries = reader.content(model_id)
        adapter_id = consortium.store.put(encode(consortium.sum_of(entries)))
        opening_id = consortium.store.put(self.opening_of(entries))
        reader.publish(model_id, adapter_id, opening_id)
        return adapter_id, opening_id

    def opening_of(self, entries: Sequence[Entry]) -> bytes:
        """Return the opening of some contributions, owner by owner."""
        consortium = self.consortium
        terms: dict[str, list] = {}
        for entry, each in zip(entries, consortium.of().registered(entries), strict=True):
            name = owner(consortium.parameters.layout, entry.organization)
            delta = consortium.load(each.parts.artifact_ids[0])
            terms.setdefault(name, []).append((digest(delta), entry.weight))
        return encode_openings([Opening.build(name, held) for name, held in terms.items()])


def begin(consortium: ChainConsortium, folder: Path) -> Story:
    rng = np.random.default_rng(0)
    consortium.deployment.save(folder / "contracts.json")
    consortium.store.put(consortium.parameters.canonical_bytes())
    consortium.play_round(rng)
    consortium.play_round(rng)
    return Story(consortium, folder)


def remove_first(story: Story) -> None:
    consortium = story.consortium
    story.publish()
    consortium.of(consortium.organizations[0]).request_withdrawal()
    consortium.remove(1)
    story.publish()
