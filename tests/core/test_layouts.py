from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rescind.core import (
    SHARED,
    Digest,
    Term,
    WrongShape,
    adapter_totals,
    digest,
    initial,
    weights,
    without,
)
from rescind.core.research.layouts import (
    EXACTNESS,
    LAYOUTS,
    Change,
    Factors,
    FedExLoRA,
    FrozenFactor,
    LowRank,
    State,
    dense,
    numerators,
    rank,
    stacked,
)

OUT, IN, RANK, BITS = 12, 10, 3, 12
MEMBERS = [f"0x{position + 1:040x}" for position in range(4)]


def rank_of(owner: str) -> int:
    return RANK


def start(owner: str, ranks=rank_of) -> Factors:
    shapes = {"x.lora_A": (ranks(owner), IN), "x.lora_B": (OUT, ranks(owner))}
    start_values = {
        n: initial(5, owner, n, shape, fraction_bits=BITS) for n, shape in shapes.items()
    }
    return Factors(start_values["x.lora_A"], start_values["x.lora_B"])


def changes(name: str, number: int, members: Sequence[str] = MEMBERS, ranks=None) -> list[Change]:
    """Random deltas of one round, with the layout's frozen factors zero."""
    frozen = getattr(LAYOUTS[name], "frozen", lambda _: "")(number)
    drawn = []
    for organization in members:
        rng = np.random.default_rng([number, int(organization, 16)])
        wide = ranks[organization] if ranks else RANK
        a, b = rng.integers(-4_000, 4_000, (wide, IN)), rng.integers(-4_000, 4_000, (OUT, wide))
        delta = Factors(a * (frozen != "a"), b * (frozen != "b"))
        own = rng.integers(-4_000, 4_000, (RANK, IN)), rng.integers(-4_000, 4_000, (OUT, RANK))
        drawn.append(Change(organization, delta, Factors(*own) if name == "split" else None))
    return drawn


def after(name: str, rounds: int, members: Sequence[str] = MEMBERS, **more) -> State:
    state = State(LAYOUTS[name], more.pop("start", start), **more)
    for number in range(1, rounds + 1):
        state = state.after(changes(name, number, members))
    return state


def exact(terms: Sequence[LowRank]) -> np.ndarray:
    return numerators(terms)


def trained(pair: Factors, delta: Factors) -> np.ndarray:
    """B_i A_i of one organization that started from `pair`, as numerators of weight one."""
    delta = delta.fitted(pair)
    a = pair.a.astype(object) + delta.a.astype(object) * 10_000
    b = pair.b.astype(object) + delta.b.astype(object) * 10_000
    return b @ a


def wanted(state: State, owner: str) -> np.ndarray:
    """Sum of p_i B_i A_i of the last round, of what is served to `owner`, by hand."""
    before, last = state.before(), state.rounds[-1]
    share, name = state.weights(last), state.layout.name

    def average(name: str) -> np.ndarray:
        parts = [trained(before.pair(name), c.delta) * share[c.organization] for c in last.changes]
        return sum(parts)

    if name == "flora":
        zero = [
            Factors(f.a * 10_000, f.b * 10_000)
            for f in (start(f"{c.organization}.{last.number}") for c in last.changes)
        ]
        fresh = sum(
            trained(pair, c.delta) * share[c.organization]
            for pair, c in zip(zero, last.changes, strict=True)
        )
        return fresh + (exact(before.terms()[SHARED]) if before.rounds else 0)
    if name == "blocks":
        [own] = [c for c in last.changes if c.organization == owner]
        return trained(before.pair(owner), own.delta) * 10_000
    if name == "split":
        private = [c.private for c in last.changes if c.organization == owner]
        own = trained(before.pair(owner), private[0]) * 10_000 if private else 0
        return average(SHARED) + own
    merged = exact(before.terms()[SHARED][1:]) if len(before.terms()[SHARED]) > 1 else 0
    return average(SHARED) + merged


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(EXACTNESS))
def test_the_aggregate_is_the_weighted_sum_of_products_where_the_table_says_so(
    name, rounds
) -> None:
    state = after(name, rounds)
    for owner, terms in state.terms().items():
        same = np.array_equal(exact(terms), wanted(state, owner))
        assert same == EXACTNESS[name].aggregate_exact, owner


def test_every_layout_has_a_row_in_the_table() -> None:
    assert set(EXACTNESS) == set(LAYOUTS)


