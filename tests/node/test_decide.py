from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.agents import (
    ACTIONS,
    SIT_OUT,
    Action,
    Decision,
)
from rescind.core import ConsortiumParameters
from rescind.daemon import Journal
from rescind.node import CostSection
from rescind.node.deciding import decide
from rescind.node.facts import RoundFacts
from rescind.training import Example
from tests.support.consortium import micro_parameters


def session_of(folder: Path, action: Action, rule: str | None) -> Any:
    document = micro_parameters(federated=True).model_dump(mode="json")
    if rule:
        document["training"]["rule"] = {"name": rule}
    return SimpleNamespace(
        parameters=ConsortiumParameters.model_validate(document),
        consortium=SimpleNamespace(active_members=list, reward_available=lambda: 10**18),
        journal=Journal(folder / "node.db"),
        ledger=SimpleNamespace(append=lambda *_, **__: None),
        config=SimpleNamespace(costs=CostSection()),
        check_data=lambda: None,
        examples=[Example("Where was Ada born?", "In Bergen.", "Ada")],
        agent=SimpleNamespace(
            decide=lambda *_: Decision(action, "drawn", explored=False),
        ),
    )


@pytest.mark.parametrize("action", ACTIONS[:5])
def test_with_scaffold_every_participant_trains_every_step(tmp_path: Path, action: Action) -> None:
    session = session_of(tmp_path, action, "scaffold")
    decide(session, 1)
    decision = RoundFacts.load(session.journal, 1).decided()
    taken = decision.action
    assert taken in ACTIONS
    assert (taken == SIT_OUT) == (action == SIT_OUT)
    assert taken.effort in (0.0, 1.0)
    assert taken.data_fraction == action.data_fraction
    assert ("all train every step" in decision.why) == (0 < action.effort < 1)


@pytest.mark.parametrize("rule", [None, "proximal"])
def test_without_scaffold_the_agent_is_followed(tmp_path: Path, rule: str | None) -> None:
    session = session_of(tmp_path, Action(0.5, 0.5), rule)
    decide(session, 1)
    assert RoundFacts.load(session.journal, 1).action == Action(0.5, 0.5)


@pytest.mark.parametrize("statistics", [0.0, 1.0])
def test_a_node_without_data_to_train_on_trains_nothing(tmp_path: Path, statistics: float) -> None:
    session = session_of(tmp_path, Action(1.0, 0.5, 1.0, statistics), None)
    session.examples = []
    decide(session, 1)
    decision = RoundFacts.load(session.journal, 1).decided()
    assert decision.action == Action(0.0, 0.0, 0.0, statistics)
    assert decision.action.takes_part is bool(statistics)
    assert "there is nothing to train on" in decision.why
