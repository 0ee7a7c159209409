"""The schema of summary.json. docs/summary.md explains each key."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class KeptSummary(_Part):
    """Scores from 0 to 1 of questions that no organization trained on, by the name of their file."""

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None]
    questions: dict[str, int]


class SkillSummary(_Part):
    """Shares of a test's texts that heads of statistics give their label, 0..1.

    Attributes:
        task: Name of the task.
        labels: Number of agreed labels.
        questions: Number of texts. No organization has them.
        alone: Mean over the organizations of the head of its own statistics.
        together: The head of all statistics.
        after: The head after the removal.
        replay: The head of the run without the organization that withdrew.
    """

    task: str
    labels: int
    questions: int
    alone: float
    together: float
    after: float
    replay: float


class EvaluationSummary(_Part):
    """Scores from 0 to 1 by organization, `shared` and `held_out`. None: there are no questions.

    Attributes:
        before: Before the removal.
        after: After it.
        replay: In the run without the organization that withdrew.
        perplexity: Of the right answers' tokens, by stage and name.
        questions: The number of questions, by name.
        kept: Scores of questions that were kept from training; None if there are none.
        skill: Scores of what is learned from statistics; None if the coupling has none.
    """

    before: dict[str, float | None]
    after: dict[str, float | None]
    replay: dict[str, float | None]
    perplexity: dict[str, dict[str, float | None]]
    questions: dict[str, int]
    kept: KeptSummary | None = None
    skill: SkillSummary | None = None


class PersonSummary(_Part):
    """The withdrawal of one person whose rows are in an organization's statistics only.

    Attributes:
        organization: Name of the organization.
        rows: The person's rows.
        exact: Whether the sums that another node opened are those of a run without the rows.
        seconds: From the mined request until that node had opened them.
    """

    organization: str
    rows: int
    exact: bool
    seconds: float


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
        person: The withdrawal of one person; None if the coupling has no statistics.
    """

    organization: str
    exact: bool
    removal_seconds: float
    replay_seconds: float
    speedup: float
    adapter_after: str
    adapter_replay: str
    person: PersonSummary | None = None


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


def without_of(coupling: str, organization: str) -> str:
    """Say what is left out of the run that a removal is compared with.

    In a split coupling that run has the organization's public data.
    """
    return f"{organization}'s revocable data" if coupling == "split" else organization


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
    other_run = f"a run without {without_of(coupling, withdrawn)}"
    left = abs((after[withdrawn] or 0.0) - (replay[withdrawn] or 0.0))
    results.append(
        Goal(
            name=f"{withdrawn}'s own facts, after",
            wanted=f"within 5 points of {other_run}",
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
    if coupling != "federated":
        results.append(
            Goal(
                name="the model after removal",
                wanted="the same bytes as that run's",
                measured="the same bytes" if withdrawal.exact else "other bytes",
                met=withdrawal.exact,
            )
        )
    if summary_scores.skill is not None:
        results += _skill_goals(summary_scores.skill)
    if withdrawal.person is not None:
        results += _person_goals(withdrawal.person)
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


def _skill_goals(skill: SkillSummary) -> list[Goal]:
    gained = 100 * (skill.together - skill.alone)
    return [
        Goal(
            name=f"{skill.task}, together",
            wanted="at least 20 points more than alone",
            measured=f"{skill.together:.0%} together, {skill.alone:.0%} alone",
            met=gained >= 20,
        ),
        Goal(
            name=f"{skill.task}, after",
            wanted="the score of a run without it",
            measured=f"{skill.after:.1%}, and {skill.replay:.1%} in that run",
            met=skill.after == skill.replay,
        ),
    ]


def _person_goals(person: PersonSummary) -> list[Goal]:
    return [
        Goal(
            name="the sums after a person's withdrawal",
            wanted="the same bytes as without the person",
            measured="the same bytes" if person.exact else "other bytes",
            met=person.exact,
        ),
        Goal(
            name="time of a person's withdrawal",
            wanted="under 5 s",
            measured=f"{person.seconds:.2f} s",
            met=person.seconds < 5,
        ),
    ]
