"""rescind ask and rescind chat on a model with heads, made of tensors."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rescind.cli import model as commands
from rescind.cli.main import app
from rescind.devnet.assistant import RunAssistant
from rescind.devnet.layout import RunFacts
from rescind.devnet.serving import ServedModel
from rescind.training import Assistant
from rescind.training.serving.suppression import SuppressedAssistant, Suppression
from tests.support.hybrid import ABOUT_CARDS, hybrid, with_statistics
from tests.support.serving import random_totals, tiny
from tests.support.serving_chain import AURORA, BOREALIS

pytestmark = pytest.mark.trains
OWNERS = (AURORA, BOREALIS)


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> RunAssistant:
    file = tmp_path_factory.mktemp("run") / "adapter"
    file.write_bytes(b"the published adapter")
    model, parameters = tiny()
    agreed = hybrid(parameters)
    totals = dict(with_statistics(random_totals(agreed, OWNERS), OWNERS))
    facts = RunFacts(
        seed=0,
        coupling="hybrid",
        model="",
        rounds=1,
        chain_id=31337,
        chain_port=1,
        aggregator_port=1,
        organizations={"aurora": AURORA, "borealis": BOREALIS},
    )
    served = ServedModel(3, "ad" * 32, (), [file])
    return RunAssistant(Assistant(model, agreed, totals), totals, facts, served)


@pytest.fixture
def run(assistant: RunAssistant, monkeypatch: pytest.MonkeyPatch) -> RunAssistant:
    monkeypatch.setattr(commands, "_assistant", lambda *_, **__: assistant)
    return assistant


def test_an_answer_names_the_head_that_gave_it(run: RunAssistant, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ask", str(tmp_path), ABOUT_CARDS])
    assert done.output.splitlines() == ["cards and PINs", "(answered by the head of task desk)"]


def test_why_shows_the_scores_of_the_labels(run: RunAssistant, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["ask", str(tmp_path), ABOUT_CARDS, "--why"])
    assert "why: The head of the task 'desk', solved from 5 rows, gives 'cards and PINs'" in (
        done.output
    )
    assert "router" not in done.output
    asked = CliRunner().invoke(app, ["ask", str(tmp_path), ABOUT_CARDS, "--why", "--json"])
    document = json.loads(asked.output)
    assert document["answered_by"] == "the head of task desk"
    assert document["why"]["head"]["labels"][0]["label"] == "cards and PINs"
    assert document["why"]["model"] == 3


def test_a_chat_says_which_questions_heads_answer(run: RunAssistant, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["chat", str(tmp_path)], input=f"{ABOUT_CARDS}\n\n")
    assert "A head answers: Which desk answers this message? {text}" in done.output
    assert "cards and PINs  (answered by the head of task desk)" in done.output


def test_a_suppressed_organization_silences_heads_too(assistant: RunAssistant) -> None:
    guard = SuppressedAssistant(assistant.assistant, Suppression(organizations=frozenset({AURORA})))
    guarded = RunAssistant(
        assistant.assistant, assistant.totals, assistant.facts, assistant.served, guard
    )
    assert guarded.ask(ABOUT_CARDS)[1] == "the guard"
