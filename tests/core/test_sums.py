from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import (
    ArtifactMalformed,
    ArtifactStore,
    ArtifactTooLarge,
    ArtifactWrongType,
    NotFinite,
    OutOfBounds,
    StoreCorrupt,
    StoreFull,
    StoreMissing,
    SumOverflow,
    Term,
    WrongShape,
    adapter_totals,
    artifact_id,
    check_delta,
    decode,
    dequantize,
    encode,
    initial,
    l2_norm,
    quantize,
    weighted_sum,
    weights,
    without,
)

values = st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=4, max_size=4)
deltas = st.lists(values, min_size=2, max_size=6)
ADDRESSES = [f"0x{number + 1:040X}" for number in range(8)]


def as_tensor(row: list[int]) -> dict[str, np.ndarray]:
    return {"w": np.array(row, dtype=np.int32)}


def terms_of(rows: list[list[int]]) -> tuple[list[Term], dict[str, dict[str, np.ndarray]]]:
    store = {str(number): as_tensor(row) for number, row in enumerate(rows)}
    share = weights("shared", ADDRESSES[: len(rows)])
    terms = [
        Term(1, organization, str(n), share[organization])
        for n, organization in enumerate(ADDRESSES[: len(rows)])
    ]
    return terms, store


@given(deltas, st.randoms())
def test_a_sum_is_the_same_in_any_order(rows: list[list[int]], rng) -> None:
    terms, store = terms_of(rows)
    shuffled = list(terms)
    rng.shuffle(shuffled)
    first = encode(adapter_totals(terms, store.__getitem__))
    assert encode(adapter_totals(shuffled, store.__getitem__)) == first


@given(deltas)
def test_removal_gives_the_bytes_of_a_run_without_the_organization(rows: list[list[int]]) -> None:
    terms, store = terms_of(rows)
    removed = encode(adapter_totals(without(terms, [ADDRESSES[0]], "shared"), store.__getitem__))
    share = weights("shared", ADDRESSES[1 : len(rows)])
    never = [
        Term(1, organization, str(n + 1), share[organization])
        for n, organization in enumerate(ADDRESSES[1 : len(rows)])
    ]
    assert encode(adapter_totals(never, store.__getitem__)) == removed


@given(st.integers(1, 1024))
def test_shared_weights_are_equal_and_never_more_than_a_whole(count: int) -> None:
    """As in contracts/src/libraries/Weights.sol."""
    share = weights("shared", [f"0x{n:040x}" for n in range(count)])
    assert len(share) == count
    assert set(share.values()) == {10_000 // count}
    assert 10_000 - count < sum(share.values()) <= 10_000


def test_what_rounding_takes_from_a_round_is_bounded() -> None:
    """The figures of docs/federated.md: a server learning rate that is the same for all members."""
    steps = [sum(weights("shared", [str(n) for n in range(count)]).values()) / 10_000
             for count in range(1, 1025)]  # fmt: skip
    assert min(steps[:64]) == 0.9943
    assert (min(steps), steps.index(min(steps)) + 1) == (0.9009, 1_001)
    assert steps[1023] == 0.9216


def test_a_sum_that_may_overflow_is_refused() -> None:
    big = {"w": np.full(2, 2**31 - 1, dtype=np.int32)}
    with pytest.raises(SumOverflow):
        weighted_sum([(big, 2**33)])


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=32),
    st.sampled_from([8, 16, 20]),
    st.floats(0.1, 50),
)
def test_quantizing_stays_in_bounds_and_carries_the_residual(row, bits, clip) -> None:
    update = {"w": np.array(row, dtype=np.float32)}
    quantized = quantize(update, None, fraction_bits=bits, clip_norm=clip)
    check_delta(quantized.delta, {"w": (len(row),)}, fraction_bits=bits, clip_norm=clip)
    wanted = update["w"].astype(np.float64) * (clip / quantized.norm if quantized.clipped else 1.0)
    back = quantized.delta["w"] / 2.0**bits + quantized.residual["w"]
    assert np.allclose(back, wanted, atol=1e-9)


def test_dequantized_values_are_within_one_step() -> None:
    update = {"w": np.linspace(-1, 1, 50, dtype=np.float32)}
    quantized = quantize(update, None, fraction_bits=16, clip_norm=100)
    back = dequantize(weighted_sum([(quantized.delta, 10_000)]), fraction_bits=16)
    assert np.max(np.abs(back["w"] - update["w"])) <= 2.0**-16


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    with pytest.raises(NotFinite, match="diverged"):
        quantize({"w": np.array([1.0, bad])}, None, fraction_bits=16, clip_norm=1)


