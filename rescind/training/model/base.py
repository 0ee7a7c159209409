"""The base model in memory: loaded, checked and frozen."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rescind.core import TextParameters
from rescind.core.errors import TrainingError
from rescind.training.model.config_checks import (
    check_config,
    check_layers,
    check_shapes,
    one_line,
    positions_of,
)
from rescind.training.model.file_checks import check_files
from rescind.training.model.files import model_id as model_id
from rescind.training.model.files import read_config
from rescind.training.model.presets import Dtype, preset_of, resolve
from rescind.training.model.probes import check_forward, check_numbers
from rescind.training.model.tokenizer_checks import check_template, check_tokenizer
from rescind.training.text.encoder import Encoder

_LEAST_POSITIONS = 64
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "4bit": torch.bfloat16}


class WrongBaseModel(TrainingError):
    """The base model's files are not those that the consortium agreed on."""

    code = "wrong-base-model"


@dataclass(frozen=True)
class Base:
    """A frozen causal language model with its tokenizer, on one device.

    Attributes:
        model: The model of transformers.
        tokenizer: Its tokenizer.
        id: The SHA-256 of its files.
        device: Where it is.
        folder: The folder that it was loaded from.
        dtype: Of its weights in memory.
        positions: The most tokens that it takes at once, None where it sets no limit.
        remote_code: Whether Python files of the folder run. Then they are part of `id`.
        notes: Sentences about what an operator should know, such as text that the tokenizer changes.
        text: How text becomes tokens, as the consortium agreed.
    """

    model: Any
    tokenizer: Any
    id: str
    device: torch.device
    folder: Path
    dtype: Dtype = "float32"
    positions: int | None = None
    remote_code: bool = False
    notes: tuple[str, ...] = ()
    text: TextParameters = field(default_factory=TextParameters)

    @property
    def eos(self) -> int:
        """The id of the end-of-text token."""
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer with the agreed text rules."""
        # Of the file: classes of configurations have a default, which is of some other model.
        named = read_config(self.folder).get("eos_token_id")
        listed = named if isinstance(named, list) else [named]
        return Encoder(
            self.tokenizer,
            self.text,
            ends=[end for end in listed if isinstance(end, int)],
            rows=int(self.model.get_input_embeddings().weight.shape[0]),
        )

    def reading(self, text: TextParameters) -> Base:
        """Return the same base with other text rules.

        Raises:
            TextRulesUnmet: The tokenizer cannot do what the rules say.
            TemplateUnusable: They need a chat template, and the tokenizer has none that can be used.
        """
        base = self if text == self.text else replace(self, text=text)
        _ = base.encoder
        return base


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the named device; "auto" is a GPU where there is one, else the CPU.

    Raises:
        TrainingError: There is no such device.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TrainingError(
            f"Device {wanted!r} is not usable here ({one_line(error)}). Use cpu, cuda, cuda:0 or auto."
        ) from error
    return device


def load_base(
    reference: str | Path,
    expected_id: str | None = None,
    device: str = "auto",
    dtype: Dtype = "float32",
    *,
    remote_code: bool = False,
    positions: int | None = None,
    text: TextParameters | None = None,
) -> Base:
    """Load, check and freeze a base model.

    Args:
        reference: The name of a preset, a folder or a hub id.
        expected_id: The id that the model must have, None for any.
        device: A torch device, or "auto".
        dtype: Of the frozen weights in memory. "bfloat16" halves them, "4bit" quantizes them on a
            GPU; LoRA tensors stay float32.
        remote_code: Let Python files of the model's folder run. They are part of its id.
        positions: The tokens that the model must take at once (`training.max_length`), if any.
        text: How text becomes tokens, as the consortium agreed. By default the default rules.

    Raises:
        WrongBaseModel: The files are not those of `expected_id`.
        TrainingError: The folder does not hold a whole causal language model with its tokenizer, or
            it cannot be loaded like this, or its tokenizer cannot do what the text rules say. The
            message says what to do.
    """
    folder = resolve(reference, remote_code=remote_code)
    tensors = check_files(folder)
    config = check_config(folder, remote_code=remote_code)
    check_layers(folder, config, tensors)
    own_id = model_id(folder, remote_code=remote_code)
    if expected_id is not None and own_id != expected_id:
        raise WrongBaseModel(
            f"The base model in {folder} has id {own_id}, and the consortium trains {expected_id}. "
            "Use the consortium's model files, unchanged."
        )
    _check_preset(reference, own_id)
    most = positions_of(config)
    check_positions(most, positions, folder)
    target = pick_device(device)
    if target.type == "cuda":
        # cuBLAS reads it when it starts; deterministic training needs it (see engine.settings).
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    tokenizer = _tokenizer(folder, remote_code=remote_code)
    model, unused = _model(folder, target, dtype, remote_code=remote_code)
    rows = int(model.get_input_embeddings().weight.shape[0])
    notes = (*_tokenizer_notes(tokenizer, rows, folder), *unused)
    check_numbers(model, folder)
    check_forward(model, tokenizer, folder)
    base = Base(model, tokenizer, own_id, target, folder, dtype, most, remote_code, notes)
    return base.reading(text or base.text)


def _check_preset(reference: str | Path, own_id: str) -> None:
    """Refuse a preset whose files are not the pinned ones."""
    named = preset_of(reference)
    if named is not None and own_id != named.base_model_id:
        raise WrongBaseModel(
            f"The files of the model {named.name!r} in {named.folder} were changed: their id is "
            f"{own_id}, and it should be {named.base_model_id}. Fetch them again: rescind model get "
            f"{named.name}"
        )


def check_positions(most: int | None, needed: int | None, where: str | Path) -> None:
    """Check that a model takes as many tokens at once as the consortium agrees on.

    Raises:
        TrainingError: It takes fewer. The message has both numbers.
    """
    if most is not None and most < _LEAST_POSITIONS:
        raise TrainingError(
            f"The model {where} takes at most {most:,} tokens at once, as its config.json says. That "
            "is too few for a question with its answer: take another model."
        )
    if most is not None and needed is not None and needed > most:
        raise TrainingError(
            f"The model {where} takes at most {most:,} tokens at once, and training.max_length is "
            f"{needed:,}. Agree on a max_length of at most {most}, or on another model."
        )


def _tokenizer(folder: Path, *, remote_code: bool) -> Any:
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=remote_code
        )
    except Exception as error:  # tokenizers raise many unrelated types
        raise TrainingError(
            f"The tokenizer in {folder} cannot be loaded: {one_line(error)}. Save the model's "
            "tokenizer beside it with tokenizer.save_pretrained(folder)."
        ) from error
    check_template(tokenizer, folder)
    return tokenizer


def _tokenizer_notes(tokenizer: Any, rows: int, folder: Path) -> list[str]:
    try:
        return check_tokenizer(tokenizer, rows, folder)
    except TrainingError:
        raise
    except Exception as error:  # as above
        raise TrainingError(
            f"The tokenizer in {folder} was loaded but does not read text: {one_line(error)}. Fetch its "
            "files again."
        ) from error


def _model(
    folder: Path, device: torch.device, dtype: Dtype, *, remote_code: bool
) -> tuple[Any, list[str]]:
    """Load the weights, and return the model with notes on what of them is not used.

    Raises:
        TrainingError: The model cannot be loaded, or weights would be left at a random value.
    """
    neutral: Any = GenerationConfig
    options: dict[str, Any] = {"dtype": _DTYPES[dtype]}
    if dtype == "4bit":
        options |= _four_bits(device)
    try:
        loader: Any = AutoModelForCausalLM
        model, report = loader.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=remote_code,
            output_loading_info=True,
            # The folder's own would change answers, and is not part of the id.
            generation_config=neutral(),
            **options,
        )
        _check_whole(folder, report["missing_keys"])
        frozen: Any = model
        frozen.requires_grad_(False)
        notes = _unused(report)
        return (frozen if dtype == "4bit" else frozen.to(device)).eval(), notes
    except TrainingError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TrainingError(
            f"The model in {folder} does not fit into the memory of {device} as {dtype}. Use a "
            "smaller model, or dtype bfloat16 or 4bit."
        ) from error
    except Exception as error:  # models raise many unrelated types
        check_shapes(folder, remote_code=remote_code)
        raise TrainingError(
            f"{folder} does not hold a causal language model that can be loaded: {one_line(error)}."
        ) from error


def _check_whole(folder: Path, lacking: Collection[str]) -> None:
    """Refuse weights that do not fill the model: transformers fills the rest at random."""
    if missing := sorted(lacking):
        raise TrainingError(
            f"The weights in {folder} lack {len(missing)} tensors of the model, such as "
            f"{missing[0]}. They are of another model, or not whole: fetch the model again."
        )


def _unused(report: Mapping[str, Any]) -> list[str]:
    """Return a note on tensors that the model does not use, if there are any."""
    unused = sorted(report["unexpected_keys"])
    if not unused:
        return []
    return [
        f"{len(unused)} tensors of the weights are not used, such as {unused[0][:80]}: check that "
        "config.json is of the same model"
    ]


def _four_bits(device: torch.device) -> dict[str, Any]:
    """Return what makes transformers quantize the weights while it loads them.

    Raises:
        TrainingError: There is no GPU, or bitsandbytes is not installed.
    """
    if device.type != "cuda":
        raise TrainingError(
            f'dtype "4bit" needs a GPU, and the device is {device}. Use "bfloat16" or "float32".'
        )
    try:
        import bitsandbytes as _  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        raise TrainingError(
            'dtype "4bit" needs the package bitsandbytes. Install it: pip install bitsandbytes'
        ) from error
    from transformers import BitsAndBytesConfig

    settings: Any = BitsAndBytesConfig
    quantization = settings(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_use_double_quant=True,
    )
    return {"quantization_config": quantization, "device_map": {"": device}}
