"""A set of 256-bit keys as a sparse Merkle tree, in which one root has one answer for each key.

A key's first 32 hexadecimal digits are its path from the root, always that long, and its leaf binds
all 64. A node commits to which of its 16 children hold keys and to their hashes; a subtree without
keys has no hash and takes no space.

    leaf = SHA-256(0x00 || key)
    node = SHA-256(0x01 || depth, 1 byte || bitmap, 2 bytes || hashes of the children in the bitmap)
    root = SHA-256(0x02) if there are no keys

Bit d of the bitmap, from the lowest, is set if child d holds keys. A proof that a key is in the set
shows the path to its leaf. A proof that it is not shows the path to the first node whose bitmap
lacks the key's digit. Both for one key would need two nodes with one hash. Unlike in a sorted list,
nothing depends on how the owner arranged the keys: a key has one position.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rescind.ledger.vrf import ProofInvalid

KEY_BYTES = 32
DEPTH = 32
"""Nodes on the path to a leaf, one for each hexadecimal digit: 128 bits. Keys are outputs of hash
functions, so that two of them share a path with probability 2^-128."""
EMPTY_ROOT = hashlib.sha256(b"\x02").digest()
"""The root of a tree without keys."""
_DIGITS = "0123456789abcdef"
_ONE_CHILD = [
    {d: bytes([1, depth]) + (1 << number).to_bytes(2, "big") for number, d in enumerate(_DIGITS)}
    for depth in range(DEPTH)
]
"""The bytes before the hash of a child without siblings, by depth and the child's digit."""


@dataclass(frozen=True)
class Fork:
    """A node on a path that has other children than the one that the path goes to.

    Attributes:
        depth: Its distance from the root.
        siblings: The hashes of the other children, by digit.
    """

    depth: int
    siblings: Mapping[int, bytes]


