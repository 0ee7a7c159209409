"""Erasure after closed withdrawals: cases, and a chain that plays itself."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.contracts import REPLAY_OFFERS, Amendment, ModelKind, WithdrawalMethod
from rescind.withdrawals import Derived, ErasureFacts, Registered, to_erase
from rescind.withdrawals.erasure import HeldModel, HeldWithdrawal

NAMES = ("ada", "bo", "cy")
REMOVAL = WithdrawalMethod.REMOVAL


def point(name: str, round_id: int, offer: int = 0) -> str:
    return f"point-{name}-{round_id}-{offer}"


def file_of(point_hash: str) -> str:
    return point_hash.replace("point", "file")


@dataclass
class Record:
    """A consortium in memory: rounds and withdrawals by the contracts' rules, one line of models."""

    chained: bool = False
    contributions: list[Registered] = field(default_factory=list)
    models: list[HeldModel] = field(default_factory=list)
    amendments: list[Amendment] = field(default_factory=list)
    withdrawals: list[HeldWithdrawal] = field(default_factory=list)
    released: set[int] = field(default_factory=set)
    parents: dict[int, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    attested: bool = True
    rounds: int = 0
    replays: int = 0
    places: int = 0

    @property
    def head(self) -> int:
        return len(self.models)

    def content(self) -> dict[str, Registered]:
        """Return what the newest model holds, by point."""
        held = self.models[-1].content if self.models else frozenset()
        return {each.point_hash: each for each in self.contributions if each.point_hash in held}

    def place(self) -> int:
        self.places += 1
        return self.places

    def register(self, name: str, round_id: int, offer: int = 0) -> str:
        new = point(name, round_id, offer)
        if new not in {each.point_hash for each in self.contributions}:
            self.contributions.append(Registered(new, file_of(new), name, round_id, offer))
        return new

    def fold(self, kind: ModelKind, content: set[str]) -> None:
        number = len(self.models) + 1
        files = frozenset({f"adapter-{number}", f"opening-{number}"})
        self.models.append(
            HeldModel(number, number - 1, kind, len(self.amendments), frozenset(content), files)
        )
        self.released -= {number - 1} if kind is not ModelKind.ROUND else set()

    def play_round(self, names: tuple[str, ...] = NAMES) -> None:
        self.rounds += 1
        self.parents[self.rounds] = self.head
        new = {self.register(name, self.rounds) for name in names if name not in self.gone}
        self.fold(ModelKind.ROUND, set(self.content()) | new)

    def request(self, name: str, method: WithdrawalMethod = REMOVAL) -> int:
        number = len(self.withdrawals) + 1
        self.withdrawals.append(HeldWithdrawal(number, name, method, self.place()))
        if method is REMOVAL:
            self.remove(number)
        return number

    def amend(self, kind: ModelKind, name: str, first: int, last: int, offer: int) -> None:
        number = len(self.amendments) + 1
        self.amendments.append(
            Amendment(number, kind, name, NAMES.index(name) if name else 0, first, last, offer)
        )

    def remove(self, number: int) -> None:
        name = self.withdrawals[number - 1].organization
        self.gone.add(name)
        self.amend(ModelKind.REMOVAL, name, 0, 0, 0)
        kept = {p for p, each in self.content().items() if each.organization != name}
        self.fold(ModelKind.REMOVAL, kept)

    def replace(self, number: int) -> None:
        """Offer every round of a withdrawal's organization again, and fold the offers."""
        name, held = self.withdrawals[number - 1].organization, self.content()
        own = {p: each for p, each in held.items() if each.organization == name and each.round_id}
        first = min((each.round_id for each in own.values()), default=1)
        new = {self.register(name, each.round_id, number) for each in own.values()}
        self.amend(ModelKind.REPLACEMENT, name, first, 0, number)
        self.fold(ModelKind.REPLACEMENT, set(held) - set(own) | new)

    def counter(self, number: int) -> None:
        name = self.withdrawals[number - 1].organization
        new = self.register(name, 0, number)
        self.amend(ModelKind.COUNTER_TRAINING, name, 0, 0, number)
        self.fold(ModelKind.COUNTER_TRAINING, set(self.content()) | {new})

    def replay(self, number: int) -> None:
        self.replays += 1
        offer, held = REPLAY_OFFERS + self.replays, self.content()
        self.withdrawals[number - 1] = replace(self.withdrawals[number - 1], replay=offer)
        old = {p: each for p, each in held.items() if each.round_id >= 1}
        new = {self.register(each.organization, each.round_id, offer) for each in old.values()}
        self.amend(ModelKind.REPLAY, "", 1, self.rounds, offer)
        self.fold(ModelKind.REPLAY, set(held) - set(old) | new)

    def close(self, number: int) -> None:
        self.withdrawals[number - 1] = replace(
            self.withdrawals[number - 1], closed=self.place(), evidence=f"evidence-{number}"
        )

    def facts(self, *derived: Derived) -> ErasureFacts:
        in_use = frozenset({self.head, *self.released} - {0})
        return ErasureFacts(
            tuple(self.contributions),
            tuple(self.models),
            in_use,
            tuple(self.amendments),
            tuple(self.withdrawals),
            parents=self.parents if self.chained else {},
            unattested=frozenset() if self.attested else frozenset(p for p in self.content()),
            derived=derived,
        )


@pytest.fixture
def record() -> Record:
    played = Record()
    played.play_round()
    played.play_round()
    return played


def model_files(*models: int) -> set[str]:
    return {f"{kind}-{number}" for number in models for kind in ("adapter", "opening")}


def test_nothing_is_erased_without_a_closed_withdrawal(record: Record) -> None:
    assert to_erase(record.facts()) == {}
    record.request("ada")
    assert to_erase(record.facts()) == {}


def test_a_removal_erases_the_contributions_and_every_model_that_holds_them(record: Record) -> None:
    record.close(record.request("ada"))
    erased = to_erase(record.facts())
    own = {file_of(point("ada", number)) for number in (1, 2)}
    assert set(erased) == own | model_files(1, 2)
    assert {reason.withdrawal_id for reason in erased.values()} == {1}
    assert erased[file_of(point("ada", 2))].what == "contribution of ada to round 2"


def test_a_model_that_does_not_hold_the_organization_stays() -> None:
    record = Record()
    record.play_round(("bo",))
    record.play_round()
    record.close(record.request("ada"))
    assert not set(to_erase(record.facts())) & model_files(1)


def test_a_replacement_erases_the_replaced_deltas_only(record: Record) -> None:
    number = record.request("bo", WithdrawalMethod.REPLACEMENT)
    record.replace(number)
    record.close(number)
    replaced = {file_of(point("bo", each)) for each in (1, 2)}
    assert set(to_erase(record.facts())) == replaced | model_files(1, 2)


def test_a_counter_training_erases_the_models_without_it_and_no_contribution(
    record: Record,
) -> None:
    number = record.request("bo", WithdrawalMethod.COUNTER_TRAINING)
    record.counter(number)
    record.close(number)
    assert set(to_erase(record.facts())) == model_files(1, 2)


def test_an_open_withdrawal_keeps_the_model_before_it(record: Record) -> None:
    first = record.request("bo", WithdrawalMethod.REPLACEMENT)
    record.replace(first)
    record.close(record.request("ada"))
    # Model 2 is the one that the replacement is compared with, and holds ada.
    assert not set(to_erase(record.facts())) & (model_files(2) | {file_of(point("ada", 1))})
    record.close(first)
    assert model_files(1, 2, 3) | {file_of(point("ada", 1))} <= set(to_erase(record.facts()))


@pytest.mark.parametrize("before", [True, False])
def test_a_recorded_start_waits_only_for_withdrawals_that_were_open_already(
    before: bool,
) -> None:
    record = Record(chained=True)
    record.play_round()
    record.play_round()
    if before:
        record.request("bo", WithdrawalMethod.REPLACEMENT)
    record.close(record.request("ada"))
    if not before:
        record.request("bo", WithdrawalMethod.REPLACEMENT)
    kept = model_files(1) - set(to_erase(record.facts()))
    assert bool(kept) is before


def test_a_released_model_and_a_round_under_way_keep_what_they_need(record: Record) -> None:
    record.close(record.request("ada"))
    facts = replace(record.facts(), in_use=frozenset({1, 3}), parent=2, round_id=2)
    assert to_erase(facts) == {}


def test_contributions_wait_for_the_attestation_of_their_round(record: Record) -> None:
    number = record.request("ada")
    record.close(number)
    pending = frozenset({point("ada", 2)})
    erased = to_erase(replace(record.facts(), unattested=pending))
    assert file_of(point("ada", 2)) not in erased
    assert file_of(point("ada", 1)) in erased


def test_sums_go_with_the_contributions_in_them(record: Record) -> None:
    derived = (
        Derived("sum", frozenset({"with-ada"}), frozenset({point("ada", 1), point("bo", 1)})),
        Derived("sum", frozenset({"without"}), frozenset({point("bo", 1)})),
        Derived("sum", frozenset({"unknown"})),
        Derived("Fisher", frozenset({"fisher"}), frozenset(), "ada"),
        Derived("sum", frozenset({"adapter-3"}), frozenset({point("ada", 1)})),
    )
    record.close(record.request("ada"))
    erased = set(to_erase(record.facts(*derived)))
    assert {"with-ada", "unknown", "fisher"} <= erased
    assert not erased & {"without", "adapter-3"}


def test_evidence_that_was_attested_stays_for_the_certificate(record: Record) -> None:
    number = record.request("bo", WithdrawalMethod.COUNTER_TRAINING)
    drafts = (
        Derived("evidence", frozenset({"draft"}), frozenset(), withdrawal=number),
        Derived("evidence", frozenset({f"evidence-{number}"}), frozenset(), withdrawal=number),
    )
    record.counter(number)
    assert to_erase(record.facts(*drafts)) == {}
    record.close(number)
    erased = set(to_erase(record.facts(*drafts)))
    assert "draft" in erased
    assert f"evidence-{number}" not in erased


def test_a_file_that_another_member_registered_too_stays(record: Record) -> None:
    shared = file_of(point("ada", 1))
    record.contributions = [
        replace(each, artifact_id=shared) if each.point_hash == point("bo", 1) else each
        for each in record.contributions
    ]
    record.close(record.request("ada"))
    assert shared not in to_erase(record.facts())


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["round", "remove", "replace", "counter", "replay", "close", "release"]),
        st.integers(0, 5),
    ),
    max_size=14,
)


