"""Checks of the node's data before it takes part in anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from rescind.core import ConsortiumParameters
from rescind.core.errors import DataError
from rescind.node.config import NodeConfig

if TYPE_CHECKING:
    from rescind.training.reading.examples import Located


class DataUnfit(DataError):
    """The node's data cannot be trained on. The node does not start, or ends before it takes part."""


def read_data(config: NodeConfig) -> list[Located]:
    """Read the node's data, and log what of it is not used; nothing where it has statistics alone.

    Raises:
        DataUnfit: A row or file cannot be read. The message has file and line.
    """
    from rescind.training.reading.examples import demand, read_all

    if config.node.data is None:
        return []
    reading = read_all(config.node.data, config.data, most_problems=1)
    for remark in reading.remarks:
        # A remark names rows and no person.
        structlog.get_logger().warning("data read", remark=remark)
    try:
        return demand(reading, config.node.data)
    except DataError as error:
        raise DataUnfit(
            f"{error} rescind data check lists all problems of a node's data."
        ) from error


def check_lengths(
    config: NodeConfig, parameters: ConsortiumParameters, examples: list[Located]
) -> None:
    """Check that every example can be trained on as the consortium agreed.

    Raises:
        DataUnfit: One is too long, or does not fit the agreed text rules. The message has file and
            line.
        TrainingError: The base model's tokenizer cannot be loaded.
    """
    if not examples:
        return
    from rescind.training.checking.start import demand_lengths

    try:
        section = config.model
        demand_lengths(examples, section.path, parameters, remote_code=section.remote_code)
    except DataError as error:
        raise DataUnfit(str(error)) from error
