"""Acceptance of a model's files: whether an adapter is what the chain's commitment says.

The steps are those of docs/digest.md, "Accepting a file". In a layout of blocks each owner is
judged alone, against its own points: a block that fails is left out and named, and the others are
served. A model whose shared parameters fail is refused as a whole. `accept` is a pure function;
`record_of` reads what it needs from the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from rescind.contracts import ConsortiumReader, Entry
from rescind.core import (
    SHARED,
    ConsortiumParameters,
    Digest,
    Opening,
    artifact_id,
    check_opened,
    check_size,
    commit_at_once,
    decode_openings,
    expected_adapter,
    owners,
    point_hash,
    scan,
    split_owner,
    sum_points,
)
from rescind.core.errors import ArtifactError
from rescind.core.mapped import Bytes


@dataclass(frozen=True)
class RecordedModel:
    """The chain's record of a model.

    Attributes:
        model_id: Number of the model.
        entries: The contributions in it, of all parts.
        commitments: Hash of its commitment for each part; none to check none, for a sum of some
            entries.
        points: The points of the entries, by their hashes.
    """

    model_id: int
    entries: tuple[Entry, ...]
    commitments: tuple[str, ...]
    points: Mapping[str, bytes] = field(repr=False)

    def owned(self, parameters: ConsortiumParameters) -> dict[str, tuple[Entry, ...]]:
        """Return the entries of each owner of tensors, by owner, sorted."""
        forms = parameters.parts
        entries: dict[str, list[Entry]] = {}
        for entry in self.entries:
            name = forms[entry.part].owner(entry.organization)
            entries.setdefault(name, []).append(entry)
        return {name: tuple(entries[name]) for name in sorted(entries)}

    def terms(self, entries: Iterable[Entry]) -> list[tuple[bytes, int]]:
        """Return the points of some entries with their weights."""
        return [(self.points[entry.point_hash], entry.weight) for entry in entries]

    def of_round(self, round_id: int) -> RecordedModel:
        """Return the record of the sum of one round's entries; round 0 holds counter-deltas."""
        entries = tuple(entry for entry in self.entries if entry.round_id == round_id)
        return replace(self, entries=entries, commitments=())


def record_of(reader: ConsortiumReader, model_id: int) -> RecordedModel:
    """Read the record of a model.

    Args:
        reader: The public record. Use `reader.at(block)` for a block of your choice.
        model_id: Number of the model.

    Raises:
        ContractsMissing: The events of the chain lack a point.
    """
    entries = tuple(reader.contents(model_id))
    points = reader.points({entry.point_hash for entry in entries})
    return RecordedModel(model_id, entries, tuple(reader.commitments(model_id)), points)


@dataclass(frozen=True)
class OwnerCheck:
    """The result of the checks of one owner's tensors.

    Attributes:
        owner: An organization's address in lowercase, or rescind.core.SHARED.
        problem: The first failed check in words; empty if the tensors open.
    """

    owner: str
    problem: str = ""

    @property
    def opened(self) -> bool:
        """True if the tensors are the sum behind the registered points."""
        return not self.problem


