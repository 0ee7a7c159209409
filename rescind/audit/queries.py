"""Queries of members, rounds and contributions. Answers are rows, in the order of the chain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from rescind.audit.rows import (
    ContributionRow,
    MemberRow,
    Membership,
    ProposalRow,
    RoundRow,
)
from rescind.contracts import (
    NO_MANIFEST,
    REPLAY_OFFERS,
    ConsortiumReader,
    Contribution,
    Event,
    Judgement,
    Member,
    MemberStatus,
    Proposal,
    RoundState,
    StatedPrivacy,
)
from rescind.core.errors import ConfigError


def names(reader: ConsortiumReader) -> dict[str, str]:
    """Return the names of the organizations that joined, by address."""
    return {member.address: member.name for member in reader.members()}


def organization(reader: ConsortiumReader, name_or_address: str) -> str:
    """Return the address of an organization that joined or was admitted.

    Args:
        reader: The chain.
        name_or_address: The organization's name, or its address in any case.

    Raises:
        ConfigError: No organization, or more than one, has this name or address.
    """
    name_of = {each.address: each.name for each in [*reader.members(), *reader.admitted()]}
    wanted = name_or_address.lower()
    matches = [address for address in name_of if address.lower() == wanted]
    matches = matches or [address for address, name in name_of.items() if name == name_or_address]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigError(
            f"{len(matches)} members are named {name_or_address!r}: give the address instead"
        )
    members = ", ".join(name_of.values()) or "none so far"
    raise ConfigError(
        f"no member has the name or the address {name_or_address!r}. Members: {members}."
    )


def registered_for(offer_id: int) -> str:
    """Return the words for what a contribution was registered for."""
    if not offer_id:
        return "round"
    if offer_id < REPLAY_OFFERS:
        return f"withdrawal {offer_id}"
    return f"replay {replay_number(offer_id)}"


def replay_number(replay_id: int) -> int:
    """Return the place of a replay in the order of replays, from 1."""
    return replay_id - REPLAY_OFFERS


def contributions(reader: ConsortiumReader) -> list[ContributionRow]:
    """Return everything that was revealed in rounds, by round, and then what was offered."""
    name_of = names(reader)
    holders = _holders(reader)
    rows: list[ContributionRow] = []
    for round_id in range(1, reader.current_round_id() + 1):
        judgement, reward = reader.judgement(round_id), reader.reward_of(round_id)
        final = reader.round(round_id).state is RoundState.FINAL
        for each in reader.contributions(round_id):
            score, total = reader.score(round_id, each.organization)
            rows.append(
                _contribution_row(
                    each,
                    name_of,
                    holders,
                    score=score,
                    reward=reward * score // total if total else 0,
                    outcome=_outcome(each.organization, judgement, left=final and not total),
                )
            )
    rows += [
        _contribution_row(each, name_of, holders, score=0, reward=0, outcome="offered")
        for each in reader.offers()
    ]
    return rows


def _holders(reader: ConsortiumReader) -> dict[str, list[int]]:
    """Return the models in use that hold a point, by its hash."""
    holders: dict[str, list[int]] = {}
    for model_id in reader.models_in_use():
        for part in range(reader.part_count()):
            for entry in reader.content(model_id, part):
                models_ = holders.setdefault(entry.point_hash, [])
                if model_id not in models_:
                    models_.append(model_id)
    return holders


def _outcome(organization: str, judgement: Judgement | None, *, left: bool) -> str:
    """`left`: the round is final, and the organization has no share in its scores."""
    if judgement is None:
        return "revealed"
    for rejection in judgement.rejections:
        if rejection.organization == organization:
            return rejection.reason.name.lower().replace("_", "-")
    return "left" if left and judgement.scores.get(organization) else "accepted"


def _contribution_row(
    contribution: Contribution,
    name_of: dict[str, str],
    holders: dict[str, list[int]],
    *,
    score: int,
    reward: int,
    outcome: str,
) -> ContributionRow:
    parts = contribution.parts
    held = {model_id for each in parts.point_hashes for model_id in holders.get(each, ())}
    return ContributionRow(
        registered_for(contribution.offer_id),
        contribution.round_id,
        contribution.organization,
        name_of[contribution.organization],
        parts.artifact_ids,
        parts.point_hashes,
        None if parts.manifest == NO_MANIFEST else parts.manifest,
        score,
        reward,
        outcome,
        tuple(sorted(held)),
    )


def membership(reader: ConsortiumReader) -> Membership:
    """Return the organizations with their bonds, the auditors and the aggregator."""
    terms, aggregator = reader.member_terms(), reader.aggregator()
    bond = reader.aggregator_bond()
    members = [*reader.members(), *reader.admitted()]
    all_rounds = list(range(1, reader.current_round_id() + 1))
    return Membership(
        tuple(_member_row(reader, member, terms.bond, all_rounds) for member in members),
        sum(member.status is MemberStatus.ACTIVE for member in members),
        terms.bond,
        tuple(reader.auditors()),
        aggregator,
        reader.fingerprint(aggregator) if aggregator else "",
        bond,
        max(0, terms.aggregator_bond - bond),
    )


def _member_row(
    reader: ConsortiumReader, member: Member, bond: int, all_rounds: list[int]
) -> MemberRow:
    joined = member.status.joined
    return MemberRow(
        member.address,
        member.name,
        member.number if joined else None,
        member.status.value,
        member.bond,
        max(0, bond - member.bond) if member.status is MemberStatus.ACTIVE else 0,
        member.exit_at or None,
        reader.claimable(member.address, all_rounds) if joined else 0,
        member.fingerprint,
        *_privacy(reader.privacy_spent(member.address)),
    )


def _privacy(stated: StatedPrivacy | None) -> tuple[float | str | None, float | None]:
    if stated is None:
        return None, None
    return "unbounded" if math.isinf(stated.epsilon) else stated.epsilon, stated.delta


def proposals(reader: ConsortiumReader) -> list[ProposalRow]:
    """Return the members' proposals with their votes."""
    proposed = reader.proposals()
    if not proposed:
        return []
    name_of, now = names(reader), reader.chain.now()
    needed = len(reader.active_members()) * reader.vote_threshold() // 10_000 + 1
    return [
        ProposalRow(
            proposal.id,
            proposal.proposer,
            name_of[proposal.proposer],
            proposal.call,
            proposal.votes,
            needed,
            proposal.deadline,
            proposal.executed,
            _proposal_state(proposal, needed, now),
        )
        for proposal in proposed
    ]


