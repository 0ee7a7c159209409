"""The text rules that suit a base model."""

from __future__ import annotations

from typing import Any, Protocol

from rescind.core import TextParameters
from rescind.training.text.chat import ChatTemplate, TemplateUnusable
from rescind.training.text.tokens import Tokens


class HasTokenizer(Protocol):
    """A base model, as far as its text rules are concerned."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        ...


def default_text(base: HasTokenizer) -> TextParameters:
    """Return the text rules to agree on for a base model.

    Prompts follow the tokenizer's chat template where there is one that can be used, and texts begin
    with the begin-of-text token where the tokenizer adds it by default.
    """
    tokenizer = base.tokenizer
    chat = bool(getattr(tokenizer, "chat_template", None)) and template_problem(base) is None
    return TextParameters(prompt="chat" if chat else "plain", bos=adds_bos(tokenizer))


def template_problem(base: HasTokenizer) -> str | None:
    """Return why the base model's chat template cannot be used, None if it can."""
    try:
        ChatTemplate(Tokens(base.tokenizer))
    except TemplateUnusable as error:
        return str(error)
    return None


def adds_bos(tokenizer: Any) -> bool:
    """Return whether a tokenizer puts its begin-of-text token before a text by default."""
    bos = tokenizer.bos_token_id
    return bos is not None and list(tokenizer("a")["input_ids"][:1]) == [bos]
