"""An adapter in memory is checked against what is registered."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest

from rescind.core import (
    ConsortiumParameters,
    add_totals,
    artifact_id,
    block,
    encode,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    LoraModel,
    WrongAdapter,
    load_base,
    verify_loaded,
)
from tests.support.models import (
    ME,
    parameters_of,
    start_of,
    train,
)


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), default_lora("isolated"))


class InMemory(NamedTuple):
    """A trained block that is served as adapter "x", and what is registered of it."""

    model: LoraModel
    totals: Mapping[str, Any]
    parameters: ConsortiumParameters
    registered: str

    def verify(self, owner: str = ME, registered: str | None = None) -> str:
        registered = registered or self.registered
        return verify_loaded(self.model, "x", self.totals, self.parameters, owner, registered)


@pytest.fixture(params=[10_000, 3_333], ids=lambda weight: f"weight={weight}")
def in_memory(model: LoraModel, request: pytest.FixtureRequest) -> InMemory:
    parameters = parameters_of(model)
    start = start_of(model, parameters)
    after = train(model, steps=2).tensors
    update = {qualify(ME, n): v.astype(np.float64) - start[n] for n, v in after.items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    other = {name.replace("ab", "cd", 1): value for name, value in delta.items()}
    totals = add_totals([weighted_sum([(delta, request.param)]), weighted_sum([(other, 10_000)])])
    model.put("x", materialize(block(totals, ME), model.shapes, parameters=parameters, owner=ME))
    return InMemory(model, totals, parameters, artifact_id(encode(totals)))


def test_the_registered_adapter_in_memory_is_accepted(in_memory: InMemory) -> None:
    registered = in_memory.registered
    assert in_memory.verify() == registered
    assert in_memory.verify(registered="0x" + registered.upper()) == registered


def test_a_corrupted_adapter_in_memory_is_detected(in_memory: InMemory) -> None:
    model = in_memory.model
    entry = model.parameters("x")[sorted(model.shapes)[3]].data.view(-1)
    kept = entry[5].clone()
    for wrong in (kept + 2.0**-20, kept * float("nan"), kept + 100):
        entry[5] = wrong
        with pytest.raises(WrongAdapter, match="differs in memory"):
            in_memory.verify()


def test_an_adapter_in_memory_is_not_accepted_as_another_one(in_memory: InMemory) -> None:
    with pytest.raises(WrongAdapter, match="of another artifact"):
        in_memory.verify(registered="00" * 32)
    with pytest.raises(WrongAdapter, match="no block of"):
        in_memory.verify(owner="0xother")
