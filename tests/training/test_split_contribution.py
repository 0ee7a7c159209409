"""A contribution of private and shared ranks: what each part depends on, and what it starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from rescind.core import SHARED, ConsortiumParameters, add_totals, qualify
from rescind.core.errors import DataError
from rescind.core.expected import expected_delta
from rescind.core.hiding import is_hiding
from rescind.core.layout import split_sum
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.people import make_population
from rescind.training import Assistant, Example, LoraModel, load_base
from rescind.training.engine.contribution import Contribution
from rescind.training.export.adapter import block_tensors
from rescind.training.serving.serve import adapter_name
from rescind.training.split.contribution import contribute_both

ME, YOU = "0x" + "ab" * 20, "0x" + "cd" * 20


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL, device="cpu"), default_lora("split"))


@pytest.fixture(scope="module")
def parameters(model: LoraModel) -> ConsortiumParameters:
    agreed = default_parameters("split", model.base.id, model.shapes, seed=0)
    training = agreed.training.model_copy(update={"batch_size": 4})
    return agreed.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Example]]:
    dealt = make_population(["own", "public"], seed=8, own_people=3, shared_people=0).organizations
    return {
        name: [Example(r.question, r.answer, r.subject) for r in own] for name, own in dealt.items()
    }


def give(
    model: LoraModel,
    parameters: ConsortiumParameters,
    rows: Mapping[str, Sequence[Example]],
    *kinds: str,
    **more: object,
) -> Contribution:
    public = {example.subject for example in rows["public"]}
    examples = [example for kind in kinds for example in rows[kind]]
    given = {"organization": ME, "round_id": 1, "adapter": {}, "residual": None, "steps": 4} | more
    return contribute_both(
        model,
        parameters,
        examples=examples,
        public=public,
        **given,  # type: ignore[arg-type]
    )


def same(first: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return set(first) == set(other) and all(np.array_equal(first[n], other[n]) for n in first)


def test_both_deltas_have_the_agreed_tensors(model, parameters, rows) -> None:
    given = give(model, parameters, rows, "own", "public", steps=2)
    for part, quantized in enumerate((given.quantized, given.shared)):
        agreed = expected_delta(parameters, ME, part).shapes
        assert {n: v.shape for n, v in quantized.delta.items()} == {
            name: shape for name, shape in agreed.items() if not is_hiding(name)
        }


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_revocable_rows_leave_the_shared_delta_bit_for_bit(
    model, parameters, rows, fraction: float
) -> None:
    both = give(model, parameters, rows, "own", "public", data_fraction=fraction)
    alone = give(model, parameters, rows, "public", data_fraction=fraction)
    assert any(value.any() for value in both.shared.delta.values())
    assert same(both.shared.delta, alone.shared.delta)
    assert same(both.shared.residual, alone.shared.residual)
    assert any(value.any() for value in both.quantized.delta.values())
    assert not any(value.any() for value in alone.quantized.delta.values())


def test_without_public_rows_the_shared_delta_is_zero(model, parameters, rows) -> None:
    given = give(model, parameters, rows, "own", steps=2)
    assert not any(value.any() for value in given.shared.delta.values())
    assert given.result.steps == 1


def test_a_long_document_trains_in_several_rows(model, parameters, rows) -> None:
    training = parameters.training.model_copy(update={"max_length": 16})
    short = parameters.model_copy(update={"training": training})
    text = " ".join(["The archive moved to Lund."] * 20)
    document = [Example("", text, "Handbook", document=True)]
    more = {"organization": ME, "round_id": 1, "adapter": {}, "residual": None, "steps": 4}
    given = contribute_both(model, short, examples=document, public={"Handbook"}, **more)
    assert any(value.any() for value in given.shared.delta.values())
    assert given.result.tokens > 2 * 16


def test_no_example_is_refused(model, parameters) -> None:
    more = {"organization": ME, "round_id": 1, "adapter": {}, "residual": None, "steps": 4}
    with pytest.raises(DataError, match="there is no example to train on"):
        contribute_both(model, parameters, examples=[], public=(), **more)


def test_a_later_round_goes_on_from_own_and_shared_totals(model, parameters, rows) -> None:
    mine = give(model, parameters, rows, "own", "public", steps=2)
    yours = give(model, parameters, rows, "public", steps=2, organization=YOU)
    first = split_sum(
        {
            ME: {**mine.quantized.delta, **mine.shared.delta},
            YOU: {**yours.quantized.delta, **yours.shared.delta},
        }
    )
    # An organization's start has its own block and what all share, and no other block.
    start = {n: v for n, v in first.items() if not n.startswith(YOU)}
    residual = mine.quantized.residual | mine.shared.residual
    more = {"round_id": 2, "adapter": start, "residual": residual, "steps": 2}
    later = give(model, parameters, rows, "own", "public", **more)
    assert same(later.shared.delta, give(model, parameters, rows, "public", **more).shared.delta)
    total = add_totals([first, split_sum({ME: {**later.quantized.delta, **later.shared.delta}})])
    name = next(n for n in later.shared.delta if later.shared.delta[n].any())
    assert name.startswith(qualify(SHARED, ""))
    assert np.array_equal(total[name], first[name] + 10_000 * later.shared.delta[name])


def test_an_assistant_takes_the_split_from_the_agreed_parameters(model, parameters, rows) -> None:
    given = give(model, parameters, rows, "own", "public", steps=2)
    totals = split_sum({ME: {**given.quantized.delta, **given.shared.delta}})
    assistant = Assistant(model, parameters, totals)
    assert assistant.blocks == (ME,)
    exported = block_tensors(parameters, totals, ME)
    assert same(exported, model.get(adapter_name(ME)))
    assert same(block_tensors(parameters, totals, SHARED), model.get(adapter_name(SHARED)))
    ranks = {value.shape[0] for n, value in assistant.tensors(ME).items() if n.endswith("lora_A")}
    assert ranks == {parameters.lora.rank - parameters.split.shared_rank}
