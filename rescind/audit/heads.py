"""The heads of a model: canonical integers that follow from its summed statistics.

Whoever holds the sums solves the same head, so a certificate names each by its id, and a verifier
solves it again from the adapter at hand, whose statistics were opened against the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rescind.audit.certificate import HeadPart
from rescind.audit.checks import NothingToCheck, Skipped, same
from rescind.audit.stores import Stores
from rescind.audit.subject import Subject
from rescind.contracts import ConsortiumReader
from rescind.core import STATISTICS, ConsortiumParameters, block, decode
from rescind.core.errors import VerificationError
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import solvable_statistics


def heads_of(
    agreed: StatisticsParameters, tensors: Mapping[str, NDArray[Any]], organizations: int
) -> tuple[HeadPart, ...]:
    """Return the heads of a model, in the order of their tasks' names.

    Args:
        agreed: What the members agreed on.
        tensors: The model's adapter, by qualified name.
        organizations: How many organizations are in the summed statistics, by the chain.

    Raises:
        NotSolvable: No head can be solved from the sums.
    """
    from rescind.training.heads import solve
    from rescind.training.ridges import agreed_ridge

    sums = solvable_statistics(agreed, block(tensors, STATISTICS), organizations)
    heads = []
    for task in sorted(agreed.tasks):
        statistics = sums[task]
        if statistics.rows > 0:
            head = solve(statistics, ridge=agreed_ridge(statistics, agreed.ridge))
            heads.append(
                HeadPart(task=task, head=head.id, ridge=head.ridge, scale_bits=head.scale_bits)
            )
    return tuple(heads)


def heads_at(reader: ConsortiumReader, model_id: int, stores: Stores) -> tuple[HeadPart, ...]:
    """Return the heads of a model from files at hand; none where they are not, or are not agreed on.

    Args:
        reader: The chain.
        model_id: The model.
        stores: Has the agreed parameters and the model's adapter.
    """
    document = stores.load(reader.settings().parameters_id)
    published = reader.publications(model_id) if model_id else []
    data = stores.load(published[-1].adapter_id) if published else None
    if document is None or data is None:
        return ()
    agreed = ConsortiumParameters.parse(bytes(document)).statistics
    if agreed is None:
        return ()
    return heads_of(agreed, decode(data), _organizations(reader, model_id))


def heads(subject: Subject) -> str:
    """The named heads are those of the statistics in the adapter at hand."""
    named = subject.certificate.heads
    parameters, data, acceptance = subject.parameters, subject.latest_adapter, subject.acceptance
    if "latest" not in subject.certificate.consortium.rules:
        if named:
            raise VerificationError("the file names heads, and the consortium has no statistics")
        raise NothingToCheck("this consortium has no statistics to solve heads from")
    if parameters is None or parameters.statistics is None or data is None or acceptance is None:
        raise Skipped("adapter, opening or agreed parameters are not at hand")
    if not named:
        raise Skipped("the file names no head: its maker had no adapter at hand")
    if STATISTICS in acceptance.left_out or acceptance.problem:
        raise VerificationError("the statistics do not open, so no head of them can be checked")
    organizations = _organizations(subject.view, subject.certificate.latest.model_id)
    actual = heads_of(parameters.statistics, decode(data), organizations)
    same("heads", [_named(each) for each in named], [_named(each) for each in actual])
    listed = ", ".join(f"{each.task} ({each.head[:16]}...)" for each in named)
    return f"solved again from the opened statistics, to the same integers: {listed}"


def _organizations(reader: ConsortiumReader, model_id: int) -> int:
    """Return how many organizations are in a model's summed statistics."""
    return len({entry.organization for entry in reader.contents(model_id) if entry.part})


def _named(part: HeadPart) -> tuple[str, str, int, int]:
    return part.task, part.head, part.ridge, part.scale_bits
