"""A server's steps after a look at the chain, by a table; and when its gate is open."""

import pytest

from rescind.serving import ApiError, Decision, Look, ModelKey, decide
from rescind.serving.gate import Gate
from rescind.serving.names import ServedModel
from tests.support.serving_chain import Clock

ONE, TWO = ModelKey(1, ("a",)), ModelKey(2, ("b",))


def seen(newest: ModelKey, *, newest_stale: bool = False, served_stale: bool = False) -> Look:
    return Look(7, newest, newest_stale, served_stale)


@pytest.mark.parametrize(
    ("look", "served", "available", "overlap", "wanted"),
    [
        (seen(ONE), ONE, False, True, Decision.KEEP),
        (seen(ONE, newest_stale=True, served_stale=True), ONE, False, True, Decision.REFUSE),
        (seen(ONE), None, True, True, Decision.SWITCH),
        (seen(ONE), None, False, True, Decision.REFUSE),
        (seen(ONE, newest_stale=True), None, True, True, Decision.REFUSE),
        (seen(TWO), ONE, True, True, Decision.SWITCH),
        (seen(TWO), ONE, False, True, Decision.KEEP),
        (seen(TWO), ONE, False, False, Decision.REFUSE),
        (seen(TWO, served_stale=True), ONE, False, True, Decision.REFUSE),
        (seen(TWO, served_stale=True), ONE, True, True, Decision.SWITCH),
        (seen(TWO, newest_stale=True), ONE, True, True, Decision.KEEP),
        # After a reorganization the same number is another model.
        (seen(ModelKey(1, ("c",)), served_stale=True), ONE, True, True, Decision.SWITCH),
    ],
)
def test_a_look_decides_what_is_served(
    look: Look, served: ModelKey | None, available: bool, overlap: bool, wanted: Decision
) -> None:
    assert decide(look, served, available=available, overlap_left=overlap) is wanted


def test_a_gate_stays_open_for_its_limit_while_the_chain_is_away() -> None:
    clock = Clock()
    gate = Gate(60, clock)
    with pytest.raises(ApiError, match="not been asked yet"):
        gate.admit()
    gate.open(ServedModel("net", ONE, "ad", ()), 7, clock())
    gate.miss("no answer")
    clock.seconds = 60
    assert gate.admit().block == 7
    clock.seconds = 61
    with pytest.raises(ApiError, match=r"was last asked 61 s ago, .* 60 s \(no answer\)") as error:
        gate.admit()
    assert error.value.status == 503
    gate.open(ServedModel("net", ONE, "ad", ()), 8, clock())
    assert gate.admit().block == 8
