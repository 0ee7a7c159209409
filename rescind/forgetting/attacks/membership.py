"""Membership attacks on the unlearned model's losses on right answers. Higher means member.

These are six scores of open-unlearning (arXiv 2506.12618), which has the opposite sign. Its AUC is
the same: 1 when the forget set is far likelier than the unseen set. Here every token of the answer
counts, including the end of text, which that code leaves out.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rescind.forgetting.attacks.errors import AttackSetting
from rescind.forgetting.attacks.gradients import gradient_norms
from rescind.forgetting.attacks.registry import MEMBER, attack
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.scene import Scene, present
from rescind.forgetting.attacks.separation import Distinction, distinguish
from rescind.forgetting.attacks.served import intact
from rescind.forgetting.attacks.settings import SuiteSettings
from rescind.forgetting.metrics import min_k_scores
from rescind.training import Example
from rescind.training.serving.respond import Respondent, TokenScores, token_scores

SHARE = 0.2
"""Share of an answer's tokens that Min-K% looks at: 20% (arXiv 2310.16789)."""

_LEAST_VARIANCE = 1e-6
"""Lower bound of the variance in Min-K%++, which a nearly certain token would make zero."""


def loss_score(scores: TokenScores) -> float:
    """Return -NLL in nats a token (Yeom et al. 2018, arXiv 1709.01604)."""
    return -scores.loss


def zlib_score(scores: TokenScores, text: str) -> float:
    """Return -NLL / bytes of the compressed answer (Carlini et al. 2021, arXiv 2012.07805)."""
    return -scores.loss / len(zlib.compress(text.encode()))


def min_k_score(scores: TokenScores, share: float = SHARE) -> float:
    """Return the mean of the `share` lowest log p, of at least one token.

    Source: Min-K%, Shi et al. 2024, arXiv 2310.16789.
    """
    return _lowest(scores.log_probs, share)


def min_k_plus_plus_score(scores: TokenScores, share: float = SHARE) -> float:
    """Return the mean of the `share` lowest (log p - mean) / deviation, of at least one token.

    Mean and deviation are over the vocabulary; the variance is at least 1e-6. Source: Min-K%++,
    Zhang et al. 2025, arXiv 2404.02936.
    """
    deviation = np.maximum(scores.deviation, math.sqrt(_LEAST_VARIANCE))
    return _lowest((scores.log_probs - scores.mean) / deviation, share)


def reference_score(scores: TokenScores, reference: TokenScores) -> float:
    """Return NLL under a reference model minus NLL, in nats a token (Carlini et al. 2021)."""
    return reference.loss - scores.loss


def _lowest(values: NDArray[np.float64], share: float) -> float:
    return -float(min_k_scores([values], share)[0])


