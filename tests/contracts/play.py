"""Actions on a consortium, each followed by the reference, and what both must agree on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from rescind.contracts import (
    Account,
    ContractRefused,
    FoldPiece,
    Limits,
    MemberStatus,
    ModelKind,
    Parts,
    RejectReason,
    Replay,
    RoundState,
    SumPiece,
    WithdrawalMethod,
    WithdrawalState,
    next_piece,
)
from rescind.core import point_hash
from tests.contracts.reference import Change, Expected
from tests.contracts.stage import Stage
from tests.support.consortium import SALT

ROUND_SECONDS = 601
DAY = 90_000
MOST_STEPS = 200


class Play:
    """One play on a stage: the chain and the reference side by side."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.record = stage, stage.record
        self.model = stage.rewind()
        self.consortium = stage.consortium
        self.orgs = stage.consortium.organizations
        self.judged: tuple[int, dict[str, str]] = (0, {})
        self.revealed: dict[str, Parts] = {}
        self.offers: dict[int, dict[tuple[int, str], str]] = {}
        self.plans: dict[int, Expected] = {}
        self.contributions = 0
        self.since = 0
        self.checked = 1

    # Single actions

    def act(self, name: str, action: Callable[[], object]) -> str:
        """Return the reason for which the contracts refuse an action, or nothing."""
        try:
            action()
        except ContractRefused as refusal:
            reason = refusal.reason or str(refusal)
            self.stage.reached[f"{name} {reason}"] += 1
            return reason
        self.stage.reached[name] += 1
        return ""

    def do(self, account: Account, name: str, *arguments: object) -> str:
        """Call a method of an account's client; see `act`."""
        client = self.stage.clients[account.address]
        return self.act(name, lambda: getattr(client, name)(*arguments))

    def parts(self, account: Account) -> Parts:
        """Return a contribution that was not made before in this play."""
        self.contributions += 1
        return self.stage.parts(account, self.contributions)

    def account(self, address: str) -> Account:
        """Return the organization with an address."""
        return next(each for each in self.orgs if each.address == address)

    def pass_time(self, seconds: int) -> None:
        """Let the chain's clock run."""
        self.stage.pass_time(seconds)

    # Rounds

    def step_round(self, *, absent: int = 0, rejects: bool = False) -> str:
        """Do what the current round needs next; open one if none is under way.

        Args:
            absent: Bits of the members that sit out, or do not reveal.
            rejects: Whether the aggregator rejects the first contribution, if there are more.
        """
        aggregator = self.consortium.aggregator
        number = self.record.current_round_id()
        state = self.record.round(number).state
        if state is RoundState.NONE or state.over:
            self.revealed = {}
            return self.do(aggregator, "open_round")
        if state is RoundState.OPEN:
            return self._answer(number, absent)
        if state is RoundState.COMMITTED:
            return self._reveal(number, absent)
        if state is RoundState.REVEALED:
            return self._judge(number, rejects=rejects)
        return self.send_pieces(1)

    def _answer(self, number: int, absent: int) -> str:
        answered = self.record.answers(number)
        for place, account in enumerate(self.orgs):
            if not self.record.may_contribute(account.address):
                continue
            if account.address in (*answered.committed, *answered.sat_out):
                continue
            if absent >> place & 1:
                self.do(account, "sit_out", number)
            else:
                self.revealed[account.address] = self.parts(account)
                self.do(account, "commit", number, self.revealed[account.address], SALT)
        return self.do(self.consortium.aggregator, "close_commits", number)

    def _reveal(self, number: int, absent: int) -> str:
        for place, account in enumerate(self.orgs):
            if account.address in self.record.answers(number).committed and not absent >> place & 1:
                self.do(account, "reveal", number, self.revealed[account.address], SALT)
        if self.do(self.consortium.aggregator, "close_reveals", number) == "DeadlineAhead":
            self.pass_time(ROUND_SECONDS)
            return self.do(self.consortium.aggregator, "close_reveals", number)
        return ""

    def _judge(self, number: int, *, rejects: bool) -> str:
        revealed = list(self.record.answers(number).revealed)
        rejected = revealed[:1] if rejects and len(revealed) > 1 else []
        scores = {
            name: 4_000 + place for place, name in enumerate(revealed) if name not in rejected
        }
        reasons = dict.fromkeys(rejected, RejectReason.MALFORMED)
        reason = self.do(self.consortium.aggregator, "judge", number, scores, reasons)
        if reason == "DeadlinePassed":
            return self.do(self.orgs[0], "abandon", number)
        if not reason:
            points = {name: self.revealed[name].point_hashes[0] for name in scores}
            self.judged = (number, points)
        return reason

    def play_round(self, *, absent: int = 0, rejects: bool = False) -> None:
        """Play a round to its end."""
        assert self.step_round() == ""
        number = self.record.current_round_id()
        for _ in range(MOST_STEPS):
            if self.record.round(number).state.over:
                return
            self.step_round(absent=absent, rejects=rejects)
        raise AssertionError("the round does not end")

    def send_pieces(self, count: int, limits: Limits | None = None) -> str:
        """Send the next pieces of sums and folds, at most so many."""
        for _ in range(count):
            piece = next_piece(self.record, limits or Limits())
            if piece is None:
                return "NothingToFold"
            if isinstance(piece, FoldPiece) and not self._is_begun(piece.source):
                judged = self.judged[0]
                open_ = judged and self.record.round(judged).state is RoundState.JUDGED
                plan = self.model.successor(piece.source, judged if open_ else 0)
                assert plan is not None, "the contracts fold what is not stale"
                self.plans[piece.source] = plan
            before = self.record.model_count()
            reason = self.act(type(piece).__name__, lambda piece=piece: self.record.send(piece))
            assert reason == ""
            if self.record.model_count() > before:
                assert isinstance(piece, FoldPiece)
                self._register(self.plans.pop(piece.source))
        return ""

    def _is_begun(self, source: int) -> bool:
        fold = self.record.fold(source)
        return fold is not None and fold.open

    def fold_all(self, limits: Limits | None = None) -> None:
        """Send pieces until nothing is left to fold."""
        for _ in range(MOST_STEPS):
            if self.send_pieces(1, limits):
                return
        raise AssertionError("the fold does not end")

    def begin_fold(self) -> None:
        """Send the first piece of the head's fold without a point: anyone can."""
        while isinstance(piece := next_piece(self.record), SumPiece):
            self.record.send(piece)
        assert isinstance(piece, FoldPiece)
        plan = self.model.successor(piece.source, self.judged[0])
        assert plan is not None
        self.plans[piece.source] = plan
        self.record.send(replace(piece, points=()))
        assert self._is_begun(piece.source)

    def _register(self, plan: Expected) -> None:
        if plan.kind is ModelKind.ROUND:
            number, points = self.judged
            assert number == plan.last_round
            self.model.rounds[number] = points
        self.model.add(plan)

    def release(self) -> str:
        """Release the head."""
        reason = self.do(self.consortium.aggregator, "release", self.model.head)
        if not reason:
            self.model.released.add(self.model.head)
        return reason

    def retire(self, model_id: int) -> str:
        """Retire a model."""
        reason = self.do(self.consortium.aggregator, "retire", model_id)
        if not reason:
            self.model.in_use.discard(model_id)
        return reason

    # Withdrawals

    def request(self, account: Account, method: WithdrawalMethod) -> str:
        """Request a withdrawal of all that an organization contributed."""
        reason = self.do(account, "request_withdrawal", method)
        if not reason and method in (WithdrawalMethod.REMOVAL, WithdrawalMethod.REPLAY):
            self._exclude(account.address)
        return reason

    def request_for_subject(self, account: Account, method: WithdrawalMethod) -> str:
        """Request a withdrawal for one data subject."""
        return self.do(account, "request_subject_withdrawal", "5b" * 32, method)

    def offer(self, withdrawal_id: int, round_id: int) -> str:
        """Offer for a round, or a counter-delta for round 0."""
        withdrawal = self.record.withdrawal(withdrawal_id)
        account = self.account(withdrawal.organization)
        parts = self.parts(account)
        reason = self.do(account, "offer", withdrawal_id, round_id, parts)
        if not reason:
            offers = self.offers.setdefault(withdrawal_id, {})
            offers[round_id, account.address] = parts.point_hashes[0]
        return reason

    def ready(self, withdrawal_id: int) -> str:
        """Let what was offered take effect."""
        withdrawal = self.record.withdrawal(withdrawal_id)
        name = withdrawal.organization
        reason = self.do(self.account(name), "ready", withdrawal_id)
        if not reason:
            counters = withdrawal.method is WithdrawalMethod.COUNTER_TRAINING
            kind = ModelKind.COUNTER_TRAINING if counters else ModelKind.REPLACEMENT
            offers = dict(self.offers[withdrawal_id])
            first = min(number for number, _ in offers)
            self.model.changes.append(Change(kind, name, first, 0, offers))
        return reason

    def prepare(self, withdrawal_id: int) -> str:
        """Offer all that a withdrawal's method needs, and make it effective."""
        withdrawal = self.record.withdrawal(withdrawal_id)
        if withdrawal.method is WithdrawalMethod.COUNTER_TRAINING:
            self.offer(withdrawal_id, 0)
        else:
            final = [
                number
                for number, points in self.model.rounds.items()
                if withdrawal.organization in points
            ]
            every = withdrawal.method is WithdrawalMethod.REPLAY and not self._chained
            for number in final if every else final[-1:]:
                self.offer(withdrawal_id, number)
        return self.ready(withdrawal_id)

    def to_removal(self, account: Account, withdrawal_id: int, action: str) -> str:
        """Turn a withdrawal into a removal, by `convert` or `escalate`."""
        name = self.record.withdrawal(withdrawal_id).organization
        reason = self.do(account, action, withdrawal_id)
        if not reason:
            self._exclude(name)
        return reason

    def expel(self, account: Account) -> str:
        """Expel an organization by the votes of the others."""
        voters = [each for each in self.orgs if self.record.member(each.address).status
                  is MemberStatus.ACTIVE]  # fmt: skip
        if not voters:
            return "NotActive"
        client = self.stage.clients[voters[0].address]
        number = client.propose_expulsion(account.address)
        for voter in voters[1:]:
            self.do(voter, "vote", number)
        reason = self.act("expel", lambda: client.execute(number))
        if not reason:
            self._exclude(account.address)
        return reason

    def attest(self, withdrawal_id: int) -> str:
        """Let the auditors attest a withdrawal in the head."""
        attest = self.consortium.attest_withdrawal
        return self.act("attest_withdrawal", lambda: attest(withdrawal_id))

    def finish(self, withdrawal_id: int, limits: Limits | None = None) -> str:
        """Carry a withdrawal out as far as others let it, and close it."""
        if self.record.withdrawal(withdrawal_id).state is WithdrawalState.PREPARING:
            self.prepare(withdrawal_id)
        self.fold_all(limits)
        if self.record.withdrawal(withdrawal_id).state is WithdrawalState.REPLAYING:
            self.replay_all(limits)
            self.do(self.orgs[0], "finish_replay", withdrawal_id)
        if self.record.withdrawal(withdrawal_id).state is WithdrawalState.ATTESTING:
            self.attest(withdrawal_id)
        return self.do(self.orgs[0], "close_withdrawal", withdrawal_id)

    # Replays

    def start_replay(self) -> str:
        """Start the replay of all that wait."""
        since = len(self.model.changes)
        reason = self.do(self.orgs[0], "start_replay")
        if not reason:
            self.since = since
            self._note_replay(self.record.current_replay())
        return reason

    def step_replay(self, *, absent: int = 0) -> str:
        """Let members train a round of the replay again, and close it."""
        replay = self.record.current_replay()
        if replay is None or not replay.running:
            return "NoReplay"
        for name in self.record.expected_replayers():
            place, account = self.model.organizations.index(name), self.account(name)
            if absent >> place & 1:
                continue
            parts = self.parts(account)
            if not self.do(account, "offer_replayed", replay.round_id, parts):
                offers = self.offers.setdefault(replay.id, {})
                offers[replay.round_id, name] = parts.point_hashes[0]
        reason = self.do(self.orgs[0], "advance_replay")
        if reason == "DeadlineAhead":
            self.pass_time(ROUND_SECONDS)
            reason = self.do(self.orgs[0], "advance_replay")
        if not reason:
            self._note_replay(self.record.replay(replay.id))
        return reason

    def replay_all(self, limits: Limits | None = None) -> None:
        """Run a replay to its end, with all that wait for one."""
        self.start_replay()
        while self.record.replay_is_pending():
            assert self.step_replay() == ""
            self.send_pieces(2, limits)
        self.fold_all(limits)

    def _note_replay(self, replay: Replay | None) -> None:
        if replay is not None and replay.amendment:
            offers = dict(self.offers.get(replay.id, {}))
            rounds = (replay.from_round, replay.to_round)
            change = Change(ModelKind.REPLAY, "", *rounds, offers, self.since)
            self.model.changes.append(change)

    def _exclude(self, name: str) -> None:
        if name not in self.model.out(len(self.model.changes)):
            self.model.changes.append(Change(ModelKind.REMOVAL, name))

    @property
    def _chained(self) -> bool:
        return self.consortium.parameters.layout == "shared"

    # Agreement

    def check(self) -> None:
        """Check that the chain says what the reference does."""
        model, record = self.model, self.record
        assert record.model_count() == len(model.models) - 1
        assert record.latest_model_id() == model.head
        assert set(record.models_in_use()) == model.in_use
        assert len(record.amendments()) == len(model.changes)
        for number in model.in_use:
            assert record.is_stale(number) == bool(model.missing(model.models[number]))
        for number in range(self.checked, len(model.models)):
            self._check_model(number)
        self.checked = len(model.models)
        self._check_withdrawals()
        self._check_bonds()

    def _check_model(self, number: int) -> None:
        model, expected = self.record.model(number), self.model.models[number]
        assert (model.kind, model.source, model.last_round, model.amendments) == (
            expected.kind,
            expected.source,
            expected.last_round,
            expected.amendments,
        )
        content = self.model.content(expected)
        named = [
            (each.round_id, each.organization, each.weight, each.point_hash)
            for each in self.record.content(number)
        ]
        assert named == content
        commitment = self.stage.commitment(content)
        assert model.commitments == (point_hash(commitment),)
        assert self.record.commitment_points(number) == (commitment,)
        for account in self.orgs:
            holds = self.model.holds(expected, account.address)
            clean = self.record.is_clean(number, account.address)
            # A member that a replay dropped from all its rounds still counts as a contributor.
            assert not (clean and holds)
            assert clean != holds or self._chained

    def _check_withdrawals(self) -> None:
        out = self.model.out(len(self.model.changes))
        for withdrawal in self.record.withdrawals():
            if withdrawal.state is not WithdrawalState.CLOSED or withdrawal.organization not in out:
                continue
            for number in self.model.in_use:
                # A later request may have made it stale again; no closed one is undone by that.
                assert not self.model.holds(self.model.models[number], withdrawal.organization) or (
                    withdrawal.method is not WithdrawalMethod.REMOVAL
                )

    def _check_bonds(self) -> None:
        balance = self.record.chain.balance(self.consortium.deployment.members)
        bonds = sum(member.bond for member in self.record.members())
        assert balance == bonds + self.record.aggregator_bond()
