"""summary.json: what a run measured, in a schema that programs may rely on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Scores = dict[str, Share | None]
"""Organization name, `shared` and `held_out` -> share of questions answered right. `shared` is
None when no row of the data is in two organizations' files."""

Perplexities = dict[str, float | None]


class _Measured(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OrganizationSummary(_Measured):
    """`rows`: question-answer pairs it trains on; `own_questions`: those nobody else has."""

    name: str
    address: str
    rows: int
    own_questions: int
    rewards_wei: str
    ledger_records: int


class RoundSummary(_Measured):
    """`rewards_wei`: name -> amount as a decimal string. `gas`: used by all its transactions."""

    round_id: int
    state: str
    participants: list[str]
    sat_out: list[str]
    rejected: list[str]
    transactions: int
    gas: int
    rewards_wei: dict[str, str]
    model_id: int
    adapter_id: str | None


class ServedModel(_Measured):
    model_id: int
    adapter_id: str


class Models(_Measured):
    """`before` and `after` are on the run's chain, `replay` on the replay's own."""

    before: ServedModel
    after: ServedModel
    replay: ServedModel


class Evaluations(_Measured):
    before: Scores
    after: Scores
    replay: Scores


class PerplexitySummary(_Measured):
    """Of the right answers' tokens, under the block that the router chose."""

    before: Perplexities
    after: Perplexities
    replay: Perplexities


class WithdrawalSummary(_Measured):
    """`exact`: the model after removal and the replay's are the same bytes (equal adapter ids).

    `removal_seconds`: re-summing what remains, storing and registering the new model, as the
    aggregator measured it. `replay_seconds`: wall clock of the replay's rounds, first opened to
    last final.
    """

    organization: str
    address: str
    withdrawal_id: int
    exact: bool
    removal_seconds: float
    replay_seconds: float
    speedup: float


class ChainSummary(_Measured):
    """`transactions` and `gas`: all of the consortium's, its deployment included."""

    chain_id: int
    rpc_url: str
    contracts: dict[str, str]
    blocks: int
    transactions: int
    gas: int


class BaseModelSummary(_Measured):
    reference: str
    id: str


class CertificateSummary(_Measured):
    """`id`: SHA-256 of the file's bytes."""

    file: str
    id: str


class Goal(_Measured):
    """`measured` against `goal`; `met` is the comparison's outcome, nothing else."""

    name: str
    what: str
    goal: str
    measured: str
    met: bool


class Timing(_Measured):
    """Wall-clock seconds by phase. `total_seconds`: command start to summary."""

    setup_seconds: float
    rounds_seconds: float
    withdrawal_seconds: float
    replay_seconds: float
    evaluation_seconds: float
    total_seconds: float


class Summary(_Measured):
    format: Literal["rescind.summary/1"] = "rescind.summary/1"
    created_at: str
    folder: str
    seed: int
    data: str | None
    coupling: Literal["isolated", "federated"]
    layout: Literal["blocks", "shared"]
    parameters_id: str
    base_model: BaseModelSummary
    organizations: list[OrganizationSummary]
    chain: ChainSummary
    rounds: list[RoundSummary]
    models: Models
    withdrawal: WithdrawalSummary
    evaluation: Evaluations
    perplexity: PerplexitySummary
    goals: list[Goal]
    certificate: CertificateSummary
    timing: Timing
