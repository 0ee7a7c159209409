"""TOML configuration files: read, checked against a pydantic model, paths made absolute."""

from __future__ import annotations

import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from adapters.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


def load_config(path: Path, model: type[Model]) -> Model:
    """Read `path` as `model`.

    A relative path in the file means relative to the file's own folder. Raises ConfigError that
    names the file, the key and, for an unknown key, the keys that are allowed there.
    """
    file = path.absolute()
    table = _absolute_paths(_read(file), model, file.parent)
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_explain(file, model, error)) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as handle:
            return tomllib.load(handle)
    except FileNotFoundError as error:
        raise ConfigError(f"{file}: no such file; name a configuration with -c FILE") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text at byte {error.start}") from error


def _members(annotation: object) -> list[object]:
    """The plain types of `X | None`, `Annotated[X, ...]` and the like."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [annotation]


def _section(annotation: object) -> type[BaseModel] | None:
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def _absolute_paths(
    table: Mapping[str, Any], model: type[BaseModel], folder: Path
) -> dict[str, Any]:
    result = dict(table)
    for name, field in model.model_fields.items():
        key = field.alias or name
        value = result.get(key)
        section = _section(field.annotation)
        if section is not None and isinstance(value, Mapping):
            result[key] = _absolute_paths(value, section, folder)
        elif Path in _members(field.annotation) and isinstance(value, str) and value:
            given = Path(value).expanduser()
            keep_as_name = str in _members(field.annotation) and not (folder / given).exists()
            result[key] = value if keep_as_name else str(folder / given)
    return result


def _explain(file: Path, model: type[BaseModel], error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first = problems[0]
    more = f" ({len(problems) - 1} more after this one)" if len(problems) > 1 else ""
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{file}: {key}: {_reason(first, model)}{more}"


def _reason(problem: ErrorDetails, model: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_allowed(model, problem["loc"][:-1]))
        return f"unknown key; allowed here: {allowed}"
    if problem["type"] == "missing":
        return "required and not given"
    return f"{problem['msg']}, found {problem['input']!r}"


def _allowed(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current = model
    for part in location:
        field = current.model_fields.get(str(part))
        section = _section(field.annotation) if field else None
        if section is None:
            break
        current = section
    return sorted(field.alias or name for name, field in current.model_fields.items())
