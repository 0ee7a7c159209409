"""An experiment's TOML file, and the cells that it stands for."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rescind.agents.curves import fit, read_trace
from rescind.agents.learners import make_learner
from rescind.agents.world import GameConfig
from rescind.core.errors import AgentError

MINIMUM_SEEDS = 10


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExperimentSection(_Section):
    """`seeds`: games 0 to `seeds` - 1, each with its own organizations. `train_episodes`: of the learners;
    `evaluation_episodes`: with random events of their own, without learning or exploring. `exploitability`: train a best
    response against all others, too.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")]
    question: str
    seeds: Annotated[int, Field(ge=1, le=10_000)] = MINIMUM_SEEDS
    train_episodes: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    evaluation_episodes: Annotated[int, Field(ge=1, le=10_000)] = 4
    exploitability: bool = True


class LearnerSection(_Section):
    """`seats`: on all organizations, or on the first, where the `others` decide by a policy of their own:
    one that learns has first played against itself, and is then held.
    """

    name: str
    settings: dict[str, Any] = {}
    seats: Literal["all", "one"] = "all"
    others: str = "myopic"
    others_settings: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self) -> Self:
        try:
            make_learner(self.name, self.settings)
            make_learner(self.others, self.others_settings)
        except AgentError as error:
            raise ValueError(str(error)) from error
        if self.name == "dqn" and self.seats != "one":
            raise ValueError('dqn is trained on one organization. Set seats = "one"')
        if self.seats == "all" and self.others_settings:
            raise ValueError(
                'others_settings needs seats = "one", because with "all" there are no others'
            )
        if self.others == "dqn":
            raise ValueError("others cannot be dqn, because it would have to be trained first")
        return self

    @property
    def title(self) -> str:
        return self.name if self.seats == "all" else f"{self.name} among {self.others}"


class Experiment(_Section):
    """`trace`: a trace from which the game's learning curve is fitted, in place of game.curve. `sweep`:
    "game.KEY" -> values; every combination is a cell, with each learner.
    """

    experiment: ExperimentSection
    game: dict[str, Any] = {}
    trace: Path | None = None
    learner: Annotated[list[LearnerSection], Field(min_length=1)]
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _axes(self) -> Self:
        for name in self.sweep:
            prefix, _, key = name.partition(".")
            if prefix != "game" or key.split(".")[0] not in GameConfig.model_fields:
                raise ValueError(f"sweep.{name!r} is not a parameter of the game. Write game.KEY")
        if self.trace is not None and "curve" in self.game:
            raise ValueError("game.curve and trace both give a curve. Remove one of them")
        titles = [section.title for section in self.learner]
        if len(set(titles)) != len(titles):
            raise ValueError(f"two learners have the same name: {', '.join(titles)}")
        return self

    def cells(self) -> list[Cell]:
        """Return each combination of the sweep with each learner.

        Raises:
            AgentError: A combination is not a possible game.
        """
        axes = [[(name, value) for value in values] for name, values in self.sweep.items()]
        return [
            Cell(self.experiment, self._game(dict(point)), learner, dict(point))
            for point in itertools.product(*axes)
            for learner in self.learner
        ]

    def _game(self, point: Mapping[str, Any]) -> GameConfig:
        document: dict[str, Any] = json.loads(json.dumps(self.game))
        for name, value in point.items():
            at, *path = document, *name.split(".")[1:]
            for key in path[:-1]:
                at = at.setdefault(key, {})
            at[path[-1]] = value
        try:
            return GameConfig.model_validate(document)
        except ValidationError as error:
            where = f" at {dict(point)}" if point else ""
            raise AgentError(f"game{where}: {first_problem(error)}") from error


@dataclass(frozen=True)
class Cell:
    """`point`: its place in the sweep."""

    section: ExperimentSection
    game: GameConfig
    learner: LearnerSection
    point: Mapping[str, Any]

    @property
    def label(self) -> str:
        return ", ".join(f"{name.split('.', 1)[1]} {value}" for name, value in self.point.items())

    @property
    def document(self) -> dict[str, Any]:
        return {
            "experiment": self.section.model_dump(mode="json", exclude={"question"}),
            "game": self.game.model_dump(mode="json"),
            "learner": self.learner.model_dump(mode="json"),
            "point": dict(self.point),
        }

    @property
    def key(self) -> str:
        """Names the cell by everything that its result depends on but the versions."""
        text = json.dumps(self.document, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_experiment(path: Path) -> Experiment:
    """Read an experiment, with the curve of its trace filled in.

    Raises:
        AgentError: The file is not a valid experiment; names the file, the key and the problem.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AgentError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise AgentError(f"{path} is not valid TOML: {error}.") from error
    try:
        experiment = Experiment.model_validate(document)
        if experiment.trace is not None:
            curve, _ = fit(read_trace(path.parent / experiment.trace))
            game = {**experiment.game, "curve": curve.model_dump()}
            experiment = experiment.model_copy(update={"game": game, "trace": None})
        experiment.cells()
    except ValidationError as error:
        raise AgentError(f"{path}: {first_problem(error)}") from error
    except AgentError as error:
        raise AgentError(f"{path}: {error}") from error
    return experiment


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as one line: key and message."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    return f"{place}: {message}" if place else message
