from collections.abc import Callable

import numpy as np
import pytest
import torch

from rescind.core import quantize, weighted_sum, weights
from rescind.core.control_variates import ControlRound, own_control, server_control
from rescind.core.errors import ConfigError, TrainingError
from rescind.core.optimizers import FedAvg, serve
from rescind.core.research.participation import sample
from rescind.training.rules.proximal import Proximal
from rescind.training.rules.rule import Rule
from rescind.training.rules.scaffold import Scaffold

BITS = 22
LR, STEPS = 0.05, 10
CURVATURE = {"a": 0.5, "b": 1.0, "c": 3.0, "d": 6.0}
CENTRE = {"a": 4.0, "b": -1.0, "c": 1.0, "d": -2.0}
MEMBERS = sorted(CURVATURE)
BEST = sum(CURVATURE[w] * CENTRE[w] for w in MEMBERS) / sum(CURVATURE.values())
"""Minimum of the mean of the organizations' losses, curvature / 2 (w - centre)^2."""


def local(
    name: str, start: float, rule: Rule, make=torch.optim.SGD, *, steps=STEPS, lr=LR
) -> float:
    """One organization's steps on its own loss: where they lead, from `start`."""
    w = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    tensors, optimizer = {"w": w}, make([w], lr=lr)
    for step in range(steps):
        rule.before_forward(step, [0], tensors)
        loss = CURVATURE[name] / 2 * (w - CENTRE[name]).square().sum()
        penalty = rule.penalty(tensors)
        optimizer.zero_grad()
        (loss if penalty is None else loss + penalty).backward()
        rule.after_backward(step, [0], tensors)
        optimizer.step()
        rule.after_step(step, [0], tensors)
    return float(w.detach())


def federate(rounds: int, rule_of: Callable[[dict, dict], Rule], present: int = 4) -> float:
    """Return the served parameter after rounds of registered integers alone."""
    own: dict[str, dict] = {name: {} for name in MEMBERS}
    aggregates, history, server = [], [], {}
    for number in range(rounds):
        served = serve(FedAvg(), aggregates, fraction_bits=BITS)
        start = float(served["w"][0]) / (2**BITS * 10_000) if served else 0.0
        deltas = {}
        for name in sample(MEMBERS, present, 3, number):
            moved = local(name, start, rule_of(server, own[name])) - start
            update = {"w": np.array([moved])}
            deltas[name] = quantize(update, None, fraction_bits=BITS, clip_norm=64.0).delta
            own[name] = own_control(
                own[name], server, deltas[name], travel=STEPS * LR, fraction_bits=BITS
            )
        share = weights("shared", list(deltas))
        aggregates.append(weighted_sum((deltas[name], share[name]) for name in deltas))
        history.append(ControlRound(aggregates[-1], present, STEPS * LR))
        server = server_control(history, members=len(MEMBERS), fraction_bits=BITS)
    served = serve(FedAvg(), aggregates, fraction_bits=BITS)
    return float(served["w"][0]) / (2**BITS * 10_000)


def test_scaffold_finds_the_common_minimum_that_averaging_misses() -> None:
    averaged = federate(60, lambda server, own: Rule())
    assert abs(averaged - BEST) > 0.2
    assert federate(60, Scaffold) == pytest.approx(BEST, abs=1e-3)


def test_scaffold_finds_it_when_half_the_organizations_sit_out_each_round() -> None:
    assert federate(150, Scaffold, present=2) == pytest.approx(BEST, abs=0.02)
    assert abs(federate(150, lambda server, own: Rule(), present=2) - BEST) > 0.2


def test_under_plain_sgd_correcting_steps_is_correcting_gradients() -> None:
    by_gradient = federate(20, Scaffold)
    by_step = federate(20, lambda server, own: Scaffold(server, own, rate=lambda step: LR))
    assert by_step == pytest.approx(by_gradient, abs=1e-6)


def test_under_adam_a_corrected_gradient_is_drowned_and_a_corrected_step_is_not() -> None:
    """Adam's steps are about lr each, so option II reads about +-1 off a delta, whatever the
    gradient's size; here that is a thousandth."""

    def run(rule: Rule) -> float:
        w = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        tensors, optimizer = {"w": w}, torch.optim.AdamW([w], lr=LR, weight_decay=0.0)
        for step in range(STEPS):
            optimizer.zero_grad()
            (-1e-3 * w).sum().backward()
            rule.after_backward(step, [0], tensors)
            optimizer.step()
            rule.after_step(step, [0], tensors)
        return float(w.detach())

    own = {"w": np.array([-0.5])}
    assert run(Rule()) == pytest.approx(STEPS * LR, rel=1e-3)
    assert run(Scaffold({}, own)) == pytest.approx(-STEPS * LR, rel=1e-3)
    assert run(Scaffold({}, own, lambda step: LR)) == pytest.approx(0.5 * STEPS * LR, rel=1e-3)


def test_without_control_variates_scaffold_changes_nothing() -> None:
    assert local("a", 0.3, Scaffold({}, {})) == local("a", 0.3, Rule())
    assert local("a", 0.3, Scaffold({}, {}, lambda step: LR)) == local("a", 0.3, Rule())


def test_a_control_variate_of_another_shape_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"has shape \(2,\)"):
        local("a", 0.0, Scaffold({"w": np.zeros(2)}, {}))


def test_the_proximal_term_is_half_mu_times_the_squared_distance_over_all_tensors() -> None:
    start = {"a": np.array([1.0, 2.0], np.float32), "b": np.array([[3.0]], np.float32)}
    tensors = {
        "a": torch.nn.Parameter(torch.tensor([2.0, 4.0])),
        "b": torch.nn.Parameter(torch.tensor([[0.0]])),
    }
    penalty = Proximal(start, mu=0.5).penalty(tensors)
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(0.25 * (1 + 4 + 9))
    penalty.backward()
    assert tensors["a"].grad is not None
    assert tensors["a"].grad.tolist() == [0.5, 1.0]


def test_a_strong_proximal_term_holds_training_near_its_start_and_none_lets_it_go() -> None:
    start = {"w": np.array([0.3], np.float64)}
    assert local("a", 0.3, Proximal(start, mu=0.0)) == local("a", 0.3, Rule())
    for mu in (1.0, 10.0):
        held = local("a", 0.3, Proximal(start, mu), steps=500)
        assert held == pytest.approx((0.5 * 4.0 + mu * 0.3) / (0.5 + mu), abs=1e-3)


def test_a_negative_mu_or_a_start_of_other_tensors_is_refused() -> None:
    with pytest.raises(ConfigError, match="mu is -1"):
        Proximal({}, mu=-1.0)
    with pytest.raises(TrainingError, match="no starting point for 'w'"):
        local("a", 0.0, Proximal({}, mu=1.0))