def play(moves: list[tuple[str, int]], *, chained: bool, finish: bool) -> Record:
    record = Record(chained=chained)
    record.play_round()
    for move, number in moves:
        name = NAMES[number % len(NAMES)]
        unfinished = [each for each in record.withdrawals if each.closed is None]
        busy = name in record.gone or name in {each.organization for each in unfinished}
        if move == "round":
            record.play_round()
        elif move == "release":
            record.released.add(record.head)
        elif move == "close" and unfinished:
            record.close(unfinished[number % len(unfinished)].withdrawal_id)
        elif move == "remove" and not busy:
            record.request(name)
        elif move == "replace" and not busy:
            record.replace(record.request(name, WithdrawalMethod.REPLACEMENT))
        elif move == "counter" and not busy:
            record.counter(record.request(name, WithdrawalMethod.COUNTER_TRAINING))
        elif move == "replay" and not busy and chained:
            record.replay(record.request(name, WithdrawalMethod.REPLAY))
    for each in record.withdrawals if finish else ():
        if each.closed is None:
            record.close(each.withdrawal_id)
    if finish:
        record.released.clear()
    return record


def is_for(amendment: Amendment, withdrawal: HeldWithdrawal) -> bool:
    if amendment.kind is ModelKind.REMOVAL:
        return withdrawal.organization == amendment.organization
    return amendment.offer_id in (withdrawal.withdrawal_id, withdrawal.replay)