def independent(seed: int, clients: int = 4) -> tuple[list[Factors], State]:
    """Factors of independent clients that all started from zero, 64 x 48, rank 4."""
    rng = np.random.default_rng(seed)
    zero = Factors(np.zeros((4, 48), np.int32), np.zeros((64, 4), np.int32))
    drawn = [
        Factors(*(np.rint(rng.normal(0, 2**BITS, s)).astype(np.int32) for s in ((4, 48), (64, 4))))
        for _ in range(clients)
    ]
    state = State(LAYOUTS["fedit"], lambda _: zero)
    return drawn, state.after(
        [Change(organization, f) for organization, f in zip(MEMBERS, drawn, strict=False)]
    )


def ideal(drawn: Sequence[Factors]) -> np.ndarray:
    return sum((f.b / 2**BITS) @ (f.a / 2**BITS) for f in drawn) / len(drawn)


def off(result: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(result - right) / np.linalg.norm(right))


def test_cross_terms_of_fedit_are_most_of_what_it_serves_for_independent_factors() -> None:
    for seed in range(3):
        drawn, state = independent(seed)
        error = off(state.product(fraction_bits=BITS)[SHARED], ideal(drawn))
        assert error == pytest.approx((1 - 1 / 4) ** 0.5, abs=0.05)


def test_removal_from_fedit_must_sum_factors_again_not_subtract_products() -> None:
    drawn, state = independent(0)
    served, never = (
        s.product(fraction_bits=BITS)[SHARED] for s in (state, state.without(MEMBERS[3]))
    )
    product = (drawn[3].b / 2**BITS) @ (drawn[3].a / 2**BITS)
    assert off((served - product / 4) / (3 / 4), never) > 0.5
    again = State(state.layout, state.start).after(list(state.rounds[0].changes[:3]))
    assert np.array_equal(
        exact(again.terms()[SHARED]), exact(state.without(MEMBERS[3]).terms()[SHARED])
    )


def share_rule(organizations: Sequence[str]) -> dict[str, int]:
    """Shares that divide evenly whichever member leaves, so that 1 - p_c is exact."""
    return dict.fromkeys(organizations, 10_000 // len(organizations))


def moved_by(state: State, organization: str) -> np.ndarray:
    """Over all rounds, what the organization trained less what it started from: products of weight
    one."""
    total = np.zeros((OUT, IN), dtype=object)
    for index, round_ in enumerate(state.rounds):
        [change] = [c for c in round_.changes if c.organization == organization]
        if state.layout.name == "flora":
            fresh = start(f"{organization}.{round_.number}")
            pair = Factors(fresh.a * 10_000, fresh.b * 10_000)
        else:
            pair = State(state.layout, start, state.rounds[:index], state.rule).pair(SHARED)
        total = total + trained(pair, change.delta) - exact([LowRank(pair, 1)])
    return total


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("name", sorted(set(EXACTNESS) - {"blocks"}))
def test_subtracting_a_product_is_removal_only_where_the_table_says_so(name, rounds) -> None:
    """Two organizations, of which one goes: shares 1/2 and then 1, exact in basis points."""
    state = after(name, rounds, MEMBERS[:2], rule=share_rule)
    served, never = (exact(state_.terms()[SHARED]) for state_ in (state, state.without(MEMBERS[1])))
    left = 2 * (served - 5_000 * moved_by(state, MEMBERS[1]))
    said = EXACTNESS[name].subtraction_exact
    assert np.array_equal(left, never) == (
        said == "yes" or (said == "within a round" and rounds == 1)
    )


def test_removing_a_block_does_not_change_the_others() -> None:
    assert EXACTNESS["blocks"].subtraction_exact == "nothing to subtract"
    state = after("blocks", 2)
    left = state.without(MEMBERS[1]).terms()
    assert set(left) == set(MEMBERS) - {MEMBERS[1]}
    for owner, terms in left.items():
        assert np.array_equal(exact(terms), exact(state.terms()[owner]))


@pytest.mark.parametrize("name", sorted(EXACTNESS))
def test_removal_equals_rounds_without_the_organization_bit_for_bit(name) -> None:
    assert EXACTNESS[name].removal_exact
    leaver, rest = MEMBERS[1], [MEMBERS[0], *MEMBERS[2:]]
    removed, never = after(name, 3).without(leaver), after(name, 3, rest)
    first, other = removed.totals(), never.totals()
    assert {k: v.tobytes() for k, v in first.items()} == {k: v.tobytes() for k, v in other.items()}
    for owner, terms in never.terms().items():
        assert np.array_equal(exact(removed.terms()[owner]), exact(terms))


@pytest.mark.parametrize("name", ["fedit", "ffa", "rolora", "blocks"])
def test_totals_are_the_sums_that_withdrawals_use(name) -> None:
    kind = "blocks" if name == "blocks" else "shared"
    state, store, terms = after(name, 2), {}, []
    for round_ in state.rounds:
        share = weights(kind, [c.organization for c in round_.changes])
        for change in round_.changes:
            owner = change.organization if kind == "blocks" else SHARED
            key = f"{round_.number}/{change.organization}"
            store[key] = {
                f"{owner}/lora_A": change.delta.a.astype(np.int32),
                f"{owner}/lora_B": change.delta.b.astype(np.int32),
            }
            terms.append(Term(round_.number, change.organization, key, share[change.organization]))
    kept = adapter_totals(without(terms, [MEMBERS[0]], kind), store.__getitem__)
    totals = state.without(MEMBERS[0]).totals()
    assert {k: v.tolist() for k, v in kept.items()} == {k: v.tolist() for k, v in totals.items()}


def test_subtracting_floats_leaves_traces_where_integers_leave_none() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (8, 10_000)).astype(np.float32)
    equal = (sum(rows) - rows[0] == sum(rows[1:])).mean()
    assert 0.3 < equal < 0.8
    integers = np.rint(rows * 2**20).astype(np.int64)
    assert np.array_equal(sum(integers) - integers[0], sum(integers[1:]))


