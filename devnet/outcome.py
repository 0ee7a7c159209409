"""Summarize a finished run and certify the removal."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rescind.audit import (
    EvaluationPart,
    ReplayPart,
    Stores,
    build_certificate,
    contributions,
    heads_at,
    rounds,
)
from rescind.contracts import Consortium
from rescind.core import ConsortiumParameters
from rescind.devnet.adapters import Removal, Replay
from rescind.devnet.evaluating import Evaluations, Sets
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.summary import (
    EvaluationSummary,
    KeptSummary,
    PersonSummary,
    RoundSummary,
    Summary,
    TimingSummary,
    WithdrawalSummary,
    goals,
)

_ETHER = 10**18


class Clock:
    """Measure wall clock seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Record the seconds that the block takes under `name`."""
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began


def _scores(sets: Sets) -> dict[str, float | None]:
    return {name: result.score if result else None for name, result in sets.items()}


def _counts(sets: Sets) -> dict[str, int]:
    return {name: result.total if result else 0 for name, result in sets.items()}


def summarize(
    run: RunFolder,
    facts: RunFacts,
    parameters: ConsortiumParameters,
    leaver: str,
    consortium: Consortium,
    evaluations: Evaluations,
    removal: Removal,
    person: PersonSummary | None,
    replay: Replay,
    clock: Clock,
    began: float,
) -> Summary:
    """Return the content of summary.json. `began` is the run's start on the monotonic clock."""
    evaluation = _evaluation_summary(evaluations)
    withdrawal = WithdrawalSummary(
        organization=leaver,
        exact=removal.adapter == replay.adapter,
        removal_seconds=removal.seconds,
        replay_seconds=replay.seconds,
        speedup=replay.seconds / max(removal.seconds, 1e-9),
        adapter_after=removal.adapter_id,
        adapter_replay=replay.adapter_id,
        person=person,
    )
    seconds = clock.seconds
    return Summary(
        run=run.root.name,
        seed=facts.seed,
        coupling=parameters.coupling,
        base_model_id=parameters.base_model_id,
        parameters_id=parameters.id,
        organizations=facts.organizations,
        evaluation=evaluation,
        withdrawal=withdrawal,
        rounds=_round_summaries(consortium),
        timing=TimingSummary(
            setup_seconds=seconds["setup"],
            rounds_seconds=seconds["rounds"],
            withdrawal_seconds=seconds["withdrawal"],
            replay_run_seconds=seconds["replay"],
            evaluation_seconds=seconds["evaluation"],
            total_seconds=time.monotonic() - began,
        ),
        goals=goals(evaluation, withdrawal, parameters.coupling),
        machine={
            "system": platform.platform(),
            "cores": str(os.cpu_count()),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    )


def _evaluation_summary(evaluations: Evaluations) -> EvaluationSummary:
    asked, kept, skill = evaluations.asked, evaluations.kept, evaluations.skill
    return EvaluationSummary(
        before=_scores(asked["before"]),
        after=_scores(asked["after"]),
        replay=_scores(asked["replay"]),
        perplexity={
            stage: {name: result.perplexity if result else None for name, result in sets.items()}
            for stage, sets in asked.items()
        },
        questions=_counts(asked["before"]),
        kept=KeptSummary(
            before=_scores(kept["before"]),
            after=_scores(kept["after"]),
            replay=_scores(kept["replay"]),
            questions=_counts(kept["before"]),
        )
        if kept["before"]
        else None,
        skill=skill,
    )


def _round_summaries(consortium: Consortium) -> list[RoundSummary]:
    paid = {
        (row.round_id, row.name): row.reward_wei / _ETHER
        for row in contributions(consortium)
        if row.registered_for == "round"
    }
    return [
        RoundSummary(
            round=row.round_id,
            state=row.state,
            participants=list(row.participants),
            sat_out=list(row.sat_out),
            transactions=row.transactions,
            gas=row.gas,
            rewards={name: paid[row.round_id, name] for name in row.participants},
        )
        for row in rounds(consortium)
    ]


def certify(
    run: RunFolder,
    consortium: Consortium,
    evaluations: Evaluations,
    removal: Removal,
    replay: Replay,
) -> None:
    """Write the certificate of the run's withdrawal."""
    files = {
        f"evaluation/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.evaluation.glob("*.json"))
    }
    exact, absent = removal.adapter == replay.adapter, run.facts().coupling != "split"
    certificate = build_certificate(
        consortium,
        consortium.withdrawals()[-1].id,
        heads=heads_at(consortium, consortium.withdrawals()[-1].closed_model, Stores([run.store])),
        # The run to compare with is not one without the organization where it gives public data.
        replay=ReplayPart(adapter_id=replay.adapter_id, exact=exact) if absent else None,
        evaluation=EvaluationPart(
            before=_scores(evaluations.asked["before"]),
            after=_scores(evaluations.asked["after"]),
            replay=_scores(evaluations.asked["replay"]) if absent else {},
            files=files,
        ),
    )
    certificate.save(run.certificate)
