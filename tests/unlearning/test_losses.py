import math

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from rescind.core.errors import DataError
from rescind.unlearning import losses

ROWS, TOKENS, VOCABULARY, WIDTH = 3, 5, 7, 4


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(ROWS, TOKENS, VOCABULARY)) * 2)


@pytest.fixture
def reference() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).normal(size=(ROWS, TOKENS, VOCABULARY)) * 2)


@pytest.fixture
def targets() -> torch.Tensor:
    found = torch.from_numpy(np.random.default_rng(3).integers(0, VOCABULARY, (ROWS, TOKENS)))
    return found.masked_fill(~counted_mask(), -100)


def counted_mask() -> torch.Tensor:
    """A prompt of one token; answers of 4, 2 and 1 tokens; padding after them."""
    mask = torch.zeros(ROWS, TOKENS, dtype=torch.bool)
    mask[0, 1:5], mask[1, 1:3], mask[2, 1:2] = True, True, True
    return mask


@pytest.fixture
def counted() -> torch.Tensor:
    return counted_mask()


def own(logits: torch.Tensor, targets: torch.Tensor) -> np.ndarray:
    """log p of each target, worked out in numpy."""
    table = log_softmax(logits.detach().numpy(), axis=-1)
    return np.take_along_axis(table, targets.clamp_min(0).numpy()[..., None], -1)[..., 0]


def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    (found,) = torch.autograd.grad(loss, of)
    return found


def test_token_log_probs_are_log_softmax_at_the_target(logits, targets, counted) -> None:
    found = losses.token_log_probs(logits, targets).numpy()
    np.testing.assert_allclose(found[counted], own(logits, targets)[counted], rtol=1e-12)


def test_the_average_is_over_counted_tokens_and_not_over_rows(logits, targets, counted) -> None:
    log_probs = losses.token_log_probs(logits, targets)
    expected = own(logits, targets)[counted.numpy()].sum() / 7
    assert losses.nll(log_probs, counted).item() == pytest.approx(-expected, rel=1e-12)
    assert losses.grad_ascent(log_probs, counted).item() == pytest.approx(expected, rel=1e-12)


def test_a_batch_without_a_counted_token_is_refused(logits, targets, counted) -> None:
    with pytest.raises(DataError, match="No token of the batch counts"):
        losses.nll(losses.token_log_probs(logits, targets), torch.zeros_like(counted))


def test_kl_is_the_mean_divergence_from_the_reference(logits, reference, counted) -> None:
    q, p = log_softmax(reference.numpy(), -1), log_softmax(logits.numpy(), -1)
    expected = (np.exp(q) * (q - p)).sum(-1)[counted.numpy()].mean()
    assert losses.kl(logits, reference, counted).item() == pytest.approx(expected, rel=1e-12)


def test_kl_is_zero_and_flat_at_the_reference(reference, counted) -> None:
    logits = reference.clone().requires_grad_()
    loss = losses.kl(logits, reference, counted)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient(loss, logits).abs().max() < 1e-12


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_npo_sums_over_an_answer(logits, reference, targets, counted, beta) -> None:
    ratio = ((own(logits, targets) - own(reference, targets)) * counted.numpy()).sum(-1)
    expected = (-2 / beta * np.log(expit(-beta * ratio))).mean()
    found = losses.npo(
        losses.token_log_probs(logits, targets),
        losses.token_log_probs(reference, targets),
        counted,
        beta=beta,
    )
    assert found.item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("beta", [0.05, 0.1, 1.0])
def test_npo_at_the_reference_is_two_over_beta_times_ln_two(
    reference, targets, counted, beta
) -> None:
    log_probs = losses.token_log_probs(reference, targets)
    found = losses.npo(log_probs, log_probs, counted, beta=beta).item()
    assert found == pytest.approx(2 / beta * math.log(2), rel=1e-12)


