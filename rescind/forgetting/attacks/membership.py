"""Membership scores from the unlearned model's losses on right answers. Higher means member.

Six scores of open-unlearning (arXiv 2506.12618), which has the opposite sign; its AUC, 1 when the
forget set is far likelier than the unseen one, is the same. Every token of the answer counts, the
end of text included, which that code leaves out.
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


def loss_score(scores: TokenScores) -> float:
    """-NLL, nats a token (Yeom et al. 2018, arXiv 1709.01604)."""
    return -scores.loss


def zlib_score(scores: TokenScores, text: str) -> float:
    """-NLL / bytes of the answer compressed by zlib (Carlini et al. 2021, arXiv 2012.07805)."""
    return -scores.loss / len(zlib.compress(text.encode()))


def min_k_score(scores: TokenScores, share: float = SHARE) -> float:
    """Mean of the `share` lowest log p, at least one token (Shi et al. 2024, arXiv 2310.16789)."""
    return _lowest(scores.log_probs, share)


def min_k_plus_plus_score(scores: TokenScores, share: float = SHARE) -> float:
    """The same of (log p - mean) / deviation, both over the vocabulary; the variance is at least
    1e-6 (Zhang et al. 2025, arXiv 2404.02936)."""
    deviation = np.maximum(scores.deviation, math.sqrt(_LEAST_VARIANCE))
    return _lowest((scores.log_probs - scores.mean) / deviation, share)


def reference_score(scores: TokenScores, reference: TokenScores) -> float:
    """NLL under a reference model less NLL, nats a token (Carlini et al. 2021)."""
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
    """LOSS. Raises AttackInput for an empty set, DataError for a pair that is too long."""

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return np.array([loss_score(one) for one in token_scores(asked, examples)])

    return distinguish("loss", score, respondent, forget, {"unseen": unseen}, replay)


def zlib_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """ZLib. Raises AttackInput for an empty set, DataError for a pair that is too long."""

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        pairs = zip(token_scores(asked, examples), examples, strict=True)
        return np.array([zlib_score(one, example.answer) for one, example in pairs])

    return distinguish("zlib", score, respondent, forget, {"unseen": unseen}, replay)


def min_k_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
    share: float = SHARE,
) -> Distinction:
    """Min-K%. Raises AttackInput for an empty set, AttackSetting for a share outside (0, 1]."""
    _check_share(share)

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return np.array([min_k_score(one, share) for one in token_scores(asked, examples)])

    return distinguish("min_k", score, respondent, forget, {"unseen": unseen}, replay)


def min_k_plus_plus_attack(
    respondent: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
    share: float = SHARE,
) -> Distinction:
    """Min-K%++. Raises AttackInput for an empty set, AttackSetting for a share outside (0, 1]."""
    _check_share(share)

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        found = token_scores(asked, examples)
        return np.array([min_k_plus_plus_score(one, share) for one in found])

    return distinguish("min_k_plus_plus", score, respondent, forget, {"unseen": unseen}, replay)


def reference_attack(
    respondent: Respondent,
    reference: Respondent,
    forget: Sequence[Example],
    unseen: Sequence[Example],
    *,
    replay: Respondent | None = None,
) -> Distinction:
    """Reference: `reference` is a model that never saw the members, the bare base for one."""

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        own, other = token_scores(asked, examples), token_scores(reference, examples)
        return np.array([reference_score(a, b) for a, b in zip(own, other, strict=True)])

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
    """GradNorm: -mean over tensors of the p-norm of the gradient, p of 1, 2 or infinity.

    Source: arXiv 2402.17012. One backward pass for each example.
    """
    if p not in (1.0, 2.0, math.inf):
        raise AttackSetting(f"grad_norm has the norm p = {p}: choose 1, 2 or infinity")

    def score(asked: Respondent, examples: Sequence[Example]) -> NDArray[np.float64]:
        return -gradient_norms(asked, examples, p)

    return distinguish("grad_norm", score, respondent, forget, {"unseen": unseen}, replay)


def _check_share(share: float) -> None:
    if not 0 < share <= 1:
        raise AttackSetting(f"the share of tokens is {share}: choose one in (0, 1], 0.2 is usual")


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
