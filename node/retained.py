"""The file of pairs that a counter-training keeps, which must not change after the request."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rescind.contracts import Withdrawal
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import DataError
from rescind.node.withdrawal_facts import RequestFact

if TYPE_CHECKING:
    from rescind.training import ReadOptions


class RetainedChanged(DataError):
    """The pairs to retain are not those that were checked when the withdrawal was requested."""

    code = "retained-changed"


def retained_id(path: Path, options: ReadOptions | None = None) -> str:
    """Return the SHA-256 of the pairs in a file, in any format and order of columns.

    Raises:
        DataError: The file cannot be read.
    """
    from rescind.training import read_examples

    rows = [[*each.content, each.subject] for each in read_examples(path, options=options)]
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def check_retained(
    request: RequestFact, withdrawal: Withdrawal, options: ReadOptions | None = None
) -> None:
    """Check that a request's pairs to retain are still those that were checked.

    Other pairs may be too long, or be pairs to forget: the training would end in the middle.

    Raises:
        RetainedChanged: They are others, or cannot be read. The node tries again until the deadline.
    """
    if request.retain is None:
        return
    until = datetime.fromtimestamp(withdrawal.deadline, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    then = (
        "Put the file back as it was: the node tries again. Withdrawal "
        f"{withdrawal.id} becomes the removal of your organization if nothing is offered until {until}."
    )
    try:
        now = retained_id(Path(request.retain), options)
    except DataError as error:
        raise RetainedChanged(f"The pairs to retain cannot be read. {error} {then}") from error
    if request.retain_id and now != request.retain_id:
        raise RetainedChanged(
            f"{request.retain} has other pairs than when you requested withdrawal {withdrawal.id}. "
            f"{then}"
        )
