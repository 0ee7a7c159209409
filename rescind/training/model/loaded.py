"""Whether the adapter in memory is the one that was registered."""

from __future__ import annotations

import hmac

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    HIDING,
    WEIGHT_ONE,
    ConsortiumParameters,
    Totals,
    artifact_id,
    block,
    encode,
    initial,
    materialize,
    owners,
    qualify,
)
from rescind.core.errors import TrainingError
from rescind.training.model.lora import LoraModel


class WrongAdapter(TrainingError):
    """What is in memory is not the registered adapter."""

    code = "wrong-adapter"


def integers_in_memory(
    model: LoraModel,
    adapter: str,
    totals: Totals,
    parameters: ConsortiumParameters,
    owner: str,
) -> dict[str, NDArray[np.int64]]:
    """The block's totals, by bare name, read back from the floats in memory.

    A float32 stands for all integers that it is the nearest float of. Where that of `totals` is one of
    them it is taken; elsewhere the integer at the float itself. A tensor that `totals` leaves out is
    left out as long as it is where it started. Noise for the digest is never in memory.
    """
    expected = block(totals, owner)
    found = model.get(adapter)
    wanted = materialize(expected, parameters.shapes, parameters=parameters, owner=owner)
    if set(found) != set(wanted):
        odd = sorted(set(found) ^ set(wanted))[:3]
        raise WrongAdapter(f"adapter {adapter!r} in memory has not the consortium's tensors: {odd}")
    unit = float(2**parameters.fraction_bits) * WEIGHT_ONE
    result: dict[str, NDArray[np.int64]] = {}
    for name, value in found.items():
        same = value.view(np.uint32) == wanted[name].view(np.uint32)
        if name not in expected and same.all():
            continue
        start = initial(
            parameters.seed, owner, name, value.shape, fraction_bits=parameters.fraction_bits
        ).astype(np.int64)
        exact = np.nan_to_num(value.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0) * unit
        here = np.rint(np.clip(exact, -(2.0**62), 2.0**62)).astype(np.int64) - start * WEIGHT_ONE
        known = expected.get(name, np.zeros(value.shape, dtype=np.int64))
        result[name] = np.where(same, known, np.where(here == known, here + 1, here))
    if HIDING in expected:
        result[HIDING] = expected[HIDING]
    return dict(sorted(result.items()))


def verify_loaded(
    model: LoraModel,
    adapter: str,
    totals: Totals,
    parameters: ConsortiumParameters,
    owner: str,
    registered: str,
) -> str:
    """The id of the adapter artifact with this owner's block as it is in memory; `registered` is its
    artifact id on the chain. Other owners' blocks are taken as `totals` has them.

    Raises WrongAdapter, naming the first tensor that differs, when the two ids are not equal.
    """
    if owner not in owners(totals):
        raise WrongAdapter(f"the registered adapter {registered} has no block of {owner}")
    here = {
        qualify(owner, name): value
        for name, value in integers_in_memory(model, adapter, totals, parameters, owner).items()
    }
    others = {n: value for n, value in totals.items() if not n.startswith(f"{owner}/")}
    found = artifact_id(encode({**others, **here}))
    if hmac.compare_digest(found, registered.removeprefix("0x").lower()):
        return found
    odd = [n for n in sorted(here) if n not in totals or not np.array_equal(here[n], totals[n])]
    where = f"{odd[0]} differs in memory" if odd else "the totals given are of another artifact"
    raise WrongAdapter(
        f"adapter {adapter!r} in memory has id {found}, registered is {registered}: {where}; load "
        "it again from the store"
    )
