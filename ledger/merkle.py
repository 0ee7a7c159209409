"""RFC 9162 Merkle trees (section 2.1): leaf and node prefixes, never a duplicated node.

Trees are given as the hashes of their complete, aligned subtrees: `subtree(level, place)` covers
the leaves place * 2^level up to (place + 1) * 2^level. A root or a proof reads O(log n) hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

Subtree = Callable[[int, int], bytes]
"""Returns the hash of the complete subtree at a level and index."""

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node from those of its children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtrees_of(leaves: Sequence[bytes]) -> Subtree:
    """Return the subtree function of leaf hashes in memory."""

    def subtree(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return node_hash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1))

    return subtree


class Frontier:
    """The right edge of a growing tree.

    Attributes:
        size: The number of leaves.
        peaks: The hashes of the largest complete subtrees, by level.
    """

    def __init__(self, size: int = 0) -> None:
        self.size, self.peaks = size, dict[int, bytes]()

    def wanted(self) -> Iterator[tuple[int, int]]:
        """Yield level and index of each peak of a tree of this size."""
        for level in range(self.size.bit_length()):
            if self.size >> level & 1:
                yield level, (self.size >> level) - 1

    def add(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash; return level, index and hash of each subtree that it completes."""
        level, index, subtree_hash = 0, self.size, leaf
        completed = [(level, index, subtree_hash)]
        while index & 1:
            subtree_hash = node_hash(self.peaks.pop(level), subtree_hash)
            level, index = level + 1, index >> 1
            completed.append((level, index, subtree_hash))
        self.peaks[level] = subtree_hash
        self.size += 1
        return completed

    def root(self) -> bytes:
        """Return the root."""
        joined = b""
        for level in sorted(self.peaks):
            joined = node_hash(self.peaks[level], joined) if joined else self.peaks[level]
        return joined or EMPTY_ROOT


def root(size: int, subtree: Subtree) -> bytes:
    """Return the root of the first `size` leaves."""
    return EMPTY_ROOT if size == 0 else _range_hash(0, size, subtree)


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that a leaf is in the tree (section 2.1.3.1); raise ValueError if not."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_hash(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_hash(start, middle, subtree))
            start = middle
    return proof[::-1]


def consistency_proof(first: int, second: int, subtree: Subtree) -> list[bytes]:
    """Return the proof that the first tree is a prefix of the second (section 2.1.4.1).

    Raises:
        ValueError: Not 0 < first <= second.
    """
    if not 0 < first <= second:
        raise ValueError(f"there is no consistency proof from size {first} to size {second}")
    proof: list[bytes] = []
    start, end, verifier_knows = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            proof.append(_range_hash(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_hash(start, middle, subtree))
            start, verifier_knows = middle, False
    if not verifier_knows:
        proof.append(_range_hash(start, end, subtree))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> bool:
    """Return whether a proof shows a leaf in the tree with a root (section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and computed == expected_root


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> bool:
    """Return whether a proof shows one tree to be a prefix of another (section 2.1.4.2)."""
    if not 0 < first <= second:
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """Return the largest power of two smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def _range_hash(start: int, end: int, subtree: Subtree) -> bytes:
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return subtree(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range_hash(start, middle, subtree), _range_hash(middle, end, subtree))
