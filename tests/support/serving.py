"""A server of the tiny base model with two random blocks, over a chain that a test scripts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from openai import OpenAI

from rescind.core import ConsortiumParameters, LoraParameters, Totals, decode, qualify
from rescind.devnet.defaults import BASE_MODEL
from rescind.serving.app import Server, make_app
from rescind.serving.asked import Limits
from rescind.serving.errors import FilesMissing
from rescind.serving.gate import Gate
from rescind.serving.local import LocalModels
from rescind.serving.names import listing
from rescind.serving.planning import Planner
from rescind.serving.requests import ApiKeys
from rescind.serving.sources import Files
from rescind.serving.standing import ModelKey
from rescind.serving.watch import Watch, WatchSettings
from rescind.training import LoraModel, load_base
from tests.support.hybrid import REFERENCE, ROUTED, with_statistics
from tests.support.models import parameters_of
from tests.support.serving_chain import AURORA, BOREALIS, Clock, ScriptedReader

ADAPTER = "ad" * 32


@cache
def tiny() -> tuple[LoraModel, ConsortiumParameters]:
    base = load_base(BASE_MODEL, device="cpu")
    model = LoraModel(base, LoraParameters(rank=2, alpha=4, train_a=True))
    return model, parameters_of(model).model_copy(update={"name": "Dev Net"})


def random_totals(parameters: ConsortiumParameters, owners: tuple[str, ...]) -> Totals:
    """Return blocks that change every answer."""
    rng = np.random.default_rng(0)
    size = 2 ** (parameters.fraction_bits - 3) * 10_000
    return {
        qualify(owner, name): rng.integers(-size, size, shape, dtype=np.int64)
        for owner in owners
        for name, shape in parameters.delta_shapes().items()
    }


@dataclass
class ScriptedSource:
    """Models by number: the owners of their blocks."""

    parameters: ConsortiumParameters
    reader: ScriptedReader = field(default_factory=ScriptedReader)
    owners: dict[int, tuple[str, ...]] = field(
        default_factory=lambda: {1: (AURORA, BOREALIS), 2: (BOREALIS,)}
    )
    missing: set[int] = field(default_factory=set)
    opens: bool = True
    """True if the statistics of a hybrid model open."""

    def files(self, key: ModelKey) -> Files:
        if key.number in self.missing:
            raise FilesMissing(f"The files of model {key.number} are not there yet.")
        return Files(ADAPTER)

    def totals(self, key: ModelKey, files: Files) -> Totals:
        owners = self.owners[key.number]
        blocks = random_totals(self.parameters, owners)
        if self.parameters.statistics is None or not self.opens:
            return blocks
        return with_statistics(blocks, owners, self.parameters.statistics)

    def published(self, artifact_id: str) -> dict[str, Any]:
        assert artifact_id == ROUTED.router.reference
        return dict(decode(REFERENCE))


@dataclass
class Stage:
    """A server in this process."""

    source: ScriptedSource
    gate: Gate
    watch: Watch
    models: Any
    web: TestClient
    clock: Clock

    def client(self, key: str = "any", **settings: Any) -> OpenAI:
        """Return OpenAI's client of the server."""
        return OpenAI(
            base_url="http://testserver/v1",
            api_key=key,
            http_client=self.web,
            max_retries=0,
            **settings,
        )


@contextmanager
def stage(
    *,
    limits: Limits | None = None,
    keys: ApiKeys | None = None,
    agreed: ConsortiumParameters | None = None,
) -> Iterator[Stage]:
    """Open a server of model 1, which has two blocks; model 2 has one of them."""
    model, parameters = tiny()
    parameters = agreed or parameters
    limits = limits or Limits(answer_tokens=64)
    clock = Clock()
    gate = Gate(300.0, clock)
    source = ScriptedSource(parameters)
    models = LocalModels(Planner(model, parameters, gate, limits), limits)
    watch = Watch(source, gate, models, WatchSettings())
    watch.check()

    def listed() -> list[dict[str, Any]]:
        return listing("dev-net", None if gate.refusal else gate.state.model, 0)

    server = Server(models, listed, lambda: gate.refusal, dict, keys or ApiKeys(), limits)
    with TestClient(make_app(server), raise_server_exceptions=False) as web:
        yield Stage(source, gate, watch, models, web, clock)
    models._worker.close()
