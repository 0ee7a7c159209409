"""A file is judged from its header: tensors that were not agreed on cost neither time nor memory."""

import io
import json
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import (
    ArtifactMalformed,
    ArtifactStore,
    ArtifactTooLarge,
    ArtifactWrongType,
    OpeningMalformed,
    StoreCorrupt,
    WrongShape,
    artifact_id,
    decode,
    decode_openings,
    digest,
    encode,
    expected_adapter,
    expected_delta,
    point_hash,
    scan,
)
from rescind.core import commit as commit_to
from rescind.core.artifact import METADATA
from rescind.core.errors import ArtifactError
from rescind.core.posted import decode as decode_statistics
from tests.support.consortium import micro_parameters
from tests.support.stored_files import damage

PARAMETERS = micro_parameters(federated=True)
ADDRESS = "0x" + "ab" * 20
EXPECTED = expected_delta(PARAMETERS, ADDRESS)

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
TENSORS = st.dictionaries(
    NAMES.filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from([np.int32, np.int64]), SHAPES),
    max_size=6,
)


def agreed(value: int = 3) -> dict[str, np.ndarray]:
    return {name: np.full(shape, value, np.int32) for name, shape in EXPECTED.shapes.items()}


def raw(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


@cache
def empty_tensors() -> bytes:
    """Return a canonical file of 400,000 tensors without a value."""
    entry = '"dtype":"I32","shape":[0],"data_offsets":[0,0]'
    entries = ",".join(f'"shared/{number:06d}":{{{entry}}}' for number in range(400_000))
    text = f'{{"__metadata__":{{"format":"rescind.artifact/1"}},{entries}}}'.encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@given(TENSORS)
def test_our_encoding_is_that_of_safetensors(tensors: dict[str, tuple[type, tuple[int]]]) -> None:
    arrays = {name: np.ones(shape, dtype) for name, (dtype, shape) in tensors.items()}
    data = encode(arrays)
    assert data == safetensors.numpy.save(arrays, metadata=METADATA)
    assert {n: (v.dtype, v.shape, v.tolist()) for n, v in decode(data).items()} == {
        n: (v.dtype, v.shape, v.tolist()) for n, v in sorted(arrays.items())
    }


@given(TENSORS, st.data())
def test_a_file_with_one_changed_byte_in_its_header_is_refused(
    tensors: dict[str, tuple[type, tuple[int]]], draw: st.DataObject
) -> None:
    data = bytearray(encode({n: np.ones(shape, dtype) for n, (dtype, shape) in tensors.items()}))
    size = 8 + int.from_bytes(data[:8], "little")
    at = draw.draw(st.integers(0, size - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        decoded = decode(bytes(data))
    except ArtifactError:
        return
    # Another name, or a shape of as many values: still the one encoding of what it says.
    assert encode(decoded) == data


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"__metadata__": METADATA, "w": 3},
        {"__metadata__": METADATA, "w": {"dtype": "I32", "shape": [True], "data_offsets": [0, 4]}},
        {"__metadata__": METADATA, "w": {"dtype": "I32", "shape": [-1], "data_offsets": [0, 4]}},
        {"__metadata__": METADATA, "w": {"dtype": "I32", "shape": [1], "data_offsets": [4, 8]}},
        {"__metadata__": METADATA, "w": {"dtype": ["I32"], "shape": [1], "data_offsets": [0, 4]}},
        {"__metadata__": METADATA, "\ud800": {"dtype": "I32", "shape": [], "data_offsets": [0, 4]}},
        {"__metadata__": ["format"]},
        {"__metadata__": {"format": "another"}},
        {},
    ],
)
def test_a_header_that_is_not_canonical_is_malformed(header: object) -> None:
    with pytest.raises(ArtifactMalformed):
        decode(raw(header, bytes(8)))


def test_deep_nesting_is_malformed() -> None:
    text = b"[" * 100_000
    with pytest.raises(ArtifactMalformed):
        decode(len(text).to_bytes(8, "little") + text)


def test_other_types_are_named() -> None:
    entry = {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}
    with pytest.raises(ArtifactWrongType, match="BF16"):
        decode(raw({"__metadata__": METADATA, "w": entry}, bytes(2)))


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "int64"])
def test_tensors_that_were_not_agreed_on_are_named_from_the_header(change: str) -> None:
    tensors = agreed()
    first = next(iter(tensors))
    if change == "missing":
        del tensors[first]
    elif change == "extra":
        tensors["shared/more"] = np.ones(1, np.int32)
    elif change == "shape":
        tensors[first] = np.ones(7, np.int32)
    else:
        tensors[first] = tensors[first].astype(np.int64)
    data = encode(tensors)
    size = 8 + int.from_bytes(data[:8], "little")
    with pytest.raises(WrongShape):
        decode(data, expected=EXPECTED)
    # The tensors themselves are not read.
    file = io.BytesIO(data)
    with pytest.raises(WrongShape):
        scan(file, expected=EXPECTED)
    assert file.tell() <= size


