"""The several ways in which memory runs out, as one error with advice."""

import pytest
import torch

from rescind.cli.exit_codes import exit_code
from rescind.training.model.out_of_memory import OutOfMemory, memory_explained


def test_torch_on_a_cpu_without_memory_is_explained() -> None:
    words = r"^Not enough memory for training: .+ Lower it\.$"
    with pytest.raises(OutOfMemory, match=words), memory_explained("training", "Lower it."):
        torch.empty(2**55, dtype=torch.uint8)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nIncluding"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_each_way_is_one_error_of_training(error: Exception) -> None:
    @memory_explained("scoring")
    def work() -> None:
        raise error

    with pytest.raises(OutOfMemory) as caught:
        work()
    assert (caught.value.code, exit_code(caught.value)) == ("training", 17)
    assert "\n" not in str(caught.value)
    assert "bfloat16" in str(caught.value)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(RuntimeError, match="shapes") as caught, memory_explained("training"):
        raise RuntimeError("shapes do not fit")
    assert type(caught.value) is RuntimeError
