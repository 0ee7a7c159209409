"""transformers without its progress bars and warnings, which are for people who train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rescind.core.errors import ConfigError


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers, and explain an import of a package that is not installed.

    Raises:
        ConfigError: A package is missing.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        yield
    except ImportError as error:
        raise ConfigError(
            f"This command needs {error.name}. Install it: pip install 'rescind[train]'"
        ) from error
