"""The node's data in a split coupling: whose rows are public, and which may be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rescind.core import ConsortiumParameters
from rescind.node.config import NodeConfig
from rescind.node.data_checks import DataUnfit
from rescind.node.subjects import Withdrawn

if TYPE_CHECKING:
    from rescind.training.reading.examples import Located


def check_public(
    config: NodeConfig,
    parameters: ConsortiumParameters | None,
    located: Sequence[Located],
    withdrawn: Withdrawn | None = None,
) -> None:
    """Check that the subjects whose rows are declared public are in the data.

    Args:
        config: The node's configuration.
        parameters: What the consortium agreed on; None where that is not known yet.
        located: The node's examples.
        withdrawn: Data subjects whose rows may be deleted already.

    Raises:
        DataUnfit: One is not, or the consortium has not agreed on a split.
    """
    public = config.split.public
    if public and parameters is not None and parameters.split is None:
        raise DataUnfit(
            "[split] public declares rows as public, and the consortium has not agreed on a split: "
            f"its coupling is {parameters.coupling!r}. Remove the section."
        )
    known = {row.example.subject for row in located}
    missing = [
        number
        for number, name in enumerate(public, start=1)
        if name not in known and (withdrawn is None or name not in withdrawn)
    ]
    if missing:
        # No name: the node logs this error, and logs go further than the data.
        raise DataUnfit(
            f"[split] public: entry {missing[0]} of {len(public)} is the subject of no row of "
            f"{config.node.data}. Write the name as the data does, or remove it."
        )
