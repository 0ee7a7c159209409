"""Evaluate a finished run, summarize it and certify the removal."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from rescind.audit import (
    EvaluationPart,
    ReplayPart,
    build_certificate,
    contributions,
    rounds,
)
from rescind.contracts import Consortium
from rescind.core import (
    ConsortiumParameters,
    StoreMissing,
    Term,
    artifact_id,
    decode,
    encode,
    make_private_folder,
    served_of,
    write_private,
)
from rescind.core.errors import StoreError
from rescind.core.mapped import Bytes, map_file
from rescind.core.optimizers import FedAvg
from rescind.daemon import Tell
from rescind.devnet.data import Corpus
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.summary import (
    EvaluationSummary,
    RoundSummary,
    Summary,
    TimingSummary,
    WithdrawalSummary,
    goals,
)
from rescind.training import (
    Assistant,
    Evaluation,
    LoraModel,
    evaluate,
)
from rescind.withdrawals import terms_of

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


@dataclass(frozen=True)
class Replay:
    """A run that the withdrawn organization was never in.

    Attributes:
        adapter: The bytes of its last adapter; empty for the base model alone.
        seconds: From the opening of the first round to the end of the last.
    """

    adapter: Bytes
    seconds: float

    @property
    def adapter_id(self) -> str:
        """SHA-256 of the adapter."""
        return artifact_id(self.adapter)

    @property
    def totals(self) -> dict[str, Any]:
        """The adapter as integer tensors by name."""
        return dict(decode(self.adapter)) if self.adapter else {}


@dataclass(frozen=True)
class Removal:
    """A removal as the organizations that stay saw it.

    Attributes:
        adapter: The bytes of the model after it, as another node downloaded and opened them.
        seconds: From the mined request until that node had opened them.
    """

    adapter: Bytes
    seconds: float

    @property
    def adapter_id(self) -> str:
        """SHA-256 of the adapter."""
        return artifact_id(self.adapter)


def published_adapter(consortium: Consortium, model_id: int) -> str:
    """Return the artifact id of a model's adapter, or "" if nothing was published."""
    published = consortium.publications(model_id) if model_id else []
    return published[-1].adapter_id if published else ""


def served_model(
    run: RunFolder, parameters: ConsortiumParameters, adapter_id: str, terms: Sequence[Term]
) -> dict[str, Any]:
    """Return the adapter that is served for a published one, as integer tensors by name.

    Without a server optimizer it is the published adapter; with one it is computed from the model's
    `terms`. It is empty for the base model alone, whose `adapter_id` is "".

    Raises:
        StoreError: An artifact is missing in the run's store, or was changed.
    """

    def load(artifact: str) -> dict[str, Any]:
        file = run.store / artifact[:2] / artifact
        try:
            data = map_file(file)
        except FileNotFoundError as error:
            raise StoreMissing(f"{file} is not there.") from error
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {error.strerror}.") from error
        if artifact_id(data) != artifact:
            raise StoreError(f"{file} does not hash to its name: the file was changed.")
        return dict(decode(data))

    if not adapter_id:
        return {}
    plain = load(adapter_id)
    return plain if parameters.server == FedAvg() else served_of(parameters, terms, load)


Evaluations = dict[str, dict[str, Evaluation | None]]


def evaluate_run(
    run: RunFolder,
    model: LoraModel,
    parameters: ConsortiumParameters,
    corpus: Corpus,
    consortium: Consortium,
    replay: Replay,
    tell: Tell,
) -> Evaluations:
    """Evaluate the models before and after the removal and of the replay; write evaluation/*.json.

    Args:
        run: The run's folder.
        model: The base model.
        parameters: The agreed parameters.
        corpus: The questions.
        consortium: The public record.
        replay: The run without the organization that withdrew.
        tell: Is called after each set of questions.
    """
    facts = run.facts()

    def served(model_id: int) -> dict[str, Any]:
        terms = terms_of(consortium, consortium.content(model_id))
        return served_model(run, parameters, published_adapter(consortium, model_id), terms)

    sets: dict[str, Sequence[Any]] = {name: corpus.own(name) for name in corpus.organizations}
    sets |= {"shared": corpus.shared, "held_out": corpus.held_out}
    # A document has no answer to compare.
    sets = {name: [row for row in rows if not row.document] for name, rows in sets.items()}
    totals = {
        "before": served(facts.before_model or 0),
        "after": served(facts.after_model or 0),
        "replay": replay.totals,
    }
    make_private_folder(run.evaluation)
    evaluations: Evaluations = {}
    evaluated: dict[str, str] = {}
    done, total = 0, len(totals) * len(sets)
    for stage, adapter in totals.items():
        # The same bytes answer the same: an exact removal and its replay are one model.
        model_bytes = artifact_id(encode(adapter)) if adapter else ""
        if model_bytes in evaluated:
            evaluations[stage] = evaluations[evaluated[model_bytes]]
            done += len(sets)
        else:
            evaluated[model_bytes] = stage
            evaluations[stage] = {}
            assistant = Assistant(model, parameters, adapter)
            for name, rows in sets.items():
                evaluations[stage][name] = evaluate(assistant, rows) if rows else None
                done += 1
                tell(done, total)
        content = {
            name: result.to_dict() if result else None
            for name, result in evaluations[stage].items()
        }
        text = json.dumps(content, indent=1)
        write_private(run.evaluation / f"{stage}.json", f"{text}\n".encode())
    return evaluations


def _scores(evaluations: dict[str, Evaluation | None]) -> dict[str, float | None]:
    return {name: result.score if result else None for name, result in evaluations.items()}


def summarize(
    run: RunFolder,
    facts: RunFacts,
    parameters: ConsortiumParameters,
    leaver: str,
    consortium: Consortium,
    evaluations: Evaluations,
    removal: Removal,
    replay: Replay,
    clock: Clock,
    began: float,
) -> Summary:
    """Return the content of summary.json. `began` is the run's start on the monotonic clock."""
    evaluation = EvaluationSummary(
        before=_scores(evaluations["before"]),
        after=_scores(evaluations["after"]),
        replay=_scores(evaluations["replay"]),
        perplexity={
            stage: {name: result.perplexity if result else None for name, result in sets.items()}
            for stage, sets in evaluations.items()
        },
        questions={
            name: result.total if result else 0 for name, result in evaluations["before"].items()
        },
    )
    withdrawal = WithdrawalSummary(
        organization=leaver,
        exact=removal.adapter == replay.adapter,
        removal_seconds=removal.seconds,
        replay_seconds=replay.seconds,
        speedup=replay.seconds / max(removal.seconds, 1e-9),
        adapter_after=removal.adapter_id,
        adapter_replay=replay.adapter_id,
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
    exact = removal.adapter == replay.adapter
    certificate = build_certificate(
        consortium,
        consortium.withdrawals()[-1].id,
        replay=ReplayPart(adapter_id=replay.adapter_id, exact=exact),
        evaluation=EvaluationPart(
            before=_scores(evaluations["before"]),
            after=_scores(evaluations["after"]),
            replay=_scores(evaluations["replay"]),
            files=files,
        ),
    )
    certificate.save(run.certificate)
