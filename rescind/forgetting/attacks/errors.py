"""Errors of attacks: bad settings and input that shows nothing."""

from __future__ import annotations

from rescind.core.errors import ConfigError, DataError, TrainingError


class UnknownAttack(ConfigError):
    code = "attack-unknown"


class AttackSetting(ConfigError):
    code = "attack-setting"


class AttackInput(DataError):
    code = "attack-input"


class ScoresNotFinite(TrainingError):
    code = "attack-not-finite"
