"""Differentially private training: its budget and its randomness.

DP-SGD (Abadi et al. 2016, arXiv 1607.00133): Poisson-sampled batches, the gradient of each pair
clipped, Gaussian noise added to the sum. The accountants are Opacus's: PRV (Gopi, Lee and Wutschitz
2021, arXiv 2106.02848) and RDP (Mironov 2017, arXiv 1702.07476). The unit of privacy is one
question-answer pair, added or removed.

Anyone who knows the noise can subtract it, so sampling and noise come from a secret of 32 bytes and
not from the public seed of a round. The secret makes a run repeatable for its owner only.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from scipy.special import ndtri

from rescind.core import PrivacyParameters
from rescind.core.errors import ConfigError, TrainingError

Accountant = Literal["prv", "rdp"]
SECRET_BYTES = 32
"""256 bits: as many as the ChaCha20 keys derived from the secret."""

_DRAWS = 4
"""Gaussians in the sum that makes one value of noise. See `noise_like`."""


class BudgetSpent(TrainingError):
    """One more round would exceed the consortium's target epsilon."""

    code = "privacy-budget-spent"


@dataclass(frozen=True)
class Mechanism:
    """The Poisson-subsampled Gaussian mechanism, `steps` times."""

    noise_multiplier: float
    sample_rate: float
    steps: int


@dataclass(frozen=True)
class PrivacySpent:
    """An upper bound on what an organization's training has revealed of any one pair so far.

    Attributes:
        delta: The probability with which the bound may fail.
        accountant: Opacus's accountant that computes epsilon.
        history: All mechanisms so far, in order. Equal neighbours are merged.
    """

    delta: float
    accountant: Accountant = "prv"
    history: tuple[Mechanism, ...] = ()

    @cached_property
    def epsilon(self) -> float:
        """Epsilon at `delta`: infinite when a step had no noise, 0 before the first."""
        return epsilon_of(self.history, self.delta, self.accountant)

    @property
    def steps(self) -> int:
        """Steps of all rounds together."""
        return sum(mechanism.steps for mechanism in self.history)

    @property
    def sample_rate(self) -> float:
        """The sampling rate of the last step, 0 before the first."""
        return self.history[-1].sample_rate if self.history else 0.0

    @property
    def noise_multiplier(self) -> float:
        """The noise multiplier of the last step, 0 before the first."""
        return self.history[-1].noise_multiplier if self.history else 0.0

    def then(self, mechanism: Mechanism) -> Self:
        """Return the budget spent after another mechanism."""
        if mechanism.steps == 0:
            return self
        *before, last = self.history or (Mechanism(0.0, 0.0, 0),)
        same = (last.noise_multiplier, last.sample_rate) == (
            mechanism.noise_multiplier,
            mechanism.sample_rate,
        )
        if self.history and same:
            grown = Mechanism(last.noise_multiplier, last.sample_rate, last.steps + mechanism.steps)
            return type(self)(self.delta, self.accountant, (*before, grown))
        return type(self)(self.delta, self.accountant, (*self.history, mechanism))

    def compose(self, other: PrivacySpent) -> Self:
        """Return the budget that this and `other` spend together, at this delta."""
        result = self
        for mechanism in other.history:
            result = result.then(mechanism)
        return result

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON document. Its `epsilon` is None when it is infinite."""
        return {
            "epsilon": self.epsilon if math.isfinite(self.epsilon) else None,
            "delta": self.delta,
            "accountant": self.accountant,
            "steps": self.steps,
            "history": [[m.noise_multiplier, m.sample_rate, m.steps] for m in self.history],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """Read the document that `to_dict` returns."""
        history = tuple(Mechanism(float(s), float(q), int(n)) for s, q, n in document["history"])
        return cls(float(document["delta"]), document["accountant"], history)


def epsilon_of(history: Sequence[Mechanism], delta: float, accountant: Accountant) -> float:
    """Return an upper bound on epsilon at `delta` of a composition; for "rdp", the best order's.

    The order of the mechanisms does not matter, so equal ones are counted together.

    Raises:
        TrainingError: The accountant cannot bound it.
    """
    counts: dict[tuple[float, float], int] = {}
    for mechanism in history:
        pair = (mechanism.noise_multiplier, mechanism.sample_rate)
        counts[pair] = counts.get(pair, 0) + mechanism.steps
    steps = [(noise, rate, count) for (noise, rate), count in sorted(counts.items()) if count]
    if not steps:
        return 0.0
    if any(noise == 0 for noise, _, _ in steps):
        return math.inf
    from opacus.accountants import create_accountant

    account = create_accountant(mechanism=accountant)
    account.history = steps
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            epsilon = float(account.get_epsilon(delta=delta))
    except (ValueError, RuntimeError, FloatingPointError, MemoryError, OverflowError) as error:
        raise TrainingError(
            f"The {accountant} accountant cannot bound {steps} at delta {delta}: {error}. "
            "Use more noise or the other accountant."
        ) from error
    if math.isnan(epsilon):
        raise TrainingError(
            f"The {accountant} accountant finds no epsilon for {steps} at delta {delta}. "
            "Use more noise or the other accountant."
        )
    return max(0.0, epsilon)


def noise_multiplier_of(privacy: PrivacyParameters, sample_rate: float, steps: int) -> float:
    """Return the agreed noise multiplier, or the least that reaches the target epsilon.

    Args:
        privacy: What was agreed, with the number of rounds.
        sample_rate: The probability with which a pair is in a batch.
        steps: Of one round.

    Raises:
        ConfigError: No noise reaches the target.
    """
    if privacy.noise_multiplier is not None:
        return privacy.noise_multiplier
    from opacus.accountants.utils import get_noise_multiplier

    assert privacy.target_epsilon is not None
    assert privacy.rounds is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(
                get_noise_multiplier(
                    target_epsilon=privacy.target_epsilon,
                    target_delta=privacy.delta,
                    sample_rate=sample_rate,
                    steps=steps * privacy.rounds,
                    accountant=privacy.accountant,
                    epsilon_tolerance=min(0.01, privacy.target_epsilon / 50),
                )
            )
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ConfigError(
            f"No noise keeps {privacy.rounds} rounds of {steps} steps at sampling rate "
            f"{sample_rate:.4g} within epsilon {privacy.target_epsilon} at delta {privacy.delta}: "
            f"{error}. Agree on a larger epsilon, fewer rounds or smaller batches."
        ) from error


@dataclass(frozen=True)
class PrivateRun:
    """The private mechanism of one round.

    Attributes:
        max_grad_norm: The L2 norm that a pair's gradient is clipped to.
        mechanism: Noise multiplier, sampling rate and steps.
        expected_batch: The mean number of pairs in a batch.
        secret: The source of sampling and noise.
        spent: The budget spent before the round.
        after: The budget spent after it.
    """

    max_grad_norm: float
    mechanism: Mechanism
    expected_batch: float
    secret: bytes
    spent: PrivacySpent
    after: PrivacySpent


def plan_private(
    privacy: PrivacyParameters,
    *,
    examples: int,
    batch_size: int,
    steps: int,
    full_steps: int,
    secret: bytes,
    spent: PrivacySpent | None,
    extra_noise: float = 0.0,
) -> PrivateRun:
    """Plan the private mechanism of a round before anything is trained.

    Args:
        privacy: What was agreed.
        examples: Pairs to train on.
        batch_size: The mean number of pairs in a batch.
        steps: Of this round.
        full_steps: Of a round at full effort, which the noise is chosen for.
        secret: The source of sampling and noise, 32 bytes.
        spent: The budget that earlier rounds have spent.
        extra_noise: Noise beyond the agreed multiplier; 1 doubles it.

    Raises:
        BudgetSpent: The round would exceed the target epsilon.
        ConfigError: The secret, delta or extra noise cannot be used.
    """
    if len(secret) != SECRET_BYTES:
        raise ConfigError(
            f"The secret of a private run has {len(secret)} bytes. Give {SECRET_BYTES}."
        )
    if privacy.delta >= 1 / examples:
        raise ConfigError(
            f"Delta {privacy.delta:g} promises nothing for {examples} pairs. It must be below "
            f"{1 / examples:.3g}."
        )
    before = PrivacySpent(
        privacy.delta, privacy.accountant, spent.history if spent is not None else ()
    )
    rate = min(1.0, batch_size / examples)
    if extra_noise < 0:
        raise ConfigError(
            f"Extra noise {extra_noise} would be less than was agreed on. Use 0 or more."
        )
    noise = noise_multiplier_of(privacy, rate, full_steps) * (1.0 + extra_noise)
    mechanism = Mechanism(noise, rate, steps)
    after = before.then(mechanism)
    target = privacy.target_epsilon
    if target is not None and after.epsilon > target * (1 + 1e-9):
        raise BudgetSpent(
            f"This round would bring epsilon to {after.epsilon:.4g}, and the consortium's target "
            f"is {target:g} (at delta {privacy.delta:g}). Sit out."
        )
    return PrivateRun(privacy.max_grad_norm, mechanism, rate * examples, secret, before, after)


def clip_factors(norms: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    """Return each pair's clipping factor, min(1, C / (norm + 1e-6)), as Opacus computes it."""
    return (max_grad_norm / (norms + 1e-6)).clamp(max=1.0)


