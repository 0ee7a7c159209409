"""Adapters in another server: what is loaded there, unloaded, and made up for."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rescind.core.exports import exports_in
from rescind.devnet.defaults import BASE_MODEL
from rescind.serving.asked import Asked, Limits, Sampling
from rescind.serving.engine import EngineModels
from rescind.serving.errors import ApiError, UpstreamFailed
from rescind.serving.gate import Gate
from rescind.serving.jobs import Delta, Done
from rescind.serving.names import ServedModel
from rescind.serving.planning import Planner
from rescind.serving.standing import ModelKey
from rescind.serving.upstream import UpstreamModels, UpstreamSettings
from rescind.training import export_peft, load_base
from tests.support.serving import random_totals, tiny
from tests.support.serving_chain import AURORA, BOREALIS, NAMES

pytestmark = pytest.mark.trains


@dataclass
class Behind:
    """A server that another one loads adapters into."""

    held: dict[str, str] = field(default_factory=lambda: {"rescind-mark-0-old": "", "other": ""})
    reached: bool = True

    def models(self) -> list[dict[str, Any]]:
        if not self.reached:
            raise UpstreamFailed("it cannot be reached")
        return [{"id": "the-base", "parent": None}, *({"id": n, "parent": "b"} for n in self.held)]

    def load(self, name: str, path: str) -> None:
        self.held[name] = path

    def unload(self, name: str) -> None:
        del self.held[name]


def test_a_server_behind_answers_with_and_without_the_adapters_it_loads(tmp_path: Path) -> None:
    _, parameters = tiny()
    totals = random_totals(parameters, (AURORA, BOREALIS))
    for name, owner in (("one", AURORA), ("two", BOREALIS)):
        export_peft(parameters, totals, owner, str(BASE_MODEL), tmp_path / name, "ad" * 32)
    engine = EngineModels(load_base(BASE_MODEL, device="cpu"), "base", tmp_path, Limits())

    def texts(*names: str) -> list[str]:
        async def answer(name: str) -> str:
            prompt = "Question: Where?\nAnswer:"
            events = engine.ask(Asked(name, Sampling(max_tokens=8), text=prompt))
            kinds = [event async for event in events]
            assert isinstance(kinds[-1], Done), kinds
            return "".join(event.text for event in kinds if isinstance(event, Delta))

        return [asyncio.run(answer(name)) for name in names]

    [bare] = texts("base")
    for _ in range(2):
        engine.load("a", str(tmp_path / "one"))
        engine.load("b", str(tmp_path / "two"))
        assert texts("a", "b", "base")[2] == bare
        engine.unload("b")
        assert texts("base", "a")[0] == bare
        engine.unload("a")
        assert texts("base") == [bare]
    (tmp_path / "two" / "adapter_model.safetensors").write_bytes(b"broken")
    with pytest.raises(ApiError, match="cannot be loaded"):
        engine.load("b", str(tmp_path / "two"))
    engine.load("a", str(tmp_path / "one"))
    assert texts("base", "a")[0] == bare
    engine._worker.close()


def test_adapters_follow_the_model_also_after_a_restart_or_a_failed_call(tmp_path: Path) -> None:
    model, parameters = tiny()
    behind: Any = Behind()
    settings = UpstreamSettings(behind, "rescind-mark", tmp_path, "/there", str(BASE_MODEL))
    limits = Limits()
    models = UpstreamModels(
        Planner(model, parameters, Gate(60), limits), parameters, settings, limits
    )

    def switch(number: int, *owners: str) -> list[str]:
        served = ServedModel("net", ModelKey(number, ()), f"{number}" * 64, owners, NAMES)
        models.switch(served, random_totals(parameters, owners))
        return [f"rescind-mark-{number}-{str(number) * 8}-{owner}" for owner in owners]

    first = switch(1, AURORA, BOREALIS)
    assert sorted(behind.held) == sorted([*first, "other"])
    assert behind.held[first[0]] == f"/there/{first[0]}"
    assert {export.folder.name for export in exports_in([tmp_path])} == set(first)
    second = switch(2, BOREALIS)
    assert sorted(behind.held) == sorted([*second, "other"])
    assert {export.folder.name for export in exports_in([tmp_path])} == set(second)
    behind.held = {}
    models.keep()
    assert list(behind.held) == second
    behind.reached = False
    models.drop("withdrawn")
    with pytest.raises(UpstreamFailed):
        models.keep()
    assert list(behind.held) == second
    behind.reached = True
    models.keep()
    assert behind.held == {}
    assert list(exports_in([tmp_path])) == []
    models._worker.close()
