"""Checks that the adapter in memory is the registered one.

Research: no daemon uses this yet.
"""

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
    """The adapter in memory is not the registered one."""

    code = "wrong-adapter"


def integers_in_memory(
    model: LoraModel,
    adapter: str,
    totals: Totals,
    parameters: ConsortiumParameters,
    owner: str,
) -> dict[str, NDArray[np.int64]]:
    """Return a block's totals, by bare name, read back from the floats in memory.

    A float32 stands for every integer that it is the nearest float of. Where the integer of
    `totals` is one of them, that one is returned; elsewhere, the integer at the float itself. A
    tensor that `totals` leaves out is left out here too, as long as it is unchanged from its start.
    Noise for the digest is never in memory.

    Raises:
        WrongAdapter: The adapter has not the consortium's tensors.
    """
    expected = block(totals, owner)
    in_memory = model.get(adapter)
    wanted = materialize(expected, parameters.shapes, parameters=parameters, owner=owner)
    if set(in_memory) != set(wanted):
        different = sorted(set(in_memory) ^ set(wanted))[:3]
        raise WrongAdapter(
            f"Adapter {adapter!r} in memory differs from the consortium's tensors at {different}. "
            "Load it again from the store."
        )
    unit = float(2**parameters.fraction_bits) * WEIGHT_ONE
    result: dict[str, NDArray[np.int64]] = {}
    for name, value in in_memory.items():
        same = value.view(np.uint32) == wanted[name].view(np.uint32)
        if name not in expected and same.all():
            continue
        start = initial(
            parameters.seed, owner, name, value.shape, fraction_bits=parameters.fraction_bits
        ).astype(np.int64)
        exact = np.nan_to_num(value.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0) * unit
        loaded = np.rint(np.clip(exact, -(2.0**62), 2.0**62)).astype(np.int64) - start * WEIGHT_ONE
        expected_value = expected.get(name, np.zeros(value.shape, dtype=np.int64))
        result[name] = np.where(
            same, expected_value, np.where(loaded == expected_value, loaded + 1, loaded)
        )
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
    """Check one owner's block in memory against the registered adapter, and return its artifact id.

    Other owners' blocks are taken as `totals` has them.

    Args:
        model: The model that holds the adapter.
        adapter: The adapter's name in the model.
        totals: The registered adapter.
        parameters: What the consortium agreed on.
        owner: The block's owner.
        registered: The artifact id on the chain.

    Raises:
        WrongAdapter: The two ids differ. The message names the first tensor that differs.
    """
    if owner not in owners(totals):
        raise WrongAdapter(f"The registered adapter {registered} has no block of {owner}.")
    loaded = {
        qualify(owner, name): value
        for name, value in integers_in_memory(model, adapter, totals, parameters, owner).items()
    }
    others = {n: value for n, value in totals.items() if not n.startswith(f"{owner}/")}
    own_id = artifact_id(encode({**others, **loaded}))
    if hmac.compare_digest(own_id, registered.removeprefix("0x").lower()):
        return own_id
    different = [
        n for n in sorted(loaded) if n not in totals or not np.array_equal(loaded[n], totals[n])
    ]
    where = (
        f"{different[0]} differs in memory"
        if different
        else "the given totals are of another artifact"
    )
    raise WrongAdapter(
        f"Adapter {adapter!r} in memory has id {own_id}, and {registered} is registered: {where}. "
        "Load it again from the store."
    )
