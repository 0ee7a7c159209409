"""Hidden features, computed with the base model, and kept so that statistics stay exact.

The last bits of a float depend on the machine, the library and the rows that share a batch. The mean
states here are off by about 1e-6 of their size, so that a value that lies this close to a tie may
round either way: on another machine a row may differ by one unit in one number of a hundred rows or
so. Nothing that must be exact depends on it:

- An organization's statistics are sums of the integer rows that it computed once. `FeatureStore`
  keeps them beside its data, so that its statistics without a person are sums of the same rows, and
  cost no forward pass.
- Sums, heads, digests and certificates are of integers from there on.
- A server computes the row of a question by itself. One unit in one number moves a score by one
  weight of the head.

Each text goes through the model alone unless `batch` says otherwise: then a row does not depend on
which other texts there are, and two runs on one machine give the same integers. On a CPU batches are
hardly faster; on a GPU they are. Padding is on the right, where a causal model does not see it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import TextParameters, make_private_folder
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import StoreError, TrainingError
from rescind.core.features import (
    Features,
    HiddenFeatures,
    HiddenSource,
    check_base,
    hidden_maps,
)
from rescind.core.sqlite import prepare_sqlite
from rescind.training.model.base import Base


class FeaturesUnfit(TrainingError):
    """A feature map asks for layers or a width that the base model does not have."""

    code = "features-unfit"


class HiddenRows:
    """Computes the rows of `HiddenFeatures` with a base model.

    Args:
        base: The base model.
        batch: The texts in one forward pass.
    """

    def __init__(self, base: Base, *, batch: int = 1) -> None:
        self._base = base.reading(TextParameters())
        self._batch = batch

    def __call__(self, features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of texts, (texts, dimensions).

        Raises:
            FeaturesOfAnotherBase: The map is of another base model.
            FeaturesUnfit: The base model has no such layers, or states of another width.
            DataError: A state is not a number.
        """
        return features.rounded(self.means(features, texts))

    @torch.inference_mode()
    def means(self, features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the mean states themselves, (texts, dimensions - 1).

        Raises:
            FeaturesOfAnotherBase: The map is of another base model.
            FeaturesUnfit: The base model has no such layers, or states of another width.
        """
        check_base(features, self._base.id)
        means = np.zeros((len(texts), features.dimensions - 1))
        prompts = [self._base.encoder.prompt(" ".join(text.split())).tokens for text in texts]
        rows = [tokens[: features.max_tokens] for tokens in prompts]
        # Texts of like length share a batch, so that little of it is padding.
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        for start in range(0, len(order), self._batch):
            indices = order[start : start + self._batch]
            means[indices] = self._mean(features, [rows[index] for index in indices])
        return means

    def _mean(self, features: HiddenFeatures, rows: Sequence[Sequence[int]]) -> NDArray[np.float64]:
        longest = max(len(row) for row in rows)
        tokens = torch.full((len(rows), longest), self._base.eos, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for line, row in enumerate(rows):
            tokens[line, : len(row)] = torch.tensor(row)
            mask[line, : len(row)] = 1
        states = self._states(features, tokens.to(self._base.device), mask.to(self._base.device))
        layers = [states[layer].double().cpu().numpy() for layer in features.layers]
        # The first token attends to itself alone: its state is large and nearly constant.
        return np.stack(
            [
                np.concatenate([layer[line, 1 : len(row)].mean(axis=0) for layer in layers])
                for line, row in enumerate(rows)
            ]
        )

    def _states(
        self, features: HiddenFeatures, tokens: torch.Tensor, mask: torch.Tensor
    ) -> Mapping[int, torch.Tensor]:
        """Return the hidden states of the agreed layers, each (texts, tokens, width)."""
        network: Any = self._base.model
        # Without the head over the vocabulary, whose logits are the largest tensor of a pass.
        body = getattr(network, network.base_model_prefix, network)
        given = {"input_ids": tokens, "attention_mask": mask, "use_cache": False}
        last = int(network.config.num_hidden_layers)
        if features.layers[-1] > last:
            raise FeaturesUnfit(
                f"The base model has hidden states 0 to {last}, and the agreed feature map reads "
                f"layer {features.layers[-1]}. Agree on a map with the model's layers."
            )
        stack = _stack(body, last)
        if stack is None or features.layers[-1] == last:
            states = dict(enumerate(body(**given, output_hidden_states=True).hidden_states))
        else:
            states = _inputs(body, given, {layer: stack[layer] for layer in features.layers})
        width = states[features.layers[0]].shape[-1]
        if width != features.width:
            raise FeaturesUnfit(
                f"The base model's hidden states have {width} numbers, and the agreed feature map "
                f"has width {features.width}. Agree on a map with width {width}."
            )
        return states


class _EnoughError(Exception):
    """Ends a forward pass whose remaining layers are not needed."""


def _stack(body: Any, layers: int) -> Sequence[Any] | None:
    """Return the layers of a model; None if it is not clear which modules they are."""
    stacks = [
        child
        for child in body.children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == layers
    ]
    return list(stacks[0]) if len(stacks) == 1 else None


def _inputs(
    body: Any, given: Mapping[str, Any], modules: Mapping[int, Any]
) -> dict[int, torch.Tensor]:
    """Return the inputs of modules by number; the pass ends at the last of them."""
    seen: dict[int, torch.Tensor] = {}

    def keep(number: int) -> Callable[..., None]:
        def hook(_: Any, inputs: tuple[torch.Tensor, ...], named: Mapping[str, Any]) -> None:
            seen[number] = inputs[0] if inputs else named["hidden_states"]
            if len(seen) == len(modules):
                raise _EnoughError

        return hook

    with ExitStack() as hooks:
        for number, module in modules.items():
            hooks.callback(module.register_forward_pre_hook(keep(number), with_kwargs=True).remove)
        with suppress(_EnoughError):
            body(**given)
    return seen


class FeatureStore:
    """Rows of hidden features that were computed once, in a file beside an organization's data.

    A row is found by its text and map, so the file can be deleted at any time, at the price of
    computing again. Rows are as private as the texts.

    Args:
        path: The SQLite file; it is created if it is missing.
        source: Computes what is not in the file; None if nothing else is to be computed.
    """

    def __init__(self, path: Path, source: HiddenSource | None) -> None:
        self._path = path
        self._source = source
        make_private_folder(path.parent)
        with self._connected() as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
            )

    def __call__(self, features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of texts, (texts, dimensions).

        Raises:
            FeaturesUnfit: The source was left out, and a row is missing.
            StoreError: The file is damaged.
        """
        keys = [_key(features, text) for text in texts]
        with self._connected() as connection:
            held = {key: self._read(connection, features, key) for key in dict.fromkeys(keys)}
        missing = [number for number, key in enumerate(keys) if held[key] is None]
        missing = list({keys[number]: number for number in reversed(missing)}.values())[::-1]
        if missing:
            self._compute(features, [(keys[number], texts[number]) for number in missing], held)
        rows = [row for key in keys if (row := held[key]) is not None]
        return np.stack(rows) if rows else np.ones((0, features.dimensions), dtype=np.int64)

    def keep(self, kept: Iterable[tuple[Features, Sequence[str]]]) -> None:
        """Delete every row that is not of some texts and the maps of hidden states in their map."""
        wanted = {
            _key(each, text)
            for features, texts in kept
            for each in hidden_maps(features)
            for text in texts
        }
        with self._connected() as connection:
            held = [key for (key,) in connection.execute("SELECT key FROM rows")]
            unwanted = [(key,) for key in held if key not in wanted]
            connection.executemany("DELETE FROM rows WHERE key = ?", unwanted)

    def _compute(
        self,
        features: HiddenFeatures,
        missing: Sequence[tuple[bytes, str]],
        held: dict[bytes, NDArray[np.int64] | None],
    ) -> None:
        if self._source is None:
            raise FeaturesUnfit(
                f"{self._path} has no row of {len(missing)} texts, and the base model that "
                "computes them was not loaded here."
            )
        rows = self._source(features, [text for _, text in missing])
        pairs = [(key, row) for (key, _), row in zip(missing, rows, strict=True)]
        with self._connected() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO rows VALUES (?, ?)",
                [(key, row.astype("<i2").tobytes()) for key, row in pairs],
            )
        held.update(pairs)

    def _read(
        self, connection: sqlite3.Connection, features: HiddenFeatures, key: bytes
    ) -> NDArray[np.int64] | None:
        row = connection.execute("SELECT row FROM rows WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if len(row[0]) != 2 * features.dimensions:
            raise StoreError(
                f"{self._path} holds a damaged row of features. Delete the file: its rows are "
                "computed again."
            )
        return np.frombuffer(row[0], dtype="<i2").astype(np.int64)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path)) as connection:
                prepare_sqlite(connection, self._path, StoreError)
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"{self._path} cannot be used ({error}). Delete the file: its rows are computed "
                "again."
            ) from error


