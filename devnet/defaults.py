"""The default parameters of a devnet consortium."""

from __future__ import annotations

from pathlib import Path

from rescind.core import (
    ConsortiumParameters,
    Coupling,
    LoraParameters,
    TrainingParameters,
)

BASE_MODEL = Path(__file__).parent / "base_model" / "model"


def default_lora(coupling: Coupling) -> LoraParameters:
    """Return the default LoRA parameters of a coupling."""
    return LoraParameters(rank=8, alpha=16, train_a=coupling == "isolated")


def default_parameters(
    coupling: Coupling,
    base_model_id: str,
    shapes: dict[str, tuple[int, ...]],
    *,
    seed: int,
    name: str = "devnet",
) -> ConsortiumParameters:
    """Return default parameters. docs/decisions/002-coupling.md has the measurements behind them.

    Args:
        coupling: How the organizations train together.
        base_model_id: SHA-256 of the base model's files.
        shapes: Shape of each LoRA tensor by name.
        seed: Seed of initial values and training.
        name: The consortium's name.
    """
    isolated = coupling == "isolated"
    return ConsortiumParameters(
        name=name,
        base_model_id=base_model_id,
        coupling=coupling,
        layout="blocks" if isolated else "shared",
        seed=seed,
        lora=default_lora(coupling),
        training=TrainingParameters(
            steps_per_round=80,
            batch_size=32,
            learning_rate=5e-3 if isolated else 1.5e-2,
            max_length=512,
        ),
        fraction_bits=20,
        clip_norm=256.0,
        max_artifact_bytes=64 * 2**20,
        shapes=shapes,
    )
