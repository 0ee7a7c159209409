"""One copy of a base model's weights for all processes of a machine."""

from pathlib import Path

import pytest
import torch

from rescind.core import ConsortiumParameters
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.training import Base, LoraModel, load_agreed, load_base
from rescind.training.model.shared_weights import (
    WeightsDiffer,
    map_shared,
    write_shared,
)

TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture
def file(base: Base, tmp_path: Path) -> Path:
    write_shared(base, tmp_path / "cache" / "tiny.safetensors", torch.bfloat16)
    return tmp_path / "cache" / "tiny.safetensors"


def logits(base: Base) -> torch.Tensor:
    with torch.inference_mode():
        # A new LoRA block adds zero.
        result: torch.Tensor = base.model(input_ids=TOKENS).logits
    return result


def agreed(base: Base) -> ConsortiumParameters:
    shapes = LoraModel(load_base(BASE_MODEL), default_lora("isolated")).shapes
    return default_parameters("isolated", base.id, shapes, seed=0)


def mapped(base: Base, file: Path) -> bool:
    """Return whether every weight lies in the one piece of memory that the file is mapped to."""
    starts = [
        parameter.data_ptr()
        for name, parameter in base.model.named_parameters()
        if "lora_" not in name
    ]
    size = file.stat().st_size
    return max(starts) - min(starts) < size


def test_mapped_weights_compute_what_converted_ones_do(base: Base, file: Path) -> None:
    parameters = agreed(base)
    model = load_agreed(BASE_MODEL, parameters, "cpu", "bfloat16", shared_weights=file)
    shared = model.base
    assert mapped(shared, file)
    assert shared.dtype == "bfloat16"
    assert torch.equal(logits(shared), logits(load_base(BASE_MODEL, dtype="bfloat16")))


def test_a_base_that_holds_lora_already_is_mapped_too(file: Path) -> None:
    model = LoraModel(load_base(BASE_MODEL), default_lora("isolated"))
    map_shared(model.base, file)
    types = {name.split(".")[-2]: p.dtype for name, p in model.base.model.named_parameters()}
    assert types["base_layer"] == torch.bfloat16
    assert types["probe"] == torch.float32


def test_the_file_is_its_owners_and_is_written_once(base: Base, file: Path) -> None:
    before = file.stat()
    assert before.st_mode & 0o077 == 0
    write_shared(base, file, torch.bfloat16)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_one_changed_bit_of_the_file_is_refused(base: Base, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-40] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(WeightsDiffer, match="differs from the base model at"):
        map_shared(load_base(BASE_MODEL), file)


def test_half_a_file_is_refused(base: Base, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsDiffer, match="cannot be used"):
        map_shared(load_base(BASE_MODEL), file)
