"""The TOML file of an experiment, and the cells that it describes."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from rescind.agents.curves import fit, read_trace
from rescind.agents.learners import make_learner
from rescind.agents.world import GameConfig
from rescind.core.errors import AgentError
from rescind.core.frozen import Frozen

MINIMUM_SEEDS = 10
"""Seeds below which a report warns: intervals over fewer are too wide to compare learners."""


_ADDED = (
    "statistics",
    "gas_price",
    "bond",
    "capital_rate",
    "unrevealed_rate",
    "unrevealed_penalty",
)
"""Parameters that results of rescind.results/1 did not always have."""


class ExperimentSection(Frozen):
    """The [experiment] section.

    Attributes:
        name: Name of the experiment: lower-case letters, digits and hyphens.
        question: The question that it answers, for the report.
        seeds: Number of games, with seeds from 0. Each draws its own organizations.
        train_episodes: Episodes in which learners learn and explore.
        evaluation_episodes: Episodes in which they do neither. Their random events occur in no
            training.
        exploitability: Whether to train a best response against all others as well.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,60}$")]
    question: str
    seeds: Annotated[int, Field(ge=1, le=10_000)] = MINIMUM_SEEDS
    train_episodes: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    evaluation_episodes: Annotated[int, Field(ge=1, le=10_000)] = 4
    exploitability: bool = True


class LearnerSection(Frozen):
    """A [[learner]] section.

    Attributes:
        name: One of `rescind.agents.learners.LEARNERS`.
        settings: The learner's settings that are not its defaults.
        seats: "all" puts the learner on every organization, "one" on the first only.
        others: With seats "one", the policy of the others. If it learns, it first plays against
            itself, and does not change after that.
        others_settings: Settings of the others' policy that are not its defaults.
    """

    name: str
    settings: dict[str, Any] = Field(default_factory=dict)
    seats: Literal["all", "one"] = "all"
    others: str = "myopic"
    others_settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_policies(self) -> Self:
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
        """The learner's name in tables and plots."""
        return self.name if self.seats == "all" else f"{self.name} among {self.others}"


class Experiment(Frozen):
    """A whole experiment file.

    Attributes:
        experiment: The [experiment] section.
        game: Parameters of `GameConfig` that are not its defaults.
        trace: Trace file from which the game's learning curve is fitted, in place of game.curve.
        learner: The [[learner]] sections.
        sweep: Values for each "game.KEY". Every combination, with each learner, is a cell.
    """

    experiment: ExperimentSection
    game: dict[str, Any] = Field(default_factory=dict)
    trace: Path | None = None
    learner: Annotated[list[LearnerSection], Field(min_length=1)]
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_sweep(self) -> Self:
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
        # A deep copy: the values of a point must not reach the next one.
        document: dict[str, Any] = json.loads(json.dumps(self.game))
        for name, value in point.items():
            *tables, key = name.split(".")[1:]
            table = document
            for part in tables:
                table = table.setdefault(part, {})
            table[key] = value
        try:
            return GameConfig.model_validate(document)
        except ValidationError as error:
            where = f" at {dict(point)}" if point else ""
            raise AgentError(f"game{where}: {first_problem(error)}") from error


@dataclass(frozen=True)
class Cell:
    """One game with one learner: what a sweep runs and stores as a unit.

    Attributes:
        section: The [experiment] section.
        game: The game.
        learner: The learner.
        point: The cell's value of each swept parameter.
    """

    section: ExperimentSection
    game: GameConfig
    learner: LearnerSection
    point: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The cell's point as text; empty where nothing is swept."""
        return ", ".join(f"{name.split('.', 1)[1]} {value}" for name, value in self.point.items())

    @property
    def document(self) -> dict[str, Any]:
        """The cell as JSON-compatible values, without the question: it does not affect results."""
        return {
            "experiment": self.section.model_dump(mode="json", exclude={"question"}),
            "game": self._game_document(),
            "learner": self.learner.model_dump(mode="json"),
            "point": dict(self.point),
        }

    def _game_document(self) -> dict[str, Any]:
        # What changes nothing is left out, so that results from before these parameters keep their
        # keys.
        document = self.game.model_dump(mode="json")
        fields = GameConfig.model_fields
        kept = {n: v for n, v in document.items() if n not in _ADDED or v != fields[n].default}
        if self.game.unrevealed_rate == 0:
            kept.pop("unrevealed_penalty", None)
        if self.game.capital_rate == 0:
            kept.pop("bond", None)
        return kept

    @property
    def key(self) -> str:
        """A hash of everything that the cell's result depends on, except software versions."""
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
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "unknown key"
    return f"{key}: {message}" if key else message
