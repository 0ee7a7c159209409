"""Values that the contracts return, decoded by the names in their ABI.

Positions are never used after this module, so a field that is inserted into a Solidity struct
cannot shift the ones behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from rescind.contracts.checksum import checksum_address
from rescind.contracts.errors import ContractsMissing

_T = TypeVar("_T")


class Struct(dict[str, Any]):
    """The fields of one struct, by their names in the ABI.

    Args:
        source: Where it comes from, for error messages, such as "Models.foldOf".
        fields: The values by name.
    """

    def __init__(self, source: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._source = source

    def __missing__(self, name: str) -> Any:
        raise ContractsMissing(
            f"{self._source} has no field {name!r}; its fields are {', '.join(self)}. The compiled "
            "contracts do not match this client: install both from the same version of rescind."
        )


def decode_result(source: str, outputs: Sequence[Mapping[str, Any]], value: Any) -> Any:
    """Return the result of a call with every struct in it as a `Struct`.

    Args:
        source: Contract and function, for error messages.
        outputs: The function's outputs in the ABI.
        value: The decoded value of a single output, or a sequence of several.

    Returns:
        The value of a single output; of several outputs a `Struct` of them.
    """
    if len(outputs) == 1:
        return decode_value(source, outputs[0], value)
    return _struct(source, outputs, value)


def build(
    kind: Callable[..., _T],
    struct: Struct,
    names: Mapping[str, str] | None = None,
    *,
    empty_if_zero: Sequence[str] = (),
    **given: Any,
) -> _T:
    """Return a dataclass with the fields of a struct.

    A field `adapter_id` is read from `adapterId`. Bytes become hexadecimal text unless the field is
    declared as bytes, numbers of enumerations their members, and lists tuples.

    Args:
        kind: The dataclass.
        struct: The decoded struct. Fields that the dataclass does not have are ignored.
        names: Names in the ABI of those fields whose names differ.
        empty_if_zero: Fields for which zero bytes stand for "not set", which becomes "".
        **given: Fields that are not in the struct.

    Raises:
        ContractsMissing: The struct lacks a field, or an enumeration has no such member.
    """
    values = dict(given)
    for field, wanted in _types_of(kind).items():
        if field in given:
            continue
        value = struct[(names or {}).get(field, _camel_case(field))]
        unset = field in empty_if_zero and not any(value)
        values[field] = "" if unset else _convert(wanted, value)
    return kind(**values)


@cache
def _types_of(kind: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _struct(source: str, components: Sequence[Mapping[str, Any]], values: Any) -> Struct:
    return Struct(
        source,
        {
            component["name"]: decode_value(f"{source}.{component['name']}", component, value)
            for component, value in zip(components, values, strict=True)
        },
    )


def decode_value(source: str, component: Mapping[str, Any], value: Any) -> Any:
    """Return a decoded value of the ABI: structs as `Struct`, addresses with their checksum.

    Args:
        source: Where it comes from, for error messages.
        component: Its item in the ABI.
        value: The value.
    """
    kind = component["type"]
    if kind.endswith("]"):
        of_each = {**component, "type": kind[: kind.rindex("[")]}
        return [decode_value(source, of_each, each) for each in value]
    if kind == "tuple":
        return _struct(source, component["components"], value)
    return checksum_address(value) if kind == "address" else value


def _convert(wanted: Any, value: Any) -> Any:
    if get_origin(wanted) is tuple:
        return tuple(_convert(get_args(wanted)[0], each) for each in value)
    if issubclass(wanted, Enum):
        return _member(wanted, value)
    if isinstance(value, bytes) and wanted is not bytes:
        return bytes(value).hex()
    return wanted(value)


def _member(enumeration: type[Enum], number: int) -> Enum:
    """Find by value where the values are numbers, otherwise by the order of definition."""
    for place, member in enumerate(enumeration):
        if number == (member.value if isinstance(member.value, int) else place):
            return member
    raise ContractsMissing(
        f"{enumeration.__name__} has no member with the number {number}. The contracts do not "
        "match this client: install the version of rescind that they were deployed with."
    )


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