@pytest.mark.parametrize(
    ("decoder", "error"),
    [
        (lambda data: decode(data, expected=EXPECTED), ArtifactMalformed),
        (lambda data: scan(data, expected=EXPECTED), ArtifactMalformed),
        (
            lambda data: scan(data, expected=expected_adapter(PARAMETERS, [ADDRESS])),
            ArtifactMalformed,
        ),
        (lambda data: decode_openings(data, owners=["shared"]), OpeningMalformed),
        (
            lambda data: decode_statistics(data, shapes=PARAMETERS.delta_shapes()),
            ArtifactMalformed,
        ),
    ],
    ids=["delta", "scan", "adapter", "openings", "statistics"],
)
def test_a_header_of_400_000_empty_tensors_is_refused_without_parsing_it(
    decoder, error: type[ArtifactError]
) -> None:
    data = empty_tensors()
    assert len(data) > 20_000_000
    tracemalloc.start()
    try:
        with pytest.raises(error, match="are enough for the expected tensors"):
            decoder(data)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_hostile_header_in_the_store_costs_no_memory(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    stored = store.put(empty_tensors())
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactMalformed):
            store.scan(stored, expected=EXPECTED)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
        with pytest.raises(ArtifactTooLarge):
            store.load(stored, max_bytes=2**20, expected=EXPECTED)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("piece", [7, 4096, 2**22])
def test_one_pass_finds_hash_digest_and_commitment(
    piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scan.__globals__, "PIECE_BYTES", piece)
    rng = np.random.default_rng(0)
    tensors = {
        "a/small": rng.integers(-9, 9, (3, 5), dtype=np.int32),
        "a/wide": rng.integers(-(2**62), 2**62, 2049, dtype=np.int64),
        "b/none": np.zeros((0, 4), np.int32),
        "b/many": rng.integers(-(2**31), 2**31, 5000, dtype=np.int32),
        "alone": rng.integers(-9, 9, 2048, dtype=np.int64),
    }
    data = encode(tensors)
    for source in (data, io.BytesIO(data)):
        found = scan(source)
        assert found.artifact_id == artifact_id(data)
        assert found.digest == digest(tensors)
        for owner in ("a", "b"):
            own = {name: v for name, v in tensors.items() if name.startswith(f"{owner}/")}
            assert found.digests[owner] == digest(own)
        assert found.commitment == commit_to(digest(tensors))
        assert found.point_hash == point_hash(found.commitment)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_length_than_its_header_says_is_refused(change: int) -> None:
    data = encode(agreed())
    changed = data[:-1] if change < 0 else data + b"\0"
    for source in (changed, io.BytesIO(changed)):
        with pytest.raises(ArtifactMalformed, match="but the header says"):
            scan(source)
    with pytest.raises(ArtifactMalformed, match="but the header says"):
        decode(changed)


@pytest.mark.parametrize("at", [3, 30, -1])
def test_a_damaged_file_of_the_store_is_called_damaged(tmp_path: Path, at: int) -> None:
    store = ArtifactStore(tmp_path)
    stored = store.put(encode(agreed()))
    path = tmp_path / stored[:2] / stored
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StoreCorrupt, match="delete it and fetch the artifact again"):
        store.scan(stored, expected=EXPECTED)
    with pytest.raises(StoreCorrupt):
        store.load_scanned(stored, expected=EXPECTED)


def test_a_damaged_file_is_replaced_by_the_right_bytes(tmp_path: Path) -> None:
    store, data = ArtifactStore(tmp_path / "store"), encode(agreed())
    stored = store.put(data)
    damage(tmp_path / "store", stored)
    assert store.put(data) == stored
    assert store.get(stored) == data
    damage(tmp_path / "store", stored)
    upload = tmp_path / "upload"
    upload.write_bytes(data)
    store.adopt(upload, stored)
    assert store.get(stored) == data
    assert not upload.exists()


@pytest.mark.parametrize(
    "read",
    [
        ArtifactStore.get,
        ArtifactStore.view,
        ArtifactStore.load,
        ArtifactStore.scan,
        ArtifactStore.load_scanned,
    ],
)
def test_a_store_that_mends_forgets_a_damaged_file(
    tmp_path: Path, read: Callable[[ArtifactStore, str], object]
) -> None:
    store = ArtifactStore(tmp_path, mends=True)
    stored = store.put(encode(agreed()))
    damage(tmp_path, stored)
    with pytest.raises(StoreCorrupt, match="was deleted, and is fetched or built again"):
        read(store, stored)
    assert not store.has(stored)


def test_damaged_files_are_found_without_being_asked_for(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifacts = [store.put(bytes([n]) * 100) for n in range(4)]
    for each in artifacts[:2]:
        damage(tmp_path, each)
    assert store.drop_damaged(lambda: True) == []
    assert store.drop_damaged() == sorted(artifacts[:2])
    assert store.ids() == sorted(artifacts[2:])


def test_the_store_reads_and_digests_in_one_pass(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    stored = store.put(encode(agreed()))
    tensors, found = store.load_scanned(stored, expected=EXPECTED)
    assert found == store.scan(stored, expected=EXPECTED)
    assert {name: value.tolist() for name, value in tensors.items()} == {
        name: value.tolist() for name, value in sorted(agreed().items())
    }
    assert found.digest == digest(agreed())
