import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rescind.core import (
    HIDING,
    ConsortiumParameters,
    SumOverflow,
    Term,
    add_totals,
    dequantize,
    encode,
    shrunk,
    weighted_sum,
    weights,
    without,
)
from rescind.core.control_variates import ControlRound, own_control, server_control
from rescind.core.errors import ConfigError
from rescind.core.optimizers import (
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedYogi,
    ServerState,
    advance,
    serve,
    server_state,
)
from rescind.core.research.participation import (
    Staleness,
    late_weights,
    sample,
    undistributed,
)
from rescind.devnet.defaults import default_parameters

BITS = 20
UNIT = 2.0**BITS * 10_000
EVERY = [FedAvg(learning_rate=0.5), FedAvgM(), FedAdagrad(), FedAdam(), FedYogi()]
ADDRESSES = [f"0x{position + 1:040X}" for position in range(9)]


def rounds_of(seed: int, count: int, *, size: int = 6, scale: float = 0.01) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {"shared/w": np.rint(rng.normal(0, scale, size) * UNIT).astype(np.int64)}
        for _ in range(count)
    ]


def served(server, aggregates) -> np.ndarray:
    return serve(server, aggregates, fraction_bits=BITS)["shared/w"]


class Reference:
    """The update rules as loops over scalars in plain Python."""

    def __init__(self, server) -> None:
        self.server, self.x, self.m = server, 0.0, 0.0
        self.v = server.tau**2 if hasattr(server, "tau") else 0.0

    def step(self, delta: float) -> None:
        server = self.server
        if server.name == "fedavg":
            self.x += server.learning_rate * delta
            return
        if server.name == "fedavgm":
            self.m = server.momentum * self.m + delta
            self.x += server.learning_rate * self.m
            return
        self.m = server.beta1 * self.m + (1 - server.beta1) * delta
        if server.name == "fedadagrad":
            self.v += delta**2
        elif server.name == "fedadam":
            self.v = server.beta2 * self.v + (1 - server.beta2) * delta**2
        else:
            sign = (self.v > delta**2) - (self.v < delta**2)
            self.v -= (1 - server.beta2) * delta**2 * sign
        self.x += server.learning_rate * self.m / (math.sqrt(self.v) + server.tau)


@pytest.mark.parametrize("server", EVERY, ids=lambda optimizer: optimizer.name)
def test_each_optimizer_is_its_published_recurrence(server) -> None:
    aggregates = rounds_of(1, 12)
    values = served(server, aggregates) / UNIT
    for index in range(6):
        reference = Reference(server)
        for aggregate in aggregates:
            reference.step(float(aggregate["shared/w"][index] / UNIT))
        assert values[index] == pytest.approx(reference.x, abs=12 / UNIT)


whole = st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3)


