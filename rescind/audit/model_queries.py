"""Queries of models: content, commitments, and whether they hold an organization's contributions.

The contract answers them, in pages of at most 10 million gas; this module only puts names to them.
"""

from __future__ import annotations

from rescind.audit.queries import names, registered_for
from rescind.audit.rows import (
    AmendmentRow,
    CommitmentRow,
    EntryRow,
    ModelRow,
    ModelSummaryRow,
    PublicationRow,
)
from rescind.contracts import Amendment, ConsortiumReader, ModelKind
from rescind.core.errors import ConfigError


def lineage(reader: ConsortiumReader, model_id: int | None = None) -> list[ModelRow]:
    """Return the content of every model, or of one.

    Args:
        reader: The chain.
        model_id: The model; None for all.

    Raises:
        ConfigError: There is no such model.
    """
    name_of, amendments = names(reader), reader.amendments()
    return [
        _model_row(reader, number, name_of, amendments) for number in _numbers(reader, model_id)
    ]


def _numbers(reader: ConsortiumReader, model_id: int | None) -> list[int]:
    """Return the numbers of all models, or of one.

    Raises:
        ConfigError: There is no such model.
    """
    count = reader.model_count()
    if model_id is None:
        return list(range(1, count + 1))
    if not 0 <= model_id <= count:
        raise ConfigError(f"there is no model {model_id}: they are numbered from 1 to {count}")
    return [model_id]


def content(reader: ConsortiumReader, model_id: int) -> list[EntryRow]:
    """Return the contributions in a model, as the contract lists them.

    Raises:
        ConfigError: There is no such model.
    """
    (number,) = _numbers(reader, model_id)
    return [row for part in range(reader.part_count()) for row in _entry_rows(reader, number, part)]


def commitments(reader: ConsortiumReader, model_id: int | None = None) -> list[CommitmentRow]:
    """Return the commitment of every model, or of one, part by part.

    Args:
        reader: The chain.
        model_id: The model; None for all.

    Raises:
        ConfigError: There is no such model.
    """
    return [
        CommitmentRow(number, part, commitment, point.hex())
        for number in _numbers(reader, model_id)
        for part, (commitment, point) in enumerate(
            zip(reader.commitments(number), reader.commitment_points(number), strict=True)
        )
    ]


def is_clean(reader: ConsortiumReader, model_id: int, organization: str) -> bool:
    """Return whether a model holds nothing of an organization, as the contract answers.

    Args:
        reader: The chain.
        model_id: The model.
        organization: An address.

    Raises:
        ConfigError: There is no such model.
    """
    (number,) = _numbers(reader, model_id)
    return reader.is_clean(number, organization)


def _model_row(
    reader: ConsortiumReader, model_id: int, name_of: dict[str, str], amendments: list[Amendment]
) -> ModelRow:
    model = reader.model(model_id)
    changes = amendments[: model.amendments]
    removed = [each.organization for each in changes if each.kind is ModelKind.REMOVAL]
    return ModelRow(
        model_id,
        model.kind.value,
        model.source,
        model.last_round,
        model.registered_at,
        model.commitments,
        tuple(name_of[each] for each in removed),
        tuple(amendment_row(each, name_of) for each in changes),
        tuple(
            PublicationRow(each.publisher, each.adapter_id, each.opening_id)
            for each in reader.publications(model_id)
        ),
        tuple(content(reader, model_id)),
    )


def _entry_rows(reader: ConsortiumReader, model_id: int, part: int) -> list[EntryRow]:
    name_of, entries = names(reader), reader.content(model_id, part)
    return [
        EntryRow(
            part,
            entry.round_id,
            entry.organization,
            name_of[entry.organization],
            contribution.parts.artifact_ids[part],
            entry.point_hash,
            entry.weight,
        )
        for entry, contribution in zip(entries, reader.registered(entries), strict=True)
    ]


def amendment_row(amendment: Amendment, name_of: dict[str, str]) -> AmendmentRow:
    """Return the row of an amendment."""
    return AmendmentRow(
        amendment.number,
        amendment.kind.value,
        amendment.organization,
        name_of.get(amendment.organization, ""),
        registered_for(amendment.offer_id) if amendment.offer_id else None,
        amendment.from_round,
        amendment.to_round,
    )


def models(reader: ConsortiumReader, organization: str | None = None) -> list[ModelSummaryRow]:
    """Return a summary of every model.

    Args:
        reader: The chain.
        organization: An address, to say for each model whether it holds nothing of that
            organization.
    """
    held = None if organization is None else set(reader.models_containing(organization))
    in_use = set(reader.models_in_use())
    rows = []
    for number in range(1, reader.model_count() + 1):
        model, published = reader.model(number), reader.publications(number)
        rows.append(
            ModelSummaryRow(
                number,
                model.kind.value,
                model.source,
                model.last_round,
                len(reader.content(number)),
                number in in_use,
                number in in_use and reader.is_stale(number),
                model.released,
                model.commitments,
                published[-1].adapter_id if published else None,
                None if held is None else number not in held,
            )
        )
    return rows
