"""Evaluate the models of a finished run: before the removal, after it, and of the replay."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rescind.contracts import Consortium
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    artifact_id,
    encode,
    is_hiding,
    make_private_folder,
    write_private,
)
from rescind.daemon import Tell
from rescind.devnet.adapters import Replay, published_adapter, served_model
from rescind.devnet.assistant import assistant_of
from rescind.devnet.data import Corpus
from rescind.devnet.layout import RunFolder
from rescind.devnet.skill_scores import own_statistics, skill_scores
from rescind.devnet.summary import SkillSummary
from rescind.training import Assistant, Evaluation, Example, LoraModel, evaluate
from rescind.withdrawals import members_in_sum, terms_of

Sets = dict[str, Evaluation | None]
"""Evaluations by the name of whose questions they are; None where there are no questions."""


@dataclass
class Evaluations:
    """Answers of the models of a run and of its replay.

    Attributes:
        asked: By stage (before, after, replay): questions that were trained on, and held-out ones.
        kept: By stage: questions that no organization trained on.
        skill: What the heads of statistics get, if the consortium has statistics.
    """

    asked: dict[str, Sets] = field(default_factory=dict)
    kept: dict[str, Sets] = field(default_factory=dict)
    skill: SkillSummary | None = None


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

    totals = {
        "before": served(facts.before_model or 0),
        "after": served(facts.after_model or 0),
        "replay": replay.totals,
    }
    numbers = {
        "before": facts.before_model,
        "after": facts.after_model,
        "replay": facts.after_model,
    }
    in_sum = {
        stage: members_in_sum(consortium, parameters, number or 0)
        for stage, number in numbers.items()
    }
    published = ArtifactStore(run.store).load
    asked, kept = _questions(corpus)
    make_private_folder(run.evaluation)
    evaluations = Evaluations()
    evaluated: dict[str, str] = {}
    done, total = 0, len(totals) * (len(asked) + len(kept))

    def answers(assistant: Assistant, rows: Sequence[Example]) -> Evaluation | None:
        nonlocal done
        result = evaluate(assistant, rows) if rows else None
        done += 1
        tell(done, total)
        return result

    for stage, adapter in totals.items():
        # The same parameters answer the same: an exact removal and its replay are one model.
        model_bytes = _bytes_id(adapter)
        same = evaluated.setdefault(model_bytes, stage)
        if same != stage:
            evaluations.asked[stage] = evaluations.asked[same]
            evaluations.kept[stage] = evaluations.kept[same]
            done += len(asked) + len(kept)
        else:
            assistant = assistant_of(model, parameters, adapter, in_sum[stage], published)
            evaluations.asked[stage] = {n: answers(assistant, rows) for n, rows in asked.items()}
            evaluations.kept[stage] = {n: answers(assistant, rows) for n, rows in kept.items()}
        _save(run, stage, evaluations.asked[stage])
        if kept:
            _save(run, f"{stage}-kept", evaluations.kept[stage])
    if parameters.statistics is not None and corpus.skill is not None:
        own = own_statistics(run, consortium, facts.before_model or 0)
        evaluations.skill = skill_scores(
            corpus.skill,
            parameters.statistics,
            own,
            totals["before"],
            totals["after"],
            totals["replay"],
        )
    return evaluations


def _questions(corpus: Corpus) -> tuple[dict[str, list[Example]], dict[str, list[Example]]]:
    """Return the questions that are asked of every model, by name, and those that were kept."""
    sets: dict[str, Sequence[Example]] = {name: corpus.own(name) for name in corpus.organizations}
    sets |= {"shared": corpus.shared, "held_out": corpus.held_out}
    # A document has no answer to compare.
    asked = {name: [row for row in rows if not row.document] for name, rows in sets.items()}
    return asked, {name: list(rows) for name, rows in corpus.kept.items()}


def _bytes_id(adapter: Mapping[str, Any]) -> str:
    """Return the id of an adapter without the noise that hides its digests, which is never asked."""
    tensors = {name: tensor for name, tensor in adapter.items() if not is_hiding(name)}
    return artifact_id(encode(tensors)) if tensors else ""


def _save(run: RunFolder, name: str, sets: Sets) -> None:
    content = {key: result.to_dict() if result else None for key, result in sets.items()}
    text = json.dumps(content, indent=1)
    write_private(run.evaluation / f"{name}.json", f"{text}\n".encode())
