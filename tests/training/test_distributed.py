import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from rescind.core import PrivacyParameters
from rescind.core.errors import ConfigError
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    Base,
    EngineSettings,
    LoraModel,
    Progress,
    RoundPrivacy,
    RoundTraining,
    load_base,
    train_round,
    write_examples,
)
from rescind.training.engine.batches import encode_example
from rescind.training.engine.distributed import (
    Job,
    WorkerFailed,
    main,
    read_result,
    train_in_processes,
)
from rescind.training.engine.gradients import Engine, PlainGradient
from rescind.training.engine.workers import Alone
from rescind.training.rules.rule import Rule
from tests.support.models import (
    digest,
    examples,
    parameters_of,
    start_of,
)

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, default_lora("isolated"))


def write_job(model: LoraModel, folder: Path, **changes) -> Path:
    parameters = parameters_of(model)
    (folder / "parameters.json").write_bytes(parameters.canonical_bytes())
    save_file(dict(start_of(model, parameters)), folder / "start.safetensors")
    write_examples(folder / "examples.jsonl", examples())
    values = {
        "base": BASE_MODEL.resolve(),
        "parameters": Path("parameters.json"),
        "start": Path("start.safetensors"),
        "examples": Path("examples.jsonl"),
        "out": Path("out"),
        "steps": 3,
        "seed": 5,
        "device": "cpu",
        **changes,
    }
    path = folder / "job.json"
    path.write_text(Job(**values).model_dump_json())
    return path


def torchrun(path: Path, processes: int) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [
        "--nproc-per-node",
        str(processes),
        "-m",
        "rescind.training.engine.distributed",
        str(path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True, capture_output=True)


@pytest.mark.slow
def test_two_processes_train_the_same_bytes_as_one(model: LoraModel, tmp_path: Path) -> None:
    settings = EngineSettings(micro_batch=3).to_dict()
    path = write_job(model, tmp_path, settings=settings)
    torchrun(path, 2)
    together = read_result(tmp_path / "out")
    assert main([str(path)]) == 0
    alone = read_result(tmp_path / "out")
    assert digest(together) == digest(alone)
    assert together.losses == alone.losses
    assert together.tokens == alone.tokens


@pytest.mark.slow
def test_processes_of_a_private_round_train_the_same_bytes_as_one(model: LoraModel) -> None:
    privacy = PrivacyParameters(max_grad_norm=0.5, noise_multiplier=1.0, delta=1e-5)
    parameters = parameters_of(model, privacy=privacy)
    start, rows = start_of(model, parameters), examples()
    reports: list[Progress] = []
    training = RoundTraining(
        steps=3,
        seed=5,
        settings=EngineSettings(micro_batch=1),
        privacy=RoundPrivacy(secret=SECRET, extra_noise=0.5),
    )
    together = train_in_processes(
        model.base, parameters, start, rows, replace(training, progress=reports.append), processes=2
    )
    alone = train_round(model, parameters, start, rows, training)
    assert digest(together) == digest(alone)
    assert together.privacy == alone.privacy
    assert [p.step for p in reports] == [1, 2, 3]


@pytest.mark.slow
def test_an_error_in_the_processes_is_reported(model: LoraModel) -> None:
    parameters = parameters_of(model).model_copy(update={"base_model_id": "00" * 32})
    with pytest.raises(WorkerFailed, match="wrong-base-model: The base model in"):
        train_in_processes(
            model.base,
            parameters,
            start_of(model, parameters),
            examples(),
            RoundTraining(steps=1),
            processes=1,
        )


def test_rules_cannot_be_sent_to_processes(model: LoraModel) -> None:
    parameters = parameters_of(model)
    training = RoundTraining(steps=1, rules=[Rule()])
    start = start_of(model, parameters)
    with pytest.raises(ConfigError, match=r"client rules \(Rule\)"):
        train_in_processes(model.base, parameters, start, examples(), training, processes=2)


class Split:
    """One of two workers whose partner's part is known already."""

    size = 2

    def __init__(self, rank: int, other: list[list[torch.Tensor]]) -> None:
        self.rank = rank
        self.given: list[list[torch.Tensor]] = []
        self._other = iter(other)

    def gather(self, tensors):
        own = [tensor.clone() for tensor in tensors]
        self.given.append(own)
        other = next(self._other, [torch.zeros_like(t) for t in own])
        return [own, other] if self.rank == 0 else [other, own]


@pytest.mark.parametrize("pairs", [1, 2, 3, 5])
def test_a_gradient_does_not_depend_on_the_process_that_computed_it(
    model: LoraModel, pairs: int
) -> None:
    parameters = parameters_of(model)
    model.put("w", start_of(model, parameters))
    network = model.use("w")
    tensors = dict(sorted(model.parameters("w").items()))
    rows = [encode_example(model.base, e, 512) for e in examples(pairs)]

    def gradients(workers) -> list[np.ndarray]:
        settings = EngineSettings(micro_batch=1)
        PlainGradient(Engine(model.base, network, network, settings, workers, tensors, 512))(
            0, rows
        )
        return [t.grad.numpy().copy() for t in tensors.values()]

    second = Split(1, [])
    gradients(second)
    split = gradients(Split(0, second.given))
    for gradient, other in zip(split, gradients(Alone()), strict=True):
        np.testing.assert_array_equal(gradient, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "base: Field required"), ("nonsense", "Invalid JSON"), (None, "Cannot read job")],
)
def test_a_file_that_is_not_a_job_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "job.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Job.read(path)


def test_the_command_needs_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err
