"""What a round was trained on: one root over salted commitments to its samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ledger.merkle import leaf_hash, root, subtrees_of


def manifest_root(samples: Iterable[bytes], salt: bytes) -> bytes:
    """Root of the sorted Merkle tree over SHA-256(salt || sample); the salt stays in the ledger."""
    leaves = sorted(leaf_hash(hashlib.sha256(salt + sample).digest()) for sample in samples)
    return root(len(leaves), subtrees_of(leaves))
