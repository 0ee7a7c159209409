"""Generation of an answer, token by token. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from rescind.serving.asked import Sampling
from rescind.serving.jobs import Delta, Done, Event
from rescind.serving.text import TextStream
from rescind.training import Base
from rescind.training.serving.generation import decoding, own_settings

Emit = Callable[[Event], None]


class _Pieces(BaseStreamer):
    """Hands each token's text on as soon as it is certain."""

    def __init__(self, text: TextStream, ends: set[int], emit: Emit) -> None:
        self._text, self._ends, self._emit = text, ends, emit
        self._prompt_seen = False
        self.count = 0
        self.ended = False

    def put(self, value: torch.Tensor) -> None:
        if not self._prompt_seen:
            self._prompt_seen = True
            return
        for token in value.reshape(-1).tolist():
            if token in self._ends:
                self.ended = True
                return
            self.count += 1
            piece = self._text.push(token)
            if piece:
                self._emit(Delta(piece))

    def end(self) -> None:
        piece = self._text.finish()
        if piece:
            self._emit(Delta(piece))


class _Stops(StoppingCriteria):
    """Ends the generation at a stop sequence, or when no one waits for it any more."""

    def __init__(self, is_over: Callable[[], bool]) -> None:
        self._is_over = is_over

    def __call__(self, input_ids: torch.Tensor, _: Any, **__: Any) -> torch.Tensor:
        over = self._is_over()
        return torch.full((len(input_ids),), over, dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def generate(
    base: Base,
    network: Any,
    tokens: tuple[int, ...],
    sampling: Sampling,
    max_tokens: int,
    emit: Emit,
    is_stopped: Callable[[], bool],
    *,
    strip: bool,
) -> Done:
    """Generate an answer, and return how it ended.

    Args:
        base: The base model.
        network: The model with the adapter that answers.
        tokens: The prompt.
        sampling: How tokens are chosen.
        max_tokens: Most tokens of the answer.
        emit: Takes the pieces of text.
        is_stopped: Whether no one waits for the answer any more; asked at each token.
        strip: Leave out white space at both ends.
    """

    def decode(ids: Any) -> str:
        decoded = base.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(decoded)

    text = TextStream(decode, sampling.stops, strip=strip)
    pieces = _Pieces(text, set(base.encoder.stops), emit)
    prompt = torch.tensor([tokens], dtype=torch.long, device=base.device)
    _seed(sampling)
    with own_settings(base):
        network.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            generation_config=_config(base, sampling, max_tokens),
            streamer=pieces,
            stopping_criteria=StoppingCriteriaList([_Stops(lambda: text.stopped or is_stopped())]),
        )
    reason: Literal["stop", "length"] = "stop" if pieces.ended or text.stopped else "length"
    return Done(reason, len(tokens), pieces.count)


def _config(base: Base, sampling: Sampling, max_tokens: int) -> GenerationConfig:
    if sampling.temperature == 0:
        return decoding(base, max_tokens)
    chosen = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return decoding(base, max_tokens, do_sample=True, **chosen)


def _seed(sampling: Sampling) -> None:
    """Begin the numbers that choose tokens. Only this thread draws any."""
    if sampling.seed is None:
        torch.seed()
    else:
        torch.manual_seed(sampling.seed)
