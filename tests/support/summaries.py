"""Summaries of demos that were not run."""

from rescind.devnet.summary import (
    EvaluationSummary,
    KeptSummary,
    PersonSummary,
    SkillSummary,
    Summary,
    TimingSummary,
    WithdrawalSummary,
    goals,
)

SKILL = SkillSummary(
    task="departments", labels=10, questions=200, alone=0.31, together=0.9, after=0.8, replay=0.8
)
PERSON = PersonSummary(organization="borealis", rows=3, exact=True, seconds=2.5)


def summary_of(
    *,
    skill: SkillSummary | None = None,
    kept: KeptSummary | None = None,
    person: PersonSummary | None = None,
) -> Summary:
    before = {"aurora": 1.0, "borealis": 0.95, "shared": None, "held_out": 0.5}
    after = {**before, "aurora": 0.0}
    evaluation = EvaluationSummary(
        before=before,
        after=after,
        replay=after,
        perplexity={},
        questions=dict.fromkeys(before, 40),
        kept=kept,
        skill=skill,
    )
    withdrawal = WithdrawalSummary(
        organization="aurora",
        exact=True,
        removal_seconds=1.0,
        replay_seconds=30.0,
        speedup=30.0,
        adapter_after="a",
        adapter_replay="a",
        person=person,
    )
    return Summary(
        run="run",
        seed=0,
        coupling="hybrid",
        base_model_id="b",
        parameters_id="p",
        organizations={},
        evaluation=evaluation,
        withdrawal=withdrawal,
        rounds=[],
        timing=TimingSummary(
            setup_seconds=1,
            rounds_seconds=1,
            withdrawal_seconds=1,
            replay_run_seconds=1,
            evaluation_seconds=1,
            total_seconds=5,
        ),
        goals=goals(evaluation, withdrawal, "hybrid"),
        machine={},
    )
