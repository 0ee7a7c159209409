"""Files that are not the agreed statistics, each refused with one line. No chain, no network."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.aggregator.checks import judge
from rescind.contracts import RejectReason
from rescind.core import ArtifactStore, commit, digest, encode, point_hash
from rescind.core.statistics_tensors import contributed_tensors
from tests.support.consortium import hybrid_parameters

PARAMETERS = hybrid_parameters()
ME = "0x" + "aB" * 20
Header = dict[str, dict[str, Any]]


def honest() -> dict[str, np.ndarray]:
    agreed = PARAMETERS.statistics
    assert agreed is not None
    return contributed_tensors(agreed, {"desk": agreed.tasks["desk"].collect(["Hi"], ["cards"])})


TENSORS = honest()
DATA = encode(TENSORS)
LENGTH = struct.unpack("<Q", DATA[:8])[0]


def with_header(change: Callable[[Header], Header]) -> bytes:
    """Return the honest file with another header over the same numbers."""
    text = json.dumps(change(json.loads(DATA[8 : 8 + LENGTH])), separators=(",", ":")).encode()
    return struct.pack("<Q", len(text)) + text + DATA[8 + LENGTH :]


def typed(dtype: str) -> bytes:
    return with_header(
        lambda header: {
            name: {**entry, "dtype": dtype} if "dtype" in entry else entry
            for name, entry in header.items()
        }
    )


def renamed(old: str, new: str) -> bytes:
    return with_header(lambda h: {name.replace(old, new): entry for name, entry in h.items()})


def changed(**tensors: np.ndarray) -> bytes:
    return encode({**TENSORS, **{f"statistics/{name}": value for name, value in tensors.items()}})


@pytest.mark.parametrize(
    ("data", "reason", "what"),
    [
        (b"", RejectReason.MALFORMED, "this one has 0 bytes"),
        (DATA[:-1], RejectReason.MALFORMED, "but the header says"),
        (DATA + b"\0", RejectReason.MALFORMED, "but the header says"),
        (DATA[:20], RejectReason.MALFORMED, "not a safetensors artifact"),
        (b"\x80\x04K\x01.", RejectReason.MALFORMED, "not a safetensors artifact"),
        (struct.pack("<Q", 10**8) + DATA[8:], RejectReason.MALFORMED, "are enough"),
        (struct.pack(">Q", LENGTH) + DATA[8:], RejectReason.MALFORMED, "are enough"),
        (typed("F32"), RejectReason.MALFORMED, "canonical form"),
        (typed("I64"), RejectReason.MALFORMED, "canonical form"),
        (renamed("desk", "mood"), RejectReason.MALFORMED, "canonical form"),
        (renamed("statistics/", f"{ME.lower()}/"), RejectReason.MALFORMED, "canonical form"),
        (changed(x=np.ones(3, np.int32)), RejectReason.WRONG_SHAPE, "unexpected tensors"),
        (
            encode({name: value for name, value in TENSORS.items() if "gram" not in name}),
            RejectReason.WRONG_SHAPE,
            "missing tensors",
        ),
        (
            encode({name: value.astype(np.int64) for name, value in TENSORS.items()}),
            RejectReason.WRONG_SHAPE,
            "has dtype int64; it must be int32",
        ),
        (
            encode({name: value.byteswap() for name, value in TENSORS.items()}),
            RejectReason.OUT_OF_BOUNDS,
            "the hiding tensor has L2 norm",
        ),
        (encode(honest()), RejectReason.WRONG_DIGEST, "registered on chain is"),
    ],
    ids=[
        "empty", "cut", "longer", "cut in the header", "a pickle", "a header of 100 MB",
        "a big-endian length", "floats", "a type of other size", "another task", "another owner",
        "a tensor more", "a tensor less", "int64", "big-endian numbers", "other noise",
    ],
)  # fmt: skip
def test_a_file_that_is_not_the_registered_statistics_is_refused(
    tmp_path: Path, data: bytes, reason: RejectReason, what: str
) -> None:
    store = ArtifactStore(tmp_path)
    verdict = judge(
        ME,
        store.put(data),
        store,
        SimpleNamespace(learn=lambda _: None),  # type: ignore[arg-type]
        PARAMETERS,
        submitted=True,
        point_hash=point_hash(commit(digest(TENSORS))),
        member=0,
        round_id=1,
        part=1,
    )
    assert verdict.reason is reason
    assert what in verdict.what
    assert "\n" not in verdict.what
