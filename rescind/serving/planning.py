"""The plan of an answer: which block or head answers, and the tokens of the prompt. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rescind.core import SHARED, ConsortiumParameters, Totals
from rescind.core.errors import DataError, TrainingError
from rescind.serving.asked import Asked, Limits
from rescind.serving.errors import ApiError, invalid, unknown_model
from rescind.serving.gate import Gate
from rescind.serving.jobs import Routed
from rescind.serving.names import (
    BASE,
    HEAD,
    ServedModel,
    Target,
    base_name,
    prefix_of,
    resolve,
    stated,
)
from rescind.serving.spoken import Spoken
from rescind.training import Assistant, Base, Example, LoraModel
from rescind.training.engine.batches import encode_prompt
from rescind.training.skills import SkillAnswer

_ROUTED = 8
"""Questions of a conversation that a block may be chosen by."""
_POSITIONS = 4096
"""Tokens of prompt and answer where the base model sets no limit."""


@dataclass(frozen=True)
class Plan:
    """The plan of an answer.

    Attributes:
        routed: Which model answers.
        owner: The block's owner; None for the bare base model.
        tokens: The prompt.
        max_tokens: Most tokens of the answer.
        spoken: The answer, where a head has given it. Then nothing is generated.
    """

    routed: Routed
    owner: str | None
    tokens: tuple[int, ...]
    max_tokens: int
    spoken: Spoken | None = None


class Planner:
    """A base model with the blocks of the served model. Only one thread may use it.

    Args:
        model: The consortium's base model with its LoRA tensors.
        parameters: The agreed parameters.
        gate: Says which model may answer.
        limits: What one request may take.
    """

    def __init__(
        self, model: LoraModel, parameters: ConsortiumParameters, gate: Gate, limits: Limits
    ) -> None:
        self._lora, self._parameters = model, parameters
        self._gate, self._limits = gate, limits
        self._assistant: Assistant | None = None
        self._served: ServedModel | None = None
        self._base_name = base_name(prefix_of(parameters.name))

    @property
    def base(self) -> Base:
        """The base model."""
        return self._lora.base

    def load(self, model: ServedModel, totals: Totals) -> None:
        """Load a model in place of the present one."""
        self.unload()
        self._assistant = Assistant(
            self._lora, self._parameters, totals, router=model.router, skills=model.skills
        )
        self._served = model

    def unload(self) -> None:
        """Remove the present model's tensors from memory."""
        self._assistant, self._served = None, None
        self._lora.clear()

    def plan(self, asked: Asked) -> Plan:
        """Choose the block that answers a request, or let a head answer it, and write its prompt.

        Raises:
            ApiError: The model is unknown or may not be served, or the prompt is too long.
        """
        tokens = encoded(self.base, asked)
        most = room(self.base, self._limits, asked, len(tokens))
        if asked.model == self._base_name:
            return Plan(Routed(None, BASE, asked.model), None, tokens, most)
        admission = self._gate.admit()
        served, assistant = self._served, self._assistant
        if served is None or assistant is None or admission.model != served:
            raise ApiError(503, "The model is being changed. Ask again.", "model_changing")
        target, name = resolve(asked.model, served), stated(asked.model, served)
        given = self._given(assistant, asked, tokens) if target.kind == "routed" else None
        if given is not None and assistant.skills is not None:
            head = assistant.skills.skills[given.task].head
            head_id = head.id if head else ""
            by = Routed(served, HEAD, name, admission.block, given.task, head_id)
            return Plan(by, None, tokens, most, self._spoken(given, asked, tokens, most))
        owner = self._owner(assistant, target, asked)
        routed = Routed(served, owner or BASE, name, admission.block)
        return Plan(routed, owner, tokens, most)

    def network(self, owner: str | None) -> Any:
        """Return the network with a block, or the bare base model for None."""
        if owner is None or self._assistant is None:
            return self._lora.use(None)
        return self._assistant.network(owner)

    def _given(
        self, assistant: Assistant, asked: Asked, tokens: tuple[int, ...]
    ) -> SkillAnswer | None:
        """Return what a head answers; None if no task has the form of what was asked."""
        if assistant.skills is None:
            return None
        if asked.is_chat:
            questions = [asked.messages[-1].text]
        else:
            written = written_question(self.base, tokens)
            questions = [self._text(asked), *([] if written is None else [written])]
        return next(iter(assistant.answers_of_heads(questions).values()), None)

    def _spoken(
        self, given: SkillAnswer, asked: Asked, tokens: tuple[int, ...], most: int
    ) -> Spoken:
        label = given.label or ""
        if not asked.is_chat and not self.base.tokenizer.decode(list(tokens))[-1:].isspace():
            label = f" {label}"  # it continues a text
        return Spoken.of(label, self.base.tokenizer, asked.sampling, most)

    def _owner(self, assistant: Assistant, target: Target, asked: Asked) -> str | None:
        if target.kind == "block":
            if target.owner not in assistant.blocks:
                raise unknown_model(f"No block of {target.owner} is loaded.")
            return target.owner
        if target.kind == "base":
            return None
        for_all = SHARED if assistant.split or assistant.blocks == (SHARED,) else None
        if assistant.blocks in ((), (SHARED,)):
            return for_all
        routes, _ = assistant.route(self._questions(asked))
        return next((route for route in routes if route not in (None, SHARED)), for_all)

    def _questions(self, asked: Asked) -> Sequence[str]:
        """Return the texts to route by, the first one first.

        In a conversation that is the last question; only where no block knows it, the question
        before: "And when?" belongs to the block that answered what it refers to.
        """
        if asked.is_chat:
            questions = [turn.text for turn in reversed(asked.messages) if turn.role == "user"]
            return questions[:_ROUTED]
        return [self._text(asked)]

    def _text(self, asked: Asked) -> str:
        """Return the text that is to be continued."""
        if asked.text is not None:
            return asked.text
        tokens = list(asked.tokens or ())
        return str(self.base.tokenizer.decode(tokens, skip_special_tokens=True))


