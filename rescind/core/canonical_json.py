"""Canonical JSON: one encoding for a value, so that it can be hashed, signed and compared."""

from __future__ import annotations

import json


def canonical_json(value: object) -> bytes:
    r"""Encode a value as JSON with sorted keys, no spaces and every non-ASCII character escaped.

    The format is fixed: ledgers, consortium parameters, statistics and evidence are hashed over it.

    Raises:
        ValueError: The value holds NaN or an infinity, for which JSON has no notation.
        TypeError: The value holds an object that is not JSON.

    Example:
        >>> canonical_json({"b": [1, 2.5], "a": "é"})
        b'{"a":"\\\\u00e9","b":[1,2.5]}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
