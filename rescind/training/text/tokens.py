"""Tokenization in which only what we write ourselves can become a control token.

Control tokens are a tokenizer's special tokens, and the added tokens that its chat template writes
("<think>", for example). A tokenizer turns every text that looks like one into it, also in a user's
question. To keep such text as text, a copy of the tokenizer is made in which each control token has
a name that no one can guess; literals are written with those names, data is left as it is. All else
(normalization, merges, the space at the start) is the tokenizer's own.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rescind.core.errors import DataError

_BRACKETED = re.compile(r"[<\[{|(].*[>\]}|)]", re.DOTALL)
"""An added token that looks like markup. Others, such as runs of spaces, are ordinary text."""


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        text: The text.
        data: Whether it comes from data. In a literal, control tokens are control tokens.
    """

    text: str
    data: bool = False


@dataclass(frozen=True)
class Tokenized:
    """Tokens of a text.

    Attributes:
        ids: The token ids.
        ends: Where each token ends in the text, in characters; None where the tokenizer cannot say.
    """

    ids: tuple[int, ...]
    ends: tuple[int, ...] | None


class Tokens:
    """A tokenizer that keeps data apart from control tokens.

    Args:
        tokenizer: A tokenizer of transformers.
        rows: Rows of the model's embedding. An added token without a row is read as text.

    Attributes:
        tokenizer: The tokenizer.
    """

    def __init__(self, tokenizer: Any, rows: int | None = None) -> None:
        self.tokenizer = tokenizer
        self._rows = rows
        self._in_literals: dict[str, tuple[int, ...]] = {}

    @cached_property
    def control(self) -> Mapping[int, str]:
        """The control tokens: their text by id."""
        tokenizer = self.tokenizer
        template = _template_text(tokenizer)
        special = {int(i) for i in tokenizer.all_special_ids}
        if self._unknown is not None:
            special.add(self._unknown)
        control = {index: str(tokenizer.convert_ids_to_tokens(index)) for index in special}
        for index, token in tokenizer.added_tokens_decoder.items():
            content = str(token.content)
            written = content in template and _BRACKETED.fullmatch(content)
            missing = self._rows is not None and int(index) >= self._rows
            if token.special or written or missing:
                control[int(index)] = content
        return control

    @cached_property
    def _unwritten(self) -> frozenset[int]:
        """The control tokens that no data becomes."""
        # Text that a vocabulary lacks becomes the unknown token, which steers nothing. Where it is
        # another token too (GPT-2's end of text), it is that token that counts.
        tokenizer = self.tokenizer
        others = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        unknown = {self._unknown} - set(others)
        return frozenset(self.control) - unknown

    @property
    def _unknown(self) -> int | None:
        """The token of text that the vocabulary lacks. A tokenizer need not name it as its own."""
        if self.tokenizer.unk_token_id is not None:
            return int(self.tokenizer.unk_token_id)
        backend = self.tokenizer.backend_tokenizer if self.fast else None
        name = getattr(backend.model, "unk_token", None) if backend is not None else None
        return None if backend is None or name is None else backend.token_to_id(name)

    def first_control(self, literal: str) -> tuple[int, int] | None:
        """Return the id of the first control token in a literal and where it ends, or None."""
        match = self._names.search(literal)
        return (self._ids[match[0]], match.end()) if match else None

    def encode(self, pieces: Sequence[Piece]) -> Tokenized:
        """Tokenize pieces as one text.

        Raises:
            DataError: The tokenizer cannot read data as text, because it looks like a control token
                or has half a surrogate pair.
        """
        text = "".join(piece.text for piece in pieces)
        try:
            plain = self._encode(text)
            expected = [i for p in pieces if not p.data for i in self._controls(p.text)]
            if self._only(plain, expected) and not self._unknown_is_named(pieces):
                return plain
            kept = self._encode_apart(pieces)
        except (TypeError, UnicodeEncodeError) as error:
            raise DataError(
                f"The text {text[:60]!r} cannot be tokenized: it has half a surrogate pair "
                f"({error}). Correct it in the data."
            ) from error
        if kept is None or not self._only(kept, expected):
            raise DataError(
                f"The text {text[:60]!r} has a token such as {self._look_alike(pieces)!r}, which "
                "this base model's tokenizer can only read as a control token. Remove it."
            )
        return kept

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without special tokens."""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    @property
    def fast(self) -> bool:
        """True if the tokenizer is of the tokenizers library, and knows where its tokens are."""
        return bool(getattr(self.tokenizer, "is_fast", False))

    def _encode(self, text: str) -> Tokenized:
        if not self.fast:
            encoded = self.tokenizer(text, add_special_tokens=False, verbose=False)
            return Tokenized(tuple(int(i) for i in encoded["input_ids"]), None)
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ends = tuple(int(end) for _, end in encoded["offset_mapping"])
        return Tokenized(tuple(int(i) for i in encoded["input_ids"]), ends)

    def _only(self, tokenized: Tokenized, expected: Sequence[int]) -> bool:
        return [i for i in tokenized.ids if i in self._unwritten] == list(expected)

    def _unknown_is_named(self, pieces: Sequence[Piece]) -> bool:
        if self._unknown is None:
            return False
        name = self.control[self._unknown]
        return any(piece.data and name in piece.text for piece in pieces)

    def _controls(self, literal: str) -> tuple[int, ...]:
        if literal not in self._in_literals:
            ids = self._encode(literal).ids if literal else ()
            self._in_literals[literal] = tuple(i for i in ids if i in self._unwritten)
        return self._in_literals[literal]

    def _encode_apart(self, pieces: Sequence[Piece]) -> Tokenized | None:
        """Tokenize pieces with the copy whose control tokens are renamed."""
        if not self.fast:
            return self._encode_slowly(pieces)
        backend, names = self._renamed
        written: list[str] = []
        for piece in pieces:
            text = piece.text
            if not piece.data:
                text = self._names.sub(lambda match: names[match[0]], text)
            written.append(text)
        encoding = backend.encode("".join(written), add_special_tokens=False)
        # Ends count the names instead of the tokens, so only callers' prefix checks can use them.
        shifts = _shifts(pieces, written)
        ends = tuple(_moved(int(end), shifts) for _, end in encoding.offsets)
        return Tokenized(tuple(int(i) for i in encoding.ids), ends)

    def _encode_slowly(self, pieces: Sequence[Piece]) -> Tokenized | None:
        """Tokenize pieces one by one, and check that they decode to the same text."""
        ids: list[int] = []
        for piece in pieces:
            ids += self.tokenizer.encode(
                piece.text, add_special_tokens=False, split_special_tokens=piece.data
            )
        text = "".join(piece.text for piece in pieces)
        decoded = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        same = "".join(decoded.split()) == "".join(text.split())
        return Tokenized(tuple(int(i) for i in ids), None) if same else None

    def _look_alike(self, pieces: Sequence[Piece]) -> str:
        for piece in pieces:
            if piece.data and (match := self._names.search(piece.text)):
                return match[0]
        return next(iter(self.control.values()), "")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {content: index for index, content in self.control.items()}

    @cached_property
    def _names(self) -> re.Pattern[str]:
        contents = sorted(filter(None, self.control.values()), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, contents)) or "(?!)")

    @cached_property
    def _renamed(self) -> tuple[Any, dict[str, str]]:
        """A copy of the tokenizer with secret names of control tokens, and these names."""
        from tokenizers import Tokenizer

        secret = secrets.token_hex(16)
        names = {content: f"x{secret}{index}x" for index, content in self.control.items()}
        spec = json.loads(self.tokenizer.backend_tokenizer.to_str())
        spec["truncation"] = spec["padding"] = None
        for entry in spec.get("added_tokens", ()):
            if entry["id"] in self.control:
                entry["content"] = names[self.control[entry["id"]]]
        model = spec["model"]
        vocabulary = model["vocab"]
        if isinstance(vocabulary, dict):
            model["vocab"] = {
                names[piece] if self._ids.get(piece) == index else piece: index
                for piece, index in vocabulary.items()
            }
        else:
            for index, content in self.control.items():
                if index < len(vocabulary) and vocabulary[index][0] == content:
                    vocabulary[index][0] = names[content]
        if model.get("unk_token") in names:
            model["unk_token"] = names[model["unk_token"]]
        return Tokenizer.from_str(json.dumps(spec)), names


def _template_text(tokenizer: Any) -> str:
    template = getattr(tokenizer, "chat_template", None)
    return "\0".join(template.values()) if isinstance(template, dict) else template or ""


def _shifts(pieces: Sequence[Piece], written: Sequence[str]) -> list[tuple[int, int]]:
    """Return where each piece ends as written, and how far that is from its end in the text."""
    shifts, original, position = [], 0, 0
    for piece, text in zip(pieces, written, strict=True):
        original, position = original + len(piece.text), position + len(text)
        shifts.append((position, original - position))
    return shifts


def _moved(end: int, shifts: Sequence[tuple[int, int]]) -> int:
    """Return where a token that ends at `end` as written ends in the text.

    Names make literals longer, so a place inside a literal is at most the literal's end.
    """
    before = 0
    for here, shift in shifts:
        if end <= here:
            return min(end + before, here + shift)
        before = shift
    return end + before
