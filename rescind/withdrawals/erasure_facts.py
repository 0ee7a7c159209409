"""The facts of an erasure, read from the chain at one block."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from rescind.contracts import (
    ConsortiumReader,
    Contribution,
    RoundState,
    Withdrawal,
    WithdrawalState,
)
from rescind.withdrawals.erasure import Derived, ErasureFacts, HeldModel, HeldWithdrawal, Registered
from rescind.withdrawals.round_attestation import accepted_contributions

Files = Mapping[int, Collection[str]]
"""The artifact ids of the files of each model that a daemon has or had."""


def erasure_facts(
    reader: ConsortiumReader,
    files: Files,
    derived: Callable[[tuple[Registered, ...]], Collection[Derived]] | None = None,
    needed: Collection[str] = (),
) -> ErasureFacts:
    """Return what `to_erase` decides on.

    Args:
        reader: The public record, at one block.
        files: The files of models that are at hand.
        derived: Returns the files that were computed from contributions, given all contributions.
        needed: Further files that are needed.
    """
    contributions = _contributions(reader)
    in_use = frozenset({reader.latest_model_id(), *reader.models_in_use()} - {0})
    current = reader.current_round_id()
    under_way = current if current and not reader.round(current).state.over else 0
    parent = reader.round(under_way).parent_model if under_way else 0
    settings = reader.settings()
    parents = _parents(reader) if settings.chained else {}
    wanted = in_use | {parent} | set(parents.values())
    return ErasureFacts(
        contributions=contributions,
        models=tuple(_models(reader, files, wanted)),
        in_use=in_use,
        amendments=tuple(reader.amendments()),
        withdrawals=tuple(_withdrawals(reader)),
        parent=parent,
        round_id=under_way,
        parents=parents,
        unattested=_unattested(reader) if settings.attested else frozenset(),
        derived=tuple(derived(contributions)) if derived else (),
        needed=frozenset({*needed, settings.parameters_id}),
    )


def signature(reader: ConsortiumReader, withdrawals: Collection[Withdrawal]) -> tuple[Any, ...]:
    """Return what an erasure depends on, in a form that is cheap to read and to compare.

    While it stays the same, `to_erase` returns the same. It is empty while no withdrawal is
    closed, so that nothing is to be erased.

    Args:
        reader: The public record, at one block.
        withdrawals: Every withdrawal.
    """
    states = tuple((each.id, each.state, each.amendment) for each in withdrawals)
    if not any(state is WithdrawalState.CLOSED for _, state, _ in states):
        return ()
    current = reader.current_round_id()
    state = reader.round(current).state if current else RoundState.NONE
    return (
        states,
        reader.model_count(),
        tuple(reader.models_in_use()),
        (current, state),
        reader.attested_up_to(),
    )


def _contributions(reader: ConsortiumReader) -> tuple[Registered, ...]:
    revealed = [
        each
        for number in range(1, reader.current_round_id() + 1)
        for each in reader.contributions(number)
    ]
    return tuple(
        Registered(point, artifact, each.organization, each.round_id, each.offer_id)
        for each in [*revealed, *reader.offers()]
        for point, artifact in _parts(each)
    )


def _parts(contribution: Contribution) -> zip[tuple[str, str]]:
    parts = contribution.parts
    return zip(parts.point_hashes, parts.artifact_ids, strict=True)


def _models(reader: ConsortiumReader, files: Files, wanted: Collection[int]) -> Iterator[HeldModel]:
    """Yield the models whose files are at hand, those that are wanted, and amended ones."""
    models = [reader.model(number) for number in range(1, reader.model_count() + 1)]
    sources = {each.source for each in models if each.amendments}
    for model in models:
        artifacts = frozenset(files.get(model.id, ())) - {""}
        if artifacts or model.amendments or model.id in sources or model.id in wanted:
            content = frozenset(
                entry.point_hash
                for part in range(reader.part_count())
                for entry in reader.content(model.id, part)
            )
            yield HeldModel(
                model.id, model.source, model.kind, model.amendments, content, artifacts
            )


def _withdrawals(reader: ConsortiumReader) -> list[HeldWithdrawal]:
    requested, closed = reader.withdrawal_order()
    return [
        HeldWithdrawal(
            each.id,
            each.organization,
            each.method,
            requested[each.id],
            closed.get(each.id),
            reader.replay_of(each.id),
            each.evidence,
        )
        for each in reader.withdrawals()
    ]


def _parents(reader: ConsortiumReader) -> dict[int, int]:
    rounds = range(1, reader.current_round_id() + 1)
    return {number: reader.round(number).parent_model for number in rounds}


def _unattested(reader: ConsortiumReader) -> frozenset[str]:
    """Return the points of accepted contributions to final rounds that are not attested yet."""
    first, last = reader.attested_up_to() + 1, reader.current_round_id()
    return frozenset(
        point
        for number in range(first, last + 1)
        if reader.round(number).state is RoundState.FINAL
        for each in accepted_contributions(reader, number)
        for point in each.parts.point_hashes
    )
