"""The actions and results of a run's organizations, to which learning curves are fitted."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

from rescind.agents import TraceRow, write_trace
from rescind.contracts import Consortium
from rescind.devnet.layout import RunFolder
from rescind.node import CostSection
from rescind.node.deciding import ETHER
from rescind.node.facts import RoundFacts, open_journal


def write_run_trace(run: RunFolder, consortium: Consortium) -> None:
    """trace.jsonl in the run's folder, from the nodes' journals and the chain."""
    write_trace(run.trace, trace(run, consortium))


def trace(run: RunFolder, consortium: Consortium) -> Iterator[TraceRow]:
    """A row for each organization and round that it has settled."""
    for name, address in run.facts().organizations.items():
        value = _quality_value(run, name)
        for facts in RoundFacts.all(open_journal(run.node_state(name))):
            if facts.decision is None or facts.quality is None:
                continue
            round_id, seen, action = facts.round_id, facts.decision.observation, facts.action
            score, total = consortium.score(round_id, address)
            paid = consortium.reward_of(round_id) * score // total if total else 0
            yield TraceRow(
                organization=name,
                round=round_id,
                effort=action.effort,
                data_fraction=action.data_fraction,
                noise=action.noise,
                statistics=action.statistics,
                took_part=action.effort > 0 and address in consortium.answers(round_id).revealed,
                quality_before=seen.quality,
                quality=facts.quality,
                score=score,
                paid=paid / ETHER,
                compute_price=seen.compute_price,
                quality_value=value,
            )


def _quality_value(run: RunFolder, name: str) -> float:
    content = tomllib.loads((run.organization(name) / "node.toml").read_text(encoding="utf-8"))
    return CostSection.model_validate(content.get("costs", {})).quality_value
