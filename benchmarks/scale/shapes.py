"""LoRA tensors of any number of parameters."""

from __future__ import annotations

RANK, WIDTH = 16, 4096


def lora_shapes(parameters: int) -> dict[str, tuple[int, ...]]:
    """Return pairs of A (16, 4096) and B (4096, 16), of so many parameters or a few more."""
    pairs = -(-parameters // (2 * RANK * WIDTH))
    return {
        f"model.layers.{n}.mlp.up_proj.lora_{side}": shape
        for n in range(pairs)
        for side, shape in (("A", (RANK, WIDTH)), ("B", (WIDTH, RANK)))
    }
