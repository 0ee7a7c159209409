"""The schema of summary.json. docs/summary.md explains each key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EvaluationSummary(_Part):
    """Scores from 0 to 1 by organization, `shared` and `held_out`. None: there are no questions."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None]
    perplexity: dict[str, dict[str, float | None]]
    questions: dict[str, int]


class WithdrawalSummary(_Part):
    """The removal beside the replay.

    Attributes:
        organization: Name of the organization that withdrew.
        exact: Whether the adapter that another node opened and the replay's are the same bytes.
        removal_seconds: From the mined request until another node had opened the model after it.
        replay_seconds: From the opening of the replay's first round to the end of its last.
        speedup: Their ratio.
        adapter_after: SHA-256 of the adapter after the removal.
        adapter_replay: SHA-256 of the replay's.
    """

    organization: str
    exact: bool
    removal_seconds: float
    replay_seconds: float
    speedup: float
    adapter_after: str
    adapter_replay: str


class RoundSummary(_Part):
    """One round. `rewards` are in ether, by organization."""

    round: int
    state: str
    participants: list[str]
    sat_out: list[str]
    transactions: int
    gas: int
    rewards: dict[str, float]


class TimingSummary(_Part):
    """Wall clock seconds of the run's phases."""

    setup_seconds: float
    rounds_seconds: float
    withdrawal_seconds: float
    replay_run_seconds: float
    evaluation_seconds: float
    total_seconds: float


class Goal(_Part):
    """One thing that a run should show, and whether it did."""

    name: str
    wanted: str
    measured: str
    met: bool


class Summary(_Part):
    """The content of summary.json."""

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
    """Return what a run should show, and whether this one did."""
    before, after, replay = summary_scores.before, summary_scores.after, summary_scores.replay
    withdrawn = withdrawal.organization
    names = [n for n in before if n not in ("shared", "held_out") and before[n] is not None]
    worst = min((before[n] or 0.0) for n in names)
    results = [
        Goal(
            name="every organization's questions, before",
            wanted="at least 80 % right",
            measured=f"{worst:.0%} at worst",
            met=worst >= 0.8,
        )
    ]
    left = abs((after[withdrawn] or 0.0) - (replay[withdrawn] or 0.0))
    results.append(
        Goal(
            name=f"{withdrawn}'s own facts, after",
            wanted="within 5 points of a run without it",
            measured=f"{left * 100:.1f} points apart",
            met=left <= 0.05,
        )
    )
    others = [n for n in [*names, "shared"] if n != withdrawn and after.get(n) is not None]
    apart = max((abs((after[n] or 0.0) - (replay[n] or 0.0)) for n in others), default=0.0)
    results.append(
        Goal(
            name="all others and the shared facts, after",
            wanted="within 5 points of that run",
            measured=f"{apart * 100:.1f} points apart at most",
            met=apart <= 0.05,
        )
    )
    if coupling == "isolated":
        results.append(
            Goal(
                name="the model after removal",
                wanted="the same bytes as that run's",
                measured="the same bytes" if withdrawal.exact else "other bytes",
                met=withdrawal.exact,
            )
        )
    # Most of the removal's time is that of five daemons that share the cores, and does not grow with
    # training; the replay's does.
    results.append(
        Goal(
            name="time of removal",
            wanted="under 1/20 of the replay's",
            measured=f"1/{withdrawal.speedup:.0f}",
            met=withdrawal.speedup > 20,
        )
    )
    return results
