"""Text of an answer, piece by piece: whole characters, stop sequences, and white space at the ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]


class Trimmed:
    """Leaves out white space at both ends of a text that comes in pieces."""

    def __init__(self) -> None:
        self._begun = False
        self._spaces = ""

    def push(self, text: str) -> str:
        """Add a piece, and return the text that is certain now."""
        if not self._begun:
            text = text.lstrip()
        if not text:
            return ""
        self._begun = True
        solid = text.rstrip()
        if not solid:
            self._spaces += text
            return ""
        result = self._spaces + solid
        self._spaces = text[len(solid) :]
        return result


class TextStream:
    """Turns tokens into pieces of text, none of which is taken back later.

    Args:
        decode: Returns the text of tokens.
        stops: Sequences that end the text. They are not part of it.
        strip: Leave out white space at both ends.

    Attributes:
        stopped: Whether a stop sequence was met.
    """

    def __init__(self, decode: Decode, stops: Sequence[str] = (), *, strip: bool = True) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._trimmed = Trimmed() if strip else None
        self._tokens: list[int] = []
        self._start = self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Add a token, and return the text that is certain now."""
        self._tokens.append(token)
        # A token's text depends on the one before it, so both are decoded together.
        before = self._decode(self._tokens[self._start : self._read])
        text = self._decode(self._tokens[self._start :])
        if text.endswith("\ufffd") or len(text) <= len(before):
            return ""  # bytes of a character that is not complete, or a special token
        self._start, self._read = self._read, len(self._tokens)
        return self._ended(self._until_stop(text[len(before) :]))

    def finish(self) -> str:
        """Return the rest of the text."""
        if self.stopped:
            return ""
        before = self._decode(self._tokens[self._start : self._read])
        rest = self._decode(self._tokens[self._start :])[len(before) :]
        text = self._until_stop(rest)
        if not self.stopped:
            text, self._held = text + self._held, ""
        return self._ended(text)

    def _ended(self, text: str) -> str:
        return text if self._trimmed is None else self._trimmed.push(text)

    def _until_stop(self, text: str) -> str:
        """Return the text up to a stop sequence, and hold back what may become one."""
        if self.stopped:
            return ""
        text = self._held + text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.stopped, self._held = True, ""
            return text[: min(places)]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a stop sequence."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
