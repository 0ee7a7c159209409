"""Read JSON that somebody else wrote."""

from __future__ import annotations

from typing import Any

import pydantic_core


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text, with a bound on how deep it may be nested.

    The standard library's reader recurses on the C stack as deep as Python's limit allows. A
    dependency of ours raises that limit to 100,000, and then a text of brackets ends the process.

    Unlike that reader, this one refuses NaN, infinity, and halves of surrogate pairs, which no
    UTF-8 text can hold.

    Args:
        text: UTF-8, or text.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply.

    Example:
        >>> parse_json(b'{"a": [1, 2.5]}')
        {'a': [1, 2.5]}
        >>> parse_json("[" * 100_000)
        Traceback (most recent call last):
        ...
        ValueError: recursion limit exceeded at line 1 column 202
    """
    try:
        return pydantic_core.from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "hex escape" in str(error):
            raise ValueError(
                f"it has a lone surrogate, half of a character, or another bad escape ({error})"
            ) from None
        raise
    except TypeError as error:  # a half of a surrogate pair in a str
        raise ValueError("not Unicode text") from error