@dataclass(frozen=True)
class Acceptance:
    """The result of checking a model's files against the chain.

    Attributes:
        model_id: Number of the model.
        owners: The result for each owner in the content, sorted.
        problem: Why the files are refused as a whole; empty if they are not.
    """

    model_id: int
    owners: tuple[OwnerCheck, ...]
    problem: str = ""

    @property
    def servable(self) -> bool:
        """True if the model may be served, without the owners that are left out."""
        return not self.problem

    @property
    def complete(self) -> bool:
        """True if every owner's tensors open."""
        return self.servable and not self.left_out

    @property
    def left_out(self) -> tuple[str, ...]:
        """The owners whose tensors must not be served."""
        return tuple(check.owner for check in self.owners if not check.opened)

    def served(self, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the tensors that may be served: those of the owners that opened."""
        opened = {check.owner for check in self.owners if check.opened and self.servable}
        return {name: value for name, value in tensors.items() if split_owner(name)[0] in opened}

    def sentence(self) -> str:
        """Return the result in one sentence."""
        if self.problem:
            return f"model {self.model_id} is refused: {self.problem}"
        if not self.left_out:
            return f"model {self.model_id} is accepted: all its tensors open"
        failed = "; ".join(check.problem for check in self.owners if check.problem)
        return f"model {self.model_id} is accepted without {', '.join(self.left_out)}: {failed}"


def accept(
    record: RecordedModel,
    parameters: ConsortiumParameters,
    tensors: Mapping[str, NDArray[Any]],
    openings: Mapping[str, Opening],
    digests: Mapping[str, Digest] | None = None,
) -> Acceptance:
    """Check a model's tensors and openings against the chain.

    Args:
        record: The chain's record of the model.
        parameters: The agreed parameters.
        tensors: The adapter's integers, by qualified name OWNER/NAME.
        openings: The openings, by owner.
        digests: The digests of the tensors by owner, where a pass over the file found them.
    """
    owned = record.owned(parameters)
    problem = _whole_problem(record, tensors, openings, set(owned))
    if problem:
        return Acceptance(
            record.model_id, tuple(OwnerCheck(name, problem) for name in owned), problem
        )
    _find_commitments(record, owned, openings)
    parts: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in owned}
    for name, value in tensors.items():
        parts[split_owner(name)[0]][name] = value
    checks = tuple(
        OwnerCheck(
            name,
            _owner_problem(
                name,
                record.terms(entries),
                parameters,
                parts[name],
                openings.get(name),
                (digests or {}).get(name),
            ),
        )
        for name, entries in owned.items()
    )
    # Blocks stand alone, and private ranks without the shared ones that they were trained beside do not.
    refused = next((check.problem for check in checks if check.owner == SHARED), "")
    return Acceptance(record.model_id, checks, refused)


def accept_files(
    record: RecordedModel,
    parameters: ConsortiumParameters,
    adapter: Bytes,
    opening: Bytes,
    adapter_id: str = "",
) -> Acceptance:
    """Check the bytes of a model's files against the chain; see `accept`.

    The adapter is hashed and digested in one pass over its bytes. A file with a longer header than
    the content needs is refused before it is parsed.

    Args:
        record: The chain's record of the model.
        parameters: The agreed parameters.
        adapter: The adapter's file.
        opening: The file of openings.
        adapter_id: The SHA-256 that the adapter must have; any by default.
    """
    owned = record.owned(parameters)
    expected = expected_adapter(parameters, owned)
    try:
        check_size(len(adapter), most_adapter_bytes(parameters))
        scanned = scan(adapter, expected=expected)
        if adapter_id and scanned.artifact_id != adapter_id:
            raise ArtifactError(_other_bytes(scanned.artifact_id, adapter_id))
        openings = decode_openings(
            opening, max_bytes=most_opening_bytes(parameters), owners=expected.owners
        )
    except ArtifactError as error:
        problem = str(error)
        # A damaged file is refused as damaged, and not for what it seems to hold.
        if adapter_id and (actual := artifact_id(adapter)) != adapter_id:
            problem = _other_bytes(actual, adapter_id)
        checks = tuple(OwnerCheck(name, problem) for name in owned)
        return Acceptance(record.model_id, checks, problem)
    tensors = scanned.header.views(adapter)
    return accept(record, parameters, tensors, openings, scanned.digests)


def _other_bytes(actual: str, wanted: str) -> str:
    return f"the adapter hashes to {actual}, not to {wanted}: delete the file and fetch it again"


def most_adapter_bytes(parameters: ConsortiumParameters) -> int:
    """Return the largest size of an adapter's file: int64 totals of each owner, and names."""
    return parameters.artifact_limits.adapter


def most_opening_bytes(parameters: ConsortiumParameters) -> int:
    """Return the largest size of a file of openings."""
    return parameters.artifact_limits.openings


def _whole_problem(
    record: RecordedModel,
    tensors: Mapping[str, NDArray[Any]],
    openings: Mapping[str, Opening],
    expected: set[str],
) -> str:
    """Return what is wrong with the record or the files as a whole."""
    try:
        foreign = sorted(set(owners(tensors)) - expected)
        for part, commitment in enumerate(record.commitments):
            entries = [entry for entry in record.entries if entry.part == part]
            total = point_hash(sum_points(record.terms(entries)))
            if total != commitment:
                return (
                    f"the points of its content come to {total[:16]}..., but its commitment on "
                    f"chain is {commitment[:16]}...: check your RPC endpoint"
                )
    except ArtifactError as error:
        return str(error)
    if foreign:
        return f"the adapter has tensors of {foreign[0]}, which is not in the model's content"
    foreign = sorted(set(openings) - expected)
    if foreign:
        return f"the file of openings names {foreign[0]}, which is not in the model's content"
    return ""


def _find_commitments(
    record: RecordedModel,
    owned: Mapping[str, tuple[Entry, ...]],
    openings: Mapping[str, Opening],
) -> None:
    """Find the commitments of all openings at once: one by one they take most of the time."""
    pairs: list[tuple[Opening, bytes]] = []
    for name, entries in owned.items():
        if name in openings:
            # A malformed point fails the check of its owner, with the reason.
            with suppress(ArtifactError):
                pairs.append((openings[name], sum_points(record.terms(entries))))
    commit_at_once(pairs)


def _owner_problem(
    name: str,
    terms: Iterable[tuple[bytes, int]],
    parameters: ConsortiumParameters,
    tensors: Mapping[str, NDArray[Any]],
    opening: Opening | None,
    known: Digest | None,
) -> str:
    """Return the first check of one owner that fails, in words; empty if all pass."""
    if opening is None:
        return f"there is no opening of {name}"
    form = parameters.part_of(name)
    try:
        check_opened(
            opening,
            tensors,
            terms=terms,
            shapes=form.shapes,
            norm_bound=form.norm_bound,
            known=known,
        )
    except ArtifactError as error:
        return str(error)
    return ""
