"""Files of an artifact store, damaged."""

from pathlib import Path


def damage(folder: Path, artifact: str) -> None:
    """Flip the last bit of a stored artifact."""
    path = folder / artifact[:2] / artifact
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
