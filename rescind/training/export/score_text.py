"""Score a text with an exported head.

Usage: python score_text.py TASK.safetensors TEXT
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np


def read(path: str) -> tuple[dict[str, str], Any]:
    """Return the metadata and the weights, integers of shape (features, labels)."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    weights = np.frombuffer(data, dtype="<i8", offset=start).reshape(header["weights"]["shape"])
    return header["__metadata__"], weights


def head_id(weights: Any) -> str:
    """Return the SHA-256 that certificates name a head by."""
    entry = {"dtype": "I64", "shape": list(weights.shape), "data_offsets": [0, weights.nbytes]}
    header = {"__metadata__": {"format": "rescind.artifact/1"}, "weights": entry}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return hashlib.sha256(len(text).to_bytes(8, "little") + text + weights.tobytes()).hexdigest()


def features_of(text: str, about: dict[str, Any]) -> Any:
    """Return the features of a text. The first is always 1."""
    if about["kind"] == "ngrams":
        return ngrams(text, about)
    if about["kind"] == "random":
        return projected(features_of(text, about["source"]), about)
    if about["kind"] == "joined":
        parts = about["parts"]
        factors = about["factors"] or [1] * len(parts)
        rows = [features_of(text, part)[1:] * by for part, by in zip(parts, factors, strict=True)]
        return np.concatenate([[1], *rows])
    raise SystemExit("These features are hidden states of the base model: use rescind.")


def ngrams(text: str, about: dict[str, Any]) -> Any:
    """Return hashed n-grams of words and of characters."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    words, padded = re.findall(r"\w+|[^\w\s]", folded), f" {folded} "
    grams = {
        f"w{size}" + "\x1f".join(words[start : start + size])
        for size in about["words"]
        for start in range(len(words) - size + 1)
    } | {
        f"c{size}" + padded[start : start + size]
        for size in about["characters"]
        for start in range(len(padded) - size + 1)
    }
    row = np.zeros(1 + about["buckets"], dtype=np.int64)
    for gram in grams:
        data = gram.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=8, person=b"rescind.ngrams/1").digest()
        number = int.from_bytes(digest, "little")
        row[1 + (number >> 1) % about["buckets"]] += 1 if number & 1 else -1
    row = np.clip(row, -1, 1)
    row[0] = 1
    return row


def projected(row: Any, about: dict[str, Any]) -> Any:
    """Return random features: functions of projections whose signs are bits of SHAKE-256."""
    size, count = len(row), about["count"]
    seed = f"rescind.random-features/1|{about['seed']}|{size}|{count}".encode()
    data = hashlib.shake_256(seed).digest((size * count + 7) // 8)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=size * count, bitorder="little")
    values = row @ (bits.astype(np.int64) * 2 - 1).reshape(size, count)
    if about["function"] == "sign":
        return np.concatenate([[1], np.where(values >= 0, 1, -1)])
    relu = np.minimum(np.maximum(values, 0) >> about["shift"], about["bound"])
    return np.concatenate([[1], relu])


if __name__ == "__main__":
    metadata, weights = read(sys.argv[1])
    if head_id(weights) != metadata["rescind.head"]:
        raise SystemExit("The weights are not those of the head that the file names.")
    row = features_of(sys.argv[2], json.loads(metadata["rescind.features"]))
    if "rescind.row_square" in metadata:
        row = np.where(np.cumsum(row * row) <= int(metadata["rescind.row_square"]), row, 0)
    scores = row @ weights
    labels, rows = (json.loads(metadata[f"rescind.{name}"]) for name in ("labels", "rows"))
    # A label without rows is never an answer. Of equal scores the first label wins.
    held = [place for place in range(len(labels)) if rows[place] > 0]
    for place in sorted(held, key=lambda place: -scores[place])[:5]:
        score = scores[place] / 2 ** int(metadata["rescind.scale_bits"])
        sys.stdout.write(f"{score:8.4f}  {labels[place]}\n")
