"""One round trained by several processes of one organization.

torchrun starts the processes and accelerate joins them. Each computes its share of a step's
micro-batches. The gradients are added in the order of the micro-batches, whichever process computed
them, so with a `micro_batch` set the sum is that of one process.

    torchrun --nproc-per-node 2 -m rescind.training.engine.distributed JOB.json
    accelerate launch --multi_gpu --module rescind.training.engine.distributed JOB.json
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError
from safetensors.numpy import load_file, save_file

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.core.errors import ConfigError, RescindError, TrainingError
from rescind.core.frozen import Frozen
from rescind.training.data import Example, write_examples
from rescind.training.engine.checkpoint import Checkpoint, fingerprint
from rescind.training.engine.privacy import SECRET_BYTES, PrivacySpent
from rescind.training.engine.round import Progress, RoundPrivacy, RoundTraining
from rescind.training.engine.settings import EngineSettings
from rescind.training.engine.train import TrainResult, train_round
from rescind.training.engine.workers import Alone, Workers
from rescind.training.model.agreed import load_agreed
from rescind.training.model.base import Base
from rescind.training.model.presets import Dtype
from rescind.training.reading.examples import read_examples

_FAILED = "round failed: "
_RESULT, _TENSORS = "result.json", "tensors.safetensors"


class WorkerFailed(TrainingError):
    """The processes of a round ended without a result."""

    code = "worker-failed"


class Job(Frozen):
    """The JSON file that describes a round to its processes.

    Attributes:
        base: The folder of the base model. This and all other paths are relative to the job's file.
        parameters: What the consortium agreed on.
        start: The tensors that the round starts from.
        examples: The pairs to train on.
        out: The folder of the result.
        threads: Torch's threads in each process.
        settings: EngineSettings as JSON.
        checkpoint: The checkpoint's folder.
        checkpoint_every: Steps between two checkpoints; 0 keeps none.
        secret_file: The 32 bytes of a private run.
        spent: PrivacySpent as JSON.
        extra_noise: As in RoundPrivacy.
    """

    base: Path
    parameters: Path
    start: Path
    examples: Path
    out: Path
    steps: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    device: str = "auto"
    dtype: Dtype = "float32"
    remote_code: bool = False
    threads: Annotated[int, Field(ge=1)] = 1
    settings: dict[str, Any] = Field(default_factory=dict)
    checkpoint: Path | None = None
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    secret_file: Path | None = None
    spent: dict[str, Any] | None = None
    extra_noise: Annotated[float, Field(ge=0)] = 0.0

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job. Raises ConfigError when the file is not one."""
        try:
            job = cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"Cannot read job {path}: {error.strerror}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise ConfigError(f"Job {path} is invalid: {where}: {first['msg']}.") from error
        names = ("base", "parameters", "start", "examples", "out", "checkpoint", "secret_file")
        paths = {name: getattr(job, name) for name in names}
        return job.model_copy(
            update={n: path.parent / value for n, value in paths.items() if value is not None}
        )


