"""Settings of attacks: rounding schemes, relearning, and those of a whole suite."""

from __future__ import annotations

from dataclasses import dataclass, field

from rescind.forgetting.attacks.errors import AttackSetting
from rescind.forgetting.attacks.measures import measure
from rescind.forgetting.attacks.prompts import PROMPTS, REFUSALS, Prompt


@dataclass(frozen=True)
class Scheme:
    """A way to round weights.

    Attributes:
        bits: The number of bits of a rounded weight, 2 to 16.
        per_channel: Whether each output has a step of its own; else each matrix has one.
        merged: Whether the adapter is added to the weights before they are rounded; else it stays
            unrounded beside the rounded base.

    Raises:
        AttackSetting: `bits` is outside its range.
    """

    bits: int
    per_channel: bool
    merged: bool

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise AttackSetting(f"Cannot round to {self.bits} bits. Choose 2 to 16 bits.")

    @property
    def name(self) -> str:
        """Return the name of the scheme in reports, for example "int4-tensor-merged"."""
        step = "channel" if self.per_channel else "tensor"
        return f"int{self.bits}-{step}-{'merged' if self.merged else 'beside'}"


SCHEMES = tuple(
    Scheme(bits, per_channel, merged)
    for bits in (8, 4)
    for per_channel in (False, True)
    for merged in (True, False)
)


@dataclass(frozen=True)
class RelearnSettings:
    """Settings of relearning.

    Attributes:
        share: The share of the forget set to train on, in (0, 1].
        steps: The number of training steps.
        every: The number of steps between measurements.
        reach: The share of the original's score that counts as its level, in (0, 1].
        learning_rate: The learning rate, in (0, 1]; by default the consortium's.
        measure: The name of the score in `measures.MEASURES`.

    Raises:
        AttackSetting: A value is outside its range.
    """

    share: float = 0.2
    steps: int = 20
    every: int = 2
    reach: float = 0.95
    learning_rate: float | None = None
    measure: str = "probability"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 < self.reach <= 1:
            raise AttackSetting(f"share {self.share} and reach {self.reach} must be in (0, 1].")
        if self.steps < 1 or self.every < 1:
            raise AttackSetting(f"steps {self.steps} and every {self.every} must be at least 1.")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            raise AttackSetting(f"learning rate {self.learning_rate} must be in (0, 1].")
        measure(self.measure)


@dataclass(frozen=True)
class SuiteSettings:
    """Settings of all attacks of a suite.

    Attributes:
        by: The name of the score in `measures.MEASURES` for attacks that bring knowledge back.
        share: The share of an answer's tokens that count for Min-K%, in (0, 1].
        norm: The order of the norm of GradNorm: 1, 2 or infinity.
        relearning: The settings of relearning.
        schemes: The rounding schemes.
        prompts: The prompts.
        refusals: The refusals that the token ban forbids.
        beams: The number of beams of the token ban.

    Raises:
        AttackSetting: A value is outside its range.
    """

    by: str = "rouge"
    share: float = 0.2
    norm: float = 2.0
    relearning: RelearnSettings = field(default_factory=RelearnSettings)
    schemes: tuple[Scheme, ...] = SCHEMES
    prompts: tuple[Prompt, ...] = PROMPTS
    refusals: tuple[str, ...] = REFUSALS
    beams: int = 4

    def __post_init__(self) -> None:
        measure(self.by)
        if not self.schemes or not self.refusals or self.beams < 1:
            raise AttackSetting(
                f"There are {len(self.schemes)} schemes, {len(self.refusals)} refusals and "
                f"{self.beams} beams. Each must be at least 1."
            )
