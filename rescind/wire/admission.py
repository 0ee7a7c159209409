"""The calls of a service that its caller may make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rescind.wire.errors import NotAMember


@dataclass(frozen=True)
class Admission:
    """An organization that a server serves.

    Attributes:
        organization: EIP-55 address.
        calls: The calls that it may make, by name; None for all.
        reason: The reason for which it may make only some.
    """

    organization: str
    calls: frozenset[str] | None = None
    reason: str = ""

    def check(self, call: str) -> None:
        """Check that the organization may make a call.

        Raises:
            NotAMember: It may not.
        """
        if self.calls is not None and call not in self.calls:
            raise NotAMember(f"{self.organization} may not call {call}: {self.reason}")


class Admitted:
    """A servicer whose calls are checked against the admission of their caller.

    Args:
        servicer: Has a method for each call: (organization, request) -> reply.
    """

    def __init__(self, servicer: object) -> None:
        self._servicer = servicer

    def __getattr__(self, call: str) -> Callable[[Admission, Any], Any]:
        reply = getattr(self._servicer, call)

        def checked(caller: Admission, request: Any) -> Any:
            caller.check(call)
            return reply(caller.organization, request)

        return checked
