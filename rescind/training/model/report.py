"""Facts about a base model that an operator wants before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.core import ConsortiumParameters, artifact_limits
from rescind.training.model.base import Base
from rescind.training.model.files import read_config
from rescind.training.model.lora import LoraModel
from rescind.training.model.reach import Reach, reach


@dataclass(frozen=True)
class ModelReport:
    """Facts of a base model, and the sizes of what a consortium registers of it.

    Attributes:
        architecture: Its class in transformers.
        positions: The most tokens that it takes at once, None for no limit.
        vocabulary: Tokens of the tokenizer.
        rows: Rows of the embedding.
        end: The end-of-text token.
        adds_begin: Whether the tokenizer begins a text with a token of its own by default.
        chat_template: Whether the tokenizer has one.
        tied: Whether embedding and output layer are the same weights.
        reach: What LoRA reaches.
        tensors: LoRA tensors.
        delta_bytes: About the size of a delta.
        adapter_bytes: About the size of the adapter of all members.
        notes: Sentences about what an operator should know.
        problems: Sentences about what will not work.
    """

    architecture: str
    positions: int | None
    vocabulary: int
    rows: int
    end: str
    adds_begin: bool
    chat_template: bool
    tied: bool
    reach: Reach
    tensors: int
    delta_bytes: int
    adapter_bytes: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def describe(model: LoraModel, parameters: ConsortiumParameters, members: int) -> ModelReport:
    """Return the report of a loaded model under parameters for a number of members."""
    base = model.base
    config = base.model.config
    limits = artifact_limits(
        parameters.delta_shapes(),
        layout=parameters.layout,
        max_members=members,
        summed=parameters.summed_shapes,
    )
    return ModelReport(
        architecture=type(base.model).__name__,
        positions=base.positions,
        vocabulary=len(base.tokenizer),
        rows=int(base.model.get_input_embeddings().weight.shape[0]),
        end=str(base.tokenizer.eos_token),
        adds_begin=_adds_begin(base.tokenizer),
        chat_template=bool(getattr(base.tokenizer, "chat_template", None)),
        tied=bool(getattr(config.get_text_config(), "tie_word_embeddings", False)),
        reach=reach(model),
        tensors=len(model.shapes),
        delta_bytes=limits.delta,
        adapter_bytes=limits.adapter,
        notes=(*base.notes, *_settings_notes(base)),
        problems=tuple(_problems(model, parameters, members)),
    )


def _adds_begin(tokenizer: Any) -> bool:
    tokens = tokenizer.encode("x")
    return bool(tokens) and tokens[0] == tokenizer.bos_token_id


def _settings_notes(base: Base) -> list[str]:
    named = read_config(base.folder).get("dtype") or read_config(base.folder).get("torch_dtype")
    if named == "bfloat16" and base.dtype == "float32":
        return [
            'the files are bfloat16: with model.dtype = "bfloat16" the base takes half the memory'
        ]
    return []


def _problems(model: LoraModel, parameters: ConsortiumParameters, members: int) -> list[str]:
    problems = []
    if parameters.base_model_id != model.base.id:
        problems.append(
            f"the parameters are for base {parameters.base_model_id}, and this is {model.base.id}"
        )
    if model.shapes != parameters.shapes:
        differing = sorted(_differing(model.shapes, parameters.shapes))
        problems.append(f"the LoRA tensors are not the agreed ones: {differing[0]} differs")
    most, needed = model.base.positions, parameters.training.max_length
    if most is not None and needed > most:
        problems.append(
            f"max_length is {needed}, and the model takes at most {most} tokens at once"
        )
    if members > parameters.max_members:
        problems.append(
            f"{members} organizations are more than max_members, which is {parameters.max_members}"
        )
    return problems


def _differing(left: Mapping[str, Any], right: Mapping[str, Any]) -> set[str]:
    return {name for name in {*left, *right} if left.get(name) != right.get(name)}
