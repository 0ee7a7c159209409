"""Hashed n-grams are the same integers everywhere."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rescind.core.ngrams import NgramFeatures


def test_the_features_of_a_text_are_pinned() -> None:
    rows = NgramFeatures().of(["Where is my card?", "Où est ma carte?", ""])
    assert rows.shape == (3, 2048)
    assert rows.dtype == np.int64
    assert [int(np.abs(row).sum()) for row in rows] == [26, 25, 1]
    data = rows.astype("<i8").tobytes()
    assert hashlib.sha256(data).hexdigest() == (
        "392366d3a9c207bf04feee03820a5a563050adfbfdfd4f4a93f69ca12305a06b"
    )


@given(st.text(max_size=60))
def test_features_are_minus_one_zero_or_one_and_begin_with_a_one(text: str) -> None:
    row = NgramFeatures(buckets=8).of([text])[0]
    assert row[0] == 1
    assert set(row.tolist()) <= {-1, 0, 1}


def test_case_spaces_and_forms_of_unicode_do_not_matter() -> None:
    features = NgramFeatures()
    first, second, third = features.of(["Café  au\tlait", "cafe\u0301 AU lait", "cafe au lait"])
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


@pytest.mark.parametrize(
    "changed",
    [
        {"buckets": 7},
        {"words": (), "characters": ()},
        {"words": (2, 1)},
        {"words": (1, 1)},
        {"characters": (9,)},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        NgramFeatures.model_validate(changed)
