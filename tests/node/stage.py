"""A real node in this process: real chain, real aggregator, mutual TLS, its own ledger."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rescind.agents import SIT_OUT, Observation
from rescind.core import artifact_id, commit, decode, digest
from rescind.devnet.defaults import BASE_MODEL
from rescind.ledger import Ledger, create_key
from rescind.node import Node, NodeConfig, Step, open_session
from rescind.node.facts import Decision, DeltaFact, RoundFacts, Update
from rescind.node.withdrawal_facts import OfferedDelta
from tests.aggregator.scene import Member, Scene, chain_section, identity_section

ROWS = (
    ("Where was Ada born?", "In Bergen.", "ada"),
    ("What does Ada do?", "She forges.", "ada"),
    ("Where was Bo born?", "In Cork.", "bo"),
)
DECISION = Decision(SIT_OUT, "as a test says", False, Observation(1, 2, 0, 0.0, 0.0, 0.0))


def node_config(
    scene: Scene, member: Member, *, policy: str = "always", rows: Sequence[object] = ROWS
) -> NodeConfig:
    """Write a node's files beside its TLS files, and return its configuration."""
    folder = member.tls.key.parent
    data, key = folder / "data.jsonl", folder / "ledger.key"
    names = ("question", "answer", "subject")
    lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
    data.write_text("".join(f"{line}\n" for line in lines))
    if not key.exists():
        with Ledger.create(folder / "ledger", create_key(key)):
            pass
    return NodeConfig.model_validate(
        {
            "node": {"name": folder.name, "state_dir": folder / "state", "data": data},
            "chain": chain_section(scene.anvil, scene.folder / "contracts.json"),
            "identity": identity_section(folder, member.account, member.tls),
            "aggregator": {"address": member.address},
            "model": {"path": str(BASE_MODEL), "device": "cpu"},
            "engine": {"checkpoint_steps": 0},
            "ledger": {"dir": folder / "ledger", "key_file": key},
            "agent": {"policy": policy},
        }
    )


@contextmanager
def open_node(scene: Scene, member: Member, **choices: object) -> Iterator[Node]:
    """Open a member's node; see `node_config` for the choices."""
    config = node_config(scene, member, **choices)
    with open_session(config, threading.Event()) as session:
        yield Node(session)


def steps_of(node: Node, most: int = 30) -> list[Step]:
    """Let a node act until it waits, and return the steps that it took."""
    steps = []
    for _ in range(most):
        chosen = node.next_plan().step
        if node.tick():
            return steps
        steps.append(chosen)
    raise AssertionError(f"the node never waits: {steps}")


def delta_fact(node: Node, data: bytes) -> DeltaFact:
    """Put a delta into the node's store, as its training does."""
    node.session.store.put(data)
    point = commit(digest(decode(data)))
    return DeltaFact(artifact_id(data), point.hex(), f"residual-{artifact_id(data)}.safetensors")


def remember(node: Node, round_id: int, data: bytes) -> None:
    """Let a node know that it contributed a delta to a round that is over."""
    update = Update(delta_fact(node, data), "00" * 32, round_id)
    facts = RoundFacts(round_id, DECISION, update=update, submitted=True, settled=True)
    facts.save(node.session.journal)


def remember_offer(
    node: Node, offer_id: int, round_id: int, data: bytes, *, unchanged: bool = False
) -> OfferedDelta:
    """Let a node know that it trained a delta for a withdrawal or a replay."""
    report = {"start": "00" * 32, "seed": 1, "steps": 1, "examples": 1}
    losses = {"first_loss": 1.0, "last_loss": 0.5}
    fact = OfferedDelta(
        offer_id, round_id, delta_fact(node, data), report | losses, unchanged=unchanged
    )
    fact.save(node.session.journal)
    return fact
