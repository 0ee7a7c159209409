import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.core.errors import ConfigError
from rescind.node import Node
from rescind.node.checks import NotCarriedOut, check_carried_out, check_text
from tests.support.consortium import micro_parameters, split_parameters

ALTERNATING = {"rank": 4, "alpha": 8, "train_a": True, "alternate": True}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (
            {
                "training": {
                    **micro_parameters().training.model_dump(),
                    "rule": {"name": "proximal"},
                }
            },
            "training.rule proximal",
        ),
        (
            {"lora": ALTERNATING},
            "lora.alternate",
        ),
    ],
)
def test_training_that_needs_one_process_is_rejected_with_several(changes, what: str) -> None:
    check_carried_out(micro_parameters(federated=True, **changes), 1)
    check_carried_out(micro_parameters(federated=True), 2)
    with pytest.raises(ConfigError, match=f"agreed on {what}.*set engine.processes to 1"):
        check_carried_out(micro_parameters(federated=True, **changes), 2)


def test_private_beside_shared_ranks_are_rejected_in_several_processes() -> None:
    check_carried_out(split_parameters(), 1)
    with pytest.raises(ConfigError, match=r"agreed on coupling split.*set engine.processes to 1"):
        check_carried_out(split_parameters(), 2)


class Refusing(Node):
    def tick(self) -> bool:
        check_carried_out(micro_parameters(federated=True, lora=ALTERNATING), 2)
        return True


def test_a_node_that_cannot_carry_out_the_parameters_stops_with_the_reason(
    tmp_path: Path,
) -> None:
    node = SimpleNamespace(name="aurora", poll_seconds=0.1, state_dir=tmp_path)
    config = SimpleNamespace(node=node, identity=SimpleNamespace(tls=None))
    session: Any = SimpleNamespace(
        me="0xaa",
        stop=threading.Event(),
        config=config,
        consortium=None,
        journal=None,
        activities=SimpleNamespace(clear=lambda: None),
    )
    with pytest.raises(NotCarriedOut, match=r"set engine\.processes to 1"):
        Refusing(session).run(session.stop)


@pytest.mark.trains
def test_a_base_whose_tokenizer_cannot_do_what_was_agreed_is_rejected(tmp_path: Path) -> None:
    agreed = micro_parameters(text={"prompt": "chat"})
    with pytest.raises(NotCarriedOut, match=r"has no chat template.*The base model is tiny"):
        check_text(agreed, "tiny")
    check_text(micro_parameters(), "tiny")
    # A model that is not there yet is missed when the node trains.
    check_text(agreed, str(tmp_path / "later"))
