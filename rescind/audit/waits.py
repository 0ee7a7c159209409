"""Queries of withdrawals and replays, and of what the consortium waits for."""

from __future__ import annotations

from collections.abc import Iterator

from rescind.audit.queries import names, replay_number
from rescind.audit.rows import ReplayRow, WaitRow, WithdrawalRow
from rescind.contracts import (
    REPLAY_OFFERS,
    ConsortiumReader,
    Round,
    RoundState,
    Withdrawal,
    WithdrawalState,
)


def withdrawals(reader: ConsortiumReader) -> list[WithdrawalRow]:
    """Return every withdrawal."""
    name_of, now = names(reader), reader.chain.now()
    stale = {each: reader.model(each).amendments for each in _stale_models(reader)}
    return [
        WithdrawalRow(
            withdrawal.id,
            withdrawal.organization,
            name_of[withdrawal.organization],
            withdrawal.method.value,
            withdrawal.state.value,
            withdrawal.subject or None,
            withdrawal.expelled,
            withdrawal.requested_at,
            withdrawal.deadline or None,
            withdrawal.amendment or None,
            tuple(each for each, has in stale.items() if has < withdrawal.amendment),
            withdrawal.closed_model or None,
            withdrawal.evidence or None,
            overdue=0 < withdrawal.deadline < now,
        )
        for withdrawal in reader.withdrawals()
    ]


def replays(reader: ConsortiumReader) -> list[ReplayRow]:
    """Return every replay that was started."""
    current = reader.current_replay()
    if current is None:
        return []
    name_of = names(reader)
    rows = []
    for replay_id in range(REPLAY_OFFERS + 1, current.id + 1):
        replay = reader.replay(replay_id)
        waits_for = reader.expected_replayers() if replay.running else []
        rows.append(
            ReplayRow(
                replay_number(replay_id),
                replay.withdrawals,
                replay.from_round,
                replay.to_round,
                replay.round_id if replay.running else None,
                replay.deadline if replay.running else None,
                replay.amendment or None,
                tuple(name_of[each] for each in waits_for),
                len(reader.offers(replay_id)),
            )
        )
    return rows


def waits(reader: ConsortiumReader) -> list[WaitRow]:
    """Return everything that the consortium waits for now, late or not."""
    now = reader.chain.now()
    pending = [
        *_round_waits(reader),
        *_fold_waits(reader),
        *_withdrawal_waits(reader),
        *_replay_waits(reader),
        *_aggregator_waits(reader),
    ]
    return [
        WaitRow(subject, waits_for, deadline, deadline is not None and deadline < now, consequence)
        for subject, waits_for, deadline, consequence in pending
    ]


_Wait = tuple[str, str, int | None, str]


def _round_waits(reader: ConsortiumReader) -> Iterator[_Wait]:
    round_id = reader.current_round_id()
    if not round_id:
        return
    round_ = reader.round(round_id)
    subject = f"round {round_id}"
    if round_.state is RoundState.OPEN:
        yield subject, _unanswered(reader, round_), round_.deadline, "close it without them"
    elif round_.state is RoundState.COMMITTED:
        yield subject, _unrevealed(reader, round_), round_.deadline, "close it; they owe a penalty"
    elif round_.state is RoundState.REVEALED:
        yield subject, "the aggregator's judgement", round_.deadline, "abandon it"
    elif round_.state is RoundState.JUDGED:
        yield subject, "its fold, by anyone", None, "send the next piece"
    if reader.settings().attested:
        attested = reader.attested_up_to()
        late = [
            number
            for number in range(attested + 1, round_id + 1)
            if (each := reader.round(number)).state is RoundState.FINAL and not each.attested
        ]
        if late:
            listed = ", ".join(map(str, late))
            consequence = "submit it, once a quorum has signed"
            yield f"rewards of rounds {listed}", "the auditors' attestation", None, consequence


def _unanswered(reader: ConsortiumReader, round_: Round) -> str:
    name_of, answers = names(reader), reader.answers(round_.id)
    answered = {*answers.committed, *answers.sat_out, *answers.unavailable}
    missing = [name_of[each] for each in reader.eligible_members() if each not in answered]
    return f"an answer of {', '.join(missing)}" if missing else "its close, by anyone"


def _unrevealed(reader: ConsortiumReader, round_: Round) -> str:
    name_of, answers = names(reader), reader.answers(round_.id)
    missing = [name_of[each] for each in answers.committed if each not in answers.revealed]
    return f"the contribution of {', '.join(missing)}" if missing else "its close, by anyone"


def _stale_models(reader: ConsortiumReader) -> list[int]:
    return [each for each in reader.models_in_use() if reader.is_stale(each)]


def _fold_waits(reader: ConsortiumReader) -> Iterator[_Wait]:
    for model_id in _stale_models(reader):
        yield f"model {model_id}", "the fold of its successor, by anyone", None, "send a piece"


def _withdrawal_waits(reader: ConsortiumReader) -> Iterator[_Wait]:
    name_of = names(reader)
    for withdrawal in reader.withdrawals():
        if withdrawal.state is not WithdrawalState.CLOSED:
            yield _withdrawal_wait(reader, withdrawal, name_of[withdrawal.organization])


def _withdrawal_wait(reader: ConsortiumReader, withdrawal: Withdrawal, name: str) -> _Wait:
    subject, deadline = f"withdrawal {withdrawal.id}", withdrawal.deadline or None
    state = withdrawal.state
    removal = "turn it into the removal of the organization"
    if state is WithdrawalState.PREPARING:
        return subject, f"the offers of {name}", deadline, removal
    if state is WithdrawalState.ATTESTING:
        return subject, "the auditors' attestation", deadline, removal
    if state is WithdrawalState.REPLAYING:
        joined = reader.replay_of(withdrawal.id)
        waits_for = f"replay {replay_number(joined)}" if joined else "the start of its replay"
        return subject, waits_for, deadline, "start or advance the replay"
    if reader.is_folded(withdrawal.amendment):
        return subject, "its close, by anyone", deadline, "close it"
    return subject, "the folds, by anyone", deadline, "send a piece"


def _replay_waits(reader: ConsortiumReader) -> Iterator[_Wait]:
    queued = reader.queued_withdrawals()
    if queued:
        listed = ", ".join(map(str, queued))
        yield f"the next replay, for withdrawals {listed}", "its start, by anyone", None, "start it"
    for row in replays(reader):
        if row.round_id is not None:
            waits_for = f"round {row.round_id} of {', '.join(row.waits_for) or 'no one'}"
            yield f"replay {row.number}", waits_for, row.deadline, "go on without them"


def _aggregator_waits(reader: ConsortiumReader) -> Iterator[_Wait]:
    if not reader.aggregator():
        yield "rounds", "the members' vote for an aggregator", None, "propose one"
    elif not reader.aggregator_ready():
        yield "rounds", "the aggregator's bond", None, "vote for another aggregator"
