"""Answer positions of pairs, as the frozen base model reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import clock
from rescind.training import Base, Example

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_ARRAYS = ("logs", "rest", "rest_top", "next", "rest_right", "pair")


@dataclass(frozen=True)
class Positions:
    """States and log-probabilities of the base model at answer positions.

    Attributes:
        states: By layer, (positions, width).
        logs: Log-probabilities of the agreed tokens, (positions, tokens).
        rest: The log-probability of all other tokens together, (positions,).
        rest_top: The largest log-probability of one of them.
        next: The place of the next token among the agreed ones, -1 if it is another.
        rest_right: Whether the next token is the likeliest of the others.
        pair: The number of the pair that each position belongs to.
    """

    states: Mapping[int, Floats]
    logs: Floats
    rest: Floats
    rest_top: Floats
    next: Integers
    rest_right: NDArray[np.bool_]
    pair: Integers

    def __len__(self) -> int:
        return len(self.next)


def kept_read(
    folder: Path,
    base: Base,
    layers: Sequence[int],
    tokens: Sequence[int],
    examples: Sequence[Example],
    max_length: int,
) -> tuple[Positions, float]:
    """Return what `read` does and the seconds of it, from a file if the same was read before."""
    whole = (base.id, base.text, layers, tokens, examples, max_length)
    path = folder / f"{hashlib.sha256(repr(whole).encode()).hexdigest()[:32]}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        began = clock()
        made = read(base, layers, tokens, examples, max_length)
        seconds = clock() - began
        arrays = {name: getattr(made, name) for name in _ARRAYS}
        arrays |= {f"layer {layer}": states for layer, states in made.states.items()}
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, seconds=seconds, **arrays)
        partial.rename(path)
    with np.load(path) as held:
        states = {layer: held[f"layer {layer}"] for layer in layers}
        positions = Positions(states, *(held[name] for name in _ARRAYS))
        return positions, float(held["seconds"])


@torch.inference_mode()
def read(
    base: Base,
    layers: Sequence[int],
    tokens: Sequence[int],
    examples: Sequence[Example],
    max_length: int,
) -> Positions:
    """Read pairs with the base model, each alone, so that no other pair changes its floats."""
    parts = []
    for number, example in enumerate(examples):
        row = base.encoder.within(example, max_length)
        output = base.model(
            input_ids=torch.tensor([row.tokens]), output_hidden_states=True, use_cache=False
        )
        first = row.prompt_length - 1
        parts.append(
            of_output(
                output, 0, slice(first, -1), row.tokens[first + 1 :], layers, tokens, pair=number
            )
        )
    return joined(parts)


def of_output(
    output: Any,
    line: int,
    places: slice,
    following: Sequence[int],
    layers: Sequence[int],
    tokens: Sequence[int],
    *,
    pair: int,
) -> Positions:
    """Return the positions of one row of a forward pass with hidden states."""
    logs = output.logits[line, places].double().log_softmax(-1).numpy()
    kept = np.zeros(logs.shape[1], dtype=bool)
    kept[list(tokens)] = True
    numbers = {token: place for place, token in enumerate(tokens)}
    others = np.where(kept, -np.inf, logs)
    wanted = np.array(following)
    with np.errstate(divide="ignore"):
        rest = np.log(np.exp(others).sum(axis=1))
    return Positions(
        {layer: output.hidden_states[layer][line, places].double().numpy() for layer in layers},
        logs[:, list(tokens)],
        rest,
        others.max(axis=1),
        np.array([numbers.get(token, -1) for token in following], dtype=np.int64),
        (others.argmax(axis=1) == wanted) & np.isfinite(others.max(axis=1)),
        np.full(len(wanted), pair, dtype=np.int64),
    )


def joined(parts: Sequence[Positions]) -> Positions:
    """Return the positions of several, in order."""
    layers = parts[0].states
    return Positions(
        {layer: np.concatenate([part.states[layer] for part in parts]) for layer in layers},
        *(np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS),
    )


def layers_of(base: Base) -> tuple[int, ...]:
    """Return three layers: a third and two thirds of the way up, and what the base's head reads."""
    last = int(base.model.config.num_hidden_layers)
    return tuple(sorted({max(1, last // 3), max(1, 2 * last // 3), last}))


def places(positions: Positions, kept: NDArray[Any]) -> Positions:
    """Return some of the positions, by a mask."""
    return Positions(
        {layer: states[kept] for layer, states in positions.states.items()},
        *(getattr(positions, name)[kept] for name in _ARRAYS),
    )
