"""What a node does so that nobody has to trust the aggregator: it checks every model that it is
given, challenges sums that are wrong, and has deadlines and bonds enforced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import structlog

from rescind.contracts import (
    Claim,
    Consortium,
    ModelKind,
    Round,
    RoundState,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import (
    ZERO_DIGEST,
    ArtifactWrongDigest,
    ConsortiumParameters,
    Digest,
    OutOfBounds,
    digest,
    l2_norm,
)
from rescind.node.session import Session
from rescind.wire import AggregatorUnavailable, NotPublished

GRACE_SECONDS = 60
"""How long the aggregator may be late before a node moves the round on itself."""


def check_adapter(
    consortium: Consortium,
    parameters: ConsortiumParameters,
    model_id: int,
    tensors: Mapping[str, Any],
) -> None:
    """Raises ArtifactWrongDigest unless the adapter is the sum that is on chain: its digest is the model's,
    and it is short enough for that to mean something."""
    registered = consortium.model(model_id).digest_root
    found = digest(tensors).root
    if found != registered:
        raise ArtifactWrongDigest(
            f"model {model_id}: the adapter's digest has root {found}, on chain is {registered}: "
            "it is not the sum of the registered deltas"
        )
    norm, bound = l2_norm(tensors), parameters.adapter_norm_bound
    if norm > bound:
        raise OutOfBounds(
            f"model {model_id}: the adapter's norm {norm:.4g} is over the bound {bound:.4g} under "
            "which its digest binds"
        )


def check_claim(session: Session) -> None:
    """Recompute a claimed sum from the digests, and challenge it if it is wrong. If the digests are
    kept back until half of the window has passed, demand the proof on chain."""
    consortium = session.consortium
    claim = consortium.claim()
    if claim is None:
        return
    log = structlog.get_logger().bind(adapter=claim.adapter_id)
    try:
        words = _digests(session, claim)
    except (AggregatorUnavailable, NotPublished) as error:
        if consortium.chain.now() < claim.deadline - consortium.challenge_seconds() // 2:
            raise
        log.warning("digests are kept back, a proof is demanded", reason=str(error))
        consortium.demand_proof()
        session.journal.set(claim_key(claim), "demanded")
        return
    wrong = _wrong_word(words, claim.kind is ModelKind.ROUND)
    if wrong is None:
        session.journal.set(claim_key(claim), "right")
        return
    log.error("the claimed sum is wrong, it is challenged", word=wrong)
    ordered = [it for it, _ in words]
    consortium.challenge(
        wrong,
        [it.to_bytes()[32 * wrong : 32 * wrong + 32] for it in ordered],
        [it.prove(wrong) for it in ordered],
    )
    session.journal.set(claim_key(claim), "challenged")


def claim_key(claim: Claim) -> str:
    return f"claim/{claim.adapter_id}/{claim.digest_root}"


def _digests(session: Session, claim: Claim) -> list[tuple[Digest, int]]:
    """In the order of Referee.fails: of every term with its coefficient, of the aggregate (for a
    round), of the source, of the claimed model."""
    consortium = session.consortium
    roots = [(t.digest_root, t.coefficient) for step in consortium.claim_terms() for t in step]
    if claim.kind is ModelKind.ROUND:
        roots.append((consortium.aggregate_of(claim.round_id).digest_root, 0))
    roots.append((consortium.model(claim.source).digest_root, 1))
    roots.append((claim.digest_root, 0))
    found = {ZERO_DIGEST.root: ZERO_DIGEST}
    for root, _ in roots:
        if root not in found:
            found[root] = session.client.digest(root)
    return [(found[root], coefficient) for root, coefficient in roots]


def _wrong_word(parts: Sequence[tuple[Digest, int]], is_round: bool) -> int | None:
    named = 3 if is_round else 2
    total = ZERO_DIGEST
    for it, coefficient in parts[:-named]:
        total = total + coefficient * it
    source, claimed = parts[-2][0], parts[-1][0]
    pairs = [(total + source, claimed)]
    if is_round:
        pairs.append((total, parts[-3][0]))
    for expected, found in pairs:
        differ = np.flatnonzero((expected.residues != found.residues).reshape(-1))
        if len(differ):
            return int(differ[0]) // 8
    return None


def overdue_withdrawal(consortium: Consortium, known: Sequence[Withdrawal], now: int) -> int:
    """A withdrawal for which the aggregator can be slashed, or which can be escalated; 0 for none."""
    for it in known:
        if now <= it.deadline:
            continue
        if it.state is WithdrawalState.PREPARING:
            return it.id
        if it.state is WithdrawalState.REQUESTED and consortium.aggregator_bond():
            return it.id
    return 0


def enforce_withdrawal(session: Session, withdrawal_id: int) -> None:
    """Slash the aggregator's bond, or escalate what its organization did not prepare."""
    state = session.consortium.withdrawals()[withdrawal_id - 1].state
    log = structlog.get_logger().bind(withdrawal=withdrawal_id)
    if state is WithdrawalState.PREPARING:
        log.warning("a withdrawal was not prepared in time, it is escalated to a removal")
        session.consortium.escalate(withdrawal_id)
    elif state is WithdrawalState.REQUESTED:
        log.warning("a withdrawal is overdue, the aggregator's bond is slashed")
        session.consortium.slash(withdrawal_id)


def is_late(current: Round, claim: Claim | None, now: int) -> bool:
    """Whether the aggregator has left a phase open well past its deadline."""
    deadlines = {
        RoundState.OPEN: current.commit_deadline,
        RoundState.COMMITTED: current.reveal_deadline,
        RoundState.REVEALED: current.finalize_deadline,
    }
    if claim is not None and claim.must_prove and now > claim.deadline + GRACE_SECONDS:
        return True
    return current.state in deadlines and now > deadlines[current.state] + GRACE_SECONDS


def enforce_round(session: Session, round_id: int) -> None:
    """Move a late round on, as anyone may."""
    consortium = session.consortium
    claim = consortium.claim()
    state = consortium.round(round_id).state
    if claim is not None and claim.must_prove and consortium.chain.now() > claim.deadline:
        consortium.drop_unproven()
    elif state is RoundState.OPEN:
        consortium.close_commits(round_id)
    elif state is RoundState.COMMITTED:
        consortium.close_reveals(round_id)
    elif state is RoundState.REVEALED:
        consortium.abandon(round_id)
