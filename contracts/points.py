"""Points as the contracts take them, and sets of members as bitmaps.

The contracts keep the keccak-256 of a point (`rescind.core.point_hash`); the point itself, 128
bytes, travels in calldata and events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rescind.core import POINT_BYTES

MAX_MEMBERS = 1024
_WORD_BITS = 256
_WORDS = MAX_MEMBERS // _WORD_BITS


def split_points(points: bytes) -> tuple[bytes, ...]:
    """Return the points of a list that the contracts take as one piece of bytes.

    Raises:
        ValueError: The length is not a multiple of 128.
    """
    if len(points) % POINT_BYTES:
        raise ValueError(f"{len(points)} bytes are not a list of points of {POINT_BYTES} bytes")
    return tuple(points[at : at + POINT_BYTES] for at in range(0, len(points), POINT_BYTES))


def numbers_in(bitmap: Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of the members in a bitmap, ascending.

    Args:
        bitmap: Words of 256 bits; member n is bit n % 256 of word n // 256.
    """
    numbers: list[int] = []
    for place, bits in enumerate(bitmap):
        rest = int(bits)
        while rest:
            lowest = rest & -rest
            numbers.append(_WORD_BITS * place + lowest.bit_length() - 1)
            rest ^= lowest
    return tuple(numbers)


def bitmap_of(numbers: Iterable[int]) -> list[int]:
    """Return the bitmap of some members, four words of 256 bits.

    Raises:
        ValueError: A number is not in 0 to 1,023.
    """
    words = [0] * _WORDS
    for number in numbers:
        if not 0 <= number < MAX_MEMBERS:
            raise ValueError(f"member number {number} is not in 0 to {MAX_MEMBERS - 1}")
        words[number // _WORD_BITS] |= 1 << number % _WORD_BITS
    return words
