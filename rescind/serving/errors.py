"""Refusals of the server, as OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rescind.core.errors import VerificationError, WireError


class NotServed(VerificationError):
    """A model was erased, is stale, or is not the newest any more."""

    code = "not-served"


class FilesMissing(NotServed):
    """The files of a model cannot be had yet."""

    code = "files-missing"


class UpstreamFailed(WireError):
    """The server behind this one cannot be reached, or does not do what it is asked."""

    code = "upstream-failed"


@dataclass(eq=False)
class ApiError(Exception):
    """An answer that is an error, in OpenAI's form.

    Attributes:
        status: The HTTP status.
        message: What is wrong, where, and what to do.
        code: A stable name, for programs.
        param: The parameter of the request that is wrong; None for another reason.
        headers: Further headers of the answer.
    """

    status: int
    message: str
    code: str
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """Return the JSON of the answer."""
        error = {
            "message": self.message,
            "type": _TYPES.get(self.status, "server_error" if self.status >= 500 else _INVALID),
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}


_INVALID = "invalid_request_error"
_TYPES = {401: "authentication_error", 429: "rate_limit_error", 503: "service_unavailable_error"}


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """Return the error for a request that can never be answered as it is."""
    return ApiError(400, message, code, param)


def not_in_use(message: str) -> ApiError:
    """Return the error for a model that may not be served now.

    OpenAI's clients repeat a 503 after half a second; a withdrawal does not pass so quickly.
    """
    return ApiError(503, message, "model_not_in_use", headers={"x-should-retry": "false"})


def unknown_model(message: str) -> ApiError:
    """Return the error for a model that this server does not have."""
    return ApiError(404, message, "model_not_found", "model")


def too_busy(waiting: int) -> ApiError:
    """Return the error for a request that finds the queue full."""
    return ApiError(
        429,
        f"{waiting} requests are waiting already. Try again in a few seconds.",
        "queue_full",
        headers={"retry-after": "5"},
    )
