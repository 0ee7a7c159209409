"""Answers in OpenAI's form, whole and piece by piece."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from rescind.serving.errors import ApiError
from rescind.serving.jobs import Delta, Done, Event, Failed, Routed


@dataclass(frozen=True)
class Form:
    """The form of one answer.

    Attributes:
        chat: Whether it answers a conversation.
        include_usage: Whether a stream ends with the number of tokens.
        id: The answer's id.
        created: When it was made, Unix seconds.
    """

    chat: bool
    include_usage: bool = False
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, routed: Routed, text: str, done: Done) -> dict[str, Any]:
        """Return the JSON of a whole answer."""
        part: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text, "refusal": None}}
            if self.chat
            else {"text": text}
        )
        kind = "chat.completion" if self.chat else "text_completion"
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": done.reason}
        return {**self._head(routed, kind), "choices": [choice], "usage": usage(done)}

    def piece(self, routed: Routed, text: str, *, first: bool = False) -> dict[str, Any]:
        """Return the JSON of a piece of text."""
        return self._piece(routed, text, None, first=first)

    def end(self, routed: Routed, done: Done) -> list[dict[str, Any]]:
        """Return the JSON of the last pieces."""
        last = self._piece(routed, "", done.reason)
        if not self.include_usage:
            return [last]
        head = self._head(routed, self._kind)
        return [last, {**head, "choices": [], "usage": usage(done)}]

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _piece(
        self, routed: Routed, text: str, reason: str | None, *, first: bool = False
    ) -> dict[str, Any]:
        delta: dict[str, Any] = {"role": "assistant", "content": text} if first else {}
        if text:
            delta["content"] = text
        part: dict[str, Any] = {"delta": delta} if self.chat else {"text": text}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": reason}
        # With usage asked for, every piece has the key.
        usage_key = {"usage": None} if self.include_usage else {}
        return {**self._head(routed, self._kind), "choices": [choice], **usage_key}

    def _head(self, routed: Routed, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.chat else "cmpl"
        adapter = routed.model.adapter_id if routed.model else ""
        return {
            "id": f"{prefix}-{self.id}",
            "object": kind,
            "created": self.created,
            "model": routed.name,
            "system_fingerprint": f"fp_{adapter[:12] or 'base'}",
        }


def usage(done: Done) -> dict[str, int]:
    """Return the number of tokens."""
    return {
        "prompt_tokens": done.prompt_tokens,
        "completion_tokens": done.completion_tokens,
        "total_tokens": done.prompt_tokens + done.completion_tokens,
    }


def headers(routed: Routed) -> dict[str, str]:
    """Return the headers that say which model answers, and which block or head of it."""
    result = {"x-rescind-answered-by": routed.owner}
    model = routed.model
    if model is None:
        return result
    result |= {
        "x-rescind-model": str(model.key.number),
        "x-rescind-adapter": model.adapter_id or "none",
        "x-rescind-block": str(routed.block),
    }
    if routed.task:
        result |= {"x-rescind-task": routed.task, "x-rescind-head": routed.head}
    organization = model.organizations.get(routed.owner)
    if organization:
        result["x-rescind-organization"] = quote(organization, safe=" ()'!~*,.:;@&=+$/-_")
    return result


async def whole(form: Form, routed: Routed, events: AsyncIterator[Event]) -> Mapping[str, Any]:
    """Return the JSON of a whole answer.

    Raises:
        ApiError: The answer failed.
    """
    parts: list[str] = []
    async for event in events:
        if isinstance(event, Delta):
            parts.append(event.text)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Done):
            return form.whole(routed, "".join(parts), event)
    raise ApiError(500, "The answer ended too early.", "model_failed")


async def pieces(form: Form, routed: Routed, events: AsyncIterator[Event]) -> AsyncIterator[str]:
    """Yield an answer as server-sent events. One that fails ends with an error and no [DONE]."""
    if form.chat:
        yield _sent(form.piece(routed, "", first=True))
    async for event in events:
        if isinstance(event, Delta):
            yield _sent(form.piece(routed, event.text))
        elif isinstance(event, Failed):
            yield _sent(event.error.body())
            return
        elif isinstance(event, Done):
            for document in form.end(routed, event):
                yield _sent(document)
            yield "data: [DONE]\n\n"
            return


def _sent(document: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(document, separators=(',', ':'))}\n\n"
