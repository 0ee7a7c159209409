"""Agreed split adapters: their parts, shapes, limits, and agreements that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from rescind.core import HIDING, SHARED, ConsortiumParameters, OutOfBounds
from rescind.core.contributed import check_contributed
from rescind.core.expected import expected_adapter, expected_delta
from rescind.core.layout import blocks_of
from rescind.core.split_settings import SplitSettings
from tests.support.consortium import micro_parameters, split_parameters

ME = "0x" + "aB" * 20


def split(**changes: object) -> dict[str, object]:
    settings = split_parameters().model_dump(mode="json")["split"]
    return {"split": settings | changes}


def test_a_contribution_has_private_ranks_and_shared_ones() -> None:
    own, shared = split_parameters().parts
    assert (own.rule, own.owner(ME)) == ("block", ME.lower())
    assert own.shapes == {HIDING: (8, 2048), "layer.lora_A": (1, 8), "layer.lora_B": (8, 1)}
    assert (shared.rule, shared.owner(ME)) == ("share", SHARED)
    # A of the shared ranks stays at its start.
    assert shared.shapes == {HIDING: (8, 2048), "layer.lora_B": (8, 1)}
    assert own.norm_bound == shared.norm_bound == split_parameters().adapter_norm_bound


def test_the_document_names_the_split_only_where_it_is_agreed() -> None:
    assert b'"split"' not in micro_parameters().canonical_bytes()
    document = split_parameters().canonical_bytes()
    assert ConsortiumParameters.parse(document) == split_parameters()
    assert split_parameters().id != split_parameters(**split(retain_share=0.5)).id


def test_files_of_others_have_the_tensors_of_their_part() -> None:
    agreed = split_parameters()
    assert set(expected_delta(agreed, ME, 1).shapes) == {
        f"{SHARED}/{HIDING}",
        f"{SHARED}/layer.lora_B",
    }
    adapter = expected_adapter(agreed, [ME.lower(), SHARED])
    assert adapter.shapes[SHARED] == agreed.parts[1].shapes
    assert blocks_of({f"{ME.lower()}/x": 0, f"{SHARED}/x": 0}) == [ME.lower()]
    assert blocks_of({f"{SHARED}/x": 0}) == [SHARED]


def test_an_adapter_and_its_openings_have_room_for_the_shared_ranks() -> None:
    alone, both = micro_parameters(hiding=True).artifact_limits, split_parameters().artifact_limits
    # Of 32 integers in a block the private ranks have 16.
    assert both.parameters == alone.parameters - 16
    assert both.openings > alone.openings
    assert both.summed > 8 * (8 + 8 * 2048)


def test_a_shared_delta_that_is_too_long_is_refused() -> None:
    agreed = split_parameters()
    long = {f"{SHARED}/layer.lora_B": np.full((8, 1), 2**26, np.int32)}
    with pytest.raises(OutOfBounds):
        check_contributed(long, agreed, 1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": None}, "split is agreed on in coupling 'split', and only there"),
        ({"coupling": "isolated"}, "split is agreed on in coupling 'split', and only there"),
        (split(shared_rank=2), "split: shared_rank is 2 of rank 2. Both parts need 1 or more"),
        (split(shared_rank=0), "split: shared_rank is 0"),
        (split(retain_share=1.5), "split: retain_share is 1.5"),
        (split(open_share=0.0), "split: open_share is 0.0. It must be above 0 and below 1"),
        (split(open_share=1.0), "split: open_share is 1.0"),
        (split(shared_learning_rate=2.0), "split: shared_learning_rate is 2.0"),
        ({"hiding": False}, "coupling 'split' needs hiding"),
        ({"server": {"name": "fedadam"}}, "coupling 'split' needs the server 'fedavg'"),
        ({"layout": "shared"}, "coupling 'split' needs layout 'blocks'"),
    ],
)
def test_an_agreement_that_does_not_fit_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        split_parameters(**changes)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("privacy", {"max_grad_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5}),
        ("rule", {"name": "proximal"}),
    ],
)
def test_what_a_split_training_does_not_do_is_refused(name: str, value: object) -> None:
    training = split_parameters().training.model_dump(mode="json") | {name: value}
    with pytest.raises(ValidationError, match=rf"training\.{name} cannot be combined"):
        split_parameters(training=training)


@pytest.mark.parametrize("steps", [1, 2, 3, 81])
def test_each_kind_of_data_has_a_step(steps: int) -> None:
    opened, revocable = SplitSettings(shared_rank=1, open_share=0.25).steps(steps)
    assert opened >= 1
    assert revocable >= 1
    assert opened + revocable in (steps, 2)
