"""The check of a base model before anything starts: what works, what it takes, how long it trains."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rescind.core import ConsortiumParameters, Coupling
from rescind.core.errors import ConfigError, TrainingError
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.devnet.defaults import default_lora, default_parameters
from rescind.devnet.memory import BaseFiles, Needs, multiplies_bf16, needs
from rescind.devnet.messages import make_mail
from rescind.devnet.skill import skill_of_mail
from rescind.devnet.statistics_check import StatisticsCost, measure_statistics
from rescind.training import EngineSettings, LoraModel, load_base, pick_device
from rescind.training.engine.trial import Trial, measure_step
from rescind.training.model.file_checks import check_files
from rescind.training.model.presets import Dtype, PresetSettings, preset, preset_of, resolve
from rescind.training.model.report import ModelReport, describe
from rescind.training.model.text_rules import default_text


@dataclass(frozen=True)
class CheckOptions:
    """Options of the check, as on the command line."""

    model: str
    members: int = 4
    coupling: Coupling = "isolated"
    parameters: Path | None = None
    device: str = "auto"
    dtype: Dtype | None = None
    tokens: int = 64
    threads: int | None = None
    remote_code: bool = False


@dataclass(frozen=True)
class ModelCheck:
    """The result of a check.

    Attributes:
        folder: The model's folder.
        id: Its id.
        device: The device that it was measured on.
        dtype: Of its weights in memory.
        members: The number of organizations.
        rank: Of LoRA.
        memory: What a demo needs.
        report: What it is.
        trial: A measured step, None if there are problems.
        steps: Steps of a round.
        max_artifact_bytes: The limit of an artifact.
        statistics: What statistics take, where the coupling has them.
    """

    folder: str
    id: str
    device: str
    dtype: Dtype
    members: int
    rank: int
    memory: Needs
    report: ModelReport
    trial: Trial | None
    steps: int
    max_artifact_bytes: int
    statistics: StatisticsCost | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the check as JSON."""
        return asdict(self)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of each line of the report."""
        report, reach = self.report, self.report.reach
        yield "folder", self.folder
        yield "id", self.id
        yield "architecture", f"{report.architecture}, {reach.weights:,} weights"
        yield "positions", f"{report.positions:,}" if report.positions else "no limit"
        yield (
            "tokenizer",
            f"{report.vocabulary:,} tokens, {report.rows:,} rows in the embedding"
            f"{' (tied to the output)' if report.tied else ''}; a text ends with {report.end!r}"
            f"{', and begins with a token of its own' if report.adds_begin else ''}",
        )
        yield "chat template", "yes" if report.chat_template else "no"
        layers = ", ".join(f"{name.rpartition('.')[2]} {n}" for name, n in reach.layers.items())
        yield "LoRA", f"rank {self.rank}, {report.tensors} tensors ({layers})"
        yield "", f"reaches {reach.share:.0%} of the weights"
        for left in reach.left_out:
            yield "left out", f"{left.name} ({left.weights:,} weights): {left.reason}"
        yield "delta", _size(report.delta_bytes)
        yield (
            "adapter",
            f"{_size(report.adapter_bytes)} for {self.members} organizations; the limit of an "
            f"artifact is {_size(self.max_artifact_bytes)}",
        )
        if self.statistics is not None:
            yield from self.statistics.lines(_size)
        yield from self._costs()
        for note in report.notes:
            yield "note", note
        for problem in report.problems:
            yield "problem", problem

    def _costs(self) -> Iterator[tuple[str, str]]:
        if self.trial is None:
            return
        trial = self.trial
        where = "GPU memory" if self.device.startswith("cuda") else "memory"
        yield (
            "memory",
            f"{_size(trial.peak_bytes)} of {where} for a node that trains such pairs, with the base "
            f"as {self.dtype}",
        )
        yield f"demo of {self.members}", self.memory.sentence()
        yield (
            "step",
            f"{trial.seconds:.2f} s on {self.device} for {trial.pairs} pairs of about {trial.tokens} "
            f"tokens; a round of {self.steps} steps takes {self.steps * trial.seconds:,.0f} s",
        )


def check_model(options: CheckOptions, say: Callable[[str], None]) -> ModelCheck:
    """Check a base model: its files, that it fits, that LoRA and training work on it.

    Raises:
        ConfigError: The parameters cannot be read.
        TrainingError: The model cannot be loaded, or does not fit into the memory of this machine.
    """
    named = preset_of(options.model)
    settings = (named or preset("tiny")).settings
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    say("checking files")
    folder = resolve(options.model, remote_code=options.remote_code)
    check_files(folder)
    device = pick_device(options.device)
    gpu, files = device.type == "cuda", BaseFiles.read(folder)
    dtype = options.dtype or files.dtype(bf16=multiplies_bf16())
    needs(files, dtype, 1, gpu=gpu).check()
    say("loading the model")
    base = load_base(folder, device=str(device), dtype=dtype, remote_code=options.remote_code)
    agreed = _read(options.parameters) if options.parameters else None
    lora = agreed.lora if agreed else default_lora(options.coupling, settings)
    model = LoraModel(base, lora)
    if agreed is None:
        agreed = _suited(options, settings, model)
    report = describe(model, agreed, options.members)
    statistics = None
    if not report.problems and agreed.statistics is not None:
        say("measuring statistics")
        try:
            statistics = measure_statistics(model, agreed.statistics)
        except TrainingError as error:
            report = replace(report, problems=(*report.problems, str(error).rstrip(".")))
    trial = None
    if not report.problems:
        say("measuring a step of training")
        tokens = min(options.tokens, agreed.training.max_length)
        trial = measure_step(model, agreed, EngineSettings(), tokens)
    return ModelCheck(
        folder=str(folder),
        id=base.id,
        device=str(device),
        dtype=dtype,
        members=options.members,
        rank=lora.rank,
        memory=needs(
            files,
            dtype,
            options.members + 1,
            gpu=gpu,
            converted=not gpu and files.convertible(dtype),
            lora=sum(math.prod(shape) for shape in model.shapes.values()),
            tokens=agreed.training.batch_size * options.tokens,
        ),
        report=report,
        trial=trial,
        steps=agreed.training.steps_per_round,
        max_artifact_bytes=agreed.max_artifact_bytes,
        statistics=statistics,
    )


def _suited(
    options: CheckOptions, settings: PresetSettings, model: LoraModel
) -> ConsortiumParameters:
    """Return the parameters that a demo with this model would have."""
    text = default_text(model.base)
    model.read_as(text)
    parameters = default_parameters(
        options.coupling,
        model.base.id,
        model.shapes,
        seed=0,
        settings=settings,
        text=text,
        statistics=_demo_statistics(options.members) if options.coupling == "hybrid" else None,
    )
    training = parameters.training
    longest = min(training.max_length, model.base.positions or training.max_length)
    training = training.model_copy(update={"max_length": longest})
    return parameters.model_copy(update={"training": training})


def _demo_statistics(members: int) -> StatisticsParameters:
    """Return the statistics that members of a demo agree on: the department of a message."""
    names = [f"organization-{number}" for number in range(members)]
    return skill_of_mail(make_mail(names, seed=0)).agreed()


def _read(path: Path) -> ConsortiumParameters:
    try:
        return ConsortiumParameters.parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error


def _size(count: int) -> str:
    """Return a number of bytes for people."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"
