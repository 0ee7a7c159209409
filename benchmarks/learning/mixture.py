"""One next-token distribution from several adapters: a mixture at the level of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from rescind.training import LoraModel


@dataclass(frozen=True)
class Output:
    logits: torch.Tensor


class TokenMixture:
    """A network whose probabilities are a weighted mean of those of its adapters.

    `bayes`: each adapter weighs as much as it finds likely what was read so far, prompt included,
    from equal weights before the first token. Otherwise all weigh the same. A term of the sum belongs
    to one adapter, so that it disappears with its owner.
    """

    def __init__(self, model: LoraModel, adapters: Sequence[str | None], *, bayes: bool) -> None:
        self._model, self._adapters, self._bayes = model, list(adapters), bayes

    def __call__(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: Any
    ) -> Output:
        each = [
            self._model.use(name)(input_ids=input_ids, attention_mask=attention_mask, **more)
            for name in self._adapters
        ]
        logs = torch.stack([output.logits.float().log_softmax(-1) for output in each])
        return Output(_mean(logs, self._weights(logs, input_ids, attention_mask)))

    @torch.inference_mode()
    def generate(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        generation_config: GenerationConfig,
    ) -> torch.Tensor:
        """Write greedy answers: only what `generate` of rescind.training asks for."""
        stops = torch.tensor(generation_config.eos_token_id)
        caches: list[Any] = [None] * len(self._adapters)
        written, mask, step = input_ids, attention_mask, input_ids
        weights: torch.Tensor | None = None
        done = torch.zeros(len(input_ids), dtype=torch.bool)
        for _ in range(int(generation_config.max_new_tokens or 0)):
            logs = self._step(step, mask, caches)
            if weights is None:
                weights = self._weights(logs, input_ids, mask)[..., -1:]
            chosen = _mean(logs[:, :, -1:], weights)[:, 0].argmax(-1)
            chosen = torch.where(done, generation_config.pad_token_id, chosen)
            if self._bayes:
                own = logs[:, :, -1].gather(-1, chosen.expand(len(logs), -1).unsqueeze(-1))
                weights = (weights + own).log_softmax(0)
            done |= torch.isin(chosen, stops)
            step = chosen.unsqueeze(1)
            written = torch.cat([written, step], dim=1)
            mask = torch.cat([mask, torch.ones_like(step)], dim=1)
            if done.all():
                break
        return written

    def _step(self, tokens: torch.Tensor, mask: torch.Tensor, caches: list[Any]) -> torch.Tensor:
        positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, -tokens.shape[1] :]
        logs = []
        for place, name in enumerate(self._adapters):
            output = self._model.use(name)(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=caches[place],
                use_cache=True,
            )
            caches[place] = output.past_key_values
            logs.append(output.logits.float().log_softmax(-1))
        return torch.stack(logs)

    def _weights(
        self, logs: torch.Tensor, tokens: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Log weights of each adapter at each position, (adapters, rows, length)."""
        if not self._bayes:
            return torch.zeros(logs.shape[:3]).log_softmax(0)
        own = logs[:, :, :-1].gather(-1, tokens[:, 1:].expand(len(logs), -1, -1).unsqueeze(-1))
        own = own.squeeze(-1) * (mask[:, 1:] * mask[:, :-1])
        evidence = torch.cat([torch.zeros(*own.shape[:2], 1), own.cumsum(-1)], dim=-1)
        return evidence.log_softmax(0)


def _mean(logs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Log of the weighted mean of probabilities, (rows, length, vocabulary)."""
    return torch.logsumexp(logs + weights.unsqueeze(-1), dim=0)
