import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import (
    ArtifactMalformed,
    ArtifactTooLarge,
    ConsortiumParameters,
    NotFinite,
    OutOfBounds,
    WrongShape,
)
from rescind.core.errors import DataError
from rescind.core.posted import check_posted, expected_shapes
from rescind.unlearning import Problem, find
from rescind.unlearning.closed_form import (
    Posted,
    PostedMismatch,
    combine,
    decode,
    point_id,
)
from tests.support.consortium import micro_parameters

OWNER = "0x" + "ab" * 20


@pytest.fixture
def parameters() -> ConsortiumParameters:
    return micro_parameters()


def posted(parameters: ConsortiumParameters, kind: str = "fisher", seed: int = 0) -> Posted:
    source = np.random.default_rng(seed)
    values = {}
    for name, shape in expected_shapes(kind, parameters).items():
        value = source.normal(size=shape)
        values[name] = np.square(value).astype(np.float32) if kind == "fisher" else value @ value.T
        if kind == "moments":
            values[name] = (values[name] + values[name].T) / 2
    return Posted(kind, parameters.base_model_id, OWNER, "aa", "m", 10 + seed, values)


def check(statistics: Posted, parameters: ConsortiumParameters, **wanted: str) -> None:
    check_posted(
        statistics,
        **{"kind": "fisher", "owner": OWNER, "measure": "m", "parameters": parameters, **wanted},
    )


@pytest.mark.parametrize("kind", ["fisher", "moments"])
def test_posted_statistics_round_trip(parameters: ConsortiumParameters, kind: str) -> None:
    statistics = posted(parameters, kind)
    decoded = decode(statistics.encode())
    assert decoded.id == statistics.id
    assert (decoded.kind, decoded.owner, decoded.count) == (kind, OWNER, 10)
    assert all(
        np.array_equal(decoded.tensors[n], statistics.tensors[n]) for n in statistics.tensors
    )
    backwards = replace(statistics, tensors=dict(reversed(list(statistics.tensors.items()))))
    assert backwards.id == statistics.id
    assert replace(statistics, count=11).id != statistics.id


def test_only_canonical_bytes_are_accepted(parameters: ConsortiumParameters) -> None:
    statistics = posted(parameters)
    data = statistics.encode()
    with pytest.raises(ArtifactTooLarge, match="at most 10 are allowed"):
        decode(data, max_bytes=10)
    with pytest.raises(ArtifactMalformed, match="not rescind"):
        decode(b"nonsense")
    with pytest.raises(ArtifactMalformed, match="not rescind"):
        decode(safetensors.numpy.save(dict(statistics.tensors)))
    fields = {
        name: getattr(statistics, name) for name in ("count", "kind", "measure", "owner", "point")
    }
    fields["base_model_id"] = statistics.base_model_id
    spaced = safetensors.numpy.save(
        dict(statistics.tensors), metadata={"rescind.statistics/1": json.dumps(fields, indent=1)}
    )
    with pytest.raises(ArtifactMalformed, match="not in canonical form"):
        decode(spaced)
    odd = safetensors.numpy.save(
        dict(statistics.tensors),
        metadata={"rescind.statistics/1": json.dumps({**fields, "kind": "x"})},
    )
    with pytest.raises(ArtifactMalformed, match="unknown kind"):
        decode(odd)


@given(st.binary(max_size=200))
def test_malformed_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(ArtifactMalformed):
        decode(data)


