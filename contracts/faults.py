"""The table of all failures of JSON-RPC providers and nodes, and how one is recognized.

Each failure is classified once, here. docs/chains.md prints the table. Words are looked for first,
then codes, then the HTTP status, because words are the least ambiguous of the three.

"""

from __future__ import annotations

from urllib3.exceptions import SSLError

from rescind.contracts.endpoint_faults import (
    BEHIND,
    CUT,
    DISAGREEMENT,
    EMPTY,
    GATEWAY,
    KEY_REFUSED,
    LOG_RANGE,
    METHOD_MISSING,
    NO_ARCHIVE,
    NOT_FOUND,
    NOT_JSON,
    OTHER_CHAIN,
    RATE_LIMIT,
    REDIRECT,
    RESET,
    REVERTED,
    STALE,
    SYNCING,
    TAG_MISSING,
    TIMEOUT,
    TLS,
    TOO_LARGE,
    UNKNOWN,
    UNREACHABLE,
    WRONG_ANSWER,
)
from rescind.contracts.fault import Fault
from rescind.contracts.transaction_faults import (
    ALREADY_KNOWN,
    FEE_BELOW_BASE,
    FEE_OVER_CAP,
    FEE_TOO_LOW,
    GAS_LIMIT,
    GAS_TOO_LOW,
    INSUFFICIENT_FUNDS,
    NONCE_GAP,
    NONCE_TOO_LOW,
    OVERSIZED,
    POOL_FULL,
    REPLACEMENT_UNDERPRICED,
    SENDER_REFUSED,
    TYPE_MISSING,
    WRONG_SIGNER,
)

FAULTS = (
    UNREACHABLE,
    TIMEOUT,
    RESET,
    TLS,
    KEY_REFUSED,
    RATE_LIMIT,
    GATEWAY,
    NOT_FOUND,
    REDIRECT,
    NOT_JSON,
    EMPTY,
    CUT,
    TOO_LARGE,
    WRONG_ANSWER,
    OTHER_CHAIN,
    STALE,
    BEHIND,
    SYNCING,
    NO_ARCHIVE,
    DISAGREEMENT,
    LOG_RANGE,
    METHOD_MISSING,
    TAG_MISSING,
    REVERTED,
    UNKNOWN,
    ALREADY_KNOWN,
    NONCE_TOO_LOW,
    NONCE_GAP,
    REPLACEMENT_UNDERPRICED,
    FEE_BELOW_BASE,
    FEE_TOO_LOW,
    FEE_OVER_CAP,
    INSUFFICIENT_FUNDS,
    POOL_FULL,
    OVERSIZED,
    GAS_LIMIT,
    GAS_TOO_LOW,
    TYPE_MISSING,
    WRONG_SIGNER,
    SENDER_REFUSED,
)
"""The table, as docs/chains.md prints it."""

_BY_WORDS = (
    REVERTED,
    ALREADY_KNOWN,
    NONCE_TOO_LOW,
    REPLACEMENT_UNDERPRICED,
    NONCE_GAP,
    FEE_BELOW_BASE,
    FEE_OVER_CAP,
    INSUFFICIENT_FUNDS,
    GAS_LIMIT,
    GAS_TOO_LOW,
    POOL_FULL,
    OVERSIZED,
    TYPE_MISSING,
    FEE_TOO_LOW,
    WRONG_SIGNER,
    SENDER_REFUSED,
    NO_ARCHIVE,
    SYNCING,
    TAG_MISSING,
    BEHIND,
    LOG_RANGE,
    RATE_LIMIT,
    KEY_REFUSED,
    METHOD_MISSING,
    GATEWAY,
)
"""The order in which words are looked for: special ones before those that contain them."""
_BY_CODE = (
    REVERTED,
    LOG_RANGE,
    RATE_LIMIT,
    KEY_REFUSED,
    NO_ARCHIVE,
    SYNCING,
    BEHIND,
    METHOD_MISSING,
    TAG_MISSING,
    GATEWAY,
)
_BY_STATUS = (LOG_RANGE, OVERSIZED, RATE_LIMIT, KEY_REFUSED, GATEWAY, REDIRECT, NOT_FOUND)
_BY_ERROR = (UNREACHABLE, TIMEOUT, TLS, CUT, RESET)


def classify(
    *,
    method: str = "",
    code: int | None = None,
    message: str = "",
    status: int | None = None,
    error: Exception | None = None,
    named_block: bool = False,
) -> Fault:
    """Return the row of a failure.

    Args:
        method: The JSON-RPC method that was asked for.
        code: Code of a JSON-RPC error.
        message: Its message.
        status: Status of an HTTP answer that is not one of success.
        error: An exception instead of an answer.
        named_block: Whether the request is about the block pending, safe or finalized, which not
            every node knows.

    Example:
        >>> classify(method="eth_getLogs", code=-32005, message="limit exceeded").name
        'too many blocks or logs'
        >>> classify(method="eth_call", code=-32005, message="limit exceeded").name
        'rate limit'
        >>> classify(status=502).reaction.value
        'retry'
    """
    if error is not None:
        return _of_error(error)

    def applies(row: Fault) -> bool:
        return (not row.methods or method in row.methods) and (
            row is not TAG_MISSING or named_block
        )

    for row in filter(applies, _BY_WORDS):
        if row.has_words(message):
            return row
    for row in filter(applies, _BY_CODE):
        if code in row.codes:
            return row
    for row in filter(applies, _BY_STATUS):
        if status in row.statuses:
            return row
    if status is None:
        return UNKNOWN
    return GATEWAY if status >= 500 else NOT_FOUND


def _of_error(error: Exception) -> Fault:
    # OpenSSL reports a connection that was cut off as an error of TLS.
    if isinstance(error, SSLError) and "EOF" in str(error):
        return RESET
    return next((row for row in _BY_ERROR if isinstance(error, row.errors)), RESET)


def faults_table() -> str:
    """Return the table in Markdown."""
    lines = [
        "| failure | recognized by | Rescind | reaction | the operator |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.recognized} | {row.response} | {row.reaction.value} | {row.advice} |"
        for row in FAULTS
    ]
    return "\n".join(lines)