def test_npo_tends_to_ascent_on_sums_as_beta_goes_to_zero(
    logits, reference, targets, counted
) -> None:
    logits.requires_grad_()
    log_probs = losses.token_log_probs(logits, targets)
    before = losses.token_log_probs(reference, targets)
    ascent = gradient(losses.over_answers(log_probs, counted).mean(), logits)
    away = []
    for beta in (1e-2, 1e-4, 1e-6):
        loss = losses.npo(losses.token_log_probs(logits, targets), before, counted, beta=beta)
        away.append(float((gradient(loss, logits) - ascent).abs().max()))
    assert away[0] > away[1] > away[2]
    assert away[2] < 1e-5


def test_simnpo_averages_over_an_answer(logits, targets, counted) -> None:
    each = -(own(logits, targets) * counted.numpy()).sum(-1) / counted.numpy().sum(-1)
    expected = (-2 / 4.5 * np.log(expit(4.5 * (each - 0.3)))).mean()
    found = losses.simnpo(losses.token_log_probs(logits, targets), counted, delta=0.3)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_simnpo_stops_pushing_on_an_answer_that_is_already_unlikely(targets, counted) -> None:
    def push(loss_a_token: float) -> float:
        log_probs = torch.full((ROWS, TOKENS), -loss_a_token, dtype=torch.float64)
        log_probs.requires_grad_()
        return float(gradient(losses.simnpo(log_probs, counted), log_probs).abs().max())

    assert push(10.0) < 1e-15 < push(0.1)


def test_dpo_sets_two_answers_against_each_other(logits, reference, targets, counted) -> None:
    other = (targets + 1) % VOCABULARY
    shorter = counted & (torch.arange(TOKENS) < 3)
    gain = ((own(logits, other) - own(reference, other)) * shorter.numpy()).sum(-1)
    loss = ((own(logits, targets) - own(reference, targets)) * counted.numpy()).sum(-1)
    expected = (-2 / 0.1 * np.log(expit(0.1 * (gain - loss)))).mean()
    found = losses.dpo(
        losses.token_log_probs(logits, other),
        losses.token_log_probs(reference, other),
        shorter,
        losses.token_log_probs(logits, targets),
        losses.token_log_probs(reference, targets),
        counted,
    )
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_dpo_against_an_answer_that_stays_is_npo(logits, reference, targets, counted) -> None:
    log_probs = losses.token_log_probs(logits, targets)
    before = losses.token_log_probs(reference, targets)
    stays = torch.zeros_like(log_probs)
    found = losses.dpo(stays, stays, counted, log_probs, before, counted, beta=0.2)
    expected = losses.npo(log_probs, before, counted, beta=0.2)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_wga_weighs_by_a_constant_probability(logits, targets, counted, beta) -> None:
    logits.requires_grad_()
    log_probs = losses.token_log_probs(logits, targets)
    kept = own(logits, targets)[counted.numpy()]
    loss = losses.wga(log_probs, counted, beta=beta)
    assert loss.item() == pytest.approx((np.exp(beta * kept) * kept).mean(), rel=1e-10)
    weight = torch.from_numpy(np.exp(beta * own(logits, targets)) * counted.numpy() / 7)
    (found,) = torch.autograd.grad(loss, log_probs)
    torch.testing.assert_close(found, weight)


def test_wga_with_beta_zero_is_gradient_ascent(logits, targets, counted) -> None:
    logits.requires_grad_()
    one = losses.wga(losses.token_log_probs(logits, targets), counted, beta=0.0)
    other = losses.grad_ascent(losses.token_log_probs(logits, targets), counted)
    assert one.item() == other.item()
    assert torch.equal(gradient(one, logits), gradient(other, logits))


def test_undial_is_cross_entropy_with_the_known_token_pushed_down(
    logits, reference, targets, counted
) -> None:
    teacher_logits = reference.numpy().copy()
    for row, token in zip(*np.nonzero(counted.numpy()), strict=True):
        teacher_logits[row, token, targets[row, token]] -= 10
    each = -(softmax(teacher_logits, -1) * log_softmax(logits.numpy(), -1)).sum(-1)
    expected = each[counted.numpy()].mean()
    found = losses.undial(logits, reference, targets, counted).item()
    assert found == pytest.approx(expected, rel=1e-10)


def test_undial_leaves_prompt_and_padding_alone(logits, reference, targets, counted) -> None:
    before = losses.undial(logits, reference, targets, counted)
    changed = logits.masked_fill(~counted.unsqueeze(-1), 99.0)
    assert torch.equal(losses.undial(changed, reference, targets, counted), before)


