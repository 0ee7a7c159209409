"""The node's checks on the aggregator, so that no member has to trust it.

The node checks every model that it is given, challenges sums that are wrong, and enforces deadlines
and bonds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from rescind.node.facts import ClaimCheck
from rescind.node.session import Session
from rescind.wire import AggregatorUnavailable, NotPublished

# The contract compares words of 32 bytes; each holds eight residues of a digest.
_WORD_BYTES = 32
_RESIDUE_BYTES = 4

GRACE_SECONDS = 60
"""How long the aggregator may be late before a node moves the round on itself."""


def check_adapter(
    consortium: Consortium,
    parameters: ConsortiumParameters,
    model_id: int,
    tensors: Mapping[str, Any],
) -> None:
    """Check that an adapter is the sum that is registered on chain as a model.

    Args:
        consortium: The public record.
        parameters: What the consortium agreed on.
        model_id: The model.
        tensors: The adapter's totals.

    Raises:
        ArtifactWrongDigest: Its digest is not the model's.
        OutOfBounds: Its norm is above the bound under which a digest binds, so that another sum
            could have the same digest.
    """
    registered = consortium.model(model_id).digest_root
    root = digest(tensors).root
    if root != registered:
        raise ArtifactWrongDigest(
            f"model {model_id}: the adapter's digest has root {root}, on chain is {registered}: "
            "it is not the sum of the registered deltas"
        )
    norm, bound = l2_norm(tensors), parameters.adapter_norm_bound
    if norm > bound:
        raise OutOfBounds(
            f"model {model_id}: the adapter's norm {norm:.4g} is over the bound {bound:.4g} under "
            "which its digest binds"
        )


def check_claim(session: Session) -> None:
    """Recompute a claimed sum from the digests, and challenge it if it is wrong.

    If the aggregator keeps the digests back until half of the challenge window has passed, demand a
    proof on chain: the other half leaves time for transactions.
    """
    consortium = session.consortium
    claim = consortium.claim()
    if claim is None:
        return
    log = structlog.get_logger().bind(adapter=claim.adapter_id)
    try:
        equation = _equation(session, claim)
    except (AggregatorUnavailable, NotPublished) as error:
        if consortium.chain.now() < claim.deadline - consortium.challenge_seconds() // 2:
            raise
        log.warning("the aggregator keeps digests back, demanding a proof", reason=str(error))
        consortium.demand_proof()
        ClaimCheck(claim.adapter_id, claim.digest_root, "demanded").save(session.journal)
        return
    wrong = equation.wrong_word()
    if wrong is None:
        ClaimCheck(claim.adapter_id, claim.digest_root, "right").save(session.journal)
        return
    log.error("the claimed sum is wrong, challenging it", word=wrong)
    start = wrong * _WORD_BYTES
    consortium.challenge(
        wrong,
        [part.to_bytes()[start : start + _WORD_BYTES] for part in equation.digests],
        [part.prove(wrong) for part in equation.digests],
    )
    ClaimCheck(claim.adapter_id, claim.digest_root, "challenged").save(session.journal)


@dataclass(frozen=True)
class _Equation:
    """A claimed sum as digests, as the contract Referee checks it.

    Attributes:
        terms: Digest and coefficient of every term.
        aggregate: Claimed sum of the terms, for a round; else None.
        source: Digest of the model that the terms are added to.
        claimed: Digest of the claimed model.
    """

    terms: tuple[tuple[Digest, int], ...]
    aggregate: Digest | None
    source: Digest
    claimed: Digest

    @property
    def digests(self) -> list[Digest]:
        """All digests in the order in which Referee.fails reads them."""
        aggregate = [] if self.aggregate is None else [self.aggregate]
        return [*(part for part, _ in self.terms), *aggregate, self.source, self.claimed]

    def wrong_word(self) -> int | None:
        """Return the first 32-byte word in which the equation fails; None if it holds."""
        total = ZERO_DIGEST
        for part, coefficient in self.terms:
            total = total + coefficient * part
        word = _first_difference(total + self.source, self.claimed)
        if word is None and self.aggregate is not None:
            word = _first_difference(total, self.aggregate)
        return word


def _equation(session: Session, claim: Claim) -> _Equation:
    """Fetch the digests of a claimed sum from the aggregator; the roots are the chain's."""
    consortium = session.consortium
    # The model before the first round is zero, and the aggregator has no digest of it.
    digests = {ZERO_DIGEST.root: ZERO_DIGEST}

    def fetch(root: str) -> Digest:
        if root not in digests:
            digests[root] = session.client.digest(root)
        return digests[root]

    terms = [term for step in consortium.claim_terms() for term in step]
    is_round = claim.kind is ModelKind.ROUND
    return _Equation(
        terms=tuple((fetch(term.digest_root), term.coefficient) for term in terms),
        aggregate=fetch(consortium.aggregate_of(claim.round_id).digest_root) if is_round else None,
        source=fetch(consortium.model(claim.source).digest_root),
        claimed=fetch(claim.digest_root),
    )


def _first_difference(expected: Digest, actual: Digest) -> int | None:
    """Return the index of the first word in which two digests differ; None if they are equal."""
    different = np.flatnonzero((expected.residues != actual.residues).reshape(-1))
    if not len(different):
        return None
    return int(different[0]) * _RESIDUE_BYTES // _WORD_BYTES


def overdue_withdrawal(consortium: Consortium, withdrawals: Sequence[Withdrawal], now: int) -> int:
    """Return a withdrawal to escalate, or to slash the aggregator for; 0 for none.

    Args:
        consortium: The public record.
        withdrawals: Every withdrawal, in order.
        now: Unix seconds, by the chain's clock.
    """
    for withdrawal in withdrawals:
        if now <= withdrawal.deadline:
            continue
        if withdrawal.state is WithdrawalState.PREPARING:
            return withdrawal.id
        if withdrawal.state is WithdrawalState.REQUESTED and consortium.aggregator_bond():
            return withdrawal.id
    return 0


def enforce_withdrawal(session: Session, withdrawal_id: int) -> None:
    """Slash the aggregator's bond, or escalate a withdrawal that was not prepared in time."""
    state = session.consortium.withdrawals()[withdrawal_id - 1].state
    log = structlog.get_logger().bind(withdrawal=withdrawal_id)
    if state is WithdrawalState.PREPARING:
        log.warning("a withdrawal was not prepared in time, escalating it to a removal")
        session.consortium.escalate(withdrawal_id)
    elif state is WithdrawalState.REQUESTED:
        log.warning("a withdrawal is overdue, slashing the aggregator's bond")
        session.consortium.slash(withdrawal_id)


def is_late(current: Round, claim: Claim | None, now: int) -> bool:
    """Return whether the aggregator has left a phase open for GRACE_SECONDS past its deadline."""
    deadlines = {
        RoundState.OPEN: current.commit_deadline,
        RoundState.COMMITTED: current.reveal_deadline,
        RoundState.REVEALED: current.finalize_deadline,
    }
    if claim is not None and claim.must_prove and now > claim.deadline + GRACE_SECONDS:
        return True
    return current.state in deadlines and now > deadlines[current.state] + GRACE_SECONDS


def enforce_round(session: Session, round_id: int) -> None:
    """Move a late round on, as the contracts allow anyone to."""
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
