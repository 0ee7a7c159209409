"""summary.json: what a run showed. docs/summary.md explains each key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EvaluationSummary(_Part):
    """Scores 0..1 by organization's name, `shared` and `held_out`; None where there are no questions."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None]
    perplexity: dict[str, dict[str, float | None]]
    questions: dict[str, int]


class WithdrawalSummary(_Part):
    """`exact`: the model after removal and the replay's model are the same bytes."""

    organization: str
    exact: bool
    removal_seconds: float
    replay_seconds: float
    speedup: float
    adapter_after: str
    adapter_replay: str


class RoundSummary(_Part):
    round: int
    state: str
    participants: list[str]
    sat_out: list[str]
    transactions: int
    gas: int
    rewards: dict[str, float]
    """Ether by organization."""


class TimingSummary(_Part):
    setup_seconds: float
    rounds_seconds: float
    withdrawal_seconds: float
    replay_run_seconds: float
    evaluation_seconds: float
    total_seconds: float


class Goal(_Part):
    name: str
    wanted: str
    measured: str
    met: bool


class Summary(_Part):
    format: str = "rescind.summary/1"
    run: str
    seed: int
    coupling: str
    base_model_id: str
    parameters_id: str
    organizations: dict[str, str]
    evaluation: EvaluationSummary
    withdrawal: WithdrawalSummary
    rounds: list[RoundSummary]
    timing: TimingSummary
    goals: list[Goal]
    machine: dict[str, str]


def goals(
    summary_scores: EvaluationSummary, withdrawal: WithdrawalSummary, coupling: str
) -> list[Goal]:
    """What a run should show, and whether this one did."""
    before, after, replay = summary_scores.before, summary_scores.after, summary_scores.replay
    gone = withdrawal.organization
    names = [n for n in before if n not in ("shared", "held_out") and before[n] is not None]
    worst = min((before[n] or 0.0) for n in names)
    found = [
        Goal(
            name="every organization's questions, before",
            wanted="at least 80 % right",
            measured=f"{worst:.0%} at worst",
            met=worst >= 0.8,
        )
    ]
    left = abs((after[gone] or 0.0) - (replay[gone] or 0.0))
    found.append(
        Goal(
            name=f"{gone}'s own facts, after",
            wanted="within 5 points of a run it was never in",
            measured=f"{left * 100:.1f} points apart",
            met=left <= 0.05,
        )
    )
    others = [n for n in [*names, "shared"] if n != gone and after.get(n) is not None]
    apart = max((abs((after[n] or 0.0) - (replay[n] or 0.0)) for n in others), default=0.0)
    found.append(
        Goal(
            name="everybody else and the shared facts, after",
            wanted="within 5 points of that run",
            measured=f"{apart * 100:.1f} points apart at most",
            met=apart <= 0.05,
        )
    )
    if coupling == "isolated":
        found.append(
            Goal(
                name="the model after removal",
                wanted="the same bytes as that run's",
                measured="the same bytes" if withdrawal.exact else "other bytes",
                met=withdrawal.exact,
            )
        )
    found.append(
        Goal(
            name="time of removal",
            wanted="under 1/50 of the replay's",
            measured=f"1/{withdrawal.speedup:.0f}",
            met=withdrawal.speedup > 50,
        )
    )
    return found
