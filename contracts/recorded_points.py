"""Points that stand in events, by their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from rescind.contracts.errors import ContractsMissing
from rescind.contracts.points import split_points
from rescind.core import INFINITY, point_hash

Scan = Callable[[int | None], Iterator[bytes]]


class RecordedPoints:
    """The points that were read from events so far.

    A point is kept under the hash of its own bytes, so a wrong event cannot put another point in
    its place, and a point stays right when a reorganization drops its event.
    """

    def __init__(self) -> None:
        self._points = {point_hash(INFINITY): INFINITY}
        self._next_block: int | None = None

    def find(self, hashes: Iterable[str], scan: Scan, last_block: int) -> dict[str, bytes]:
        """Return points by their hashes.

        Args:
            hashes: Hashes of the wanted points.
            scan: Yields the points of events from a block on; from the first one for None.
            last_block: The last block that `scan` reads.

        Raises:
            ContractsMissing: A point is in no event.
        """
        wanted = set(hashes)
        if not wanted <= set(self._points):
            self._read(scan(self._next_block), last_block)
        if not wanted <= set(self._points):
            # A reorganization may have put an event into a block that was read before.
            self._read(scan(None), last_block)
        missing = sorted(wanted - set(self._points))
        if missing:
            raise ContractsMissing(
                f"no event up to block {last_block} holds the point with the hash {missing[0]}. "
                "Use an RPC endpoint that keeps all events of the contracts."
            )
        return {each: self._points[each] for each in wanted}

    def _read(self, lists: Iterable[bytes], last_block: int) -> None:
        for points in lists:
            for point in split_points(points):
                self._points[point_hash(point)] = point
        self._next_block = max(self._next_block or 0, last_block + 1)
