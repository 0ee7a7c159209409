"""Limits of artifacts follow from shapes, members and layout, and parameters must keep to them."""

import numpy as np
import pytest
from pydantic import ValidationError

from rescind.core import (
    OPENING_BYTES,
    ConsortiumParameters,
    Opening,
    artifact_limits,
    encode,
    encode_openings,
    qualify,
)
from rescind.core.artifact_limits import AdapterHeaderTooLarge
from rescind.core.errors import ConfigError
from rescind.core.posted import Posted
from rescind.devnet.defaults import default_parameters
from tests.support.consortium import micro_parameters

SHAPES = {"layer.lora_A": (2, 80), "layer.lora_B": (80, 2), 'odd "näme"\n': (3, 5, 7)}
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def llama(layers: int, hidden: int, inner: int, key: int, rank: int) -> dict[str, tuple[int, ...]]:
    """The LoRA tensors of a Llama model, all linear layers."""
    sides = ((hidden, hidden), (hidden, key), (hidden, key), (hidden, hidden))
    sides = (*sides, (hidden, inner), (hidden, inner), (inner, hidden))
    return {
        f"model.layers.{n}.self_attn.{module}.lora_{letter}": shape
        for n in range(layers)
        for module, (before, after) in zip(MODULES, sides, strict=True)
        for letter, shape in (("A", (rank, before)), ("B", (after, rank)))
    }


SMOLLM2 = llama(30, 576, 1536, 192, 16)
LLAMA_7B = llama(32, 4096, 11008, 4096, 64)


@pytest.mark.parametrize(("layout", "blocks"), [("blocks", 7), ("shared", 1)])
def test_limits_are_just_above_the_largest_right_files(layout: str, blocks: int) -> None:
    owners = [f"0x{n:040x}" for n in range(7)] if layout == "blocks" else ["shared"]
    limits = artifact_limits(SHAPES, layout=layout, max_members=7, post_fisher=True)
    assert limits.blocks == blocks
    adapter = {
        qualify(each, name): np.zeros(s, np.int64) for each in owners for name, s in SHAPES.items()
    }
    delta = {qualify(owners[0], name): np.zeros(shape, np.int32) for name, shape in SHAPES.items()}
    fisher = Posted(
        "fisher",
        "ab" * 32,
        owners[0],
        "cd" * 32,
        "m" * 200,
        10**9,
        {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()},
    )
    openings = encode_openings(Opening(each, bytes(OPENING_BYTES)) for each in owners)
    for file, limit in (
        (encode(adapter), limits.adapter),
        (encode(delta), limits.delta),
        (fisher.encode(), limits.fisher),
        (openings, limits.openings),
    ):
        assert len(file) <= limit <= 1.3 * len(file) + 8192
    assert limits.upload < 3 * limits.delta
    assert limits.largest == max(limits.adapter, limits.openings)


@pytest.mark.parametrize("shapes", [SMOLLM2, LLAMA_7B], ids=["SmolLM2-135M", "Llama-7B"])
@pytest.mark.parametrize("coupling", ["isolated", "federated"])
def test_default_parameters_hold_the_blocks_of_a_real_model(
    shapes: dict[str, tuple[int, ...]], coupling: str
) -> None:
    parameters = default_parameters(coupling, "11" * 32, shapes, seed=0)
    integers = sum(int(np.prod(shape)) for shape in shapes.values())
    blocks = 64 if coupling == "isolated" else 1
    assert parameters.max_artifact_bytes >= 8 * blocks * integers
    assert ConsortiumParameters.parse(parameters.canonical_bytes()) == parameters


def test_parameters_of_a_small_model_keep_their_limit() -> None:
    parameters = default_parameters("isolated", "11" * 32, {"layer.lora_B": (8, 2)}, seed=0)
    assert parameters.max_artifact_bytes == 64 * 2**20


def test_parameters_that_cannot_hold_all_blocks_are_refused_with_what_to_change() -> None:
    """64 MiB hold one block of SmolLM2, and the demo's four organizations never had a model."""
    agreed = default_parameters("isolated", "11" * 32, SMOLLM2, seed=0)
    document = agreed.model_dump(mode="json") | {"max_artifact_bytes": 64 * 2**20}
    needed = agreed.artifact_limits.largest
    with pytest.raises(ValidationError) as refusal:
        ConsortiumParameters.model_validate(document)
    said = str(refusal.value)
    assert "max_artifact_bytes is 67108864" in said
    assert f"set max_artifact_bytes to {needed} or more" in said
    assert "lower max_members to 1" in said
    assert "4884480 integers" in said
    with pytest.raises(ConfigError, match="max_artifact_bytes"):
        ConsortiumParameters.parse(
            agreed.canonical_bytes().replace(str(needed).encode(), b"67108864")
        )
    fewer = document | {"max_members": 1}
    assert ConsortiumParameters.model_validate(fewer).artifact_limits.blocks == 1


@pytest.mark.parametrize("change", [{"max_members": 512}, {"max_artifact_bytes": 2**21}])
def test_the_openings_of_all_members_must_fit_too(change: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="or more, lower max_members to"):
        micro_parameters(**change)


def test_an_adapter_with_more_tensors_than_safetensors_reads_is_refused() -> None:
    many = {f"model.layers.{n}.some_long_module_name.lora_B": (8, 2) for n in range(3_000)}
    with pytest.raises(AdapterHeaderTooLarge, match="lower max_members"):
        artifact_limits(many, layout="blocks", max_members=1_024)
    assert artifact_limits(many, layout="blocks", max_members=64).adapter < 2**29