def test_invalid_values_are_refused(parameters: ConsortiumParameters) -> None:
    fisher, two = posted(parameters), posted(parameters, "moments")
    name, module = next(iter(fisher.tensors)), next(iter(two.tensors))
    for value, error, message in (
        (np.nan, NotFinite, "NaN or infinite"),
        (-1.0, OutOfBounds, "is negative"),
    ):
        bad = {**fisher.tensors, name: np.full_like(fisher.tensors[name], value)}
        with pytest.raises(error, match=message):
            replace(fisher, tensors=bad).encode()
    skew = two.tensors[module] + np.triu(np.ones_like(two.tensors[module]), 1)
    for value, error, message in (
        (skew, OutOfBounds, "not symmetric"),
        (-two.tensors[module], OutOfBounds, "negative eigenvalue"),
        (two.tensors[module][:1], WrongShape, "must be square"),
    ):
        with pytest.raises(error, match=message):
            replace(two, tensors={**two.tensors, module: value}).encode()
    with pytest.raises(OutOfBounds, match="count is 0"):
        replace(fisher, count=0).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base_model_id": "00" * 32}, "base_model_id '0000"),
        ({"owner": "shared"}, "owner 'shared'"),
        ({"measure": "other"}, "measure 'other'"),
        ({"kind": "moments"}, "kind 'moments'"),
        ({"point": "bb"}, "point 'bb'"),
    ],
)
def test_statistics_with_other_fields_are_refused(
    parameters: ConsortiumParameters, change: dict[str, str], message: str
) -> None:
    statistics = posted(parameters)
    check(statistics, parameters, point="aa")
    with pytest.raises(PostedMismatch, match=message):
        check(replace(statistics, **change), parameters, point="aa")


def test_statistics_of_other_shapes_are_refused(parameters: ConsortiumParameters) -> None:
    statistics = posted(parameters)
    name = sorted(statistics.tensors)[0]
    with pytest.raises(WrongShape, match=r"has shape \(1, 1\), expected"):
        check(
            replace(statistics, tensors={**statistics.tensors, name: np.ones((1, 1))}), parameters
        )
    with pytest.raises(WrongShape, match="have a tensor 'more' that is not agreed on"):
        check(
            replace(statistics, tensors={**statistics.tensors, "more": np.ones((1, 1))}), parameters
        )
    less = {n: v for n, v in statistics.tensors.items() if n != name}
    with pytest.raises(WrongShape, match="lack the tensor"):
        check(replace(statistics, tensors=less), parameters)


def test_statistics_combine_by_counts_in_any_order(parameters: ConsortiumParameters) -> None:
    parts = [posted(parameters, seed=seed) for seed in range(3)]
    combined = combine(parts)
    assert combined.count == 10 + 11 + 12
    for name, value in combined.tensors.items():
        mean = sum(p.count * p.tensors[name].astype(float) for p in parts) / 33
        np.testing.assert_allclose(value, mean, rtol=1e-12)
        assert np.array_equal(value, combine(parts[::-1]).tensors[name])
    assert combined.point == "aa"
    assert combine([parts[0], replace(parts[1], point="bb")]).point == ""
    with pytest.raises(DataError, match="no posted statistics"):
        combine([])
    with pytest.raises(PostedMismatch, match="differ in owner"):
        combine([parts[0], replace(parts[1], owner="shared")])
    with pytest.raises(WrongShape, match="names or shapes"):
        combine([parts[0], replace(parts[1], tensors={})])


def test_a_point_hashes_all_tensors_or_a_alone() -> None:
    tensors = {"m.lora_A": np.ones((2, 3), np.float32), "m.lora_B": np.zeros((4, 2), np.float32)}
    moved = {**tensors, "m.lora_B": np.ones((4, 2), np.float32)}
    assert point_id(tensors) != point_id(moved)
    assert point_id(tensors, only_a=True) == point_id(moved, only_a=True)


def test_closed_forms_are_registered_without_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import rescind.unlearning.closed_form\n"
        "from rescind.unlearning.registry import registered\n"
        "print(*sorted(registered()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["partial", "redirect", "ssd"]


@pytest.mark.trains
def test_closed_forms_train_nothing_and_name_their_source() -> None:
    methods = [find(name) for name in ("partial", "redirect", "ssd")]
    assert not any(method.trains for method in methods)
    assert all(method.settings() is not None and method.source for method in methods)


def test_an_empty_forget_set_is_refused(parameters: ConsortiumParameters) -> None:
    with pytest.raises(DataError, match="The forget set is empty"):
        Problem(None, parameters, OWNER, {}, [], [], 0)
