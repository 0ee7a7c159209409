"""Export of heads: the weights of each as safetensors, with a README that scores a text with numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rescind.core import TensorSpec
from rescind.core.tensor_header import LENGTH_BYTES
from rescind.training.export.card import FILE as CARD
from rescind.training.export.folder import new_export
from rescind.training.export.heads_card import heads_card
from rescind.training.export.origin import Origin
from rescind.training.export.source import CONTRACTS, Source
from rescind.training.heads import Head
from rescind.training.skills import Skill, Skills

KIND = "heads"


def write_heads(source: Source, origin: Origin, skills: Skills, out: Path) -> dict[str, Path]:
    """Write the heads of a model as a folder. The same input gives the same bytes.

    Args:
        source: What the consortium agreed on.
        origin: The model that the heads are solved from.
        skills: The heads.
        out: The folder.

    Returns:
        The file of each task that has a head.

    Raises:
        ConfigError: `out` holds something else, or may not be written.
        StoreFull: The disk is full.
    """
    origin = source.complete(origin)
    heads = {
        name: (skill, skill.head)
        for name, skill in sorted(skills.skills.items())
        if skill.head is not None
    }
    needed = sum(head.weights.nbytes for _, head in heads.values())
    with new_export(out, source.mark(origin, KIND), needed_bytes=needed) as folder:
        for name, (skill, head) in heads.items():
            (folder / file_of(name)).write_bytes(_encoded(skill, head, origin))
        if source.contracts:
            (folder / CONTRACTS).write_text(source.contracts, encoding="utf-8")
        card = heads_card([skill for skill, _ in heads.values()], source.parameters, origin)
        (folder / CARD).write_text(card, encoding="utf-8")
    return {name: out / file_of(name) for name in heads}


def file_of(task: str) -> str:
    """Return the name of the file of a task's head."""
    return f"{task}.safetensors"


def _encoded(skill: Skill, head: Head, origin: Origin) -> bytes:
    weights = np.ascontiguousarray(head.weights, dtype="<i8")
    about = {
        "task": skill.name,
        "prompt": skill.task.prompt,
        "labels": json.dumps(skill.task.labels, ensure_ascii=False),
        "rows": json.dumps(skill.counts.tolist()),
        "features": json.dumps(skill.task.features.model_dump(mode="json"), sort_keys=True),
        "ridge": str(head.ridge),
        "scale_bits": str(head.scale_bits),
        "head": head.id,
    }
    if skill.task.row_square is not None:
        about["row_square"] = str(skill.task.row_square)
    metadata = origin.metadata() | {f"rescind.{name}": text for name, text in about.items()}
    spec = TensorSpec("I64", weights.shape)
    entries = {
        "__metadata__": dict(sorted(metadata.items())),
        "weights": {"dtype": spec.dtype, "shape": weights.shape, "data_offsets": [0, spec.size]},
    }
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    # The weights begin at a multiple of 8 bytes.
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + weights.tobytes()
