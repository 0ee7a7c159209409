"""The noise that hides the node's contributions in their digests.

It follows from the node's key and from what it hides, as the nonce of a deterministic signature does
(RFC 6979): no two contributions share it, no one without the key can tell it from fresh noise, and a
run that is repeated with the same keys has the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import encoded_id, hiding_block
from rescind.node.session import Session

_PERSON = b"rescind.hiding/1"
"""Sets these hashes apart from every other use of the key."""


def hiding_noise(
    session: Session, tensors: Mapping[str, Any], round_id: int, offer_id: int | None
) -> NDArray[np.int32]:
    """Return the noise for a contribution.

    Args:
        session: The node's session.
        tensors: Everything of the contribution's part but the noise.
        round_id: The round.
        offer_id: The withdrawal or replay that it is offered for; None for the round itself. The
            same delta has another point in each.
    """
    offer = "" if offer_id is None else offer_id
    place = f"{round_id}|{offer}|{encoded_id(tensors)}".encode()
    key = session.account.key
    return hiding_block(hashlib.blake2b(place, digest_size=32, key=key, person=_PERSON).digest())
