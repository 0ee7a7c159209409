"""The feature maps that the sums are measured with, and their rows, each computed once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rescind.core.features import (
    Features,
    HiddenFeatures,
    JoinedFeatures,
    RandomFeatures,
    feature_rows,
)
from rescind.core.ngrams import NgramFeatures
from rescind.training import Base, load_base
from rescind.training.features import FeatureStore, HiddenRows, fitted

_PUBLIC = 200
"""Questions of GSM8K that maps are fitted to. No task asks them."""
_DEPTH = 0.2
"""The share of the layers below the one that is read."""


class Maps:
    """Feature maps of one base model.

    Args:
        reference: The base model.
        data: The folder of the data sets.
        cache: The file that keeps rows of hidden features.
    """

    def __init__(self, reference: str, data: Path, cache: Path) -> None:
        self._reference = reference
        self._data = data
        self._cache = cache
        self._fitted: dict[int, HiddenFeatures] = {}

    @cached_property
    def base(self) -> Base:
        return load_base(self._reference, device="cpu", dtype="float32")

    def hidden(self, depth: float) -> HiddenFeatures:
        """Return mean hidden states at a share of the layers, fitted to public questions."""
        layer = round(self.base.model.config.num_hidden_layers * depth)
        if layer not in self._fitted:
            path = self._data / "gsm8k" / "train.jsonl"
            lines = path.read_text(encoding="utf-8").splitlines()[:_PUBLIC]
            texts = [json.loads(line)["question"] for line in lines]
            self._fitted[layer] = fitted(self.base, (layer,), texts)
        return self._fitted[layer]

    def rows(self, features: Features, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the features of texts, hidden ones from the cache where they are there."""
        return feature_rows(features, texts, self._source)

    def fresh(self, features: Features, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the features of texts without the cache."""
        return feature_rows(features, texts, lambda *given: HiddenRows(self.base)(*given))

    @cached_property
    def _source(self) -> FeatureStore:
        return FeatureStore(self._cache, lambda *given: HiddenRows(self.base)(*given))


MAPS: Mapping[str, Callable[[Maps], Features]] = {
    "n-grams": lambda maps: NgramFeatures(),  # noqa: ARG005
    "embeddings": lambda maps: maps.hidden(0),
    "hidden": lambda maps: maps.hidden(_DEPTH),
    "random": lambda maps: RandomFeatures(source=maps.hidden(0), count=2047, shift=4),
    "joined": lambda maps: JoinedFeatures(parts=(NgramFeatures(), maps.hidden(0)), factors=(8, 1)),
}
"""`embeddings` are means of the embeddings of tokens, which no layer has changed; `random` is a ReLU of
projections of them, and `joined` has them beside n-grams."""
