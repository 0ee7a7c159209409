"""The benchmark that contributions are scored on: read and checked before the aggregator starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from rescind.aggregator.config import AggregatorConfig
from rescind.core import ConsortiumParameters
from rescind.core.errors import DataError

if TYPE_CHECKING:
    from rescind.training import Example


def read_benchmark(
    config: AggregatorConfig, parameters: ConsortiumParameters
) -> tuple[Example, ...] | None:
    """Return the rows of the configured benchmark; None where contributions are not scored on one.

    Raises:
        DataError: A row or file cannot be read, or a row is longer than `training.max_length`. The
            message has file and line.
        TrainingError: The base model's tokenizer cannot be loaded.
    """
    section, model = config.evaluation, config.model
    if section is None or model is None:
        return None
    from rescind.training.checking.start import demand_lengths
    from rescind.training.reading.examples import demand, read_all

    reading = read_all(section.data, config.data, most_problems=1)
    for remark in reading.remarks:
        structlog.get_logger().warning("benchmark read", remark=remark)
    try:
        located = demand(reading, section.data)
        demand_lengths(located, model.path, parameters, remote_code=model.remote_code)
    except DataError as error:
        raise DataError(f"The benchmark cannot be used. {error}") from error
    return tuple(each.example for each in located)
