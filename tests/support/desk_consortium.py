"""A hybrid consortium of real daemons with the task and the router of `tests.support.desk`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from rescind.contracts import Consortium
from rescind.devnet import RunFolder
from tests.support.daemons import Daemon, consortium
from tests.support.desk import AGREED, REFERENCE, ROWS


def desk_consortium(
    folder: Path, rounds: int, **options: Any
) -> AbstractContextManager[tuple[RunFolder, Consortium, dict[str, Daemon]]]:
    """Set the consortium up on its own chain; see `consortium` for the options."""
    rows = {name: {"desk": own} for name, own in ROWS.items()}
    shared = {"coupling": "hybrid", "statistics": AGREED, "rows": rows, "reference": REFERENCE}
    return consortium(folder, rounds, **(shared | options))
