"""The registry of learners, by the names that configurations use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from rescind.agents.learners.base import Learner
from rescind.core.errors import AgentError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Make = TypeVar("_Make", bound=Callable[..., Learner])


class _Registration(NamedTuple):
    make: Callable[..., Learner]
    config: type[DataclassInstance] | None


_registered: dict[str, _Registration] = {}


def register(name: str, config: type[DataclassInstance] | None = None) -> Callable[[_Make], _Make]:
    """Return a decorator that registers a learner.

    Args:
        name: The learner's name in configurations.
        config: Its settings, the only argument of what is decorated; None for a learner without
            settings, which takes no argument.
    """

    def add(make: _Make) -> _Make:
        _registered[name] = _Registration(make, config)
        return make

    return add


def learner_names() -> tuple[str, ...]:
    """Return the names of all registered learners, sorted."""
    return tuple(sorted(_registered))


def make_learner(name: str, settings: Mapping[str, Any] | None = None) -> Learner:
    """Return a new learner.

    Args:
        name: One of LEARNERS.
        settings: Settings that differ from the defaults of the learner's configuration.

    Raises:
        AgentError: The name is unknown, or a setting is unknown or impossible.
    """
    given = dict(settings or {})
    if name not in _registered:
        raise AgentError(f"unknown policy {name!r}. Choose one of: {', '.join(learner_names())}.")
    make, config = _registered[name]
    if config is None:
        if given:
            raise AgentError(f"{name} has no settings. Remove: {', '.join(sorted(given))}.")
        return make()
    fields = config.__dataclass_fields__
    unknown = given.keys() - fields.keys()
    if unknown:
        raise AgentError(
            f"{name} has no setting {', '.join(sorted(unknown))}. Its settings are: "
            f"{', '.join(fields)}."
        )
    try:
        return make(TypeAdapter(config).validate_python(given))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise AgentError(
            f"{name}: {field}: {message}" if field else f"{name}: {message}"
        ) from error
