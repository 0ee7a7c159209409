"""How large a demo is with a base model: people, rounds and the settings of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from rescind.core.machine import available_cores
from rescind.training.model.presets import PresetSettings, preset, preset_of

_REAL_PARAMETERS = 20_000_000
"""Parameters from which a base without a preset is taken for one that was trained on real text."""
_TUNED_PARAMETERS = 134_500_000
"""Parameters of SmolLM2, for which the settings were chosen."""
_MOST_STEPS = 600
"""Steps of a round at most, however many rows an organization has."""


@dataclass(frozen=True)
class DemoSize:
    """The size of a demo.

    Attributes:
        settings: How each round is trained.
        rounds: Rounds, where the user does not say.
        own_people: Generated people that only one organization knows.
        shared_people: Generated people that two organizations know.
        held_out_people: Generated people that no organization knows.
        passes: Passes over the largest organization's rows in a round, at least.
        threads: Threads of each daemon.
        real: Whether the base was trained on real text, so that a run takes long.
    """

    settings: PresetSettings
    rounds: int
    own_people: int
    shared_people: int
    held_out_people: int
    passes: Fraction
    threads: int
    real: bool

    def steps(self, organizations: Mapping[str, Sequence[Any]]) -> int:
        """Return the steps of a round, from the rows of the organization that has most."""
        rows = max(len(examples) for examples in organizations.values())
        wanted = math.ceil(rows * self.passes / self.settings.batch_size)
        return max(self.settings.steps, min(_MOST_STEPS, wanted))


def is_real(reference: str, parameters: int) -> bool:
    """Return whether a base model was trained on real text, so that a demo with it takes long.

    Args:
        reference: The base model, as the user named it.
        parameters: Parameters of the base model.
    """
    known = preset_of(reference)
    return known.name != "tiny" if known else parameters >= _REAL_PARAMETERS


def organizations_of(reference: str, parameters: int) -> int:
    """Return the number of organizations, where the user does not say."""
    return 3 if is_real(reference, parameters) else 4


def size_of(reference: str, parameters: int, organizations: int) -> DemoSize:
    """Return the size of the demo that suits a base model.

    Args:
        reference: The base model, as the user named it.
        parameters: Parameters of the base model.
        organizations: Number of organizations, which train at the same time.
    """
    if not is_real(reference, parameters):
        # A model this small gains nothing from a second thread, and results are recorded with one.
        return DemoSize(
            preset("tiny").settings, 3, 10, 8, 10, passes=Fraction(128, 3), threads=1, real=False
        )
    known = preset_of(reference)
    settings = known.settings if known else _scaled(preset("smollm2").settings, parameters)
    # All nodes train at once: more threads than cores would only wait for one another. Both runs
    # of a demo use the same number, because the order of additions depends on it.
    threads = max(1, available_cores() // organizations)
    return DemoSize(settings, 2, 4, 3, 3, passes=Fraction(4), threads=threads, real=True)


def _scaled(settings: PresetSettings, parameters: int) -> PresetSettings:
    """Return the settings of SmolLM2 for a base of another size.

    Larger models want a lower rate: some 2e-4 with LoRA at 7 billion parameters, where the root of
    the ratio of sizes gives 2.8e-4.
    """
    factor = min(1.0, math.sqrt(_TUNED_PARAMETERS / parameters))
    return replace(
        settings,
        learning_rate=settings.learning_rate * factor,
        shared_learning_rate=settings.shared_learning_rate * factor,
    )
