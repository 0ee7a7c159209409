"""The registry of the unlearning methods whose outcome can be registered as a counter-delta.

A method registers itself with `register` where it is defined. Importing this module imports no
torch; `methods` and `find` do, because they import the modules of all methods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TypeVar

from rescind.core.errors import ConfigError
from rescind.unlearning.problem import Method, Outcome, Problem

S = TypeVar("S")
Run = Callable[[Problem, S], Outcome]

_MODULES = ("methods", "representation", "group_lasso", "projected", "negation", "closed_form")
"""Modules of this package that define methods. A new one must be added here."""

_registered: dict[str, Method] = {}


class UnknownMethod(ConfigError):
    """No method has the given name."""

    code = "unknown-method"


def register(
    settings: type[S],
    *,
    source: str,
    needs_retain: bool,
    trains: bool = True,
    forgets_subjects: bool = True,
) -> Callable[[Run[S]], Run[S]]:
    """Register the decorated function as a method, under the function's name.

    Args:
        settings: A frozen dataclass whose defaults are the method's published ones.
        source: Where the method comes from.
        needs_retain: Whether its default settings use a retain set.
        trains: False for closed forms.
        forgets_subjects: Whether it can forget one data subject. False for a method that takes back
            everything that an organization contributed.
    """

    def add(run: Run[S]) -> Run[S]:
        name = run.__name__
        _registered[name] = Method(
            name, run, settings, source, needs_retain, trains, forgets_subjects
        )
        return run

    return add


def registered() -> Mapping[str, Method]:
    """Return the methods of the modules imported so far, by name."""
    return MappingProxyType(_registered)


def methods() -> Mapping[str, Method]:
    """Return every method by name."""
    for module in _MODULES:
        import_module(f"rescind.unlearning.{module}")
    return registered()


def find(name: str) -> Method:
    """Return the method of a name.

    Raises:
        UnknownMethod: No method has that name. The message lists those that there are.
    """
    known = methods()
    if name not in known:
        raise UnknownMethod(
            f"Unknown unlearning method {name!r}. Known methods: {', '.join(sorted(known))}."
        )
    return known[name]