def written_question(base: Base, tokens: tuple[int, ...]) -> str | None:
    """Return the question of which some tokens are the prompt, as the consortium writes prompts.

    Returns:
        None if they are not the prompt of one question without turns before it.
    """
    mark = "QUESTION"
    before, _, after = base.tokenizer.decode(list(encode_prompt(base, mark))).partition(mark)
    text = base.tokenizer.decode(list(tokens))
    if not text.startswith(before) or not text.endswith(after) or len(text) <= len(before + after):
        return None
    question: str = text[len(before) : len(text) - len(after)]
    try:
        return question if encode_prompt(base, question) == tokens else None
    except (DataError, TrainingError):
        return None


def encoded(base: Base, asked: Asked) -> tuple[int, ...]:
    """Return the tokens of a request's prompt: of a conversation by the agreed rules.

    Raises:
        ApiError: A token is not in the vocabulary, or the chat template does not take the messages.
    """
    if asked.is_chat:
        *turns, last = asked.messages
        try:
            return encode_prompt(base, Example(last.text, "", "", turns=tuple(turns)))
        except (DataError, TrainingError) as error:
            raise invalid(
                f"The messages cannot be written as a prompt: {error}", "messages"
            ) from error
    if asked.text is not None:
        tokens = tuple(base.tokenizer.encode(asked.text, add_special_tokens=False))
        begin = (base.tokenizer.bos_token_id,) if base.text.bos else ()
        return tokens if tokens[:1] == begin else (*begin, *tokens)
    tokens = asked.tokens or ()
    size = base.model.get_input_embeddings().num_embeddings
    wrong = [token for token in tokens if token >= size]
    if wrong:
        raise invalid(f"Token {wrong[0]} is not in the vocabulary of {size} tokens.", "prompt")
    return tokens


def room(base: Base, limits: Limits, asked: Asked, length: int) -> int:
    """Return the most tokens that an answer may have.

    Raises:
        ApiError: The prompt is too long, or more tokens are asked for than the server allows.
    """
    positions = base.positions or _POSITIONS
    most_prompt = min(limits.prompt_tokens or positions, positions - 1)
    if length > most_prompt:
        raise invalid(
            f"The prompt has {length} tokens, and this server takes at most {most_prompt}. "
            "Shorten the messages.",
            "messages" if asked.is_chat else "prompt",
            "context_length_exceeded",
        )
    wanted = asked.sampling.max_tokens
    if wanted is not None and wanted > limits.answer_tokens:
        raise invalid(
            f"max_tokens is {wanted}, and this server answers with at most "
            f"{limits.answer_tokens} tokens.",
            "max_tokens",
        )
    return min(wanted or limits.answer_tokens, positions - length)
