"""The agreed text rules, applied: examples and questions to tokens, answers' tokens to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from rescind.core import TextParameters
from rescind.core.errors import DataError, TrainingError
from rescind.training.data import Example, Turn, completion, prompt
from rescind.training.text.chat import ChatTemplate, TemplateUnusable
from rescind.training.text.question import Question, question_text, question_turns
from rescind.training.text.tokens import Piece, Tokenized, Tokens

_PARAGRAPH = "\n\n"
"""Between a system turn and the user's text, where a chat template has no system turn."""


class TextRulesUnmet(TrainingError):
    """The base model's tokenizer cannot do what the consortium agreed on."""

    code = "text-rules"


@dataclass(frozen=True)
class Encoded:
    """A tokenized example, or a prompt.

    Attributes:
        tokens: Prompt, answer, end of the answer.
        prompt_length: How many of the first tokens are the prompt.
        lead: How many of the first tokens a chat template writes before the first text of the data.
            No loss counts them.
    """

    tokens: tuple[int, ...]
    prompt_length: int
    lead: int = 0

    def first_counted(self, *, prompt_too: bool) -> int:
        """Return the index of the first token that a loss counts: nothing predicts the first."""
        return max(1, self.lead if prompt_too else self.prompt_length)


@dataclass(frozen=True)
class _Form:
    """The pieces of a prompt and of what follows it."""

    lead: str
    prompt: tuple[Piece, ...]
    answer: tuple[Piece, ...]
    end: tuple[int, ...]