def test_undial_with_beta_zero_distils_the_reference_itself(reference, targets, counted) -> None:
    logits = reference.clone().requires_grad_()
    loss = losses.undial(logits, reference, targets, counted, beta=0.0)
    assert gradient(loss, logits).abs().max() < 1e-12


def test_bounded_ascent_stops_at_its_bound(logits, targets, counted) -> None:
    logits.requires_grad_()
    now = losses.nll(losses.token_log_probs(logits, targets), counted)

    def loss(bound: float) -> torch.Tensor:
        log_probs = losses.token_log_probs(logits, targets)
        return losses.bounded_ascent(log_probs, counted, bound=bound)

    above, below = loss(now.item() + 1), loss(now.item() - 0.01)
    assert above.item() == pytest.approx(1.0)
    torch.testing.assert_close(gradient(above, logits), -gradient(now, logits))
    assert below.item() == 0
    assert not gradient(below, logits).any()


def test_misdirection_averages_over_an_answer_and_the_width(counted) -> None:
    hidden = torch.from_numpy(np.random.default_rng(5).normal(size=(ROWS, TOKENS, WIDTH)))
    control = torch.from_numpy(np.random.default_rng(6).normal(size=WIDTH))
    square = ((hidden.numpy() - control.numpy()) ** 2).mean(-1) * counted.numpy()
    expected = (square.sum(-1) / counted.numpy().sum(-1)).mean()
    assert losses.misdirection(hidden, control, counted).item() == pytest.approx(expected)
    assert losses.misdirection(hidden, hidden, counted).item() == 0


def test_group_lasso_is_a_sum_of_norms_and_flat_at_zero() -> None:
    a = torch.tensor([3.0, 0.0], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[4.0]], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    loss = losses.group_lasso([[a, b], [zero]])
    assert loss.item() == 5.0
    loss.backward()
    assert a.grad.tolist() == pytest.approx([0.6, 0.0])
    assert b.grad.item() == pytest.approx(0.8)
    assert zero.grad.tolist() == [0, 0, 0]


def smooth(name: str, reference, targets, counted):
    """Each loss as a function of the trained logits alone."""
    before = losses.token_log_probs(reference, targets)

    def log_probs(z: torch.Tensor) -> torch.Tensor:
        return losses.token_log_probs(z, targets)

    return {
        "nll": lambda z: losses.nll(log_probs(z), counted),
        "kl": lambda z: losses.kl(z, reference, counted),
        "grad_ascent": lambda z: losses.grad_ascent(log_probs(z), counted),
        "bounded_ascent": lambda z: losses.bounded_ascent(log_probs(z), counted, bound=50.0),
        "npo": lambda z: losses.npo(log_probs(z), before, counted),
        "simnpo": lambda z: losses.simnpo(log_probs(z), counted),
        "dpo": lambda z: losses.dpo(
            losses.token_log_probs(z, (targets + 1) % VOCABULARY),
            before,
            counted,
            log_probs(z),
            before,
            counted,
        ),
        "undial": lambda z: losses.undial(z, reference, targets, counted),
        "misdirection": lambda z: losses.misdirection(z, reference, counted),
        "group_lasso": lambda z: losses.group_lasso([[z[0], z[1]], [z[2]]]),
    }[name]


@pytest.mark.parametrize(
    "name",
    "nll kl grad_ascent bounded_ascent npo simnpo dpo undial misdirection group_lasso".split(),
)
def test_gradients_are_those_of_finite_differences(
    name, logits, reference, targets, counted
) -> None:
    function = smooth(name, reference, targets, counted)
    assert torch.autograd.gradcheck(function, (logits.requires_grad_(),))


@pytest.mark.parametrize("name", "nll kl grad_ascent npo simnpo dpo undial misdirection".split())
def test_no_loss_depends_on_prompt_or_padding(name, logits, reference, targets, counted) -> None:
    function = smooth(name, reference, targets, counted)
    found = gradient(function(logits.requires_grad_()), logits)
    assert found[counted].abs().max() > 0
    assert not found[~counted].any()
