"""A client of an aggregator without a connection: what is published lies in a store."""

from pathlib import Path
from typing import Any

from rescind.core import ArtifactStore
from rescind.wire import AggregatorClient, ModelFiles
from rescind.wire.downloading import Downloads
from rescind.wire.generated import rescind_pb2 as pb


class StoredClient(AggregatorClient):
    """Downloads as the real client does, and counts the bytes that it was sent.

    Args:
        store: What is published.
        downloads: Folder of unfinished downloads.
    """

    def __init__(self, store: ArtifactStore, downloads: Path | None = None) -> None:
        self.store, self.fetched = store, 0
        self._downloads, self._seconds, self.on_piece = Downloads(downloads), 30.0, None
        self.files = ModelFiles()

    def call(self, name: str, message: Any, *, seconds: float | None = None) -> Any:
        assert name == "GetPiece"
        data, size = self.store.read(message.artifact_id.hex(), message.offset, message.length)
        self.fetched += len(data)
        return pb.ServedPiece(data=data, size=size)

    def model(self, model_id: int) -> ModelFiles:
        return self.files