class Encoder:
    """A tokenizer with the text rules of a consortium.

    Args:
        tokenizer: A tokenizer of transformers.
        text: The rules; by default the default ones.
        ends: Tokens that end a text, as config.json names them.
        rows: Rows of the model's embedding, if known.

    Attributes:
        text: The rules.
        stops: The tokens that end an answer: the end of text, what config.json ends answers with,
            and the chat template's end of turn.

    Raises:
        TextRulesUnmet: The tokenizer cannot do what the rules say.
        TemplateUnusable: The chat template cannot be used.
    """

    def __init__(
        self,
        tokenizer: Any,
        text: TextParameters | None = None,
        *,
        ends: Sequence[int] = (),
        rows: int | None = None,
    ) -> None:
        self.text = text or TextParameters()
        self._tokens = Tokens(tokenizer, rows)
        if tokenizer.eos_token_id is None:
            raise TextRulesUnmet(
                "The tokenizer of this base model has no end-of-text token. Set eos_token in its "
                "configuration."
            )
        self._eos = int(tokenizer.eos_token_id)
        self._chat: ChatTemplate | None = None
        if self.text.prompt == "chat":
            self._chat = ChatTemplate(self._tokens)
        self._bos: int | None = None
        if self.text.bos:
            if tokenizer.bos_token_id is None:
                raise TextRulesUnmet(
                    "The consortium agreed on text.bos, and the tokenizer of this base model has "
                    "no begin-of-text token. Agree on text.bos false, or on another base model."
                )
            self._bos = int(tokenizer.bos_token_id)
        turn = self._end_of_turn(tokenizer)
        self.stops = tuple(dict.fromkeys([self._eos, *ends, *([] if turn is None else [turn])]))

    def prompt(self, question: Question) -> Encoded:
        """Return the prompt of a question, after the turns before it."""
        form = self._form(question_text(question), question_turns(question), "")
        tokenized = self._tokens.encode(form.prompt)
        row = Encoded(tokenized.ids, len(tokenized.ids), self._lead(form, tokenized.ids))
        return self._begun(row)

    def example(self, example: Example) -> Encoded:
        """Return an example's tokens, whatever their number."""
        if example.document:
            return self._begun(Encoded((*self._document(example), self._eos), 0))
        form = self._form(example.question, example.turns, example.answer)
        whole = self._tokens.encode((*form.prompt, *form.answer))
        length = self._prompt_length(form, whole)
        lead = min(self._lead(form, whole.ids), length)
        return self._begun(Encoded((*whole.ids, *form.end), length, lead))

    def within(self, example: Example, max_length: int) -> Encoded:
        """Return an example's tokens. Nothing is cut off.

        Raises:
            DataError: The example is longer than `max_length` tokens.
        """
        row = self.example(example)
        if len(row.tokens) > max_length:
            raise DataError(
                f"The {'document' if example.document else 'pair'} "
                f"{(example.question or example.answer)[:60]!r} has {len(row.tokens)} tokens, and "
                f"the consortium's max_length is {max_length}. Shorten the text or agree on a "
                "larger max_length."
            )
        return row

    def rows(self, example: Example, max_length: int) -> list[Encoded]:
        """Return an example's tokens. A document is cut into pieces of at most `max_length` tokens.

        The pieces are of like length. Each begins as every text does, and the last has the end of
        text.

        Raises:
            DataError: A question with its answer is longer than `max_length` tokens.
        """
        if not example.document:
            return [self.within(example, max_length)]
        tokens = (*self._document(example), self._eos)
        room = max_length - (self._bos is not None)
        count = -(-len(tokens) // room)
        bounds = [len(tokens) * number // count for number in range(count + 1)]
        return [self._begun(Encoded(tokens[a:b], 0)) for a, b in pairwise(bounds)]

    def begun(self, question: Question, start: str) -> Encoded:
        """Return a prompt with the start of its answer, as one text."""
        if not start.strip():
            return self.prompt(question)
        form = self._form(question_text(question), question_turns(question), start)
        # The answer goes on, so what ends it is left out.
        whole = self._tokens.encode((*form.prompt, *form.answer[:2]))
        return self._begun(Encoded(whole.ids, len(whole.ids), self._lead(form, whole.ids)))

    def reply(self, tokens: Sequence[int]) -> str:
        """Return the text of generated tokens up to the first that ends an answer."""
        ends = [index for index, token in enumerate(tokens) if token in self.stops]
        return self._tokens.decode(tokens[: ends[0]] if ends else tokens).strip()

    def _document(self, example: Example) -> tuple[int, ...]:
        text = example.answer.strip()
        ids = self._tokens.encode((Piece(text, data=True),)).ids
        if not ids:
            raise DataError("A document has no text. Remove it.")
        return ids

    def _begun(self, row: Encoded) -> Encoded:
        """Put the begin-of-text token first, unless it is there."""
        if self._bos is None or row.tokens[:1] == (self._bos,):
            return row
        lead = row.lead + 1 if row.lead else 0
        length = row.prompt_length + 1 if row.prompt_length else 0
        return replace(row, tokens=(self._bos, *row.tokens), prompt_length=length, lead=lead)

    def _form(self, question: str, turns: Sequence[Turn], answer: str) -> _Form:
        if self._chat is None:
            asked = Piece(prompt(question, turns), data=True)
            # Empty literals keep the pieces of both forms in the same order.
            said = (Piece(""), Piece(completion(answer), data=True), Piece(""))
            return _Form("", (asked,), said, (self._eos,))
        messages = [*turns, Turn("user", question)]
        if not self._chat.takes_system:
            messages = _folded(messages)
        skeleton = self._chat.skeleton([message.role for message in messages])
        pieces: list[Piece] = []
        for literal, message in zip(skeleton.literals, messages, strict=False):
            pieces += [Piece(literal), Piece(message.text.strip(), data=True)]
        asked_pieces = (*pieces, Piece(skeleton.literals[-1]))
        said = (Piece(skeleton.glue), Piece(answer.strip(), data=True), Piece(skeleton.tail))
        end = () if skeleton.end_of_turn is not None else (self._eos,)
        return _Form(skeleton.literals[0], asked_pieces, said, end)

    def _lead(self, form: _Form, ids: Sequence[int]) -> int:
        return _common(self._literal(form.lead), ids) if form.lead else 0

    def _literal(self, text: str) -> tuple[int, ...]:
        return self._tokens.encode((Piece(text),)).ids

    def _prompt_length(self, form: _Form, whole: Tokenized) -> int:
        """Return where the answer begins in the tokens of the whole text.

        A token that holds the end of the prompt and the start of the answer belongs to the answer.
        """
        head = self._tokens.encode(form.prompt).ids
        common = _common(head, whole.ids)
        if common == len(head) or whole.ends is None:
            return common
        length = sum(len(piece.text) for piece in form.prompt)
        return next((i for i, end in enumerate(whole.ends) if end > length), len(whole.ids))

    def _end_of_turn(self, tokenizer: Any) -> int | None:
        """Return the template's end of turn, which an instructed model writes after any prompt."""
        if self._chat is not None:
            return self._chat.end_of_turn
        if not getattr(tokenizer, "chat_template", None):
            return None
        try:
            return ChatTemplate(self._tokens).end_of_turn
        except TemplateUnusable:
            return None


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many of the first tokens are the same."""
    pairs = enumerate(zip(first, second, strict=False))
    shorter = min(len(first), len(second))
    return next((index for index, (a, b) in pairs if a != b), shorter)


def _folded(messages: Sequence[Turn]) -> list[Turn]:
    """Return the messages with each system turn at the start of the next user turn."""
    folded: list[Turn] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.text.strip())
        elif message.role == "user" and waiting:
            folded.append(Turn("user", _PARAGRAPH.join([*waiting, message.text.strip()])))
            waiting = []
        else:
            folded.append(message)
    return folded
