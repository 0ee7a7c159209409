"""Telling what was forgotten by one who holds the model before and after. Higher says forgotten.

Knowing both is what an update-difference attack needs (TULA, arXiv 2406.13348): the difference
betrays even an exact removal, so the figure for a replay is what no method can go below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.gradients import adapter_gradients
from rescind.forgetting.attacks.registry import FORGOTTEN, attack
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.scene import Scene, present
from rescind.forgetting.attacks.separation import Distinction, distinction, distinguish
from rescind.forgetting.attacks.served import intact, loaded
from rescind.training import Example, LoraModel
from rescind.training.engine.batches import IGNORED, encode_example, pad
from rescind.training.serving.respond import Respondent, token_scores

_BATCH = 16


def nll_difference(
    before: Respondent,
    after: Respondent,
    forget: Sequence[Example],
    others: Mapping[str, Sequence[Example]],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """s = NLL after - NLL before, nats a token. `others`: the retain set, unseen pairs."""

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        own, old = token_scores(asked, examples), token_scores(before, examples)
        return np.array([a.loss - b.loss for a, b in zip(own, old, strict=True)])

    with intact(before):
        return distinguish("nll_difference", score, after, forget, others, replay)


def kl_difference(
    before: Respondent,
    after: Respondent,
    forget: Sequence[Example],
    others: Mapping[str, Sequence[Example]],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """s = KL(p before || p after) of the next token, mean over the answer's tokens, nats."""

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return answer_divergence(before, asked, examples)

    with intact(before):
        return distinguish("kl_difference", score, after, forget, others, replay)


def delta_alignment(
    model: LoraModel,
    before: FloatTensors,
    after: FloatTensors,
    forget: Sequence[Example],
    others: Mapping[str, Sequence[Example]],
    *,
    max_length: int,
    replay: FloatTensors | None = None,
) -> Distinction:
    """s = cos(gradient of NLL before, after - before), over the block's trainable LoRA tensors.

    A step that raises an item's loss goes along its gradient. The two deltas on a public record are
    all that it needs besides the item. Raises AttackInput when nothing changed.
    """
    if not forget or not any(others.values()):
        raise AttackInput("delta_alignment needs a forget set and a set to tell it from")
    sets = {"forget": forget, **{name: items for name, items in others.items() if items}}
    deltas = [_delta(model, before, one) for one in (after, *([replay] if replay else []))]
    found: list[dict[str, NDArray[np.float64]]] = [{} for _ in deltas]
    with loaded(model, before, max_length=max_length) as served:
        for name, items in sets.items():
            gradients = adapter_gradients(model, str(served.adapter), items, max_length)
            cosines = np.array([[cosine(g, delta) for delta in deltas] for g in gradients])
            for place, scores in enumerate(found):
                scores[name] = cosines[:, place]
    return distinction("delta_alignment", found[0], found[1] if replay else None)


def answer_divergence(
    before: Respondent, after: Respondent, examples: Sequence[Example]
) -> NDArray[np.float64]:
    """KL(before || after), mean over the answer's tokens in nats, (examples,)."""
    found: list[float] = []
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        pairs = zip(_log_probs(before, batch), _log_probs(after, batch), strict=True)
        found += [float(divergence(old, new).mean()) for old, new in pairs]
    return np.array(found)


def divergence(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """KL(before || after) in nats, (tokens,), of log-probabilities (tokens, vocabulary)."""
    return (before.exp() * (before - after)).sum(-1)


def cosine(
    one: Mapping[str, NDArray[np.float64]], other: Mapping[str, NDArray[np.float64]]
) -> float:
    """Of two sets of tensors with the same names; 0 when either is all zero."""
    dot = sum(float(np.vdot(one[name], other[name])) for name in one)
    norms = [np.sqrt(sum(float(np.vdot(v, v)) for v in side.values())) for side in (one, other)]
    return dot / float(norms[0] * norms[1]) if all(norms) else 0.0


def _delta(
    model: LoraModel, before: FloatTensors, after: FloatTensors
) -> dict[str, NDArray[np.float64]]:
    lost = [name for name in model.trainable if name not in before or name not in after]
    if lost:
        raise AttackInput(
            f"delta_alignment lacks tensor {lost[0]!r} before or after: give them all"
        )
    delta = {name: after[name].astype(np.float64) - before[name] for name in model.trainable}
    if not any(value.any() for value in delta.values()):
        raise AttackInput("before and after are the same adapter: there is no delta to align with")
    return delta


@torch.inference_mode()
def _log_probs(respondent: Respondent, examples: Sequence[Example]) -> list[torch.Tensor]:
    base = respondent.base
    rows = [encode_example(base, example, respondent.max_length) for example in examples]
    found: dict[int, torch.Tensor] = {}
    for network, places in respondent.groups([e.question for e in examples]):
        ids, mask, labels = pad(base, [rows[place] for place in places], prompt_in_loss=False)
        logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        for line, place in enumerate(places):
            kept = logits[line][labels[line, 1:] != IGNORED]
            found[place] = kept.double().log_softmax(-1)
    return [found[place] for place in range(len(rows))]


@attack(
    "nll_difference",
    needs=["original", "others"],
    reads=FORGOTTEN,
    source="after TULA, arXiv 2406.13348",
)
def _nll(scene: Scene) -> Result:
    before = present(scene.original, "original")
    return nll_difference(before, scene.unlearned, scene.forget, scene.others, replay=scene.replay)


@attack(
    "kl_difference",
    needs=["original", "others"],
    reads=FORGOTTEN,
    source="after TULA, arXiv 2406.13348",
)
def _kl(scene: Scene) -> Result:
    before = present(scene.original, "original")
    return kl_difference(before, scene.unlearned, scene.forget, scene.others, replay=scene.replay)


@attack(
    "delta_alignment",
    needs=["block.original", "others"],
    reads=FORGOTTEN,
    source="after TULA, arXiv 2406.13348",
)
def _alignment(scene: Scene) -> Result:
    block = present(scene.block, "block")
    return delta_alignment(
        block.model,
        present(block.original, "block.original"),
        block.unlearned,
        scene.forget,
        scene.others,
        max_length=block.parameters.training.max_length,
        replay=block.replay,
    )
