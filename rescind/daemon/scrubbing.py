"""A look at every stored artifact after a start: disks lose bits, and some files are seldom read."""

from __future__ import annotations

import threading

import structlog

from rescind.core import ArtifactStore
from rescind.core.errors import RescindError


def scrub(store: ArtifactStore, stop: threading.Event) -> threading.Thread:
    """Delete damaged artifacts on a thread of its own, so that the daemon gets or builds them again.

    An aggregator serves its files in pieces and does not hash them: without this, only those who
    download a damaged one would notice.

    Args:
        store: The daemon's store.
        stop: Ends the search.
    """

    def search() -> None:
        log = structlog.get_logger()
        try:
            dropped = store.drop_damaged(stop.is_set)
        except (RescindError, OSError) as error:
            log.warning("stored artifacts not checked", reason=str(error))
            return
        if dropped:
            log.error("damaged artifacts deleted", artifacts=dropped)

    thread = threading.Thread(target=search, name="scrub", daemon=True)
    thread.start()
    return thread
