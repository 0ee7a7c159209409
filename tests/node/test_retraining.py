"""A node trains rounds, and trains them again without a data subject, to the bytes of never having it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.audit import examine
from rescind.contracts import RoundState, WithdrawalState
from rescind.core import Term, Totals, adapter_totals, artifact_id, decode, encode
from rescind.core.errors import ConfigError
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.node import Node, Request, repeat, request_withdrawal
from rescind.node.facts import RoundFacts
from rescind.node.withdrawal_facts import OfferedDelta
from rescind.training import LoraModel, RoundTraining, load_base
from rescind.training.engine.contribution import contribute
from rescind.withdrawals import EvidenceDocument
from tests.aggregator.scene import Scene, open_scene
from tests.node.stage import open_node
from tests.support.chain import Anvil

pytestmark = pytest.mark.slow
STEPS, ROUNDS = 2, 2


@dataclass
class Stage:
    scene: Scene
    nodes: list[Node]
    model: LoraModel

    def play_until(self, reached: Callable[[], bool]) -> None:
        """Let the aggregator and the nodes act in turn until a condition holds."""
        for _ in range(200):
            if reached():
                return
            self.scene.aggregator.tick()
            for node in self.nodes:
                node.tick()
        raise AssertionError("it was never reached")

    def settled(self, round_id: int) -> bool:
        return all(RoundFacts.load(node.session.journal, round_id).settled for node in self.nodes)

    def trained_without(self, subject: str, node: Node) -> list[str]:
        """Return the artifacts of rounds trained without a data subject from the start."""
        session, start, residual = node.session, {}, None
        examples = [each for each in session.all_examples if each.subject != subject]
        artifacts, terms, stored = [], [], {}
        for round_id in range(1, ROUNDS + 1):
            contribution = contribute(
                self.model,
                session.parameters,
                session.me,
                round_id,
                start,
                examples,
                residual,
                RoundTraining(steps=STEPS),
            )
            data = encode(contribution.quantized.delta)
            stored[artifact_id(data)] = decode(data)
            artifacts.append(artifact_id(data))
            terms.append(Term(round_id, session.me, artifacts[-1], 10_000))
            start: Totals = adapter_totals(terms, stored.__getitem__)
            residual = contribution.quantized.residual
        return artifacts


@pytest.fixture
def stage(anvil: Anvil, tmp_path: Path) -> Iterator[Stage]:
    base = load_base(BASE_MODEL)
    model = LoraModel(base, default_lora("isolated"))
    agreed = default_parameters("isolated", base.id, model.shapes, seed=1)
    quick = agreed.training.model_copy(update={"steps_per_round": STEPS})
    parameters = agreed.model_copy(update={"training": quick})
    with ExitStack() as stack:
        scene = stack.enter_context(open_scene(anvil, tmp_path, parameters))
        nodes = [stack.enter_context(open_node(scene, member)) for member in scene.members]
        yield Stage(scene, nodes, model)


def test_a_replaced_subject_leaves_the_bytes_of_a_node_that_never_had_it(stage: Stage) -> None:
    record, node = stage.scene.record, stage.nodes[0]
    stage.play_until(lambda: stage.settled(ROUNDS))
    for round_id in range(1, ROUNDS + 1):
        assert record.round(round_id).state is RoundState.FINAL
        assert len(record.accepted(round_id)) == len(stage.nodes)
    request_withdrawal(node.session.config, Request(method="replacement", subject="ada"))
    stage.play_until(lambda: record.withdrawal(1).state is WithdrawalState.CLOSED)
    offered = [
        OfferedDelta.load(node.session.journal, 1, round_id).delta.artifact
        for round_id in range(1, ROUNDS + 1)
    ]
    assert offered == stage.trained_without("ada", node)
    types = [record.type for record in node.session.ledger.records()]
    assert {"decision", "training-run", "manifest", "withdrawal", "reward"} <= set(types)


def test_a_node_repeats_a_replay_for_auditors_to_the_same_bytes(
    stage: Stage, tmp_path: Path
) -> None:
    record, node = stage.scene.record, stage.nodes[0]
    stage.play_until(lambda: stage.settled(ROUNDS))
    request_withdrawal(node.session.config, Request(method="replay", subject="ada"))
    folder = stage.scene.aggregator.session.folder / "evidence"
    stage.play_until(lambda: list(folder.glob("withdrawal-1-*.json")))
    evidence = EvidenceDocument.read(next(folder.glob("withdrawal-1-*.json")))
    before = node.session.journal.all("")
    again = tmp_path / "again"
    report = repeat(node.session, 1, again, more=[2])
    assert report.rounds
    assert all(part.repeated == part.offered for part in report.rounds)
    assert node.session.journal.all("") == before
    report.check_signature()
    stores = [stage.scene.folder / "aggregator" / "store", again]
    examined = examine(record, evidence, artifacts=stores, repetitions=[report])
    [repetition] = [each for each in examined if each.name.startswith("repetition")]
    assert (repetition.status, repetition.figures["round 2"]) == ("stated", 0)
    assert "distances" in {each.name for each in examined if each.status == "measured"}
    with pytest.raises(ConfigError, match="You offered no delta of round 9"):
        repeat(node.session, 1, again, more=[9])