@pytest.mark.parametrize("name", sorted(EXACTNESS))
def test_the_digest_of_totals_is_the_sum_of_the_registered_deltas_digests(name: str) -> None:
    state = after(name, 2)
    by_hand: Digest | None = None
    for part in state.parts():
        delta = {
            f"{part.owner}/lora_A": part.delta.a.astype(np.int32),
            f"{part.owner}/lora_B": part.delta.b.astype(np.int32),
        }
        term = part.weight * digest(delta)
        by_hand = term if by_hand is None else by_hand + term
    assert by_hand is not None
    assert digest(state.totals()) == by_hand


ONE_PAIR = sorted(name for name in EXACTNESS if len(after(name, 2).totals()) == 2)
"""Layouts that register one pair of factors, whose totals can stay while deltas change."""


@pytest.mark.parametrize("name", ONE_PAIR)
def test_checkable_layouts_serve_a_function_of_the_totals_alone(name: str) -> None:
    """Other deltas with the same totals serve the same, exactly where the table says so."""
    state = after(name, 2)
    first, second, *others = state.rounds[-1].changes
    frozen = state.layout.frozen(2)
    shift = 1_000 * np.ones_like(first.delta.a), 1_000 * np.ones_like(first.delta.b)
    move = Factors(shift[0] * (frozen != "a"), shift[1] * (frozen != "b"))
    moved = [
        Change(first.organization, Factors(first.delta.a + move.a, first.delta.b + move.b)),
        Change(second.organization, Factors(second.delta.a - move.a, second.delta.b - move.b)),
        *others,
    ]
    other = state.before().after(moved)
    assert all(np.array_equal(v, other.totals()[k]) for k, v in state.totals().items())
    same = np.array_equal(exact(state.terms()[SHARED]), exact(other.terms()[SHARED]))
    assert same == (EXACTNESS[name].checkable == "yes")


FEWER = {MEMBERS[0]: 1, MEMBERS[1]: 2, MEMBERS[2]: 3, MEMBERS[3]: 3}


@pytest.mark.parametrize("name", sorted(EXACTNESS))
def test_unequal_ranks_are_exact_where_the_table_says_so(name) -> None:
    def ranks(owner: str) -> int:
        return (
            FEWER[owner.partition(".")[0]]
            if name in ("flora", "blocks") and owner != SHARED
            else RANK
        )

    drawn = changes(name, 1, ranks=FEWER)
    state = State(LAYOUTS[name], lambda owner: start(owner, ranks)).after(drawn)
    share = state.weights(state.rounds[0])

    def product(change: Change) -> np.ndarray:
        alone = name in ("flora", "blocks")
        owner = {"flora": f"{change.organization}.1", "blocks": change.organization}.get(
            name, SHARED
        )
        pair = start(owner, ranks) if alone else start(SHARED)
        return trained(Factors(pair.a * 10_000, pair.b * 10_000), change.delta)

    if name == "blocks":
        products = {owner: exact(terms) for owner, terms in state.terms().items()}
        right = {c.organization: product(c) * 10_000 for c in drawn}
        same = all(
            np.array_equal(products[organization], right[organization]) for organization in MEMBERS
        )
    else:
        right = sum(product(c) * share[c.organization] for c in drawn)
        same = np.array_equal(exact(state.terms()[SHARED]), right)
    assert same == (not EXACTNESS[name].unequal_ranks.endswith("inexact"))


def test_ranks_that_an_organization_does_not_train_keep_their_values() -> None:
    few = {MEMBERS[0]: 1, MEMBERS[1]: 1}
    state = State(LAYOUTS["fedit"], start).after(changes("fedit", 1, MEMBERS[:2], ranks=few))
    assert np.array_equal(state.pair(SHARED).a[1:], start(SHARED).a[1:].astype(np.int64) * 10_000)
    with pytest.raises(WrongShape, match="ranks may be fewer"):
        State(LAYOUTS["fedit"], start).after(
            [Change("a", Factors(np.zeros((4, IN), np.int32), np.zeros((OUT, 4), np.int32)))]
        ).totals()


