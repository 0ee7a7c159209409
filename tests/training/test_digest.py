import numpy as np
import pytest
import torch

from rescind.core import ZERO_DIGEST, DigestMalformed, digest
from rescind.training import digest_on

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "o/layer.lora_A": rng.integers(-(2**31), 2**31, (16, 1000)).astype(np.int32),
        "o/layer.lora_B": rng.integers(-(2**63), 2**63, (300, 16), dtype=np.int64),
        "ends": np.array([-(2**63), 2**63 - 1, 0, -1], dtype=np.int64),
        "many blocks": rng.integers(-5, 5, (260 * 2048 + 3,)).astype(np.int32),
        "scalar": np.array(3, dtype=np.int32),
        "empty": np.zeros((0, 3), dtype=np.int32),
    }


@pytest.mark.parametrize("device", DEVICES)
def test_the_torch_digest_equals_the_kernel_digest(device: str) -> None:
    wanted = digest(tensors())
    assert digest_on(tensors(), device) == wanted
    on_device = {name: torch.from_numpy(value).to(device) for name, value in tensors().items()}
    assert digest_on(on_device, torch.device(device)) == wanted
    assert digest_on({}, device) == ZERO_DIGEST


def test_floats_are_refused() -> None:
    with pytest.raises(DigestMalformed, match=r"'w' has dtype torch\.float32"):
        digest_on({"w": torch.zeros(3)}, "cpu")