def _key(features: HiddenFeatures, text: str) -> bytes:
    named = canonical_json(features.model_dump(mode="json"))
    hashed = hashlib.blake2b(named, digest_size=32, person=b"rescind.feature")
    hashed.update(text.encode("utf-8", "surrogatepass"))
    return hashed.digest()


def fitted(
    base: Base,
    layers: Sequence[int],
    texts: Sequence[str],
    *,
    spread: int = 16,
    bound: int = 127,
    max_tokens: int = 256,
) -> HiddenFeatures:
    """Return a map of hidden states whose scale and centers suit public texts.

    Members agree on the numbers of the map that this returns; they do not compute them again.

    Args:
        base: The base model.
        layers: After which layers, in ascending order.
        texts: Public texts, two or more, such as the founder's examples. No private text belongs
            here.
        spread: The standard deviation of a number over the texts, in units, on the average.
        bound: The largest absolute value.
        max_tokens: The tokens of a text that are read.

    Raises:
        FeaturesUnfit: The base model has no such layers, or all texts have the same states.
    """
    features = HiddenFeatures(
        base_model_id=base.id,
        width=int(base.model.get_input_embeddings().weight.shape[1]),
        layers=tuple(layers),
        bound=bound,
        max_tokens=max_tokens,
    )
    return suited(features, HiddenRows(base).means(features, texts), spread=spread)


def suited(
    features: HiddenFeatures, states: NDArray[np.float64], *, spread: int = 16
) -> HiddenFeatures:
    """Return a map with a scale and centers that suit states of public texts.

    Args:
        features: The map.
        states: States as the map reads them, two rows or more, (rows, dimensions - 1).
        spread: The standard deviation of a number over the rows, in units, on the average.

    Raises:
        FeaturesUnfit: All rows are the same.
    """
    deviation = float(states.std(axis=0).mean())
    if not deviation > 0:
        raise FeaturesUnfit("The texts have the same hidden states. Pass texts that differ.")
    scale = min(max(1, round(spread / deviation)), 2**20)
    centers = tuple(int(value) for value in np.rint(states.mean(axis=0) * scale))
    return HiddenFeatures.model_validate(
        {**features.model_dump(), "scale": scale, "centers": centers}
    )