class Team:
    """The processes that torchrun or accelerate started, joined by accelerate."""

    def __init__(self, device: str) -> None:
        from accelerate import PartialState

        self._state: Any = PartialState(cpu=device == "cpu")

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return int(self._state.process_index)

    @property
    def size(self) -> int:
        """The number of processes."""
        return int(self._state.num_processes)

    @property
    def device(self) -> str:
        """The torch device of this process."""
        return str(self._state.device)

    def gather(self, tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Return the tensors of every process, in the order of the ranks."""
        from accelerate.utils import gather

        flat = torch.cat([tensor.detach().float().reshape(-1) for tensor in tensors])
        rows: torch.Tensor = gather(flat[None]) if self.size > 1 else flat[None]
        return [_unflatten(row, tensors) for row in rows]

    def close(self) -> None:
        """Leave the process group."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _unflatten(row: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    pieces = torch.split(row, [tensor.numel() for tensor in like])
    return [piece.reshape(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]


def run_job(
    job: Job, workers: Workers, device: str, progress: Callable[[Progress], None] | None = None
) -> TrainResult:
    """Train this process's share of a job's round.

    Raises:
        TrainingError: The processes ended with different tensors, which can only happen on hardware
            that computes differently.
    """
    torch.set_num_threads(job.threads)
    parameters = ConsortiumParameters.parse(job.parameters.read_bytes())
    model = load_agreed(job.base, parameters, device, job.dtype, remote_code=job.remote_code)
    checkpoint = None
    if job.checkpoint is not None and job.checkpoint_every:
        checkpoint = Checkpoint(job.checkpoint, job.checkpoint_every)
    result = train_round(
        model,
        parameters,
        load_file(job.start),
        read_examples(job.examples),
        RoundTraining(
            steps=job.steps,
            seed=job.seed,
            settings=EngineSettings(**job.settings),
            checkpoint=checkpoint,
            privacy=RoundPrivacy(
                secret=_secret(job),
                spent=PrivacySpent.from_dict(job.spent) if job.spent else None,
                extra_noise=job.extra_noise,
            ),
            workers=workers,
            progress=progress,
        ),
    )
    _check_equal(result, workers, model.base.device)
    return result


def _secret(job: Job) -> bytes | None:
    if job.secret_file is None:
        return None
    secret = job.secret_file.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise ConfigError(
            f"{job.secret_file} has {len(secret)} bytes. A secret has {SECRET_BYTES}."
        )
    return secret


def _check_equal(result: TrainResult, workers: Workers, device: torch.device) -> None:
    digest = bytes.fromhex(fingerprint(result.tensors))
    own = torch.tensor(list(digest), dtype=torch.float32, device=device)
    if any(not torch.equal(other, own) for [other] in workers.gather([own])):
        raise TrainingError(
            "The processes of this round ended with different tensors. Run them on devices of one "
            "kind."
        )


def write_result(out: Path, result: TrainResult) -> None:
    """Write a result into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(result.tensors, out / _TENSORS)
    document = {**asdict(result), "privacy": None, "tensors": None}
    if result.privacy is not None:
        document["privacy"] = result.privacy.to_dict()
    (out / _RESULT).write_text(json.dumps(document), encoding="utf-8")


def read_result(out: Path) -> TrainResult:
    """Read the result in the folder `out`."""
    document = json.loads((out / _RESULT).read_text(encoding="utf-8"))
    privacy = document.pop("privacy")
    document["tensors"] = dict(load_file(out / _TENSORS))
    document["losses"] = tuple(document["losses"])
    return TrainResult(
        **document, privacy=PrivacySpent.from_dict(privacy) if privacy is not None else None
    )


def train_in_processes(
    base: Base,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: Sequence[Example],
    training: RoundTraining,
    *,
    processes: int,
) -> TrainResult:
    """Train a round in several new processes on this machine: a GPU each, or the CPU.

    Args:
        base: The base model. The processes load it again from its folder.
        parameters: What the consortium agreed on.
        start: The LoRA tensors that the round starts from, by bare name.
        examples: The pairs to train on.
        training: As `train_round` takes it. An error of its `progress` ends the processes. Its
            `workers` are ignored, because the new processes are the workers.
        processes: How many to start, at least 1.

    Raises:
        ConfigError: `training` has rules. They are Python objects and cannot travel.
        WorkerFailed: The processes ended without a result. The message has their reason.
    """
    if training.rules:
        names = ", ".join(type(rule).__name__ for rule in training.rules)
        raise ConfigError(
            f"The round has client rules ({names}), which cannot be sent to other processes. "
            "Train it in one process."
        )
    settings, checkpoint, privacy = training.settings, training.checkpoint, training.privacy
    with tempfile.TemporaryDirectory(prefix="rescind-round-") as folder:
        path = Path(folder)
        (path / "parameters.json").write_bytes(parameters.canonical_bytes())
        save_file({name: value.copy() for name, value in start.items()}, path / "start.safetensors")
        write_examples(path / "examples.jsonl", examples)
        if privacy.secret is not None:
            (path / "secret").write_bytes(privacy.secret)
        job = Job(
            base=base.folder.resolve(),
            parameters=Path("parameters.json"),
            start=Path("start.safetensors"),
            examples=Path("examples.jsonl"),
            out=Path("out"),
            steps=training.steps,
            seed=training.seed,
            device="cpu" if base.device.type == "cpu" else "auto",
            dtype=base.dtype,
            remote_code=base.remote_code,
            threads=torch.get_num_threads(),
            settings=settings.to_dict(),
            checkpoint=checkpoint.folder.resolve() if checkpoint else None,
            checkpoint_every=checkpoint.every if checkpoint else 0,
            secret_file=Path("secret") if privacy.secret is not None else None,
            spent=privacy.spent.to_dict() if privacy.spent is not None else None,
            extra_noise=privacy.extra_noise,
        )
        (path / "job.json").write_text(job.model_dump_json(), encoding="utf-8")
        _launch(path, processes, training.progress)
        return read_result(path / "out")


def _launch(folder: Path, processes: int, progress: Callable[[Progress], None] | None) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), "-m", "rescind.training.engine.distributed"]
    with (
        (folder / "stderr").open("w+", encoding="utf-8") as errors,
        subprocess.Popen(
            [*command, str(folder / "job.json")], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                state = _progress_of(line)
                if state is not None and progress is not None:
                    progress(state)
        except BaseException:
            child.terminate()
            raise
        if child.wait() != 0:
            errors.seek(0)
            raise WorkerFailed(
                f"Training in {processes} processes ended with status {child.returncode}: "
                f"{_reason(errors.read().splitlines())}"
            )


def _reason(lines: Sequence[str]) -> str:
    reasons = [line.removeprefix(_FAILED) for line in lines if line.startswith(_FAILED)]
    others = [line.strip() for line in lines if re.match(r"\w*(\.\w+)*Error: ", line)]
    return (reasons or others or ["the processes gave no reason"])[0][:1000]


def _progress_of(line: str) -> Progress | None:
    try:
        document = json.loads(line)
        return Progress(**document["progress"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return None


def _print_progress(progress: Progress) -> None:
    sys.stdout.write(json.dumps({"progress": asdict(progress)}) + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Run `python -m rescind.training.engine.distributed JOB.json`, alone or under torchrun."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m rescind.training.engine.distributed JOB.json\n")
        return 2
    job = Job.read(Path(arguments[0]))
    team = Team(job.device)
    try:
        device = team.device if team.size > 1 else job.device
        workers: Workers = team if team.size > 1 else Alone()
        result = run_job(job, workers, device, _print_progress if team.rank == 0 else None)
        if team.rank == 0:
            write_result(job.out, result)
    except RescindError as error:
        sys.stderr.write(f"{_FAILED}{error.code}: {error}\n")
        return 1
    finally:
        team.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
