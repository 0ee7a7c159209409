"""Chat templates as literals and slots, so that data can neither steer a template nor pass for it.

A template is rendered once for each order of roles, with a mark in place of each text. What it
writes around the marks is literal; the texts are put in the marks' places afterwards. So a prompt
depends on the roles and the texts alone, and is the same whatever the answer will be.

The texts' outer white space is removed, as most templates do. Thinking is turned off
(`enable_thinking`, `thinking`), since answers in data have none. The clock is hidden: a template
with a fallback for it uses that, and any other is refused.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from rescind.core.errors import DataError, TrainingError
from rescind.training.text.rendering import (
    TemplateFailed,
    TemplateRenderer,
    shared_renderer,
    special_tokens,
)
from rescind.training.text.tokens import Tokens

_NO_CLOCK = "{% set strftime_now = rescind_hides_the_clock +%}"
"""Is put before a template. `+%}` keeps a line break that follows."""

_RENDERINGS = 3
"""Times that a template is rendered to see that it writes the same: enough for a `random` filter
over a few values to be noticed nearly always."""


_KEPT = 512
"""Orders of roles whose skeletons are kept."""


class TemplateUnusable(TrainingError):
    """The base model's chat template cannot ask questions in the same way every time."""

    code = "chat-template"


@dataclass(frozen=True)
class Skeleton:
    """The text that a template writes around the texts of a conversation.

    Attributes:
        literals: Before each text, and before the answer.
        glue: White space that the template writes before an answer and leaves out of a prompt.
        tail: After the answer, up to its end of turn.
        end_of_turn: The token that ends an answer, None where the template writes none.
    """

    literals: tuple[str, ...]
    glue: str
    tail: str
    end_of_turn: int | None


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokens: The tokenizer.
        renderer: Renders the template; by default the one of this process.

    Raises:
        TemplateUnusable: There is no template, or it cannot be used.
    """

    def __init__(self, tokens: Tokens, renderer: TemplateRenderer | None = None) -> None:
        self._tokens = tokens
        self._renderer = renderer or shared_renderer()
        self._skeletons: dict[tuple[str, ...], Skeleton] = {}
        self._template = self._read()
        try:
            self._skeletons["user",] = self._skeleton(("user",))
        except _Unfit as error:
            raise TemplateUnusable(
                f"The base model's chat template cannot be used: {error}. Agree on text.prompt "
                "'plain', or on another base model."
            ) from error
        self.takes_system = self._takes_system()

    @property
    def end_of_turn(self) -> int | None:
        """The token that ends an answer, None where the template writes none."""
        return self._skeletons["user",].end_of_turn

    def skeleton(self, roles: Sequence[str]) -> Skeleton:
        """Return what the template writes around texts of these roles and an answer.

        Args:
            roles: "system", "user" and "assistant", the last of which is "user".

        Raises:
            DataError: The template does not take these roles in this order.
        """
        key = tuple(roles)
        if key not in self._skeletons:
            if len(self._skeletons) >= _KEPT:
                # Callers of a server choose the orders. The first two are always there.
                del self._skeletons[list(self._skeletons)[2]]
            try:
                self._skeletons[key] = self._skeleton(key)
            except _Unfit as error:
                raise DataError(
                    f"A conversation of {', '.join(key)} does not fit the base model's chat "
                    f"template: {error}. Change the order of its turns."
                ) from error
        return self._skeletons[key]

    def _read(self) -> str:
        tokenizer = self._tokens.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise TemplateUnusable(
                "The consortium agreed on text.prompt 'chat', and the tokenizer of this base model "
                "has no chat template. Agree on 'plain', or on a base model with a template."
            )
        try:
            return str(tokenizer.get_chat_template())
        except ValueError as error:
            raise TemplateUnusable(
                "The tokenizer of this base model has several chat templates, and none of them is "
                "named 'default'. Name one so, or agree on text.prompt 'plain'."
            ) from error

    def _takes_system(self) -> bool:
        """Return whether the template writes a system turn. Others raise, or leave it out."""
        try:
            self._skeletons["system", "user"] = self._skeleton(("system", "user"))
        except _Unfit:
            return False
        return True

    def _skeleton(self, roles: tuple[str, ...]) -> Skeleton:
        secret = secrets.token_hex(8)
        marks = [f"x{secret}{index}x" for index in range(len(roles) + 1)]
        turns = [
            {"role": role, "content": mark} for role, mark in zip(roles, marks[:-1], strict=True)
        ]
        whole = self._render([*turns, {"role": "assistant", "content": marks[-1]}], False)
        asked = self._render(turns, True)
        literals = _around(whole, marks)
        before, glue = literals[-2], ""
        # Some templates leave white space before the answer out of the prompt; tokenizers join it
        # with the answer. Where the prompt differs otherwise, what stands before an answer counts.
        head = _around(asked, marks[:-1]) if all(mark in asked for mark in marks[:-1]) else [""]
        if head[:-1] == literals[:-2] and before.startswith(head[-1]):
            rest = before[len(head[-1]) :]
            if not rest.strip():
                before, glue = head[-1], rest
        tail, end_of_turn = literals[-1].rstrip(), None
        if control := self._tokens.first_control(literals[-1]):
            end_of_turn, end = control
            tail = literals[-1][:end]
        return Skeleton((*literals[:-2], before), glue, tail, end_of_turn)

    def _render(self, messages: list[dict[str, str]], ask: bool) -> str:
        request = {
            "conversations": [messages],
            "add_generation_prompt": ask,
            "enable_thinking": False,
            "thinking": False,
            **special_tokens(self._tokens.tokenizer),
        }
        template = _NO_CLOCK + self._template
        try:
            texts = {self._renderer.render(template, request) for _ in range(_RENDERINGS)}
        except TemplateFailed as error:
            if "strftime_now" in self._template and "rescind_hides_the_clock" in str(error):
                raise _Unfit(
                    "it writes the date of the day, and answers would change with it"
                ) from error
            raise _Unfit(str(error)) from error
        if len(texts) > 1:
            raise _Unfit("it writes another text every time")
        return texts.pop()


class _Unfit(Exception):
    """A template does not do what is needed, for the reason in the message."""


def _around(text: str, marks: Sequence[str]) -> list[str]:
    """Return what stands before, between and after the marks."""
    literals, start = [], 0
    for number, mark in enumerate(marks, 1):
        place = text.find(mark, start)
        if place < 0 or text.count(mark) > 1:
            times = text.count(mark)
            how = f"{times} times" if times > 1 else "out of order" if times else "not at all"
            raise _Unfit(f"it writes the text of turn {number} {how}")
        literals.append(text[start:place])
        start = place + len(mark)
    return [*literals, text[start:]]
