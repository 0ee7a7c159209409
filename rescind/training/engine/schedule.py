"""The learning-rate schedule of every training loop: rounds, split rounds and counter-training."""

from __future__ import annotations

from dataclasses import dataclass

WARM_UP_STEPS = 10
"""AdamW's second moments rest on few gradients at first (beta2 is 0.999), so its first steps are
noisy; ten small steps let them settle. Rounds are short (tens of steps), so a longer warm-up would
cost much of one."""

_DECAY = 0.9
"""The share of the learning rate that a round gives up by its end, in a straight line. The tenth
that is left keeps the last batches from being wasted."""


def rate_factor(step: int, steps: int) -> float:
    """Return the factor on the learning rate at `step` of `steps`, in (0, 1].

    It rises in a line over the first ten steps and falls in a line to a tenth.

    Args:
        step: Counts from 0.
        steps: Of the whole run. Fewer than 1 counts as 1.
    """
    steps = max(1, steps)
    warm_up = min(1.0, (step + 1) / min(WARM_UP_STEPS, steps))
    return warm_up * (1.0 - _DECAY * step / steps)


@dataclass(frozen=True)
class StepRate:
    """The learning rate at each of `steps` steps."""

    learning_rate: float
    steps: int

    def __call__(self, step: int) -> float:
        """Return the learning rate at `step`, which counts from 0."""
        return self.learning_rate * rate_factor(step, self.steps)

    @property
    def travel(self) -> float:
        """The sum of the learning rates of all steps."""
        return sum(self(step) for step in range(self.steps))