@given(st.lists(whole, min_size=1, max_size=2))
def test_plain_fedavg_serves_the_integer_sum_itself(rows) -> None:
    aggregates = [{"w": np.array(row, dtype=np.int64) // len(rows)} for row in rows]
    plain = serve(FedAvg(), aggregates, fraction_bits=BITS)
    assert encode(plain) == encode(add_totals(aggregates))
    first, other = (
        dequantize(totals, fraction_bits=BITS) for totals in (plain, add_totals(aggregates))
    )
    assert first["w"].tobytes() == other["w"].tobytes()


def test_momentum_zero_is_plain_fedavg() -> None:
    aggregates = rounds_of(2, 5)
    assert np.array_equal(
        served(FedAvgM(learning_rate=1.0, momentum=0.0), aggregates), served(FedAvg(), aggregates)
    )


def test_a_repeated_delta_counts_once_in_the_end_under_default_momentum() -> None:
    aggregate = {"shared/w": np.full(1, 10_000, dtype=np.int64)}
    late = server_state(FedAvgM(), [aggregate] * 300, fraction_bits=BITS)
    later = advance(FedAvgM(), late, aggregate, fraction_bits=BITS)
    assert later.adapter["shared/w"] - late.adapter["shared/w"] == pytest.approx(10_000, abs=1)


def test_adaptive_servers_step_by_the_learning_rate_whatever_the_scale_of_deltas() -> None:
    for scale in (0.1, 10.0):
        aggregate = {"shared/w": np.array([round(scale * UNIT)])}
        state = server_state(FedAdam(learning_rate=0.02), [aggregate] * 500, fraction_bits=BITS)
        more = advance(FedAdam(learning_rate=0.02), state, aggregate, fraction_bits=BITS)
        step = (more.adapter["shared/w"] - state.adapter["shared/w"])[0] / UNIT
        assert step == pytest.approx(0.02, rel=0.02)


def test_adagrad_without_momentum_slows_as_one_over_the_root_of_rounds() -> None:
    aggregate = {"shared/w": np.array([round(UNIT)])}
    server, steps, state = FedAdagrad(learning_rate=1.0), [], ServerState()
    for _ in range(100):
        after = advance(server, state, aggregate, fraction_bits=BITS)
        before = state.adapter["shared/w"][0] if state.adapter else 0
        steps.append((after.adapter["shared/w"][0] - before) / UNIT)
        state = after
    assert steps[99] / steps[0] == pytest.approx(0.1, rel=1e-3)


def test_yogi_forgets_a_burst_more_slowly_than_adam() -> None:
    burst = [{"w": np.array([round(UNIT)])}] + [{"w": np.array([round(UNIT / 100)])}] * 50
    adam, yogi = (
        server_state(optimizer, burst, fraction_bits=BITS).second["w"][0]
        for optimizer in (FedAdam(), FedYogi())
    )
    assert yogi > 1.5 * adam


@pytest.mark.parametrize("server", EVERY, ids=lambda optimizer: optimizer.name)
def test_round_by_round_and_all_at_once_are_the_same_bytes(server) -> None:
    aggregates, state = rounds_of(3, 7), ServerState()
    for aggregate in aggregates:
        state = advance(server, state, aggregate, fraction_bits=BITS)
    assert encode(state.adapter) == encode(serve(server, aggregates, fraction_bits=BITS))


@pytest.mark.parametrize("server", EVERY, ids=lambda tensors: tensors.name)
def test_a_block_is_served_as_if_it_were_alone(server) -> None:
    own, other = rounds_of(4, 4), rounds_of(5, 4)
    both = [
        {"a/w": first["shared/w"]} | ({"b/w": two["shared/w"]} if index % 2 else {})
        for index, (first, two) in enumerate(zip(own, other, strict=True))
    ]
    alone = serve(server, [{"a/w": tensors["shared/w"]} for tensors in own], fraction_bits=BITS)
    assert np.array_equal(serve(server, both, fraction_bits=BITS)["a/w"], alone["a/w"])


@pytest.mark.parametrize("server", EVERY, ids=lambda optimizer: optimizer.name)
def test_a_tensor_that_is_not_in_a_round_keeps_its_value_and_moments(server) -> None:
    aggregates = rounds_of(6, 3)
    paused = [aggregates[0], {"shared/other": np.zeros(2, dtype=np.int64)}, *aggregates[1:]]
    assert np.array_equal(served(server, paused), served(server, aggregates))


def test_hiding_noise_is_summed_unchanged() -> None:
    aggregates = [{HIDING: np.full((8, 2048), 7, dtype=np.int64)}] * 3
    assert serve(FedAdam(), aggregates, fraction_bits=BITS)[HIDING][0, 0] == 21


def test_removal_serves_the_rounds_without_the_organization() -> None:
    rng = np.random.default_rng(7)
    store = {
        f"{organization}/{number}": {"shared/w": rng.integers(-9_999, 9_999, 5).astype(np.int32)}
        for organization in ADDRESSES[:3]
        for number in (1, 2, 3)
    }

    def aggregates(members):
        share = weights("shared", members)
        return [
            weighted_sum(
                (store[f"{organization}/{number}"], share[organization]) for organization in members
            )
            for number in (1, 2, 3)
        ]

    share = weights("shared", ADDRESSES[:3])
    terms = [
        Term(n, organization, f"{organization}/{n}", share[organization])
        for n in (1, 2, 3)
        for organization in ADDRESSES[:3]
    ]
    kept = without(terms, [ADDRESSES[1]], "shared")
    again = [
        weighted_sum((store[t.artifact_id], t.weight) for t in kept if t.round_id == number)
        for number in (1, 2, 3)
    ]
    for server in EVERY:
        never = serve(server, aggregates([ADDRESSES[0], ADDRESSES[2]]), fraction_bits=BITS)
        assert encode(serve(server, again, fraction_bits=BITS)) == encode(never)


def test_a_learning_rate_that_overflows_is_an_error() -> None:
    aggregate = {"w": np.array([2**61], dtype=np.int64)}
    with pytest.raises(SumOverflow, match=r"lower server\.learning_rate"):
        serve(FedAvg(learning_rate=100.0), [aggregate], fraction_bits=BITS)


SHAPES = {"x.lora_A": (8, 4), "x.lora_B": (4, 8)}


def parameters() -> ConsortiumParameters:
    return default_parameters("federated", "0" * 64, SHAPES, seed=0)


def test_plain_fedavg_does_not_change_the_id_of_the_parameters() -> None:
    pinned = "772d9ca4743f11d8904f6c28770bdc5ae41c05f0190cc29182c6135679dd2abf"
    assert parameters().id == pinned
    assert parameters().model_copy(update={"server": FedAvg()}).id == pinned


@pytest.mark.parametrize("server", EVERY, ids=lambda optimizer: optimizer.name)
def test_the_server_optimizer_is_part_of_the_agreed_parameters(server) -> None:
    agreed = parameters().model_copy(update={"server": server})
    assert agreed.id != parameters().id
    assert ConsortiumParameters.parse(agreed.canonical_bytes()).server == server


@pytest.mark.parametrize(
    "section",
    [
        {"name": "fedsgd"},
        {"name": "fedavg", "momentum": 0.9},
        {"name": "fedadam", "beta1": 1.0},
        {"name": "fedyogi", "tau": 0.0},
        {"name": "fedavgm", "learning_rate": 0.0},
    ],
)
def test_unknown_optimizer_settings_are_refused(section) -> None:
    document = parameters().model_dump(mode="json") | {"server": section}
    with pytest.raises(ValidationError):
        ConsortiumParameters.model_validate(document)


# control variates


def test_the_server_control_is_the_mean_of_all_own_controls() -> None:
    rng, members, travel = np.random.default_rng(8), ADDRESSES[:5], 0.7
    own: dict[str, dict] = {organization: {} for organization in members}
    server: dict = {}
    rounds: list[ControlRound] = []
    for number in range(6):
        # The weights of three, 3,333 each, come to less than a whole.
        chosen = sample(members, (5, 4, 3)[number % 3], 1, number)
        deltas = {
            organization: {"w": rng.integers(-999, 999, 3).astype(np.int32)}
            for organization in chosen
        }
        for organization in chosen:
            own[organization] = own_control(
                own[organization], server, deltas[organization], travel=travel, fraction_bits=BITS
            )
        share = weights("shared", chosen)
        total = weighted_sum((deltas[organization], share[organization]) for organization in chosen)
        rounds.append(ControlRound(total, len(chosen), travel))
        server = server_control(rounds, members=len(members), fraction_bits=BITS)
        mean = sum(own[organization].get("w", np.zeros(3)) for organization in members) / len(
            members
        )
        assert server["w"] == pytest.approx(mean, abs=1e-12)


def test_control_variates_need_positive_travel_and_participants() -> None:
    with pytest.raises(ConfigError, match="travel is 0"):
        own_control({}, {}, {"w": np.zeros(1, dtype=np.int32)}, travel=0.0, fraction_bits=BITS)
    with pytest.raises(ConfigError, match="3 participants among 2 members"):
        server_control([ControlRound({}, 3, 1.0)], members=2, fraction_bits=BITS)


# participation


@given(st.integers(0, 10_000), st.integers(0, 10**30), st.integers(1, 10**30))
def test_shrinking_rounds_down_exactly(share, numerator, denominator) -> None:
    weight = shrunk(share, numerator, denominator)
    assert 0 <= weight <= share
    if numerator < denominator:
        assert weight**2 * denominator <= share**2 * numerator < (weight + 1) ** 2 * denominator


def test_without_late_deltas_the_weights_are_the_ordinary_ones() -> None:
    on_time = dict.fromkeys(ADDRESSES[:3], 0)
    assert late_weights("shared", on_time, Staleness(5)) == weights("shared", ADDRESSES[:3])


def test_late_deltas_are_dropped_unless_the_rule_accepts_them() -> None:
    late = {ADDRESSES[0]: 0, ADDRESSES[1]: 1}
    assert late_weights("shared", late, Staleness()) == {ADDRESSES[0]: 10_000}
    taken = late_weights("shared", late, Staleness(most=1))
    assert taken == {ADDRESSES[0]: 5_000, ADDRESSES[1]: 3_535}
    assert undistributed(taken) == 1_465


def test_lateness_does_not_change_the_weight_of_others() -> None:
    first = late_weights("shared", {"a": 0, "b": 0, "c": 3}, Staleness(3, 2))
    other = late_weights("shared", {"a": 0, "b": 2, "c": 3}, Staleness(3, 2))
    assert (first["a"], first["c"]) == (other["a"], other["c"]) == (3_333, 833)
    assert other["b"] == 1_111


def test_a_block_is_never_stale_for_its_owner() -> None:
    assert late_weights("blocks", {"a": 0, "b": 40}, Staleness()) == {"a": 10_000, "b": 10_000}


def test_samples_are_reproducible_and_fair() -> None:
    counts = dict.fromkeys(ADDRESSES, 0)
    for number in range(600):
        chosen = sample(ADDRESSES, 3, 11, number)
        assert chosen == sample(list(reversed(ADDRESSES)), 3, 11, number)
        for organization in chosen:
            counts[organization] += 1
    assert all(150 < count < 250 for count in counts.values())


def test_bad_rules_of_participation_are_refused() -> None:
    with pytest.raises(ConfigError, match="most is 65"):
        Staleness(65)
    with pytest.raises(ConfigError, match="-1 rounds late"):
        late_weights("shared", {"a": -1}, Staleness())
    with pytest.raises(ConfigError, match="at least 1"):
        sample(ADDRESSES, 0, 1, 1)