def test_undistributed_weight_leaves_the_model_unchanged() -> None:
    def half(organizations: Sequence[str]) -> dict[str, int]:
        return dict.fromkeys(organizations, 5_000 // len(organizations))

    for name in ("ffa", "rolora", "fedex"):
        state = after(name, 2, rule=half)
        still = exact([LowRank(state.before().pair(SHARED), 5_000)])
        assert np.array_equal(exact(state.terms()[SHARED]), wanted(state, SHARED) + still)


def test_fedex_residual_has_rank_n_r_plus_r_and_stacks_into_one_pair() -> None:
    state = after("fedex", 1)
    residual = FedExLoRA().residual(state)
    assert rank(residual) == len(MEMBERS) * RANK + RANK
    b, a = stacked(residual, fraction_bits=BITS)
    assert b.shape == (OUT, 15)
    assert a.shape == (15, IN)
    assert np.allclose(b @ a, dense(residual, fraction_bits=BITS))
    by_hand = wanted(state, SHARED) - exact([LowRank(state.pair(SHARED))])
    unit = 10_000 * 2.0**BITS
    assert np.allclose(
        dense(residual, fraction_bits=BITS), by_hand.astype(float) / 10_000 / unit**2
    )


def test_a_change_of_a_frozen_factor_is_refused() -> None:
    for name, number in (("ffa", 1), ("split", 1), ("rolora", 1), ("rolora", 2)):
        state = after(name, number - 1)
        moved = changes("fedit", number)
        with pytest.raises(FrozenFactor, match="its delta must be zero"):
            state.after(moved)


def test_rolora_starts_with_b_because_a_has_no_gradient_while_b_is_zero() -> None:
    once, twice = after("rolora", 1), after("rolora", 2)
    assert np.array_equal(once.pair(SHARED).a, start(SHARED).a.astype(np.int64) * 10_000)
    assert np.array_equal(once.pair(SHARED).b, twice.pair(SHARED).b)
    assert not np.array_equal(once.pair(SHARED).a, twice.pair(SHARED).a)


def test_private_ranks_are_never_served_to_another_organization() -> None:
    state = after("split", 2)
    rounds = [changes("split", number) for number in (1, 2)]
    other = State(state.layout, state.start)
    for round_ in rounds:
        changed = Factors(-7 * round_[0].private.a, 3 * round_[0].private.b)
        other = other.after([Change(round_[0].organization, round_[0].delta, changed), *round_[1:]])
    for owner in (SHARED, *MEMBERS):
        same = np.array_equal(exact(state.terms()[owner]), exact(other.terms()[owner]))
        assert same == (owner != MEMBERS[0])


def sent(name: str, change: Change) -> int:
    parts = [change.delta, *([change.private] if change.private else [])]
    frozen = LAYOUTS[name].frozen(1) if hasattr(LAYOUTS[name], "frozen") else ""
    size = sum(part.size for part in parts)
    return size - (getattr(change.delta, frozen).size if frozen else 0)


def needed(name: str, clients: int, side: int, wide: int) -> int:
    """Integers that an organization must get for the next round."""
    pair, factor = 2 * side * wide, side * wide
    return {
        "fedit": pair,
        "ffa": factor,
        "rolora": factor,
        "split": factor,
        "blocks": 0,
        "flora": clients * pair,
        "fedex": pair + (clients * wide + wide) * 2 * side,
    }[name]


def test_the_traffic_in_the_table_is_measured_on_square_matrices() -> None:
    side, wide = 8, 2
    pair = Factors(np.ones((wide, side), np.int32), np.ones((side, wide), np.int32))
    for name, row in EXACTNESS.items():
        change = Change("a", pair, pair if name == "split" else None)
        assert sent(name, change) == row.up * side * wide
        for clients in (2, 5):
            down = (row.down + row.down_each * clients) * side * wide
            assert needed(name, clients, side, wide) == down


DOCUMENT = Path(__file__).parents[2] / "docs" / "federated.md"


def test_the_documentation_shows_the_table() -> None:
    lines = [
        line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    rows = {}
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0].strip("`") in LAYOUTS:
            rows[cells[0].strip("`")] = cells[1:]
    answers = {True: "yes", False: "no"}
    assert rows == {
        name: [
            row.computes,
            answers[row.aggregate_exact],
            answers[row.removal_exact],
            row.subtraction_exact,
            row.checkable,
            row.unequal_ranks,
            row.traffic,
        ]
        for name, row in EXACTNESS.items()
    }
