"""However many members there are, the aggregator has two contributions in memory at most."""

import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rescind.aggregator.adapter_file import written
from rescind.aggregator.checks import judge
from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.digests import Digests
from rescind.aggregator.krum import MultiKrum
from rescind.aggregator.research_rules import NormClipping
from rescind.aggregator.scoring import RoundScorer
from rescind.aggregator.stored_deltas import StoredDeltas
from rescind.aggregator.vector_file import VectorFile
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Scan,
    StoreCorrupt,
    SumOverflow,
    Term,
    Totals,
    adapter_totals,
    add_totals,
    artifact_id,
    commit,
    digest,
    encode,
    l2_norm,
    norm_of_change,
    owner,
    point_hash,
    qualify,
    weights,
)
from rescind.core.posted import Posted, combine, combine_stored, expected_shapes
from tests.support.consortium import micro_parameters

MEMBERS = 12
ADDRESSES = [f"0x{number + 1:040X}" for number in range(MEMBERS)]
PARAMETERS = micro_parameters(federated=True, max_members=MEMBERS)


class CountingStore(ArtifactStore):
    """A store that knows how many of the contributions that it gave out are still in memory."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.live = self.most = 0

    def load(self, digest: str, **limits: Any) -> dict[str, Any]:
        return self._counted(super().load(digest, **limits))

    def load_scanned(self, digest: str, **limits: Any) -> tuple[dict[str, Any], Scan]:
        tensors, scanned = super().load_scanned(digest, **limits)
        return self._counted(tensors), scanned

    def _counted(self, tensors: dict[str, Any]) -> dict[str, Any]:
        # The first tensor lives as long as the contribution: all are views of the same bytes.
        self.live += 1
        self.most = max(self.most, self.live)
        weakref.finalize(next(iter(tensors.values())).base, self._gone)
        return tensors

    def _gone(self) -> None:
        self.live -= 1


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path)


@pytest.fixture
def deltas(store: CountingStore) -> StoredDeltas:
    rng = np.random.default_rng(0)
    return StoredDeltas(
        store,
        {
            address: [
                store.put(
                    encode(
                        {
                            f"shared/{name}": rng.integers(-99, 99, shape, dtype=np.int32)
                            for name, shape in PARAMETERS.delta_shapes().items()
                        }
                    )
                )
            ]
            for address in ADDRESSES
        },
    )


def in_memory(deltas: StoredDeltas) -> dict[str, dict[str, Any]]:
    return {name: {n: v.copy() for n, v in deltas[name].items()} for name in deltas}


def test_the_store_counts_what_is_alive(store: CountingStore, deltas: StoredDeltas) -> None:
    held = [deltas[address] for address in ADDRESSES]
    assert (store.live, store.most) == (MEMBERS, MEMBERS)
    held.clear()
    assert store.live == 0


def test_the_judgement_of_a_round_holds_one_update(
    store: CountingStore, deltas: StoredDeltas
) -> None:
    digests = Digests(store)
    points = {
        address: point_hash(commit(digest(delta))) for address, delta in in_memory(deltas).items()
    }
    verdicts = [
        judge(
            address,
            deltas._ids[address][0],
            store,
            digests,
            PARAMETERS,
            submitted=True,
            point_hash=points[address],
            member=number,
        )
        for number, address in enumerate(ADDRESSES)
    ]
    assert all(verdict.accepted for verdict in verdicts)
    assert (store.live, store.most) == (0, 1)


def test_a_sum_holds_two_updates(store: CountingStore, deltas: StoredDeltas) -> None:
    share = weights("shared", ADDRESSES)
    terms = [Term(1, address, deltas._ids[address][0], share[address]) for address in ADDRESSES]
    total = adapter_totals(terms, store.load)
    assert store.most <= 2
    expected = sum(v["shared/layer.lora_B"].astype(np.int64) * 833 for v in deltas.values())
    assert np.array_equal(total["shared/layer.lora_B"], expected)


@pytest.mark.parametrize(
    "rule", [MultiKrum(2), NormClipping(PARAMETERS.fraction_bits)], ids=["multi-krum", "clipping"]
)
def test_a_rule_that_chooses_weights_holds_two_updates(
    store: CountingStore, deltas: StoredDeltas, rule: MultiKrum | NormClipping
) -> None:
    expected = rule.select(in_memory(deltas)), rule.combine(in_memory(deltas))
    store.most = 0
    chosen, combined = rule.select(deltas), rule.combine(deltas)
    assert store.most <= 2
    assert chosen == expected[0]
    assert all(np.array_equal(combined[name], value) for name, value in expected[1].items())


class NormScorer(RoundScorer):
    """A scorer without a model: the loss of an adapter falls with its sum."""

    def losses(self, totals: Totals | None, organization: str) -> np.ndarray:
        total = 0 if not totals else sum(float(value.sum()) for value in totals.values())
        return np.exp(-np.arange(1.0, 4.0) * (total + 5e6) / 1e7)


@pytest.mark.parametrize("method", ["leave-one-out", "alone", "shapley"])
def test_scoring_holds_two_updates(
    store: CountingStore, deltas: StoredDeltas, method: str, tmp_path: Path
) -> None:
    section = EvaluationSection(data=tmp_path, method=method, permutations=4)
    parent = {f"shared/{n}": np.zeros(s, np.int64) for n, s in PARAMETERS.delta_shapes().items()}
    expected = NormScorer(section, PARAMETERS).score(in_memory(deltas), parent)
    store.most = 0
    assert NormScorer(section, PARAMETERS).score(deltas, parent) == expected
    assert store.most <= 2


def test_the_mean_of_posted_fishers_holds_two_of_them(tmp_path: Path) -> None:
    parameters: ConsortiumParameters = micro_parameters(federated=True, post_fisher=True)
    rng = np.random.default_rng(0)
    posted = {
        each.id: each
        for each in (
            Posted(
                "fisher",
                parameters.base_model_id,
                "shared",
                f"point {number}",
                "measure",
                number + 1,
                {
                    name: rng.random(shape, dtype=np.float32)
                    for name, shape in expected_shapes("fisher", parameters).items()
                },
            )
            for number in range(MEMBERS)
        )
    }
    live, most = [0], [0]

    def load(artifact: str) -> Posted:
        loaded = Posted(**{**posted[artifact].__dict__, "tensors": dict(posted[artifact].tensors)})
        live[0] += 1
        most[0] = max(most[0], live[0])
        weakref.finalize(loaded, lambda: live.__setitem__(0, live[0] - 1))
        return loaded

    streamed = combine_stored(posted, load)
    assert most[0] <= 2
    assert streamed.encode() == combine(list(posted.values())).encode()


def test_vectors_in_a_file_are_those_that_were_added(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = [rng.random(1000) for _ in range(3)]
    with VectorFile(tmp_path) as file:
        for vector in vectors:
            file.append(vector)
        assert all(np.array_equal(file[n], vector) for n, vector in enumerate(vectors))
        with pytest.raises(ValueError, match="the vector has 3 values, the others have 1000"):
            file.append(np.zeros(3))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("federated", [True, False], ids=["shared", "blocks"])
def test_an_adapter_is_written_owner_by_owner_with_the_same_bytes(
    store: CountingStore, tmp_path: Path, federated: bool
) -> None:
    parameters = micro_parameters(federated=federated)
    rng = np.random.default_rng(0)
    groups: dict[str, list[Term]] = {}
    for address in ADDRESSES:
        prefix = owner(parameters.layout, address)
        for round_id in (1, 2):
            delta = {
                qualify(prefix, name): rng.integers(-99, 99, shape, dtype=np.int32)
                for name, shape in parameters.delta_shapes().items()
            }
            term = Term(round_id, address, store.put(encode(delta)), 10_000 - round_id)
            groups.setdefault(prefix, []).append(term)
    store.most = 0
    building = tmp_path / "building"
    with written(building, groups, parameters.delta_shapes(), store.load) as file:
        assert store.most <= 2
        totals = adapter_totals([t for group in groups.values() for t in group], store.load)
        assert file.path.read_bytes() == encode(totals)
        assert file.scanned.artifact_id == artifact_id(encode(totals))
        assert file.scanned.digest == digest(totals)
        assert sorted(file.scanned.digests) == sorted(groups)
        tensors = file.tensors()
        assert all(np.array_equal(tensors[name], value) for name, value in totals.items())
    assert list(building.iterdir()) == []


def test_memory_does_not_grow_with_the_owners_of_an_adapter(tmp_path: Path) -> None:
    store, size = ArtifactStore(tmp_path / "store"), 2**17
    shapes = {"layer.lora_B": (size,)}
    peaks = []
    for count in (12, 36):
        groups = {
            address.lower(): [
                Term(1, address, store.put(encode({f"{address.lower()}/layer.lora_B": value})), 1)
            ]
            for address in (f"0x{n + 1:040x}" for n in range(count))
            for value in [np.full(size, 3, np.int32)]
        }
        tracemalloc.start()
        with written(tmp_path / "building", groups, shapes, store.load):
            peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Each further owner adds its digest, 48 KiB, and not its block, 1 MiB.
    assert peaks[1] < peaks[0] + 24 * 2**16


def test_a_file_whose_sum_overflows_is_not_left_behind(
    store: CountingStore, tmp_path: Path
) -> None:
    artifact = store.put(encode({"shared/w": np.array([2**31 - 1], np.int32)}))
    groups = {"shared": [Term(1, ADDRESSES[0], artifact, 2**33)]}
    folder = tmp_path / "building"
    with (
        pytest.raises(SumOverflow),
        written(folder, groups, {"w": (1,)}, store.load),
    ):
        raise AssertionError("a sum that may overflow was written")
    assert list(folder.iterdir()) == []


def test_the_size_of_a_change_holds_two_tensors_and_is_that_of_the_whole_files(
    tmp_path: Path,
) -> None:
    store, rng, size = ArtifactStore(tmp_path), np.random.default_rng(1), 2**16
    after = {f"a/{n}": rng.integers(-(2**40), 2**40, size) for n in range(20)}
    before = {f"a/{n}": rng.integers(-(2**40), 2**40, size) for n in range(3, 24)}
    ids = [store.put(encode(each)) for each in (after, before)]
    negative = {name: -value for name, value in before.items()}
    whole = l2_norm(add_totals([after, negative]))
    tracemalloc.start()
    with store.open_tensors(ids[0]) as new, store.open_tensors(ids[1]) as old:
        streamed = norm_of_change(new, old)
        peak = tracemalloc.get_traced_memory()[1]
        assert norm_of_change(new, None) == l2_norm(after)
        assert norm_of_change(old, old) == 0.0
    tracemalloc.stop()
    assert streamed == whole
    # Beside two tensors of half a MiB: the difference, its squares, and pieces of 1 MiB to hash.
    assert peak < 2**21 + 6 * 8 * size


def test_a_damaged_file_is_not_compared(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.put(encode({"a/w": np.arange(100, dtype=np.int64)}))
    path = tmp_path / artifact[:2] / artifact
    for damaged in (path.read_bytes()[:-1], path.read_bytes()[:-1] + b"\x01", b"\x01"):
        path.chmod(0o600)
        path.write_bytes(damaged)
        with pytest.raises(StoreCorrupt), store.open_tensors(artifact):
            raise AssertionError("a damaged file was opened")
