import numpy as np
import pytest

from rescind.core import (
    HIDING,
    ConsortiumParameters,
    Past,
    RoundSum,
    Term,
    adapter_totals,
    add_totals,
    encode,
    served_of,
    weights,
)
from rescind.core.control_variates import ControlRound, server_control
from rescind.core.errors import ConfigError
from rescind.core.optimizers import FedAdam, FedAvgM, serve
from rescind.core.round_sums import controls, round_sums, served
from tests.support.consortium import micro_parameters

A, B, C = (f"0x{letter * 40}" for letter in "abc")


def model_of(parameters: ConsortiumParameters, rounds: dict[int, tuple[str, ...]]):
    rng, store, terms = np.random.default_rng(1), {}, []
    for number, members in rounds.items():
        share = weights("shared", members)
        for member in members:
            name = f"{number}/{member}"
            store[name] = {
                f"shared/{tensor}": rng.integers(-900, 900, shape, dtype=np.int32)
                for tensor, shape in parameters.delta_shapes().items()
            }
            terms.append(Term(number, member, name, share[member]))
    return terms, store


ROUNDS = {1: (A, B), 2: (A, B, C), 4: (B,)}


def test_a_plain_server_serves_the_sum_that_is_on_chain() -> None:
    parameters = micro_parameters(federated=True)
    terms, store = model_of(parameters, ROUNDS)
    plain = adapter_totals(terms, store.__getitem__)
    assert encode(served_of(parameters, terms, store.__getitem__)) == encode(plain)
    assert encode(served(parameters, round_sums(terms, store.__getitem__))) == encode(plain)


def test_a_counter_delta_is_added_after_the_server_optimizer() -> None:
    parameters = micro_parameters(federated=True, server={"name": "fedadam"})
    terms, store = model_of(parameters, ROUNDS)
    store["counter"] = store[terms[0].artifact_id]
    counter = Term(0, A, "counter", 10_000)
    sums = round_sums(terms, store.__getitem__)
    alone = adapter_totals([counter], store.__getitem__)
    expected = add_totals(
        [
            serve(
                FedAdam(),
                [round_.aggregate for round_ in sums],
                fraction_bits=parameters.fraction_bits,
            ),
            alone,
        ]
    )
    totals = served_of(parameters, [*terms, counter], store.__getitem__)
    assert encode(totals) == encode(expected)
    assert [round_.round_id for round_ in sums] == [1, 2, 4]
    assert sums[1].organizations == (A, B, C)


def test_momentum_does_not_move_a_frozen_factor() -> None:
    parameters = micro_parameters(
        federated=True,
        server={"name": "fedavgm"},
        lora={"rank": 4, "alpha": 8, "train_a": True, "alternate": True},
    )
    names = sorted(parameters.delta_shapes())
    moves = {n: np.full(parameters.shapes[n], 10_000 * 50, dtype=np.int64) for n in names}

    def aggregate(number: int) -> RoundSum:
        frozen = parameters.frozen_in(number)
        return RoundSum(
            number, (A,), {f"shared/{n}": v * (n not in frozen) for n, v in moves.items()}
        )

    totals = served(parameters, [aggregate(1), aggregate(2)])
    rate = FedAvgM().learning_rate
    assert all(np.all(value == round(10_000 * 50 * rate)) for value in totals.values())


def test_control_variates_match_the_paper_under_full_participation() -> None:
    parameters = micro_parameters(
        federated=True,
        training=micro_parameters(federated=True).training.model_dump()
        | {"rule": {"name": "scaffold"}},
    )
    rounds = dict.fromkeys((1, 2, 3), (A, B, C))
    terms, store = model_of(parameters, rounds)
    sums = round_sums(terms, store.__getitem__)
    own_controls = {}
    for organization in (A, B, C):
        deltas = {n: store[f"{n}/{organization}"] for n in rounds}
        server, own_controls[organization] = controls(
            parameters, Past(sums, deltas), organization, travel=0.5
        )
    for name, value in server.items():
        mean = sum(own[name] for own in own_controls.values()) / 3
        step = max(float(np.max(np.abs(value))), 1.0) * 1e-3
        assert np.allclose(value, mean, atol=step)
        last = store[f"3/{A}"][f"shared/{name}"] / 2.0**parameters.fraction_bits / 0.5
        before = server_control(
            [ControlRound(round_.aggregate, 3, 0.5) for round_ in sums[:2]],
            members=3,
            fraction_bits=parameters.fraction_bits,
        )[f"shared/{name}"]
        earlier = controls(
            parameters, Past(sums[:2], {n: store[f"{n}/{A}"] for n in (1, 2)}), A, travel=0.5
        )[1][name]
        assert np.allclose(own_controls[A][name], earlier - before - last)


def test_hiding_noise_has_no_control_variate() -> None:
    parameters = micro_parameters(
        federated=True,
        training=micro_parameters(federated=True).training.model_dump()
        | {"rule": {"name": "scaffold"}},
    )
    noise = {f"shared/{HIDING}": np.ones((8, 2048), dtype=np.int64)}
    delta = {name: value.astype(np.int32) for name, value in noise.items()}
    assert controls(parameters, Past((RoundSum(1, (A,), noise),), {1: delta}), A, travel=1.0) == (
        {},
        {},
    )


def test_absent_options_do_not_change_the_document() -> None:
    text = micro_parameters(federated=True).canonical_bytes()
    assert b"rule" not in text
    assert b"selection" not in text
    named = micro_parameters(federated=True, selection={"name": "krum", "byzantine": 1})
    assert ConsortiumParameters.parse(named.canonical_bytes()) == named
    assert b'"selection":{"byzantine":1,"name":"krum"}' in named.canonical_bytes()


@pytest.mark.parametrize(
    ("choices", "why"),
    [
        ({"selection": {"name": "trimmed-mean", "trimmed": 1}}, "could not check it"),
        ({"selection": {"name": "coordinate-median"}}, "could not check it"),
        ({"selection": {"name": "norm-clipping"}}, "equal shares"),
    ],
)
def test_a_selection_that_the_contract_cannot_check_is_refused(choices, why: str) -> None:
    text = micro_parameters(federated=True).canonical_bytes().decode()
    name = choices["selection"]["name"]
    document = text.replace('"seed":', f'"selection":{{"name":"{name}"}},"seed":')
    with pytest.raises(ConfigError, match=why):
        ConsortiumParameters.parse(document.encode())


def test_scaffold_and_selection_need_the_shared_layout() -> None:
    document = micro_parameters().model_dump(mode="json")
    training = {"training": document["training"] | {"rule": {"name": "scaffold"}}}
    with pytest.raises(ValueError, match="no client drift"):
        ConsortiumParameters.model_validate(document | training)
    with pytest.raises(ValueError, match="not compared"):
        ConsortiumParameters.model_validate(
            document | {"selection": {"name": "krum", "byzantine": 1}}
        )
