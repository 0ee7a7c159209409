"""The rows that a node's statistics are sums of: read them, and check them against what was agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from rescind.core.errors import DataError
from rescind.core.ngrams import fold
from rescind.core.statistics_noise import check_people
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.node.config import NodeConfig
from rescind.node.data_checks import DataUnfit

if TYPE_CHECKING:
    from rescind.training.reading.examples import Located


def read_rows(config: NodeConfig) -> dict[str, list[Located]]:
    """Read the rows of each task: `question` is the text, `answer` the label.

    Raises:
        DataUnfit: A row or file cannot be read. The message has file and line.
    """
    from rescind.training.reading.examples import demand, read_all

    section = config.statistics
    result = {}
    for task, path in section.data.items():
        reading = read_all(path, section.columns, most_problems=1)
        for remark in reading.remarks:
            # A remark names rows and no person.
            structlog.get_logger().warning("statistics read", task=task, remark=remark)
        try:
            result[task] = demand(reading, path)
        except DataError as error:
            raise DataUnfit(str(error)) from error
    return result


def check_questions(located: Sequence[Located], agreed: StatisticsParameters | None) -> None:
    """Check that questions, of which an agreed router's sums are made, fit to the agreed noise.

    Raises:
        TooManyRowsOfAPerson: A person has more than the noise is for.
    """
    if agreed and agreed.noise and agreed.router:
        check_people([row.example.subject for row in located], agreed.noise)


def check_rows(rows: Mapping[str, list[Located]], agreed: StatisticsParameters | None) -> None:
    """Check that rows are those of agreed tasks, with agreed labels.

    Raises:
        DataUnfit: They are not. The message has file and line.
        TooManyRowsOfAPerson: A person has more rows than the agreed noise is for.
    """
    tasks = agreed.tasks if agreed else {}
    for name, located in rows.items():
        task = tasks.get(name)
        if task is None:
            known = f"it has {', '.join(tasks)}" if tasks else "it has none"
            raise DataUnfit(
                f"[statistics] data has rows of a task {name!r}, which the consortium has not agreed "
                f"on: {known}. Remove the entry, or name an agreed task."
            )
        if len(located) > task.max_rows:
            raise DataUnfit(
                f"task {name!r} has {len(located)} rows, and the members agreed on at most "
                f"{task.max_rows}. Leave some out."
            )
        if agreed and agreed.noise:
            check_people([row.example.subject for row in located], agreed.noise)
        for row in located:
            example = row.example
            if example.document or example.turns:
                raise DataUnfit(
                    f"{row.place}: a row of task {name!r} needs a text and a label. Say which "
                    "columns they are under [statistics.columns]: question for the text, answer for "
                    "the label."
                )
            if example.answer not in task.labels:
                raise DataUnfit(_not_agreed(row, name, task))


def _not_agreed(row: Located, name: str, task: Task) -> str:
    """Say that a row's label is not an agreed one, and which one it only reads like."""
    label = row.example.answer
    said = (
        f"{row.place}: the label {label!r} is not one of the {len(task.labels)} that the members "
        f"agreed on for task {name!r}."
    )
    alike = next((each for each in task.labels if fold(each) == fold(label)), None)
    if alike is None:
        return f"{said} Correct the row, or remove it."
    return (
        f"{said} It reads like {alike!r}, and is written in other characters, case or white space "
        f"({label!a} instead of {alike!a}). Write the label as it was agreed on."
    )