def noise_like(tensors: Sequence[torch.Tensor], run: PrivateRun, step: int) -> list[torch.Tensor]:
    """Return Gaussian noise of deviation noise_multiplier x max_grad_norm, equal on every device.

    Uniform words come from ChaCha20 under a key derived from the secret and the step. Each value is
    half the sum of four draws, so that the gaps between floats reveal nothing (Holohan and Braghin
    2021, arXiv 2107.10138).
    """
    deviation = run.mechanism.noise_multiplier * run.max_grad_norm
    if deviation == 0:
        return [torch.zeros_like(tensor) for tensor in tensors]
    total = sum(tensor.numel() for tensor in tensors)
    flat = _gaussians(run.secret, step, total) * deviation
    result, start = [], 0
    for tensor in tensors:
        piece = flat[start : start + tensor.numel()].reshape(tuple(tensor.shape))
        result.append(torch.from_numpy(piece).to(tensor.device, tensor.dtype))
        start += tensor.numel()
    return result


def _gaussians(secret: bytes, step: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    key = hashlib.sha256(b"rescind.noise/1|" + secret + step.to_bytes(8, "big")).digest()
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    words = np.frombuffer(stream.update(bytes(8 * _DRAWS * count)), dtype="<u8")
    # 52 bits, half a step away from 0 and 1, where the normal quantile is infinite.
    uniform = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    draws: np.ndarray[Any, np.dtype[np.float64]] = ndtri(uniform).reshape(_DRAWS, count)
    summed: np.ndarray[Any, np.dtype[np.float64]] = draws.sum(axis=0) / math.sqrt(_DRAWS)
    return summed


def fingerprint(secret: bytes) -> str:
    """Return a hash that identifies a secret without revealing it."""
    return hashlib.sha256(b"rescind.secret/1|" + secret).hexdigest()
