"""The contracts against their reference, in any order of actions on a real chain.

Both accept an action, or both refuse it for the same reason, and then their states agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

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

from rescind.contracts import ModelKind, RoundState, WithdrawalState
from tests.contracts.driver import FAULTS, Play
from tests.contracts.reference import NOTHING
from tests.contracts.stage import Stage, open_stage
from tests.support.consortium import SALT

BYSTANDER = ("close_commits", "close_reveals", "abandon")
ANYONE = ("escalate", "slash", "close_withdrawal", "ready")
OWN = ("resign", "reclaim_bond", "claim_reward", "claim_compensation")
IN_WORK = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)
METHODS = [kind for kind in ModelKind if kind is not ModelKind.ROUND]
SPENDING = [1, 10**16, 10**17, 10**18]


def in_round(*states: RoundState) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Most actions would only be refused, in other states; a few such refusals are enough."""

    def is_in_one(machine: Consortiums) -> bool:
        return machine.play.model.rounds[machine.newest_round()].state in states

    return precondition(is_in_one)


def with_withdrawal(
    *states: WithdrawalState,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def has_one(machine: Consortiums) -> bool:
        return any(
            withdrawal.state in states for withdrawal in machine.play.model.withdrawals.values()
        )

    return precondition(has_one)


class Consortiums(RuleBasedStateMachine):
    """Rules that do what comes next, and rules that do anything at all."""

    who = st.integers(0, 2)
    number = st.integers(1, 3)
    back = st.integers(0, 2)

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.play = Play(stage)
        self.steps = 0

    @initialize(rounds=st.integers(1, 2), keeps=st.booleans(), methods=st.permutations(METHODS))
    def begin(self, rounds: int, keeps: bool, methods: list[ModelKind]) -> None:
        """Rounds and two withdrawals to go on from."""
        for _ in range(rounds):
            self.play.play_round()
            if keeps:
                self.play.do(self.play.boss, "release", self.play.model.head)
        for who, method in zip(self.play.orgs, methods[:2], strict=False):
            if method is ModelKind.REMOVAL:
                self.play.do(who, "request_withdrawal", method)
            else:
                self.play.do(who, "request_subject_withdrawal", "5b" * 32, method)

    def newest_round(self) -> int:
        return len(self.play.model.rounds)

    def _newest(self, back: int, all_of: dict[int, object]) -> int:
        return max(1, len(all_of) - back)

    @precondition(lambda self: self.newest_round() < 4)
    @rule(fault=st.sampled_from(["", "", "", "sum", "rejected"]), most=st.integers(1, 4))
    def play_a_round(self, fault: str, most: int) -> None:
        self.play.play_round(fault, most=most)

    @with_withdrawal(*IN_WORK)
    @rule(back=back, most=st.integers(1, 4))
    def finish_a_withdrawal(self, back: int, most: int) -> None:
        number = self._newest(back, self.play.model.withdrawals)
        self.play.finish(number, most=most)

    @in_round(RoundState.FINAL, RoundState.ABANDONED)
    @rule(stray=st.integers(0, 3))
    def open_a_round(self, stray: int) -> None:
        self.play.do(self.play.orgs[0] if stray == 3 else self.play.boss, "open_round")

    @in_round(RoundState.OPEN, RoundState.COMMITTED)
    @rule(who=who, kind=st.sampled_from(["fresh", "fresh", "zero", "revealed", "offered"]))
    def commit(self, who: int, kind: str) -> None:
        name = self.play.orgs[who]
        self.play.do(name, "commit", self.newest_round(), self.play.delta(name, kind), SALT)

    @in_round(RoundState.OPEN)
    @rule(who=who)
    def sit_out(self, who: int) -> None:
        self.play.do(self.play.orgs[who], "sit_out", self.newest_round())

    @rule(who=who, salt=st.sampled_from([SALT, SALT, b"\x08" * 32]))
    @in_round(RoundState.OPEN, RoundState.COMMITTED)
    def reveal(self, who: int, salt: bytes) -> None:
        name = self.play.orgs[who]
        answer = self.play.model.rounds[self.newest_round()].answers.get(name)
        delta = answer.delta if answer else NOTHING
        delta = self.play.delta(name) if delta is NOTHING else delta
        self.play.do(name, "reveal", self.newest_round(), delta, salt)

    @in_round(RoundState.OPEN, RoundState.COMMITTED, RoundState.REVEALED)
    @rule(who=who, action=st.sampled_from(BYSTANDER))
    def move_a_round_on(self, who: int, action: str) -> None:
        self.play.do(self.play.orgs[who], action, self.newest_round())

    @in_round(RoundState.COMMITTED, RoundState.REVEALED)
    @rule(fault=st.sampled_from(["", "", *FAULTS]), score=st.integers(0, 9_000))
    def aggregate(self, fault: str, score: int) -> None:
        self.play.aggregate(self.newest_round(), fault, score)

    @precondition(lambda self: self.play.model.claim)
    @rule(
        most=st.integers(1, 4),
        fault=st.sampled_from(["", "", "WrongCarry", "WrongDigest", "TooManyDigests"]),
    )
    def prove(self, most: int, fault: str) -> None:
        self.play.prove(most=most, fault=fault)

    @precondition(lambda self: self.play.model.claim)
    @rule(who=who)
    def drop_unproven(self, who: int) -> None:
        self.play.do(self.play.orgs[who], "drop_unproven")

    @rule(who=who, method=st.sampled_from(METHODS))
    def withdraw(self, who: int, method: ModelKind) -> None:
        self.play.do(self.play.orgs[who], "request_withdrawal", method)

    @rule(who=who, method=st.sampled_from(METHODS))
    def withdraw_for_a_subject(self, who: int, method: ModelKind) -> None:
        self.play.do(self.play.orgs[who], "request_subject_withdrawal", "5a" * 32, method)

    @with_withdrawal(*IN_WORK)
    @rule(who=who, back=back, round_id=st.integers(0, 4), kind=st.sampled_from(["fresh", "zero"]))
    def offer(self, who: int, back: int, round_id: int, kind: str) -> None:
        name, number = self.play.orgs[who], self._newest(back, self.play.model.withdrawals)
        self.play.do(name, "offer", number, round_id, self.play.delta(name, kind))

    @with_withdrawal(*IN_WORK)
    @rule(back=back)
    def prepare(self, back: int) -> None:
        self.play.prepare(self._newest(back, self.play.model.withdrawals))

    @with_withdrawal(WithdrawalState.REQUESTED)
    @rule(
        back=back,
        place=st.integers(0, 3),
        fault=st.sampled_from(["", "", "", "adapter", "quorum", "order", "stranger", "evidence"]),
    )
    def carry_out(self, back: int, place: int, fault: str) -> None:
        number = self._newest(back, self.play.model.withdrawals)
        source = ([*reversed(self.play.model.in_use()), 0, 0, 0, 0])[place]
        self.play.carry_out(number, source, fault)

    @with_withdrawal(*IN_WORK)
    @rule(who=who, back=back, action=st.sampled_from(ANYONE))
    def move_a_withdrawal_on(self, who: int, back: int, action: str) -> None:
        number = self._newest(back, self.play.model.withdrawals)
        self.play.do(self.play.orgs[who], action, number)

    @rule(who=who, whom=who, number=number, expels=st.booleans())
    def propose(self, who: int, whom: int, number: int, expels: bool) -> None:
        if expels:
            self.play.do(self.play.orgs[who], "propose_expulsion", self.play.orgs[whom])
        else:
            self.play.do(self.play.orgs[who], "propose_fall_back", number)

    @rule(back=back)
    @precondition(lambda self: self.play.model.proposals)
    def vote_and_execute(self, back: int) -> None:
        number = self._newest(back, self.play.model.proposals)
        for who in self.play.orgs[:2]:
            self.play.do(who, "vote", number)
        self.play.do(self.play.orgs[2], "execute", number)

    @rule(who=who, action=st.sampled_from(OWN))
    @precondition(lambda self: len(self.play.model.rounds) > 2)
    def act_alone(self, who: int, action: str) -> None:
        self.play.do(self.play.orgs[who], action)

    @precondition(lambda self: self.play.model.pool % 10**18)
    @rule(who=who, amount=st.sampled_from(SPENDING))
    def top_up(self, who: int, amount: int) -> None:
        self.play.do(self.play.orgs[who], "top_up", amount)

    @precondition(lambda self: not self.play.model.aggregator_bond)
    @rule(amount=st.sampled_from([0, 10**18, 10**19, 10**19]))
    def post_aggregator_bond(self, amount: int) -> None:
        self.play.do(self.play.boss, "post_aggregator_bond", amount)

    @rule(back=back, action=st.sampled_from(["release", "release", "retire"]))
    def keep_a_model(self, back: int, action: str) -> None:
        self.play.do(self.play.boss, action, max(0, len(self.play.model.models) - 1 - back))

    @rule(seconds=st.sampled_from([301, 301, 601, 3601, 90_000]))
    def pass_time(self, seconds: int) -> None:
        self.play.pass_time(seconds)

    @invariant()
    def contracts_and_reference_agree(self) -> None:
        self.steps += 1
        self.play.check(each=self.steps % 5 == 0)

    def teardown(self) -> None:
        self.play.check()
        for number in list(self.play.model.models)[1:]:
            self.play.check_model(number)


@pytest.mark.parametrize("layout", ["blocks", "shared"])
def test_the_contracts_match_the_reference_after_any_actions(layout: str) -> None:
    reached = play_at_random(layout, examples=2)
    assert reached["aggregate"] > 2
    assert sum(reached.values()) > 80


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["blocks", "shared"])
def test_the_contracts_match_the_reference_after_many_actions(layout: str) -> None:
    reached = play_at_random(layout, examples=6)
    assert reached["aggregate"] > 5
    assert reached["carry_out"] > 5
    assert reached["close_withdrawal"] > 3
    assert sum(reached.values()) > 300


def play_at_random(layout: str, examples: int) -> Counter[str]:
    """Play so many random consortiums. Return how often each action succeeded."""
    with open_stage(layout) as stage:
        run_state_machine_as_test(
            seed(int(layout == "shared"))(lambda: Consortiums(stage)),
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        return stage.reached
