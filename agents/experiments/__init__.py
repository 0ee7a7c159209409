"""Experiments on the participation game: their files, their running, and their reports."""

from rescind.agents.experiments.config import (
    Cell,
    Experiment,
    LearnerSection,
    read_experiment,
)

__all__ = ["Cell", "Experiment", "LearnerSection", "read_experiment"]
