"""The input of every kind of export: base model, agreed parameters, and the common files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from rescind.core import ConsortiumParameters
from rescind.training.export.card import FILE as CARD
from rescind.training.export.card import QUESTION, Card
from rescind.training.export.origin import Origin
from rescind.training.export.reference import BaseReference
from rescind.training.export.tokenizer_files import (
    GENERATION,
    copy_tokenizer,
    plain_template,
    write_json,
)
from rescind.training.model.base import WrongBaseModel
from rescind.training.model.files import model_id, read_config
from rescind.training.model.presets import presets, resolve
from rescind.training.model.text_rules import adds_bos
from rescind.training.serving.serve import MAX_NEW_TOKENS
from rescind.training.text.encoder import Encoder
from rescind.training.text.rendering import TemplateFailed, shared_renderer, special_tokens

CONTRACTS = "contracts.json"


@dataclass(frozen=True)
class Source:
    """A base model with what a consortium agreed on.

    Attributes:
        parameters: What the consortium agreed on.
        folder: The base model's folder on this machine.
        reference: Its name for other machines.
        contracts: The content of contracts.json, which exports carry; empty without a chain.
        remote_code: Whether Python files of the model's folder run. Then they are part of its id.
        dtype: The type of the base model's weights that the consortium asks it with.
    """

    parameters: ConsortiumParameters
    folder: Path
    reference: BaseReference
    contracts: str = ""
    remote_code: bool = False
    dtype: str = "float32"

    @classmethod
    def open(
        cls,
        parameters: ConsortiumParameters,
        base: str,
        *,
        reference: BaseReference | None = None,
        contracts: str = "",
        remote_code: bool = False,
        dtype: str = "float32",
    ) -> Source:
        """Find the base model and compare its files with the agreed ones.

        Args:
            parameters: What the consortium agreed on.
            base: A preset, a folder or a hub id.
            reference: The base model's name for other machines. By default it follows from `base`.
            contracts: The content of contracts.json.
            remote_code: Let Python files of the model's folder run.
            dtype: The type of the base model's weights that the consortium asks it with.

        Raises:
            WrongBaseModel: The files are not those that the consortium agreed on.
            TrainingError: There is no such model here.
        """
        folder = resolve(base, remote_code=remote_code)
        own_id = model_id(folder, remote_code=remote_code)
        if own_id != parameters.base_model_id:
            raise WrongBaseModel(
                f"The base model in {folder} has id {own_id}, and the consortium trains "
                f"{parameters.base_model_id}. Export with the consortium's model files, unchanged."
            )
        named = next((p.name for p in presets() if p.base_model_id == own_id), "")
        name = reference or BaseReference.of(base, folder, named)
        return cls(parameters, folder, name, contracts, remote_code, dtype)

    @cached_property
    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        return AutoTokenizer.from_pretrained(
            self.folder, local_files_only=True, trust_remote_code=self.remote_code
        )

    @cached_property
    def encoder(self) -> Encoder:
        """The tokenizer with the agreed text rules."""
        config = read_config(self.folder)
        named, rows = config.get("eos_token_id"), config.get("vocab_size")
        listed = named if isinstance(named, list) else [named]
        return Encoder(
            self.tokenizer,
            self.parameters.text,
            ends=[end for end in listed if isinstance(end, int)],
            rows=rows if isinstance(rows, int) else None,
        )

    @property
    def generation(self) -> dict[str, Any]:
        """The settings that Rescind generates with, as generation_config.json has them."""
        return {
            "bos_token_id": self.tokenizer.bos_token_id,
            "do_sample": False,
            "eos_token_id": list(self.encoder.stops),
            "max_new_tokens": MAX_NEW_TOKENS,
            "pad_token_id": self.tokenizer.eos_token_id,
        }

    def card(self, origin: Origin) -> Card:
        """Return what a model card says."""
        tokens = self.encoder.prompt(QUESTION).tokens
        bos = self.tokenizer.bos_token_id
        begins = bos is not None and tokens[:1] == (bos,)
        decoded: str = self.tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False)
        thinks = "enable_thinking" in str(self.tokenizer.chat_template or "")
        arguments = {"enable_thinking": False} if thinks and self.is_chat else {}
        return Card(
            origin=origin,
            reference=self.reference,
            parameters=self.parameters,
            example=decoded,
            begins_with=str(self.tokenizer.bos_token) if begins else "",
            adds_bos=adds_bos(self.tokenizer),
            stops=[str(self.tokenizer.convert_ids_to_tokens(i)) for i in self.encoder.stops],
            max_new_tokens=MAX_NEW_TOKENS,
            dtype="bfloat16" if self.dtype == "bfloat16" else "float32",
            template_arguments=", ".join(f"{name}={value}" for name, value in arguments.items()),
            has_template_file=not self.is_chat or isinstance(self.tokenizer.chat_template, str),
            renders_alike=self._rendered(arguments) == tokens,
        )

    @property
    def is_chat(self) -> bool:
        """True if prompts follow the tokenizer's own chat template."""
        return self.parameters.text.prompt == "chat"

    def _rendered(self, arguments: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the tokens of the example's prompt as the exported chat template renders them.

        There are none if it cannot be rendered within the bounds.
        """
        tokenizer = self.tokenizer
        template = None if self.is_chat else plain_template(self.parameters.text)
        request = {
            "conversations": [[{"role": "user", "content": QUESTION}]],
            "add_generation_prompt": True,
            **special_tokens(tokenizer),
            **arguments,
        }
        try:
            text = shared_renderer().render(template or tokenizer.get_chat_template(), request)
        except TemplateFailed:
            return ()
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    def complete(self, origin: Origin) -> Origin:
        """Return an origin with the ids of the parameters and the base model."""
        return replace(
            origin,
            parameters_id=self.parameters.id,
            base_model_id=self.parameters.base_model_id,
        )

    def mark(self, origin: Origin, kind: str) -> dict[str, Any]:
        """Return the content of an export's mark, rescind.json."""
        return {
            **origin.to_dict(),
            "kind": kind,
            "base": {"name": self.reference.name, "revision": self.reference.revision},
            "text": self.parameters.text.model_dump(mode="json"),
        }

    def write_common(self, folder: Path, origin: Origin, write_card: Callable[[Card], str]) -> None:
        """Write the tokenizer, the generation settings, contracts.json and README.md."""
        copy_tokenizer(self.tokenizer, self.folder, folder, self.parameters.text)
        write_json(folder / GENERATION, self.generation)
        if self.contracts:
            (folder / CONTRACTS).write_text(self.contracts, encoding="utf-8")
        (folder / CARD).write_text(write_card(self.card(origin)), encoding="utf-8")
