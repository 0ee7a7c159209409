"""The description of one round of local training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rescind.training.engine.checkpoint import Checkpoint
from rescind.training.engine.privacy import PrivacySpent
from rescind.training.engine.settings import EngineSettings
from rescind.training.engine.workers import Alone, Workers
from rescind.training.rules.rule import Rule


@dataclass(frozen=True)
class Progress:
    """The state of a run after one of its steps.

    Attributes:
        step: Steps done so far.
        steps: Steps of the whole run.
        loss: Of the step's batch in nats a token. After an empty batch, that of the batch before
            it.
        tokens_per_second: Tokens that the loss counts, smoothed over about ten steps.
    """

    step: int
    steps: int
    loss: float
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class RoundPrivacy:
    """An organization's private inputs to a round that trains privately. Ignored in other rounds.

    Attributes:
        secret: The 32 bytes from which sampling and noise are drawn. Anyone who has them can
            subtract the noise. None draws fresh ones, which a checkpoint or several workers do not
            allow.
        spent: The budget that earlier rounds have spent.
        extra_noise: Noise beyond the agreed multiplier; 1 doubles it.
    """

    secret: bytes | None = None
    spent: PrivacySpent | None = None
    extra_noise: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RoundTraining:
    """How one round is trained, apart from the model, the agreed parameters and the data.

    Attributes:
        steps: Optimizer steps, at least 1.
        seed: Of everything random except private noise. `contribute` replaces it with the seed of
            its organization and round.
        settings: How this machine computes.
        rules: Client rules that may add to the loss and correct the gradient. Each sees the whole
            batch of a step.
        checkpoint: Where a killed run continues from, to the same bytes. None keeps no checkpoint.
        privacy: The organization's private inputs when the consortium trains privately.
        workers: The processes that share the round.
        progress: Called after each step. An exception from it ends the run.
    """

    steps: int
    seed: int = 0
    settings: EngineSettings = field(default_factory=EngineSettings)
    rules: Sequence[Rule] = ()
    checkpoint: Checkpoint | None = None
    privacy: RoundPrivacy = field(default_factory=RoundPrivacy)
    workers: Workers = field(default_factory=Alone)
    progress: Callable[[Progress], None] | None = None
