"""Attacks that compare the models before and after unlearning. A higher score says forgotten.

An update-difference attack needs both models (TULA, arXiv 2406.13348). The difference betrays even
an exact removal, so no method can go below the figure of a replay.
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
    """Score each item by s = NLL after - NLL before, in nats a token.

    Args:
        before: The model before unlearning.
        after: The model after unlearning.
        forget: The forget set.
        others: The sets to compare it with, by name: the retain set, unseen pairs.
        replay: A model that never saw the forget set, to attack in the same way.

    Raises:
        AttackInput: The forget set or all other sets are empty.
    """

    def score(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        new, old = token_scores(respondent, examples), token_scores(before, examples)
        return np.array([a.loss - b.loss for a, b in zip(new, old, strict=True)])

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
    """Score each item by s = KL(p before || p after) of the next token.

    s is the mean over the answer's tokens, in nats. Arguments and errors are those of
    `nll_difference`.
    """

    def score(respondent: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return answer_divergence(before, respondent, examples)

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
    """Score each item by s = cos(gradient of NLL before, after - before).

    The cosine is over the block's trainable LoRA tensors. A step that raises an item's loss goes
    along its gradient. Besides the item, the attack needs only the two deltas on a public record.

    Args:
        model: The model of the block.
        before: The block's tensors before unlearning, by bare name.
        after: The block's tensors after unlearning.
        forget: The forget set.
        others: The sets to compare it with, by name.
        max_length: The most tokens of an example.
        replay: The block's tensors in a replay, to attack in the same way.

    Raises:
        AttackInput: The forget set or all other sets are empty, a tensor is missing, or nothing
            changed.
    """
    if not forget or not any(others.values()):
        raise AttackInput(
            "delta_alignment needs a forget set and another set to compare it with. One is empty."
        )
    sets = {"forget": forget, **{name: items for name, items in others.items() if items}}
    deltas = [_delta(model, before, each) for each in (after, *([replay] if replay else []))]
    scores: list[dict[str, NDArray[np.float64]]] = [{} for _ in deltas]
    with loaded(model, before, max_length=max_length) as served:
        for name, items in sets.items():
            gradients = adapter_gradients(model, str(served.adapter), items, max_length)
            cosines = np.array([[cosine(g, delta) for delta in deltas] for g in gradients])
            for column, of_delta in enumerate(scores):
                of_delta[name] = cosines[:, column]
    return distinction("delta_alignment", scores[0], scores[1] if replay else None)


def answer_divergence(
    before: Respondent, after: Respondent, examples: Sequence[Example]
) -> NDArray[np.float64]:
    """Return KL(before || after), the mean over the answer's tokens in nats, (examples,)."""
    means: list[float] = []
    for start in range(0, len(examples), _BATCH):
        batch = examples[start : start + _BATCH]
        pairs = zip(_log_probs(before, batch), _log_probs(after, batch), strict=True)
        means += [float(divergence(old, new).mean()) for old, new in pairs]
    return np.array(means)


def divergence(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return KL(before || after) in nats, (tokens,), of log-probabilities (tokens, vocabulary)."""
    return (before.exp() * (before - after)).sum(-1)


def cosine(
    first: Mapping[str, NDArray[np.float64]], second: Mapping[str, NDArray[np.float64]]
) -> float:
    """Return the cosine of two sets of tensors with the same names; 0 if either is all zero."""
    dot = sum(float(np.vdot(first[name], second[name])) for name in first)
    norms = [np.sqrt(sum(float(np.vdot(v, v)) for v in side.values())) for side in (first, second)]
    return dot / float(norms[0] * norms[1]) if all(norms) else 0.0


def _delta(
    model: LoraModel, before: FloatTensors, after: FloatTensors
) -> dict[str, NDArray[np.float64]]:
    missing = [name for name in model.trainable if name not in before or name not in after]
    if missing:
        raise AttackInput(
            f"delta_alignment: tensor {missing[0]!r} is missing before or after. Pass all tensors."
        )
    delta = {name: after[name].astype(np.float64) - before[name] for name in model.trainable}
    if not any(value.any() for value in delta.values()):
        raise AttackInput(
            "before and after are the same adapter, so there is no delta to align with."
        )
    return delta


@torch.inference_mode()
def _log_probs(respondent: Respondent, examples: Sequence[Example]) -> list[torch.Tensor]:
    base = respondent.base
    rows = [encode_example(base, example, respondent.max_length) for example in examples]
    log_probs: dict[int, torch.Tensor] = {}
    for network, indices in respondent.groups(examples):
        ids, mask, labels = pad(base, [rows[index] for index in indices], prompt_in_loss=False)
        logits = network(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
        for line, index in enumerate(indices):
            kept = logits[line][labels[line, 1:] != IGNORED]
            log_probs[index] = kept.double().log_softmax(-1)
    return [log_probs[index] for index in range(len(rows))]


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
