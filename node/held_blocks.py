"""The bytes of a published adapter that a node has already, so that it fetches only what changed.

In blocks the chain says which contributions are in each block. A block with the same contributions
and weights has the same bytes in every model, so it is taken from a model that the node adopted
before. The node's own block is the sum of its own deltas. Nothing of this needs to be trusted: the
assembled file must hash to the published id, and is checked like a downloaded one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import structlog

from rescind.contracts import Entry
from rescind.core import TensorSpec, expected_adapter, owner, split_owner
from rescind.core.adapter_stream import adapter_bytes
from rescind.core.artifact import artifact_header
from rescind.core.errors import ArtifactError, RescindError
from rescind.core.mapped import Bytes, map_open_file
from rescind.core.tensor_header import (
    LENGTH_BYTES,
    MOST_HEADER_BYTES,
    Header,
    header_size,
)
from rescind.node.facts import AdoptedModel
from rescind.node.keeping import NEWEST_KEPT
from rescind.node.own_deltas import own_terms
from rescind.node.session import Session
from rescind.wire import HeldBytes
from rescind.withdrawals import RecordedModel

Content = tuple[tuple[str, int], ...]
"""The contributions in a block: the hashes of their points with their weights."""


@dataclass(frozen=True)
class Held:
    """The part of an adapter that a node has already.

    Attributes:
        size: Bytes of the adapter, by its header; None where the header is not known.
        ranges: The bytes that the node has.
    """

    size: int | None = None
    ranges: tuple[HeldBytes, ...] = ()


@dataclass(frozen=True)
class _Block:
    """The place of an owner's tensors in a file."""

    begin: int
    end: int
    specs: tuple[tuple[str, TensorSpec], ...]


def held_blocks(session: Session, adapter_id: str, record: RecordedModel) -> Held:
    """Return the bytes of a model's adapter that the node has; nothing where that cannot be said.

    Raises:
        WireError: The header cannot be fetched.
    """
    if session.parameters.layout != "blocks" or not record.entries:
        return Held()
    expected = expected_adapter(session.parameters, record.owned(session.parameters))
    try:
        head = session.client.download_head(adapter_id, expected.most_header_bytes)
        header = artifact_header(head, expected)
    except ArtifactError:
        # A wrong file is refused for what it is once it is here.
        return Held()
    blocks = _blocks(header)
    contents = _contents(session, record.entries)
    wanted = {name: each for name, each in contents.items() if name in blocks}
    ranges: dict[str, HeldBytes] = {}
    for fact in _held_models(session, record.model_id):
        if ranges.keys() == wanted.keys():
            break
        for name, data in _unchanged(session, fact, wanted, blocks):
            ranges.setdefault(name, HeldBytes(blocks[name].begin, data))
    own = owner("blocks", session.me)
    if own in wanted and own not in ranges:
        summed = _own_block(session, record, blocks[own])
        if summed is not None:
            ranges[own] = HeldBytes(blocks[own].begin, summed)
    return Held(header.file_size, tuple(ranges.values()))


def _contents(session: Session, entries: Iterable[Entry]) -> dict[str, Content]:
    """Return the contributions of each owner with their weights, in an order of its own."""
    forms = session.parameters.parts
    terms_of: dict[str, list[tuple[str, int]]] = {}
    for entry in entries:
        name = forms[entry.part].owner(entry.organization)
        terms_of.setdefault(name, []).append((entry.point_hash, entry.weight))
    return {name: tuple(sorted(terms)) for name, terms in terms_of.items()}


def _blocks(header: Header) -> dict[str, _Block]:
    """Return the place of each owner's tensors, where they are next to each other."""
    blocks: dict[str, _Block] = {}
    begin, scattered = header.size, set[str]()
    for name, spec in header.specs.items():
        prefix, bare = split_owner(name)
        block = blocks.get(prefix, _Block(begin, begin, ()))
        if block.end != begin:
            scattered.add(prefix)
        specs = (*block.specs, (bare, spec))
        blocks[prefix] = _Block(block.begin, begin + spec.size, specs)
        begin += spec.size
    return {name: block for name, block in blocks.items() if name not in scattered}


def _held_models(session: Session, model_id: int) -> Iterator[AdoptedModel]:
    """Yield the adopted models whose adapters are in the node's store, the newest first."""
    facts = sorted(AdoptedModel.all(session.journal), key=lambda fact: -fact.model_id)
    held = (
        fact
        for fact in facts
        if fact.adapter_id and fact.model_id != model_id and session.store.has(fact.adapter_id)
    )
    return islice(held, NEWEST_KEPT)


def _unchanged(
    session: Session,
    fact: AdoptedModel,
    wanted: Mapping[str, Content],
    blocks: Mapping[str, _Block],
) -> Iterator[tuple[str, Bytes]]:
    """Yield the blocks of an adopted model that a new one has unchanged, with their bytes."""
    if tuple(session.consortium.commitments(fact.model_id)) != fact.commitments:
        # After a reorganization the chain has another model of this number.
        return
    before = _contents(session, session.consortium.contents(fact.model_id))
    data = session.store.view(fact.adapter_id, check=False)
    try:
        size = header_size(bytes(data[:LENGTH_BYTES]), MOST_HEADER_BYTES)
        held = _blocks(artifact_header(bytes(data[:size]), None))
    except ArtifactError as error:
        structlog.get_logger().warning("stored adapter is damaged", reason=str(error))
        return
    for name, content in wanted.items():
        same = before.get(name) == content and name not in fact.left_out and name in held
        if same and held[name].specs == blocks[name].specs:
            yield name, data[held[name].begin : held[name].end]


def _own_block(session: Session, record: RecordedModel, block: _Block) -> Bytes | None:
    """Return the bytes of the node's own block, summed from its own deltas; None if one is gone."""
    shapes = {name: tuple(shape) for name, shape in session.parameters.delta_shapes().items()}
    if {name: spec.shape for name, spec in block.specs} != shapes:
        return None
    try:
        deltas = [entry for entry in record.entries if not entry.part]
        groups = {owner("blocks", session.me): own_terms(session, deltas)}
        pieces = adapter_bytes(groups, shapes, session.store.load)
        with tempfile.TemporaryFile(dir=session.config.node.state_dir) as file:
            next(pieces)  # the header of an adapter with this block alone
            for piece in pieces:
                file.write(piece)
            file.flush()
            return map_open_file(file)
    except (RescindError, OSError) as error:
        structlog.get_logger().info("own block is fetched", reason=str(error))
        return None