def test_a_delta_of_another_shape_dtype_or_size_is_refused() -> None:
    good = {"w": np.ones(3, dtype=np.int32)}
    limits = {"fraction_bits": 8, "clip_norm": 1.0}
    check_delta(good, {"w": (3,)}, **limits)
    with pytest.raises(WrongShape, match="shape"):
        check_delta(good, {"w": (4,)}, **limits)
    with pytest.raises(WrongShape, match="missing tensors"):
        check_delta({}, {"w": (3,)}, **limits)
    with pytest.raises(WrongShape, match="unexpected"):
        check_delta(good | {"x": good["w"]}, {"w": (3,)}, **limits)
    with pytest.raises(WrongShape, match="dtype"):
        check_delta({"w": np.ones(3, dtype=np.int64)}, {"w": (3,)}, **limits)
    with pytest.raises(OutOfBounds, match="L2 norm"):
        check_delta({"w": np.full(3, 256, dtype=np.int32)}, {"w": (3,)}, **limits)


def test_every_flipped_byte_of_an_artifact_changes_its_id_or_is_refused() -> None:
    data = encode({"b": np.arange(3, dtype=np.int32), "a": np.arange(4, dtype=np.int32)})
    for number in range(len(data)):
        changed = data[:number] + bytes([data[number] ^ 1]) + data[number + 1 :]
        assert artifact_id(changed) != artifact_id(data)


def test_only_canonical_bytes_of_integers_are_accepted() -> None:
    import safetensors.numpy

    tensors = {"w": np.arange(4, dtype=np.int32)}
    assert set(decode(encode(tensors))) == {"w"}
    with pytest.raises(ArtifactMalformed, match="canonical"):
        decode(safetensors.numpy.save(tensors, metadata={"other": "text"}))
    with pytest.raises(ArtifactMalformed, match="not a safetensors"):
        decode(b"garbage")
    with pytest.raises(ArtifactWrongType, match="float32"):
        decode(safetensors.numpy.save({"w": np.zeros(2, dtype=np.float32)}))
    with pytest.raises(ArtifactTooLarge, match="consortium allows 8"):
        decode(encode(tensors), max_bytes=8)


@given(st.binary(max_size=200))
def test_garbage_is_an_error_never_a_crash(data: bytes) -> None:
    with pytest.raises((ArtifactMalformed, ArtifactWrongType)):
        decode(data)


def test_initial_values_are_the_same_on_every_platform() -> None:
    start = initial(7, "0xabc", "layer.lora_A", (2, 3), fraction_bits=16)
    assert start.tolist() == [[10316, 7316, 18654], [-2483, 35504, -5275]]
    assert not initial(7, "0xabc", "layer.lora_B", (3, 2), fraction_bits=16).any()
    assert np.max(np.abs(start)) <= 2**16 / np.sqrt(3)
    other = initial(7, "0xabd", "layer.lora_A", (2, 3), fraction_bits=16)
    assert start.tolist() != other.tolist()


def test_the_norm_does_not_depend_on_the_order_of_names() -> None:
    first = {"a": np.ones(3), "b": np.full(2, 2.0)}
    assert l2_norm(first) == l2_norm(dict(reversed(first.items()))) == pytest.approx(np.sqrt(11))


def test_the_store_returns_exactly_the_stored_bytes(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    digest = store.put(b"bytes")
    assert store.get(digest) == b"bytes"
    assert store.put(b"bytes") == digest
    assert store.missing([digest, "0" * 64]) == ["0" * 64]
    with pytest.raises(StoreMissing):
        store.get("0" * 64)
    (tmp_path / digest[:2] / digest).write_bytes(b"other")
    with pytest.raises(StoreCorrupt, match=digest):
        store.get(digest)


def test_a_store_loads_the_tensors_of_an_artifact(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    tensors = {"b": np.arange(3, dtype=np.int32), "a": np.array([[2**40]], dtype=np.int64)}
    data = encode(tensors)
    loaded = store.load(store.put(data))
    assert list(loaded) == ["a", "b"]
    assert encode(loaded) == data
    with pytest.raises(ArtifactTooLarge):
        store.load(store.put(data), max_bytes=8)
    with pytest.raises(ArtifactMalformed):
        store.load(store.put(b"bytes"))
    with pytest.raises(StoreMissing):
        store.load("0" * 64)


def test_a_full_disk_is_reported_and_leaves_no_file() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is not on this system")
    import errno
    import tempfile
    from unittest import mock

    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(folder)
        refuse = mock.patch("os.fsync", side_effect=OSError(errno.ENOSPC, "no space left"))
        with refuse, pytest.raises(StoreFull, match="free some disk"):
            store.put(b"x" * 100)
        assert [p for p in Path(folder).rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("layout", ["blocks", "shared"])
def test_counter_deltas_keep_their_weight_when_another_organization_is_removed(layout: str) -> None:
    counters = [Term(0, ADDRESSES[2], "aa", 10_000), Term(0, ADDRESSES[1], "bb", 10_000)]
    share = weights(layout, ADDRESSES[:3])
    rounds = [
        Term(1, organization, organization, share[organization]) for organization in ADDRESSES[:3]
    ]
    left = without([*counters, *rounds], [ADDRESSES[0]], layout)
    assert left[:2] == counters
    assert [t.weight for t in left[2:]] == ([5_000] * 2 if layout == "shared" else [10_000] * 2)
