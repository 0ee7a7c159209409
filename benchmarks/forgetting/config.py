"""The configuration of a benchmark of forgetting: one TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.consortium import Recipe
from rescind.core.errors import ConfigError


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Organization(_Section):
    """`authors`: numbers of TOFU authors, as inclusive ranges."""

    name: str
    authors: tuple[tuple[int, int], ...]

    @property
    def numbers(self) -> list[int]:
        return [n for first, last in self.authors for n in range(first, last + 1)]


class Measuring(_Section):
    """Questions of each set (0: all), evenly spaced; `attacks`: names, or all that can run, on so many
    (`attacked`) questions and by the measure `by`, with so many of the
    attack's `prompts`. `precision`: of the forward passes that measure."""

    forget: int = 0
    retain: int = 0
    general: int = 0
    unseen: int = 0
    shared: int = 0
    max_new_tokens: int = 80
    attacks: tuple[str, ...] | None = None
    attacked: int = 100
    by: str = "rouge"
    prompts: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"


class Counter(_Section):
    """Settings of the methods: those of every one under `common`, others by method. `variants`: further
    rows by their names, each a `method` with settings of its own."""

    common: dict[str, Any] = {}
    methods: dict[str, dict[str, Any]] = {}
    variants: dict[str, dict[str, Any]] = {}


class Config(_Section):
    """`leaver`: the organization that is forgotten; it may hold authors that others hold too."""

    name: str
    base: Path
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    leaver: str
    organizations: Annotated[tuple[Organization, ...], Field(min_length=2)]
    couplings: Annotated[dict[str, Recipe], Field(min_length=1)]
    rows: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    measuring: Measuring = Measuring()
    counter: Counter = Counter()
    recovery_rounds: int = 1
    calibration_share: float = 0.2
    engine: dict[str, Any] = {}
    threads: int = 1

    def organization(self, name: str) -> Organization:
        return next(it for it in self.organizations if it.name == name)

    @property
    def others(self) -> list[Organization]:
        return [it for it in self.organizations if it.name != self.leaver]

    @property
    def shared_authors(self) -> list[int]:
        """The leaver's rows that another organization has, too: they must stay."""
        known = {n for it in self.others for n in it.numbers}
        return [n for n in self.organization(self.leaver).numbers if n in known]


def load(path: Path) -> Config:
    """Raises ConfigError with the file and what is wrong in it."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        config = Config.model_validate(table)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {where}: {first['msg']}") from error
    if config.leaver not in {it.name for it in config.organizations}:
        raise ConfigError(f"{path}: leaver {config.leaver!r} is not one of the organizations.")
    unknown = set(config.rows) ^ set(config.couplings)
    if unknown:
        raise ConfigError(f"{path}: rows and couplings must name the same, not {sorted(unknown)}")
    return config
