"""Reading the typed facts of a daemon's journal."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from rescind.core.errors import StoreError

T = TypeVar("T")


def read_fact(kind: type[T], value: Any) -> T:
    """Return the fact that a journal's JSON value stands for.

    Args:
        kind: The fact's frozen dataclass.
        value: The value as the journal holds it.

    Raises:
        StoreError: The value does not fit the dataclass.
    """
    try:
        fact: T = _adapter(kind).validate_python(value)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        field_name = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"the journal holds a damaged {kind.__name__}: {field_name}: {first['msg']}"
        ) from error
    return fact


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
