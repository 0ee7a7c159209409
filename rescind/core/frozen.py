"""The base of agreed and configured documents: immutable, and without unknown fields."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """An immutable document that refuses unknown fields.

    A changed copy computes again what the original had cached: pydantic would copy it along.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __copy__(self) -> Self:
        return self._uncached(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self._uncached(super().__deepcopy__(memo))

    @classmethod
    def _uncached(cls, copied: Self) -> Self:
        for name in copied.__dict__.keys() - cls.model_fields.keys():
            del copied.__dict__[name]
        return copied
