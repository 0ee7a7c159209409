"""What the public record says, as rows."""

from __future__ import annotations

from dataclasses import dataclass

from contracts import Consortium, RoundState


@dataclass(frozen=True)
class ContributionRow:
    round_id: int
    organization: str
    name: str
    artifact_id: str
    weight: int
    score: int
    reward_wei: int
    outcome: str
    """`accepted`, or the reason of the rejection."""


@dataclass(frozen=True)
class TermRow:
    round_id: int
    organization: str
    name: str
    artifact_id: str
    weight: int


@dataclass(frozen=True)
class ModelRow:
    """`content`: every delta in the model; `removed`: names of the organizations it is clean of."""

    model_id: int
    adapter_id: str
    parent: int
    kind: str
    block: int
    removed: tuple[str, ...]
    content: tuple[TermRow, ...]


@dataclass(frozen=True)
class WithdrawalRow:
    withdrawal_id: int
    organization: str
    name: str
    state: str
    requested_at: int
    deadline: int
    closed_model: int | None
    overdue: bool


@dataclass(frozen=True)
class RoundRow:
    round_id: int
    state: str
    participants: tuple[str, ...]
    sat_out: tuple[str, ...]
    transactions: int
    gas: int
    model_id: int


def names(consortium: Consortium) -> dict[str, str]:
    return {member.address: member.name for member in consortium.members()}


def contributions(consortium: Consortium) -> list[ContributionRow]:
    """Who contributed what, and what became of it."""
    known, rows = names(consortium), []
    for round_id in range(1, consortium.current_round_id() + 1):
        answers = consortium.answers(round_id)
        for it in consortium.contributions(round_id):
            paid = consortium.credited(round_id, it.organization)
            name = known[it.organization]
            rows.append(
                ContributionRow(
                    round_id,
                    it.organization,
                    name,
                    it.artifact_id,
                    it.weight,
                    it.score,
                    paid,
                    "accepted",
                )
            )
        for refusal in consortium.rejections(round_id):
            who, reason = refusal.organization, refusal.reason.name.lower().replace("_", "-")
            artifact = answers[who].artifact_id
            rows.append(ContributionRow(round_id, who, known[who], artifact, 0, 0, 0, reason))
    return rows


def lineage(consortium: Consortium, model_id: int | None = None) -> list[ModelRow]:
    """What each model, or one, is made of."""
    known, amendments = names(consortium), consortium.amendments()
    wanted = range(1, consortium.model_count() + 1) if model_id is None else [model_id]
    rows = []
    for number in wanted:
        model = consortium.model(number)
        content = tuple(
            TermRow(t.round_id, t.organization, known[t.organization], t.artifact_id, t.weight)
            for t in consortium.content(number)
        )
        gone = tuple(known[it.organization] for it in amendments[: model.amendments] if it.excludes)
        rows.append(
            ModelRow(
                number, model.adapter_id, model.parent, model.kind.value, model.block, gone, content
            )
        )
    return rows


def withdrawals(consortium: Consortium) -> list[WithdrawalRow]:
    known, now = names(consortium), consortium.chain.now()
    return [
        WithdrawalRow(
            it.id,
            it.organization,
            known[it.organization],
            it.state.value,
            it.requested_at,
            it.deadline,
            it.closed_model or None,
            overdue=it.state.value == "requested" and now > it.deadline,
        )
        for it in consortium.withdrawals()
    ]


def rounds(consortium: Consortium) -> list[RoundRow]:
    """Participation, transactions and gas of each round, from the contracts' events."""
    known = names(consortium)
    transactions: dict[int, set[str]] = {}
    for event in consortium.events():
        if event.contract == "Rounds" and "round" in event.args:
            transactions.setdefault(int(str(event.args["round"])), set()).add(event.tx_hash)
    rows = []
    for round_id in range(1, consortium.current_round_id() + 1):
        it, sent = consortium.round(round_id), transactions.get(round_id, set())
        took_part = [known[c.organization] for c in consortium.contributions(round_id)]
        sat_out = [
            known[who]
            for who, answer in consortium.answers(round_id).items()
            if answer.state.value == "sat-out"
        ]
        rows.append(
            RoundRow(
                round_id,
                it.state.value,
                tuple(took_part),
                tuple(sat_out),
                len(sent),
                sum(consortium.gas_of(tx) for tx in sent),
                it.model_id if it.state is RoundState.FINAL else 0,
            )
        )
    return rows
