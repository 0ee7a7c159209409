"""Losses of counter-training, as functions of tensors.

In every loss, `log_probs` are log p(token | tokens before it) in nats and `counted` says which of
them count, both (rows, tokens); prompt and padding positions do not count. `logits` and
`reference_logits` are (rows, tokens, vocabulary). A reference is the model's output before
counter-training and has no gradient. Every loss is a scalar to be minimized.

Sums and means matter: `npo` and `dpo` take the log-probability of a whole answer, a sum over its
tokens; the others average over tokens. So neither a beta nor a learning rate carries over from one
to the other, and the sums weigh long answers more.

The total that is minimized is gamma x forget term + alpha x retain term, the retain term being
`nll` (gradient difference, Liu et al. 2022, arXiv 2203.12817) or `kl`. Defaults are those of
locuslab/open-unlearning (Dorna et al. 2025, arXiv 2506.12618) where it has the loss.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch.nn import functional

from rescind.core.errors import DataError


def token_log_probs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return log p of each target, (rows, tokens). Targets below 0 get that of token 0."""
    indices = targets.clamp_min(0).unsqueeze(-1)
    return logits.log_softmax(-1).gather(-1, indices).squeeze(-1)


def over_counted(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the mean of (rows, tokens) over all counted tokens.

    Raises:
        DataError: No token counts.
    """
    number = counted.sum()
    if not int(number):
        raise DataError("No token of the batch counts. Every answer must have at least one token.")
    return values.masked_fill(~counted, 0.0).sum() / number


def over_answers(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return the sum of (rows, tokens) over each row's counted tokens, (rows,)."""
    return values.masked_fill(~counted, 0.0).sum(-1)


def nll(log_probs: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return -mean_t log p_t in nats a token.

    The retain term of most methods; on refusals, IdkNLL (the
    preference optimization baseline of TOFU, Maini et al. 2024, arXiv 2401.06121).
    """
    return -over_counted(log_probs, counted)


def kl(logits: torch.Tensor, reference_logits: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return mean_t KL(p0_t || p_t) over the vocabulary, in nats a token. Zero at the reference.

    The retain term of "KL minimization" (Maini et al. 2024, arXiv 2401.06121).
    """
    before = reference_logits.log_softmax(-1)
    divergence = (before.exp() * (before - logits.log_softmax(-1))).sum(-1)
    return over_counted(divergence, counted)


def grad_ascent(log_probs: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Return mean_t log p_t = -nll. It is unbounded below, so training must be stopped.

    Jang et al. 2022, arXiv 2210.01504.
    """
    return over_counted(log_probs, counted)


def bounded_ascent(log_probs: torch.Tensor, counted: torch.Tensor, *, bound: float) -> torch.Tensor:
    """Return ReLU(bound - nll) in nats a token. Its gradient is zero once the loss exceeds `bound`.

    The forget term of GS-LoRA (Zhao et al. 2024, arXiv 2403.11530), which sets the bound on a scale
    of its own (105, for face recognition); for a language model take the loss on text that it never
    saw, or ln(vocabulary).
    """
    return functional.relu(bound - nll(log_probs, counted))


def wga(log_probs: torch.Tensor, counted: torch.Tensor, *, beta: float = 1.0) -> torch.Tensor:
    """Return mean_t sg[p_t]^beta log p_t (sg: no gradient). Unlikely tokens weigh little.

    Weighted gradient ascent (Wang et al. 2025, arXiv 2502.19301); beta 0 is `grad_ascent`.
    """
    return over_counted((beta * log_probs.detach()).exp() * log_probs, counted)


def npo(
    log_probs: torch.Tensor,
    reference_log_probs: torch.Tensor,
    counted: torch.Tensor,
    *,
    beta: float = 0.1,
) -> torch.Tensor:
    """Return -(2/beta) mean_rows log sigmoid(-beta r), r = sum_t (log p_t - log p0_t), in nats.

    Negative preference optimization (Zhang et al. 2024, arXiv 2404.05868): (2/beta) ln 2 at the
    reference; its gradient there, and everywhere as beta goes to 0, is that of ascent on sums.
    """
    ratio = over_answers(log_probs - reference_log_probs, counted)
    return -2.0 / beta * functional.logsigmoid(-beta * ratio).mean()


def simnpo(
    log_probs: torch.Tensor, counted: torch.Tensor, *, beta: float = 4.5, delta: float = 0.0
) -> torch.Tensor:
    """Return -(2/beta) mean_rows log sigmoid(beta (nll_row - delta)), nll_row a mean over tokens.

    SimNPO (Fan et al. 2024, arXiv 2410.07163): NPO without a reference; `delta` in nats a token.
    """
    each = -over_answers(log_probs, counted) / counted.sum(-1).clamp_min(1)
    return -2.0 / beta * functional.logsigmoid(beta * (each - delta)).mean()


def dpo(
    preferred: torch.Tensor,
    reference_preferred: torch.Tensor,
    preferred_counted: torch.Tensor,
    rejected: torch.Tensor,
    reference_rejected: torch.Tensor,
    rejected_counted: torch.Tensor,
    *,
    beta: float = 0.1,
) -> torch.Tensor:
    """Return -(2/beta) mean_rows log sigmoid(beta (r_preferred - r_rejected)), r as in `npo`.

    Direct preference optimization (Rafailov et al. 2023, arXiv 2305.18290), scaled as in
    open-unlearning; row by row `rejected` is the answer to forget and `preferred` another one, a
    refusal in IdkDPO. The first three are (rows, tokens), the last three (rows, other tokens).
    """
    gain = over_answers(preferred - reference_preferred, preferred_counted)
    loss = over_answers(rejected - reference_rejected, rejected_counted)
    return -2.0 / beta * functional.logsigmoid(beta * (gain - loss)).mean()


def undial(
    logits: torch.Tensor,
    reference_logits: torch.Tensor,
    targets: torch.Tensor,
    counted: torch.Tensor,
    *,
    beta: float = 10.0,
) -> torch.Tensor:
    """Return mean_t cross-entropy of p_t under softmax(z0_t - beta onehot(y_t)), in nats a token.

    It is bounded below.

    Self-distillation with adjusted logits (Dong et al. 2024, arXiv 2402.10052); beta in logits, 0
    distils the reference itself. `targets` (rows, tokens). Public code averages over prompt and
    padding too; here only counted tokens are distilled.
    """
    known = functional.one_hot(targets.clamp_min(0), logits.shape[-1])
    teacher = (reference_logits - beta * known).softmax(-1)
    return over_counted(-(teacher * logits.log_softmax(-1)).sum(-1), counted)


def misdirection(
    hidden: torch.Tensor, control: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor:
    """Return mean_rows mean_t |h_t - control|^2 / width.

    This is the forget term of RMU and, with the reference's hidden states as `control`, its retain
    term.

    Representation misdirection (Li et al. 2024, arXiv 2403.03218). `hidden` (rows, tokens, width);
    `control` of the same shape or (width,): c u with u uniform in [0, 1)^width, then normalized.
    """
    each = (hidden - control).square().mean(-1)
    return (over_answers(each, counted) / counted.sum(-1).clamp_min(1)).mean()


def group_lasso(groups: Iterable[Iterable[torch.Tensor]]) -> torch.Tensor:
    """Return sum_g sqrt(sum of squares in group g), in parameter units. Gradient 0 at zero.

    Group sparsity (Yuan and Lin 2006), as in GS-LoRA (arXiv 2403.11530): whole groups go to zero.
    """
    norms = [_norm(torch.cat([tensor.flatten() for tensor in group])) for group in groups]
    return torch.stack(norms).sum()


def _norm(values: torch.Tensor) -> torch.Tensor:
    square = values.square().sum()
    at_zero = square == 0
    return torch.where(at_zero, 0.0, torch.where(at_zero, 1.0, square).sqrt())
