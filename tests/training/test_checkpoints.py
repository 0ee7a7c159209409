"""A round that was interrupted goes on from its checkpoint, to the same bytes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    Checkpoint,
    CheckpointBroken,
    CheckpointMismatch,
    EngineSettings,
    LoraModel,
    Progress,
    RuleNotResumable,
    load_base,
)
from rescind.training.rules.rule import Rule
from tests.support.models import (
    digest,
    examples,
    parameters_of,
    train,
)
from tests.support.tiny_models import save_model


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), default_lora("isolated"))


_RUN = """
import sys
from pathlib import Path
from tests.training.test_checkpoints import train_with_checkpoint
print(train_with_checkpoint(Path(sys.argv[1]), tell=True), flush=True)
"""


def train_with_checkpoint(folder: Path, *, tell: bool = False) -> str:
    torch.set_num_threads(1)
    model = LoraModel(load_base(BASE_MODEL), default_lora("isolated"))

    def progress(state: Progress) -> None:
        if tell:
            print(f"step {state.step}", flush=True)

    checkpoint = Checkpoint(folder, every=2)
    settings = EngineSettings(batching="bucketed", micro_batch=2)
    result = train(model, steps=9, checkpoint=checkpoint, settings=settings, progress=progress)
    return f"{digest(result)} resumed at {result.resumed_at}"


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", _RUN, str(tmp_path / "killed")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "step 5":
                child.send_signal(signal.SIGKILL)
                break
        assert child.wait() == -signal.SIGKILL
    again = train_with_checkpoint(tmp_path / "killed")
    whole = train_with_checkpoint(tmp_path / "whole")
    assert again.split()[0] == whole.split()[0]
    assert int(again.split()[-1]) >= 4
    assert whole.endswith("resumed at 0")
    assert not list((tmp_path / "killed").iterdir())


class Stopped(Exception):
    pass


def stop_at(step: int):
    def progress(state: Progress) -> None:
        if state.step == step:
            raise Stopped

    return progress


def stopped(model: LoraModel, folder: Path, **engine) -> Checkpoint:
    checkpoint = Checkpoint(folder, every=1)
    with pytest.raises(Stopped):
        train(model, steps=5, checkpoint=checkpoint, progress=stop_at(2), **engine)
    return checkpoint


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"examples": examples(9)}, "data is"),
        ({"settings": EngineSettings(micro_batch=2)}, "settings is"),
        ({"rules": [Rule()]}, "rules is"),
        ({"steps": 6}, "steps is 5 there and 6 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    model: LoraModel, tmp_path: Path, change: dict[str, object], named: str
) -> None:
    checkpoint = stopped(model, tmp_path)
    with pytest.raises(CheckpointMismatch, match=named):
        train(model, **{"steps": 5, "checkpoint": checkpoint, **change})


def test_a_checkpoint_of_another_start_or_consortium_is_refused(
    model: LoraModel, tmp_path: Path
) -> None:
    checkpoint = stopped(model, tmp_path)
    other = parameters_of(model, seed=1)
    with pytest.raises(CheckpointMismatch, match=r"parameters is .*; start is"):
        train(model, steps=5, checkpoint=checkpoint, parameters=other)


def test_a_checkpoint_of_another_base_is_refused(model: LoraModel, tmp_path: Path) -> None:
    checkpoint = stopped(model, tmp_path / "checkpoint")
    other = LoraModel(load_base(save_model(tmp_path / "other", "llama")), default_lora("isolated"))
    with pytest.raises(CheckpointMismatch, match="base model is"):
        train(other, steps=5, checkpoint=checkpoint)


def test_a_broken_checkpoint_is_refused_with_its_path(model: LoraModel, tmp_path: Path) -> None:
    checkpoint = stopped(model, tmp_path)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:100])
    with pytest.raises(CheckpointBroken, match="Delete it"):
        train(model, steps=5, checkpoint=checkpoint)


class Counting(Rule):
    def __init__(self) -> None:
        self.steps = 0

    def after_step(self, step, batch, tensors) -> None:
        self.steps += 1


class Remembering(Counting):
    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"steps": torch.tensor(self.steps)}

    def load_state_dict(self, state) -> None:
        self.steps = int(state["steps"])


def test_a_rule_with_state_must_save_it_in_the_checkpoint(model: LoraModel, tmp_path: Path) -> None:
    with pytest.raises(RuleNotResumable, match="Counting has changed during the run"):
        train(model, checkpoint=Checkpoint(tmp_path / "a", 1), rules=[Counting()])
    checkpoint = stopped(model, tmp_path / "b", rules=[Remembering()])
    rule = Remembering()
    assert train(model, steps=5, checkpoint=checkpoint, rules=[rule]).resumed_at == 2
    assert rule.steps == 5
