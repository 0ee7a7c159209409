"""The size of a demo with a base model, and the memory that it needs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rescind.core.errors import TrainingError
from rescind.devnet import sizes
from rescind.devnet.data import generated
from rescind.devnet.defaults import BASE_MODEL
from rescind.devnet.memory import BaseFiles, needs
from rescind.devnet.sizes import size_of


def weights(folder: Path, dtype: torch.dtype) -> Path:
    """Write a model of 1,000 parameters in two files."""
    folder.mkdir(exist_ok=True)
    for name in ("a", "b"):
        save_file({name: torch.zeros(5, 100, dtype=dtype)}, folder / f"model-{name}.safetensors")
    config = {"num_hidden_layers": 3, "hidden_size": 16, "vocab_size": 100}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_shipped_base_keeps_the_size_of_its_recorded_demo() -> None:
    size = size_of("tiny", 0, 4)
    assert (size.rounds, size.threads, size.real) == (3, 1, False)
    assert size == size_of(str(BASE_MODEL), 0, 4)
    corpus = generated(4, 0)
    assert size.steps(corpus.organizations) == 80
    for rows in range(1, 700):
        # As the demo has always counted them: 4 / 3 steps for each row.
        assert size.steps({"a": range(rows)}) == max(80, min(600, -(-rows * 4 // 3)))


def test_a_real_base_gets_fewer_people_and_the_threads_of_its_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sizes, "available_cores", lambda: 16)
    size = size_of("/models/of-mine", 135_000_000, 3)
    assert (size.real, size.threads) == (True, 5)
    assert size.own_people < size_of("tiny", 0, 3).own_people
    assert size_of("/models/of-mine", 135_000_000, 40).threads == 1


def test_a_larger_base_without_a_preset_learns_at_a_lower_rate() -> None:
    small, large = (size_of("/mine", 10**6 * millions, 3).settings for millions in (30, 7000))
    assert small.learning_rate == size_of("smollm2", 0, 3).settings.learning_rate
    assert 2e-4 < large.learning_rate < 3e-4
    assert large.rank == small.rank


def test_the_headers_of_the_weights_say_how_large_a_base_is(tmp_path: Path) -> None:
    files = BaseFiles.read(weights(tmp_path, torch.bfloat16))
    assert files == BaseFiles(1000, frozenset({"BF16"}), 3, 16, 64, 100)
    assert files.dtype(bf16=True) == "bfloat16"
    assert files.dtype(bf16=False) == "float32"
    assert files.shared("bfloat16")
    assert not files.shared("float32")
    assert BaseFiles.read(weights(tmp_path, torch.float16)).dtype(bf16=True) == "float32"


def test_a_cut_off_file_is_named(tmp_path: Path) -> None:
    file = weights(tmp_path, torch.float32) / "model-b.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainingError, match=r"model-b\.safetensors is not a complete"):
        BaseFiles.read(tmp_path)


def test_weights_that_are_mapped_are_counted_once_and_converted_ones_for_each(
    tmp_path: Path,
) -> None:
    files = replace(BaseFiles.read(weights(tmp_path, torch.bfloat16)), parameters=10**9)
    shared = needs(files, "bfloat16", 5, gpu=False, lora=10**6, tokens=640)
    copied = needs(files, "float32", 5, gpu=False, lora=10**6, tokens=640)
    assert (shared.copies, copied.copies) == (1, 5)
    assert copied.total - shared.total == 5 * 4 * 10**9 - 2 * 10**9
    assert "one copy that all share" in shared.sentence()
    assert "5 copies" in copied.sentence()


def test_a_run_that_does_not_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    files = replace(BaseFiles.read(weights(tmp_path, torch.bfloat16)), parameters=10**14)
    with pytest.raises(TrainingError, match=r"does not fit: about \d+\.\d GiB of memory needed"):
        needs(files, "bfloat16", 5, gpu=False, lora=10**6, tokens=640).check()
