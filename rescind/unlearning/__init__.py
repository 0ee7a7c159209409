"""Unlearning methods: losses, counter-training, closed forms, their guard and their registry.

The names here import no torch. Everything that measures or trains a model (`guard`, `counter`, the
methods themselves) does, and is imported from its own module.
"""

from rescind.unlearning.problem import Method, Outcome, Problem, counter_delta
from rescind.unlearning.registry import UnknownMethod, find, methods, register

__all__ = [
    "Method",
    "Outcome",
    "Problem",
    "UnknownMethod",
    "counter_delta",
    "find",
    "methods",
    "register",
]
