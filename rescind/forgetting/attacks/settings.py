"""Settings of attacks: rounding schemes, relearning, and those of a whole suite."""

from __future__ import annotations

from dataclasses import dataclass, field

from rescind.forgetting.attacks.errors import AttackSetting
from rescind.forgetting.attacks.measures import measure
from rescind.forgetting.attacks.prompts import PROMPTS, REFUSALS, Prompt


@dataclass(frozen=True)
class Scheme:
    """A way to round weights.

    `per_channel`: a step for each output, else one for each matrix. `merged`: the adapter is added
    to the weights before they are rounded, else it stays beside the rounded base as it is.
    """

    bits: int
    per_channel: bool
    merged: bool

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise AttackSetting(f"{self.bits} bits: rounding is to 2 to 16 bits")

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
    """How an attacker relearns: on `share` of the forget set for `steps`, measured every `every`.

    `reach`: share of the original's score that counts as its level. `learning_rate`: None for that
    of the consortium.
    """

    share: float = 0.2
    steps: int = 20
    every: int = 2
    reach: float = 0.95
    learning_rate: float | None = None
    measure: str = "probability"

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or not 0 < self.reach <= 1:
            raise AttackSetting(f"share {self.share} and reach {self.reach} must be in (0, 1]")
        if self.steps < 1 or self.every < 1:
            raise AttackSetting(f"steps {self.steps} and every {self.every} must be at least 1")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            raise AttackSetting(f"learning rate {self.learning_rate} must be in (0, 1]")
        measure(self.measure)


@dataclass(frozen=True)
class SuiteSettings:
    """Settings of all attacks of a suite.

    `by`: the measure of the attacks that bring knowledge back (measures.MEASURES); `share`: of an
    answer's tokens, for Min-K%; `norm`: of GradNorm.
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
            raise AttackSetting("schemes and refusals must not be empty, and beams is at least 1")
