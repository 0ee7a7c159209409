"""The default parameters of a devnet consortium."""

from __future__ import annotations

from rescind.core import (
    HIDING,
    HIDING_SHAPE,
    ConsortiumParameters,
    Coupling,
    LoraParameters,
    TextParameters,
    TrainingParameters,
    artifact_limits,
)
from rescind.core.split_settings import SplitSettings
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.training.model.presets import PresetSettings, preset

BASE_MODEL = preset("tiny").folder
_TINY = preset("tiny").settings
_LEAST_ARTIFACT_BYTES = 64 * 2**20
"""The limit of small models, one for all sizes, so that their parameters keep their ids."""
MAX_MEMBERS = 64
_ANY_SIZE = 2**44


def default_lora(coupling: Coupling, settings: PresetSettings = _TINY) -> LoraParameters:
    """Return the LoRA parameters of a coupling for a base model of some settings."""
    return LoraParameters(rank=settings.rank, alpha=settings.alpha, train_a=coupling != "federated")


def default_parameters(
    coupling: Coupling,
    base_model_id: str,
    shapes: dict[str, tuple[int, ...]],
    *,
    seed: int,
    name: str = "devnet",
    settings: PresetSettings = _TINY,
    text: TextParameters | None = None,
    statistics: StatisticsParameters | None = None,
) -> ConsortiumParameters:
    """Return default parameters. docs/decisions/002-coupling.md has the measurements behind them.

    Args:
        coupling: How the organizations train together.
        base_model_id: SHA-256 of the base model's files.
        shapes: Shape of each LoRA tensor by name.
        seed: Seed of initial values and training.
        name: The consortium's name.
        settings: Settings that suit the base model.
        text: How text becomes tokens; see `rescind.training.model.text_rules.default_text`.
        statistics: The tasks of a hybrid coupling.
    """
    federated, lora = coupling == "federated", default_lora(coupling, settings)
    agreed = ConsortiumParameters(
        name=name,
        base_model_id=base_model_id,
        coupling=coupling,
        layout="shared" if federated else "blocks",
        seed=seed,
        lora=lora,
        training=TrainingParameters(
            # Public and revocable data have half of a split coupling's steps each.
            steps_per_round=settings.steps * (2 if coupling == "split" else 1),
            batch_size=settings.batch_size,
            learning_rate=settings.shared_learning_rate if federated else settings.learning_rate,
            max_length=settings.max_length,
        ),
        text=text or TextParameters(),
        fraction_bits=20,
        clip_norm=256.0,
        max_artifact_bytes=_ANY_SIZE,
        max_members=MAX_MEMBERS,
        # No point can be registered twice, and a part may change beside another that stays.
        hiding=coupling in ("hybrid", "split"),
        statistics=statistics,
        split=SplitSettings(
            shared_rank=lora.rank // 2, shared_learning_rate=settings.shared_learning_rate
        )
        if coupling == "split"
        else None,
        shapes=shapes,
    )
    # As if A were trained: then members may agree later that it is.
    limits = artifact_limits(
        shapes | ({HIDING: HIDING_SHAPE} if agreed.hiding else {}),
        layout=agreed.layout,
        max_members=MAX_MEMBERS,
        summed=agreed.summed_shapes,
    )
    largest = max(_LEAST_ARTIFACT_BYTES, limits.largest)
    return agreed.model_copy(update={"max_artifact_bytes": largest})