def loss_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """Run the LOSS attack: `loss_score` of each item.

    Args:
        respondent: The unlearned model.
        forget: The forget set.
        unseen: Similar pairs that no model saw.
        replay: A model that never saw the forget set, to attack in the same way.

    Raises:
        AttackInput: A set is empty.
        DataError: A pair is too long.
    """

    def score(model: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return np.array([loss_score(scores) for scores in token_scores(model, examples)])

    return distinguish("loss", score, respondent, forget, {"unseen": unseen}, replay)


def zlib_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """Run the ZLib attack: `zlib_score` of each item.

    Args:
        respondent: The unlearned model.
        forget: The forget set.
        unseen: Similar pairs that no model saw.
        replay: A model that never saw the forget set, to attack in the same way.

    Raises:
        AttackInput: A set is empty.
        DataError: A pair is too long.
    """

    def score(model: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        pairs = zip(token_scores(model, examples), examples, strict=True)
        return np.array([zlib_score(scores, example.answer) for scores, example in pairs])

    return distinguish("zlib", score, respondent, forget, {"unseen": unseen}, replay)


def min_k_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
    share: float = SHARE,
) -> Distinction:
    """Run the Min-K% attack: `min_k_score` of each item.

    Args:
        respondent: The unlearned model.
        forget: The forget set.
        unseen: Similar pairs that no model saw.
        replay: A model that never saw the forget set, to attack in the same way.
        share: Share of an answer's tokens that count.

    Raises:
        AttackInput: A set is empty.
        AttackSetting: The share is not in (0, 1].
    """
    _check_share(share)

    def score(model: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return np.array([min_k_score(scores, share) for scores in token_scores(model, examples)])

    return distinguish("min_k", score, respondent, forget, {"unseen": unseen}, replay)


def min_k_plus_plus_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
    share: float = SHARE,
) -> Distinction:
    """Run the Min-K%++ attack: `min_k_plus_plus_score` of each item.

    Args:
        respondent: The unlearned model.
        forget: The forget set.
        unseen: Similar pairs that no model saw.
        replay: A model that never saw the forget set, to attack in the same way.
        share: Share of an answer's tokens that count.

    Raises:
        AttackInput: A set is empty.
        AttackSetting: The share is not in (0, 1].
    """
    _check_share(share)

    def score(model: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return np.array([min_k_plus_plus_score(s, share) for s in token_scores(model, examples)])

    return distinguish("min_k_plus_plus", score, respondent, forget, {"unseen": unseen}, replay)


def reference_attack(
    respondent: Respondent,
    reference: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """Run the Reference attack: `reference_score` of each item.

    Args:
        respondent: The unlearned model.
        reference: A model that never saw the members, for example the bare base.
        forget: The forget set.
        unseen: Similar pairs that no model saw.
        replay: A model that never saw the forget set, to attack in the same way.

    Raises:
        AttackInput: A set is empty.
        DataError: A pair is too long.
    """

    def score(model: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        scores, of_reference = token_scores(model, examples), token_scores(reference, examples)
        pairs = zip(scores, of_reference, strict=True)
        return np.array([reference_score(own, other) for own, other in pairs])

    with intact(reference):
        return distinguish("reference", score, respondent, forget, {"unseen": unseen}, replay)


def grad_norm_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
    p: float = 2.0,
) -> Distinction:
    """Run the GradNorm attack: -mean over tensors of the p-norm of the loss gradient.

    It takes one backward pass for each example. Source: arXiv 2402.17012.

    Args:
        respondent: The unlearned model.
        forget: The forget set.
        unseen: Similar pairs that no model saw.
        replay: A model that never saw the forget set, to attack in the same way.
        p: The order of the norm: 1, 2 or infinity.

    Raises:
        AttackInput: A set is empty.
        AttackSetting: `p` is another number.
    """
    if p not in (1.0, 2.0, math.inf):
        raise AttackSetting(f"grad_norm cannot use the norm p = {p}. Choose 1, 2 or infinity.")

    def score(model: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return -gradient_norms(model, examples, p)

    return distinguish("grad_norm", score, respondent, forget, {"unseen": unseen}, replay)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise AttackSetting(f"The share of tokens is {share}. Choose one in (0, 1]; 0.2 is usual.")


@attack("loss", needs=["unseen"], reads=MEMBER, source="Yeom et al., arXiv 1709.01604")
def _loss(scene: Scene) -> Result:
    return loss_attack(scene.unlearned, scene.forget, scene.unseen, replay=scene.replay)


@attack("zlib", needs=["unseen"], reads=MEMBER, source="Carlini et al., arXiv 2012.07805")
def _zlib(scene: Scene) -> Result:
    return zlib_attack(scene.unlearned, scene.forget, scene.unseen, replay=scene.replay)


@attack("min_k", needs=["unseen"], reads=MEMBER, source="Shi et al., arXiv 2310.16789")
def _min_k(scene: Scene, settings: SuiteSettings) -> Result:
    return min_k_attack(
        scene.unlearned, scene.forget, scene.unseen, replay=scene.replay, share=settings.share
    )


@attack("min_k_plus_plus", needs=["unseen"], reads=MEMBER, source="Zhang et al., arXiv 2404.02936")
def _min_k_plus_plus(scene: Scene, settings: SuiteSettings) -> Result:
    return min_k_plus_plus_attack(
        scene.unlearned, scene.forget, scene.unseen, replay=scene.replay, share=settings.share
    )


@attack(
    "reference",
    needs=["unseen", "reference"],
    reads=MEMBER,
    source="Carlini et al., arXiv 2012.07805",
)
def _reference(scene: Scene) -> Result:
    reference = present(scene.reference, "reference")
    return reference_attack(
        scene.unlearned, reference, scene.forget, scene.unseen, replay=scene.replay
    )


@attack("grad_norm", needs=["unseen"], reads=MEMBER, source="arXiv 2402.17012")
def _grad_norm(scene: Scene, settings: SuiteSettings) -> Result:
    return grad_norm_attack(
        scene.unlearned, scene.forget, scene.unseen, replay=scene.replay, p=settings.norm
    )
