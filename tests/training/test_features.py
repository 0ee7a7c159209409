"""Hidden features are computed once, the same for a text whatever other texts there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rescind.core import encode
from rescind.core.errors import StoreError
from rescind.core.features import (
    FeaturesOfAnotherBase,
    HiddenFeatures,
    JoinedFeatures,
    RandomFeatures,
    feature_rows,
)
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import Classes, RowStatistics, check
from rescind.devnet.defaults import BASE_MODEL
from rescind.training import Base, load_base
from rescind.training.features import (
    FeatureStore,
    FeaturesUnfit,
    HiddenRows,
    fitted,
    suited,
)

TEXTS = [
    "Where is my card?",
    "I want a loan, and I want to know what it costs before I sign anything at all.",
    "Is the rate fixed?",
    "My card is lost",
    "",
]


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL, device="cpu")


@pytest.fixture(scope="module")
def features(base: Base) -> HiddenFeatures:
    return HiddenFeatures(
        base_model_id=base.id, width=base.model.config.hidden_size, layers=(1, 3), scale=64
    )


def test_a_row_is_the_mean_state_over_the_tokens_after_the_first(
    base: Base, features: HiddenFeatures
) -> None:
    rows = HiddenRows(base)(features, TEXTS[:1])
    tokens = base.tokenizer("Question: Where is my card?\nAnswer:", return_tensors="pt").input_ids
    states = base.model(input_ids=tokens, output_hidden_states=True).hidden_states
    means = np.concatenate([states[layer][0, 1:].mean(dim=0).numpy() for layer in (1, 3)])
    assert rows[0, 0] == 1
    assert np.array_equal(rows[0, 1:], np.clip(np.rint(means.astype(float) * 64), -127, 127))
    assert len(np.unique(rows)) > 50


def test_the_last_layer_is_read_as_any_other(base: Base, features: HiddenFeatures) -> None:
    last = base.model.config.num_hidden_layers
    rows = HiddenRows(base)(features.model_copy(update={"layers": (0, last)}), TEXTS[:1])
    tokens = base.tokenizer("Question: Where is my card?\nAnswer:", return_tensors="pt").input_ids
    states = base.model(input_ids=tokens, output_hidden_states=True).hidden_states
    means = np.concatenate([states[layer][0, 1:].mean(dim=0).numpy() for layer in (0, last)])
    assert np.array_equal(rows[0, 1:], np.clip(np.rint(means.astype(float) * 64), -127, 127))


def test_a_row_depends_on_no_other_text(base: Base, features: HiddenFeatures) -> None:
    source = HiddenRows(base)
    together = source(features, TEXTS)
    assert np.array_equal(together, np.vstack([source(features, [text]) for text in TEXTS]))
    assert np.array_equal(source(features, TEXTS[::-1]), together[::-1])


def test_padding_in_a_batch_changes_a_number_by_one_unit_at_most(
    base: Base, features: HiddenFeatures
) -> None:
    alone, batched = HiddenRows(base)(features, TEXTS), HiddenRows(base, batch=8)(features, TEXTS)
    assert np.abs(alone - batched).max() <= 1
    assert np.mean(alone != batched) < 0.01


def test_white_space_and_tokens_beyond_the_agreed_number_do_not_count(
    base: Base, features: HiddenFeatures
) -> None:
    source = HiddenRows(base)
    assert np.array_equal(source(features, [" Where is\n my  card? "]), source(features, TEXTS[:1]))
    short = features.model_copy(update={"max_tokens": 8})
    ends = [TEXTS[1], TEXTS[1].replace("sign", "read")]
    assert np.array_equal(*source(short, ends)[:, None])
    assert not np.array_equal(*source(features, ends)[:, None])


def test_a_map_that_the_base_cannot_give_is_refused(base: Base, features: HiddenFeatures) -> None:
    source = HiddenRows(base)
    changes: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"base_model_id": "0" * 64}, FeaturesOfAnotherBase, "Agree on a map of this base"),
        ({"layers": (99,)}, FeaturesUnfit, "layer 99"),
        ({"width": 7}, FeaturesUnfit, "has width 7"),
    ]
    for change, error, message in changes:
        with pytest.raises(error, match=message):
            source(features.model_copy(update=change), TEXTS)


def test_a_fitted_map_spreads_public_texts_around_zero(base: Base) -> None:
    texts = [*TEXTS[:4], "What is the time?", "Who wrote this letter, and when?"]
    fit = fitted(base, (1, 3), texts, spread=20)
    rows = feature_rows(fit, texts, HiddenRows(base))[:, 1:]
    inside = np.abs(rows).max(axis=0) < fit.bound
    assert inside.mean() > 0.9
    assert np.abs(rows[:, inside].mean(axis=0)).max() <= 1
    assert 10 < rows.std(axis=0).mean() < 30
    with pytest.raises(FeaturesUnfit, match="texts that differ"):
        fitted(base, (1,), TEXTS[:1])
    with pytest.raises(FeaturesUnfit, match="layer 99"):
        fitted(base, (99,), texts)


def test_a_map_that_suits_states_centers_them_at_the_agreed_spread() -> None:
    states = np.array([[0.5, 10.0], [1.5, 14.0]])
    features = HiddenFeatures(base_model_id="0" * 64, width=2, layers=(1,))
    fit = suited(features, states, spread=3)
    assert (fit.scale, fit.centers) == (2, (2, 24))
    assert fit.rounded(states).tolist() == [[1, -1, -4], [1, 1, 4]]
    with pytest.raises(FeaturesUnfit, match="texts that differ"):
        suited(features, states[:1])


class Counted:
    """Counts the texts that a source computes."""

    def __init__(self, source: HiddenRows) -> None:
        self._source = source
        self.texts = 0

    def __call__(self, features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
        self.texts += len(texts)
        return self._source(features, texts)


def test_a_store_computes_each_text_once(
    base: Base, features: HiddenFeatures, tmp_path: Path
) -> None:
    source = Counted(HiddenRows(base))
    store = FeatureStore(tmp_path / "private" / "rows.sqlite", source)
    first = store(features, [*TEXTS[:3], TEXTS[0]])
    assert source.texts == 3
    assert np.array_equal(first, source(features, [*TEXTS[:3], TEXTS[0]]))
    source.texts = 0
    assert np.array_equal(store(features, TEXTS)[:3], first[:3])
    assert source.texts == 2
    again = FeatureStore(tmp_path / "private" / "rows.sqlite", None)
    assert np.array_equal(again(features, TEXTS[:3]), first[:3])
    assert again(features, []).shape == (0, features.dimensions)
    # A map with another scale has other rows.
    with pytest.raises(FeaturesUnfit, match="no row of 1 texts"):
        again(features.model_copy(update={"scale": 32}), TEXTS[:1])


def test_rows_of_a_person_who_left_are_deleted(
    base: Base, features: HiddenFeatures, tmp_path: Path
) -> None:
    path = tmp_path / "rows.sqlite"
    store = FeatureStore(path, HiddenRows(base))
    joined = JoinedFeatures(parts=(NgramFeatures(buckets=8), features))
    rows = store(features, TEXTS)
    store.keep([(joined, TEXTS[1:])])
    left = FeatureStore(path, None)
    assert np.array_equal(left(features, TEXTS[1:]), rows[1:])
    with pytest.raises(FeaturesUnfit):
        left(features, TEXTS[:1])
    assert rows[0].astype("<i2").tobytes() not in path.read_bytes()


def test_a_damaged_store_is_one_clear_error(features: HiddenFeatures, tmp_path: Path) -> None:
    path = tmp_path / "rows.sqlite"
    path.write_bytes(b"this is not a database, and long enough to be read as one" * 20)
    with pytest.raises(StoreError, match="Delete the file"):
        FeatureStore(path, None)


def test_statistics_without_a_person_are_the_bytes_of_a_run_without_them(
    base: Base, features: HiddenFeatures, tmp_path: Path
) -> None:
    source = FeatureStore(tmp_path / "rows.sqlite", HiddenRows(base))
    map_ = JoinedFeatures(
        parts=(NgramFeatures(buckets=31), features, RandomFeatures(source=features, count=16)),
        factors=(8, 1, 1),
    )
    classes = Classes(features=map_, labels=("card", "loan"), max_rows=100)
    labels = ["card", "loan", "loan", "card", "card"]

    def collected(texts: Sequence[str], labels: Sequence[str]) -> RowStatistics:
        return classes.collect(texts, labels, feature_rows(map_, texts, source))

    whole = collected(TEXTS, labels)
    check(whole, classes)
    rest = whole.without(collected(TEXTS[:2], labels[:2]))
    # A run that never had the first two rows computes the others by itself.
    never = classes.collect(TEXTS[2:], labels[2:], feature_rows(map_, TEXTS[2:], HiddenRows(base)))
    assert encode(rest.tensors()) == encode(never.tensors())
