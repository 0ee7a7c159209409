"""Read TOML configuration files; relative paths count from the file's own folder."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.aggregator import AggregatorConfig
    from rescind.node import NodeConfig

_Model = TypeVar("_Model", bound=BaseModel)


def load_daemon(path: Path) -> NodeConfig | AggregatorConfig:
    """Return the validated configuration of either daemon: of a node if it has the section [node].

    Raises:
        ConfigError: As `load_config`.
    """
    from rescind.aggregator import AggregatorConfig
    from rescind.node import NodeConfig

    is_node = "node" in _content(path)
    return load_config(path, NodeConfig) if is_node else load_config(path, AggregatorConfig)


def load_config(path: Path, model: type[_Model]) -> _Model:
    """Return the validated content of a TOML file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or a value is not allowed. The message names
            the file, the key and, for an unknown key, the allowed ones.
    """
    try:
        loaded = model.model_validate(_content(path))
    except ValidationError as error:
        raise ConfigError(_explain(path, model, error)) from error
    return _resolve(loaded, path.resolve().parent)


def _content(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _explain(path: Path, model: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        what = first["msg"].removeprefix("Value error, ")
        what = f"{what[:1].lower()}{what[1:]}"
        return f"{path}: {where}: {what}" if where else f"{path}: {what}"
    allowed = _fields(model, first["loc"][:-1])
    return f"{path}: unknown key {where}. Allowed keys: {', '.join(allowed)}."


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        annotation: Any = model.model_fields[str(part)].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return sorted(model.model_fields)


def _resolve(section: _Model, folder: Path) -> _Model:
    changed: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            changed[name] = _resolve(value, folder)
        elif isinstance(value, Path):
            changed[name] = folder / value
        elif isinstance(value, tuple) and any(isinstance(each, Path) for each in value):
            changed[name] = tuple(folder / each for each in value)
        elif isinstance(value, Mapping) and any(isinstance(v, Path) for v in value.values()):
            changed[name] = {key: folder / each for key, each in value.items()}
    return section.model_copy(update=changed)