@dataclass(frozen=True)
class PathProof:
    """A proof that a key is in a tree, or is not.

    Attributes:
        forks: The nodes of the path that have siblings, from the root down. Every other node of the
            path has one child. In a proof that the key is not in the tree the last fork is where its
            path ends: its siblings are all the children that there are.
        inside: Whether the key is in the tree.
    """

    forks: tuple[Fork, ...]
    inside: bool

    def root(self, key: bytes) -> bytes:
        """Return the root that the proof leads to for a key.

        Raises:
            ProofInvalid: No tree has such a proof.
        """
        if len(key) != KEY_BYTES:
            raise ProofInvalid(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        digits, forks = key.hex(), {fork.depth: fork.siblings for fork in self.forks}
        if self.inside:
            end, hashed = DEPTH, _leaf(key)
        elif not forks:
            return EMPTY_ROOT
        else:
            end = max(forks)
            hashed = _node(end, forks.pop(end))
        for depth in range(end - 1, -1, -1):
            digit = digits[depth]
            if depth in forks:
                hashed = _node(depth, {**forks[depth], int(digit, 16): hashed})
            else:
                hashed = hashlib.sha256(_ONE_CHILD[depth][digit] + hashed).digest()
        return hashed

    def check(self, key: bytes) -> None:
        """Check that the proof has the one form that a proof for this key can have.

        Raises:
            ProofInvalid: It has not.
        """
        depths = [fork.depth for fork in self.forks]
        if depths != sorted(set(depths)) or not all(0 <= depth < DEPTH for depth in depths):
            raise ProofInvalid("the forks of a path are not in order from the root down")
        for fork in self.forks:
            digit = int(key.hex()[fork.depth], 16)
            if not fork.siblings or digit in fork.siblings:
                raise ProofInvalid(f"fork {fork.depth} lists no siblings, or the path itself")
            if any(not 0 <= each < 16 for each in fork.siblings):
                raise ProofInvalid(f"fork {fork.depth} lists a child that a node cannot have")
            if any(len(each) != KEY_BYTES for each in fork.siblings.values()):
                raise ProofInvalid(f"fork {fork.depth} lists a hash that has not 32 bytes")

    def to_json(self) -> dict[str, Any]:
        """Return the proof as a JSON object."""
        forks = [
            {
                "depth": fork.depth,
                "siblings": {
                    _DIGITS[digit]: fork.siblings[digit].hex() for digit in sorted(fork.siblings)
                },
            }
            for fork in self.forks
        ]
        return {"inside": self.inside, "forks": forks}

    @classmethod
    def from_json(cls, document: Any) -> PathProof:
        """Read what `to_json` returned; raise ValueError, KeyError or TypeError for anything else."""
        if set(document) != {"inside", "forks"} or not isinstance(document["inside"], bool):
            raise ValueError("a path has the fields 'inside', true or false, and 'forks'")
        if not isinstance(document["forks"], list) or len(document["forks"]) > DEPTH:
            raise ValueError(f"a path has a list of at most {DEPTH} forks")
        return cls(tuple(_fork(each) for each in document["forks"]), document["inside"])


def _fork(document: Any) -> Fork:
    depth, siblings = document["depth"], document["siblings"]
    if set(document) != {"depth", "siblings"} or type(depth) is not int:
        raise ValueError("a fork has the fields 'depth', a whole number, and 'siblings'")
    if not isinstance(siblings, dict) or not all(
        len(digit) == 1 and digit in _DIGITS for digit in siblings
    ):
        raise ValueError("the siblings of a fork are an object of hashes by hexadecimal digit")
    if not all(_is_hash(text) for text in siblings.values()):
        raise ValueError("a hash of a fork is not 64 lower-case hexadecimal digits")
    return Fork(depth, {int(digit, 16): bytes.fromhex(text) for digit, text in siblings.items()})


def _is_hash(text: object) -> bool:
    return isinstance(text, str) and len(text) == 2 * KEY_BYTES and set(text) <= set(_DIGITS)


class SparseTree:
    """A tree with all its keys, to make proofs from.

    Args:
        keys: 32 bytes each; the order does not matter and a repeated key counts once.

    Raises:
        ProofInvalid: Two keys share a path.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = sorted(set(keys))
        self._paths = [key.hex()[:DEPTH] for key in self.keys]
        if len(set(self._paths)) != len(self._paths):
            raise ProofInvalid("two keys of a tree have the same first 16 bytes")
        self._forks: dict[str, dict[int, bytes]] = {}
        self.root = self._subtree(0, len(self.keys), 0) if self.keys else EMPTY_ROOT

    def _subtree(self, low: int, high: int, depth: int) -> bytes:
        """Hash the subtree of the keys from `low` to before `high`, which agree up to `depth`."""
        if high - low == 1:
            return self._chain(low, depth)
        children: dict[int, bytes] = {}
        start = low
        while start < high:
            digit = self._paths[start][depth]
            end = self._end(start, high, depth)
            children[int(digit, 16)] = self._subtree(start, end, depth + 1)
            start = end
        self._forks[self._paths[low][:depth]] = children
        return _node(depth, children)

    def _end(self, start: int, high: int, depth: int) -> int:
        """Return where the keys end that have the same digit at `depth` as key `start`."""
        digit = self._paths[start][depth]
        first, last = start, high
        while last - first > 1:
            middle = (first + last) // 2
            if self._paths[middle][depth] == digit:
                first = middle
            else:
                last = middle
        return last

    def _chain(self, place: int, depth: int) -> bytes:
        """Hash the subtree at `depth` that holds one key alone."""
        # This loop takes nearly all of the time of building a tree: one hash for each level.
        hashed, sha256 = _leaf(self.keys[place]), hashlib.sha256
        steps = zip(_ONE_CHILD[depth:], self._paths[place][depth:], strict=True)
        for before, digit in reversed(list(steps)):
            hashed = sha256(before[digit] + hashed).digest()
        return hashed

    def prove(self, key: bytes) -> PathProof:
        """Prove that a key is in the tree, or that it is not."""
        path, forks = key.hex()[:DEPTH], list[Fork]()
        for depth in range(DEPTH):
            children = self._children(path, depth)
            digit = int(path[depth], 16)
            siblings = {each: hashed for each, hashed in children.items() if each != digit}
            if siblings:
                forks.append(Fork(depth, siblings))
            if digit not in children:
                return PathProof(tuple(forks), inside=False)
        return PathProof(tuple(forks), inside=True)

    def _children(self, path: str, depth: int) -> Mapping[int, bytes]:
        """Return the children of the node at `depth` on a path, on which keys lie."""
        children = self._forks.get(path[:depth])
        if children is not None or not self.keys:
            return children or {}
        alone = bisect_left(self._paths, path[:depth])
        return {int(self._paths[alone][depth], 16): self._chain(alone, depth + 1)}


def _leaf(key: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + key).digest()


def _node(depth: int, children: Mapping[int, bytes]) -> bytes:
    bitmap = sum(1 << digit for digit in children).to_bytes(2, "big")
    hashes = b"".join(children[digit] for digit in sorted(children))
    return hashlib.sha256(bytes([1, depth]) + bitmap + hashes).digest()
