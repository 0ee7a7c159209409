"""The linear digest computed by torch, for tensors on a GPU. The same bits as `core.digest`.

Every product is of two numbers below 2^31, so int64 is exact on every device.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import Digest, DigestMalformed
from rescind.core.ring import (
    DEGREE,
    PRIMES,
    ROOTS,
    WORDS,
    Matrix,
)

BATCH = 256
"""Blocks in one pass: each intermediate takes 256 x 2 x 2048 x 8 bytes = 8 MiB."""
_BITS = DEGREE.bit_length() - 1


def digest_on(
    tensors: Mapping[str, torch.Tensor | NDArray[Any]], device: torch.device | str
) -> Digest:
    """Return the digest of int32 or int64 tensors, computed on `device` wherever they are.

    Raises:
        DigestMalformed: A tensor has another dtype.
    """
    ring = _Ring(torch.device(device))
    total = torch.zeros((2, DEGREE), dtype=torch.int64, device=device)
    for name, tensor in tensors.items():
        value = tensor if isinstance(tensor, torch.Tensor) else torch.from_numpy(np.array(tensor))
        if value.dtype not in (torch.int32, torch.int64):
            raise DigestMalformed(
                f"Tensor {name!r} has dtype {value.dtype}. Digests are of int32 or int64."
            )
        matrix = Matrix(name, tuple(value.shape))
        first = 0
        for blocks in _batches(value):
            words = ring.residues(matrix.words(first, len(blocks)))
            products = words * ring.transform(blocks.to(device)) % ring.primes
            total = (total + products.sum(0)) % ring.primes
            first += len(blocks)
    return Digest.from_residues(total.cpu().numpy())


def _batches(value: torch.Tensor) -> Iterator[torch.Tensor]:
    flat = value.detach().reshape(-1)
    for start in range(0, flat.numel(), BATCH * DEGREE):
        part = flat[start : start + BATCH * DEGREE]
        padding = -part.numel() % DEGREE
        yield torch.nn.functional.pad(part.long(), (0, padding)).reshape(-1, DEGREE)


class _Ring:
    """Constants of both rings on one device. Row i of each is modulo prime i."""

    def __init__(self, device: torch.device) -> None:
        reverse = [int(f"{n:0{_BITS}b}"[::-1], 2) for n in range(DEGREE)]
        powers = [
            [pow(root, n, prime) for n in reverse]
            for prime, root in zip(PRIMES, ROOTS, strict=True)
        ]
        self.device = device
        self.primes = torch.tensor(PRIMES, device=device)[:, None]
        self.wrap = torch.tensor([2**64 % prime for prime in PRIMES], device=device)[:, None]
        self.twiddles = torch.tensor(powers, device=device)
        self.reverse = torch.tensor(reverse, device=device)

    def residues(self, words: NDArray[np.uint64]) -> torch.Tensor:
        """Reduce (k, 4096) unsigned words to (k, 2, 2048) residues."""
        signed = torch.from_numpy(words.astype(np.uint64, copy=False).view(np.int64))
        signed = signed.to(self.device).reshape(-1, WORDS // DEGREE, DEGREE)
        return (signed % self.primes + (signed < 0) * self.wrap) % self.primes

    def transform(self, blocks: torch.Tensor) -> torch.Tensor:
        """Transform (k, 2048) values to (k, 2, 2048); slot i of row p is at psi_p^(2i + 1)."""
        x = blocks[:, None, :] % self.primes
        primes = self.primes[..., None]
        groups = 1
        while groups < DEGREE:
            x = x.reshape(len(blocks), 2, groups, 2, -1)
            left, right = x[..., 0, :], x[..., 1, :]
            product = right * self.twiddles[:, groups : 2 * groups, None] % primes
            x = torch.stack(((left + product) % primes, (left - product) % primes), dim=-2)
            groups *= 2
        return x.reshape(len(blocks), 2, DEGREE)[..., self.reverse]
