"""The contracts against their reference, in any order of actions on a real chain.

After every step the content of each model is what the reference derives from the accepted
contributions and amendments alone, and its commitment is that of the content's integers.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rescind.contracts import Limits, RoundState, WithdrawalMethod, WithdrawalState
from tests.contracts.play import DAY, ROUND_SECONDS, Play
from tests.contracts.stage import Stage, open_stage

METHODS = list(WithdrawalMethod)


class Consortiums(RuleBasedStateMachine):
    """Rules that do what comes next, and rules that do anything at all."""

    organization = st.integers(0, 2)
    absent = st.sampled_from([0, 0, 0b001, 0b010, 0b110])
    back = st.integers(0, 2)
    limits = st.builds(Limits, points=st.integers(1, 3), rows=st.integers(1, 2))

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.play = Play(stage)

    @initialize(rounds=st.integers(1, 3), keeps=st.booleans(), limits=limits)
    def begin(self, rounds: int, keeps: bool, limits: Limits) -> None:
        """Play some rounds to go on from."""
        for number in range(rounds):
            self.play.play_round(absent=number)
            if keeps and number == 0:
                self.play.release()
        self.play.send_pieces(2, limits)

    def _withdrawal(self, back: int) -> int:
        return max(1, len(self.play.record.withdrawals()) - back)

    def _has_withdrawal(self, *states: WithdrawalState) -> bool:
        return any(each.state in states for each in self.play.record.withdrawals())

    @rule(absent=absent, rejects=st.booleans())
    def step_a_round(self, absent: int, rejects: bool) -> None:
        self.play.step_round(absent=absent, rejects=rejects)

    @rule(count=st.integers(1, 4), limits=limits)
    def send_pieces(self, count: int, limits: Limits) -> None:
        self.play.send_pieces(count, limits)

    @rule(number=organization, method=st.sampled_from(METHODS))
    def withdraw(self, number: int, method: WithdrawalMethod) -> None:
        self.play.request(self.play.orgs[number], method)

    @rule(number=organization, method=st.sampled_from(METHODS))
    def withdraw_for_a_subject(self, number: int, method: WithdrawalMethod) -> None:
        self.play.request_for_subject(self.play.orgs[number], method)

    @precondition(lambda self: self._has_withdrawal(WithdrawalState.PREPARING))
    @rule(back=back, number=st.integers(0, 3))
    def offer(self, back: int, number: int) -> None:
        self.play.offer(self._withdrawal(back), number)

    @precondition(lambda self: self._has_withdrawal(WithdrawalState.PREPARING))
    @rule(back=back)
    def prepare(self, back: int) -> None:
        if self.play.record.withdrawal(self._withdrawal(back)).state is WithdrawalState.PREPARING:
            self.play.prepare(self._withdrawal(back))

    @precondition(lambda self: self.play.record.replay_is_pending())
    @rule(absent=absent)
    def step_a_replay(self, absent: int) -> None:
        if self.play.start_replay():
            self.play.step_replay(absent=absent)

    @precondition(lambda self: self.play.record.withdrawals())
    @rule(back=back, number=organization, action=st.sampled_from(["convert", "escalate"]))
    def turn_into_a_removal(self, back: int, number: int, action: str) -> None:
        self.play.to_removal(self.play.orgs[number], self._withdrawal(back), action)

    @precondition(lambda self: self.play.record.withdrawals())
    @rule(back=back, action=st.sampled_from(["finish_replay", "close_withdrawal"]))
    def move_a_withdrawal_on(self, back: int, action: str) -> None:
        self.play.do(self.play.orgs[0], action, self._withdrawal(back))

    @precondition(lambda self: self._has_withdrawal(WithdrawalState.ATTESTING))
    @rule(back=back)
    def attest(self, back: int) -> None:
        self.play.attest(self._withdrawal(back))

    @precondition(lambda self: len(self.play.record.active_members()) > 1)
    @rule(number=organization)
    def expel(self, number: int) -> None:
        # Only active members, and never the last: otherwise expulsions end most plays early.
        active = self.play.record.active_members()
        self.play.expel(self.play.account(active[number % len(active)]))

    @precondition(lambda self: self._in_flight())
    @rule(number=organization)
    def abandon(self, number: int) -> None:
        round_id = self.play.record.current_round_id()
        self.play.do(self.play.orgs[number], "abandon", round_id)

    def _in_flight(self) -> bool:
        state = self.play.record.round(self.play.record.current_round_id()).state
        return state is not RoundState.NONE and not state.over

    @rule(keeps=st.booleans(), back=back)
    def keep_or_retire_a_model(self, keeps: bool, back: int) -> None:
        if keeps:
            self.play.release()
        else:
            self.play.retire(max(0, len(self.play.model.models) - 1 - back))

    @rule(seconds=st.sampled_from([ROUND_SECONDS, DAY]))
    def pass_time(self, seconds: int) -> None:
        self.play.pass_time(seconds)

    @invariant()
    def contracts_and_reference_agree(self) -> None:
        self.play.check()

    def teardown(self) -> None:
        """Fold all that is stale: whatever happened, that must be possible."""
        self.play.fold_all()
        self.play.check()
        assert not any(map(self.play.record.is_stale, self.play.record.models_in_use()))


@pytest.mark.parametrize("layout", ["blocks", "shared"])
def test_the_contracts_match_the_reference_after_any_actions(layout: str) -> None:
    reached = play_at_random(layout, examples=2, steps=20)
    assert reached["FoldPiece"] > 5
    requests = ("request_withdrawal", "request_subject_withdrawal", "expel")
    assert sum(reached[name] for name in requests) > 1


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["blocks", "shared"])
def test_the_contracts_match_the_reference_after_many_actions(layout: str) -> None:
    reached = play_at_random(layout, examples=12, steps=30)
    assert reached["FoldPiece"] > 30
    assert reached["request_withdrawal"] > 2


def play_at_random(layout: str, *, examples: int, steps: int) -> Counter[str]:
    """Play so many random consortiums. Return how often each action succeeded or was refused."""
    with open_stage(layout) as stage:
        run_state_machine_as_test(
            seed(int(layout == "shared"))(lambda: Consortiums(stage)),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        return stage.reached