def _proposal_state(proposal: Proposal, needed: int, now: int) -> str:
    if proposal.executed:
        return "executed"
    if now > proposal.deadline:
        return "expired"
    return "carried" if proposal.votes >= needed else "open"


def rounds(reader: ConsortiumReader) -> list[RoundRow]:
    """Return participation, transactions and gas of each round, from the contracts' events."""
    name_of = names(reader)
    transactions = _transactions_of_rounds(reader.events())
    rows = []
    for round_id in range(1, reader.current_round_id() + 1):
        round_, sent = reader.round(round_id), transactions.get(round_id, set())
        answers = reader.answers(round_id)
        rows.append(
            RoundRow(
                round_id,
                round_.state.value,
                tuple(name_of[each] for each in answers.accepted),
                tuple(name_of[each] for each in answers.sat_out),
                tuple(name_of[each] for each in answers.unavailable),
                round_.attested,
                len(sent),
                sum(reader.gas_of(transaction) for transaction in sent),
                round_.model_id,
            )
        )
    return rows


def _transactions_of_rounds(events: Iterable[Event]) -> dict[int, set[str]]:
    """Return the transactions of each round, with those that summed and folded its points."""
    transactions: dict[int, set[str]] = {}
    for round_id, transaction in _pairs(events):
        transactions.setdefault(round_id, set()).add(transaction)
    return transactions


def _pairs(events: Iterable[Event]) -> Iterator[tuple[int, str]]:
    pieces: dict[int, list[str]] = {}  # by source: pieces of a fold that has not ended
    for event in events:
        if (event.contract in ("Rounds", "Rewards") and "round" in event.args) or (
            event.name == "Summed" and not event.args["offer"]
        ):
            yield int(str(event.args["round"])), event.tx_hash
        elif event.name == "Folded":
            pieces.setdefault(int(str(event.args["source"])), []).append(event.tx_hash)
        elif event.name == "ModelRegistered":
            sent = [*pieces.pop(int(str(event.args["source"])), []), event.tx_hash]
            if not event.args["kind"]:
                yield from ((int(str(event.args["lastRound"])), each) for each in sent)