@settings(max_examples=150, deadline=None)
@given(MOVES, st.booleans(), st.booleans())
def test_what_is_needed_is_never_erased(
    moves: list[tuple[str, int]], chained: bool, attested: bool
) -> None:
    record = play(moves, chained=chained, finish=False)
    record.attested = attested
    facts = record.facts()
    erased = set(to_erase(facts))
    models = {model.model_id: model for model in facts.models}
    needed = set(facts.in_use)
    for amendment in facts.amendments:
        concerned = [w for w in facts.withdrawals if is_for(amendment, w)]
        if any(each.closed is None for each in concerned):
            needed |= {
                m.source for m in facts.models
                if m.amendments == amendment.number and m.kind is not ModelKind.ROUND and m.source
            }  # fmt: skip
    for number in needed:
        model = models[number]
        assert not erased & model.artifacts
        assert not erased & {file_of(each) for each in model.content}
    assert not erased & {file_of(each) for each in facts.unattested}
    opened = {w.withdrawal_id for w in facts.withdrawals if w.closed is None}
    opened |= {w.replay for w in facts.withdrawals if w.closed is None and w.replay}
    assert not erased & {e.artifact_id for e in facts.contributions if e.offer_id in opened}
    assert not erased & {w.evidence for w in facts.withdrawals}


@settings(max_examples=150, deadline=None)
@given(MOVES, st.booleans())
def test_what_was_withdrawn_is_erased_in_the_end(
    moves: list[tuple[str, int]], chained: bool
) -> None:
    record = play(moves, chained=chained, finish=True)
    facts = record.facts()
    erased, head = set(to_erase(facts)), record.content()
    for name in record.gone:
        own = {e.artifact_id for e in facts.contributions if e.organization == name}
        assert own <= erased
        holding = [m for m in facts.models if any(f"-{name}-" in each for each in m.content)]
        assert all(model.artifacts <= erased for model in holding)
    for withdrawal in record.withdrawals:
        if withdrawal.method is WithdrawalMethod.REPLACEMENT:
            old = [
                e for e in facts.contributions
                if e.organization == withdrawal.organization
                and e.round_id and e.offer_id < withdrawal.withdrawal_id
                and e.round_id in {
                    o.round_id for o in facts.contributions
                    if o.offer_id == withdrawal.withdrawal_id
                }
            ]  # fmt: skip
            assert {e.artifact_id for e in old if e.point_hash not in head} <= erased
