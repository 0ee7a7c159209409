"""Errors of attacks: bad settings and input that shows nothing."""

from __future__ import annotations

from rescind.core.errors import ConfigError, DataError, TrainingError


class UnknownAttack(ConfigError):
    """A name that is not the name of an attack."""

    code = "attack-unknown"


class AttackSetting(ConfigError):
    """A setting outside its range."""

    code = "attack-setting"


class AttackInput(DataError):
    """Data that an attack cannot work on, or a part that it needs and does not have."""

    code = "attack-input"


class ScoresNotFinite(TrainingError):
    """Scores of a model that has diverged."""

    code = "attack-not-finite"
