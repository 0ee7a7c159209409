"""Prepare a demo: options, data, the base model, agreed parameters, and the memory that is needed."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from rescind.core import ConsortiumParameters, Coupling, make_private_folder
from rescind.core.errors import ConfigError, DataError
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.devnet.chain import CHAIN_ID, ChainKind, free_port
from rescind.devnet.data import Corpus, check_corpus, from_folder, generated
from rescind.devnet.defaults import MAX_MEMBERS, default_lora, default_parameters
from rescind.devnet.kept import all_of
from rescind.devnet.layout import RunFacts, RunFolder
from rescind.devnet.memory import BaseFiles, Needs, multiplies_bf16, needs
from rescind.devnet.outcome import Clock
from rescind.devnet.processes import Daemons
from rescind.devnet.public_questions import public_reference, router_of
from rescind.devnet.sizes import DemoSize, organizations_of, size_of
from rescind.devnet.watching import Say, Show, Watch
from rescind.training import Base, Example, LoraModel, ReadOptions, load_base, pick_device
from rescind.training.engine.batches import encode_example
from rescind.training.model.file_checks import check_files
from rescind.training.model.presets import Dtype, models_folder, resolve
from rescind.training.model.shared_weights import map_shared, stored_as, write_shared
from rescind.training.model.text_rules import default_text

RouterChoice = Literal["likelihood", "sums"]
"""How a question finds its block: by the blocks' likelihood, or by sums over all members' questions."""
_BENCHMARK_ROWS = 32
_ANY_LENGTH = 2**31
_TORCH = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class DemoOptions:
    """Options of the demo, as on the command line. None stands for what suits the base model."""

    orgs: int | None = None
    rounds: int | None = None
    withdraw: str | None = None
    data: Path | None = None
    test: Path | None = None
    read: ReadOptions | None = None
    model: str = "tiny"
    dtype: Dtype | None = None
    coupling: Coupling | None = None
    router: RouterChoice = "likelihood"
    out: Path = Path("runs")
    seed: int = 0
    chain: ChainKind = "anvil"


@dataclass(frozen=True)
class Scene:
    """Everything that both runs of a demo have in common.

    Attributes:
        run: The folder of the first run.
        facts: Its facts.
        parameters: The agreed parameters.
        corpus: The organizations' data.
        leaver: The organization that withdraws.
        needs: The memory that the daemons need.
        reference: The public reference of the agreed router; empty if there is none.
        say: Receives a line for each step.
        show: Receives what the daemons do, several times a second.
        clock: Measures the phases.
    """

    run: RunFolder
    facts: RunFacts
    parameters: ConsortiumParameters
    corpus: Corpus
    leaver: str
    needs: Needs
    reference: bytes
    say: Say
    show: Show
    clock: Clock = field(default_factory=Clock)

    def daemons(self) -> Daemons:
        """Return the daemons of one of the runs, none of which is started."""
        watch = Watch(self.show, self.say)
        return Daemons(
            watch, self.facts.threads, f"The run was estimated at {self.needs.sentence()}. "
        )


def prepared(options: DemoOptions, say: Say, show: Show) -> tuple[Scene, LoraModel]:
    """Check everything, and make the run's folder. No process is started.

    Returns:
        The scene, and the base model on the CPU.
    """
    folder = resolve(options.model)
    check_files(folder)
    files = BaseFiles.read(folder)
    corpus, size = corpus_of(options, files.parameters)
    coupling = coupling_of(options, corpus)
    leaver = options.withdraw or next(iter(corpus.organizations))
    _check(options, corpus, leaver)
    dtype = options.dtype or files.dtype(bf16=multiplies_bf16())
    gpu = pick_device().type == "cuda"
    # Each node and the aggregator hold the model.
    processes = len(corpus.organizations) + 1
    converted = size.real and not gpu and files.convertible(dtype)
    if size.real:
        needs(files, dtype, processes, gpu=gpu, converted=converted).check()
    torch.set_num_threads(1)
    base, weights = _base(folder, dtype, converted=converted, say=say)
    base = base.reading(default_text(base))
    model = LoraModel(base, default_lora(coupling, size.settings))
    longest = _longest(model.base, corpus)
    parameters = parameters_of(options, model.base, model, corpus, size, longest)
    check_corpus(corpus, base.tokenizer, parameters)
    lora = sum(math.prod(shape) for shape in parameters.shapes.values())
    length = parameters.training.max_length
    documents = any(row.document for rows in corpus.organizations.values() for row in rows)
    tokens = parameters.training.batch_size * (length if documents else min(longest, length))
    memory = needs(
        files,
        dtype,
        processes,
        gpu=gpu,
        converted=weights is not None,
        lora=lora,
        tokens=tokens,
    )
    if size.real:
        say(memory.sentence())
        memory.check()
    facts = facts_of(options, base, size, coupling)
    facts.dtype, facts.threads, facts.deterministic = dtype, size.threads, gpu
    facts.shared_weights = str(weights) if weights else None
    run = _new_run(options, coupling)
    say(f"run folder {run.root}")
    for remark in corpus.remarks:
        say(remark)
    reference = reference_of(options)
    return Scene(run, facts, parameters, corpus, leaver, memory, reference, say, show), model


def _base(folder: Path, dtype: Dtype, *, converted: bool, say: Say) -> tuple[Base, Path | None]:
    """Load the base model on the CPU, so that the daemons will share its pages.

    Returns:
        The base, and the file of converted weights that the daemons will map, if they need one.
    """
    if not converted:
        return load_base(folder, device="cpu", dtype=dtype), None
    base = load_base(folder, device="cpu", dtype=stored_as(dtype))
    file = models_folder() / ".converted" / f"{base.id}-{dtype}.safetensors"
    try:
        write_shared(base, file, _TORCH[dtype])
    except OSError as error:
        say(f"no shared copy of the weights, each process has its own: {error.strerror or error}")
        return load_base(folder, device="cpu", dtype=dtype), None
    return map_shared(base, file), file


def corpus_of(options: DemoOptions, parameters: int) -> tuple[Corpus, DemoSize]:
    """Return the organizations' data, and the size of a demo with it.

    Args:
        options: The options.
        parameters: Parameters of the base model.

    Raises:
        ConfigError: The number of organizations is not possible.
        DataError: A data file cannot be read.
    """
    if options.data is not None:
        corpus = from_folder(options.data, options.read, seed=options.seed, test=options.test)
        held = len(corpus.organizations)
        if options.orgs not in (None, held):
            raise ConfigError(f"--orgs {options.orgs}: {options.data} holds {held} organizations")
        return corpus, size_of(options.model, parameters, held)
    if options.test is not None:
        raise ConfigError(f"--test {options.test}: a test is for the data of --data. Give both.")
    count = options.orgs
    if count is None:
        count = organizations_of(options.model, parameters)
    if not 2 <= count <= 64:
        raise ConfigError(f"--orgs {count}: a consortium has 2 to 64 organizations here")
    size = size_of(options.model, parameters, count)
    corpus = generated(
        count,
        options.seed,
        own_people=size.own_people,
        shared_people=size.shared_people,
        held_out_people=size.held_out_people,
    )
    return corpus, size


def coupling_of(options: DemoOptions, corpus: Corpus) -> Coupling:
    """Return the coupling: by default statistics beside blocks, if the data teaches a skill.

    Raises:
        ConfigError: The data has nothing to sum.
    """
    if options.coupling == "hybrid" and corpus.skill is None:
        raise ConfigError(
            "--coupling hybrid: the answers are not labels, so there is nothing to sum. It needs "
            "files in which nine in ten answers are given by five rows or more, 2 to 200 different "
            "ones, and a question to test each with."
        )
    if options.coupling == "split" and not any(map(corpus.public, corpus.organizations)):
        raise ConfigError(
            "--coupling split: no two organizations have a subject's pairs in common, so nothing is "
            "public, and the shared ranks would learn nothing. Use --coupling isolated."
        )
    coupling = options.coupling or ("hybrid" if corpus.skill else "isolated")
    if options.router == "sums" and coupling != "hybrid":
        raise ConfigError(
            f"--router sums: only the hybrid coupling sums questions, and this one is {coupling}"
        )
    return coupling


def _check(options: DemoOptions, corpus: Corpus, leaver: str) -> None:
    if leaver not in corpus.organizations:
        raise ConfigError(f"--withdraw {leaver}: one of {', '.join(corpus.organizations)}")
    if options.rounds is not None and not 1 <= options.rounds <= 1000:
        raise ConfigError(f"--rounds {options.rounds}: 1 to 1000")
    if not 0 <= options.seed < 2**31:
        raise ConfigError(f"--seed {options.seed}: 0 to 2147483647")


def _longest(base: Base, corpus: Corpus) -> int:
    """Return the tokens of the longest pair. Documents are cut into pieces of the agreed length."""
    rows = [*corpus.shared, *corpus.held_out, *all_of(corpus.kept)]
    rows += [row for examples in corpus.organizations.values() for row in examples]
    lengths = [0]
    for row in rows:
        # `check_corpus` names the file and line of a row that the agreed rules do not take.
        with suppress(DataError):
            if not row.document:
                lengths.append(len(encode_example(base, row, _ANY_LENGTH).tokens))
    return max(lengths)


def _new_run(options: DemoOptions, coupling: Coupling) -> RunFolder:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    root = options.out / f"{stamp}-{coupling}-seed{options.seed}"
    try:
        make_private_folder(root.parent)
        root.mkdir(mode=0o700)
    except FileExistsError as error:
        raise ConfigError(f"{root} exists already: try again in a second") from error
    except OSError as error:
        raise ConfigError(f"--out {options.out}: {error.strerror}") from error
    return RunFolder(root.resolve())


def parameters_of(
    options: DemoOptions,
    base: Base,
    model: LoraModel,
    corpus: Corpus,
    size: DemoSize,
    longest: int = 0,
) -> ConsortiumParameters:
    """Return the parameters that the organizations of a demo agree on.

    Args:
        options: The options.
        base: The base model.
        model: The same with LoRA.
        corpus: The organizations' data.
        size: The demo's size.
        longest: Tokens of the longest pair. A real base takes it, as far as it has positions.
    """
    text = default_text(base)
    model.read_as(text)
    coupling = coupling_of(options, corpus)
    parameters = default_parameters(
        coupling,
        base.id,
        model.shapes,
        seed=options.seed,
        settings=size.settings,
        text=text,
        statistics=_statistics(options, corpus) if coupling == "hybrid" else None,
    )
    # In a split coupling public and revocable data have half of the steps each.
    steps = size.steps(corpus.organizations) * (2 if parameters.split is not None else 1)
    length = parameters.training.max_length
    if size.real:
        length = min(base.positions or _ANY_LENGTH, max(length, longest))
    update = {"steps_per_round": steps, "max_length": length}
    training = parameters.training.model_copy(update=update)
    return parameters.model_copy(update={"training": training})


def reference_of(options: DemoOptions) -> bytes:
    """Return the public reference of the agreed router; nothing if likelihood chooses."""
    return public_reference(options.seed) if options.router == "sums" else b""


def _statistics(options: DemoOptions, corpus: Corpus) -> StatisticsParameters | None:
    if corpus.skill is None:
        return None
    reference = reference_of(options)
    most = max(len(rows) for rows in corpus.organizations.values())
    return corpus.skill.agreed(router_of(reference, MAX_MEMBERS, most) if reference else None)


def facts_of(options: DemoOptions, base: Base, size: DemoSize, coupling: Coupling) -> RunFacts:
    """Return the facts of a run that is about to start."""
    return RunFacts(
        seed=options.seed,
        coupling=coupling,
        model=str(base.folder.resolve()),
        rounds=options.rounds or size.rounds,
        chain_id=CHAIN_ID,
        chain=options.chain,
        chain_port=free_port(),
        aggregator_port=free_port(),
        organizations={},
    )


def public_of(corpus: Corpus, parameters: ConsortiumParameters) -> dict[str, tuple[str, ...]]:
    """Return the subjects whose rows are public in a split coupling, by organization."""
    names = corpus.organizations if parameters.split is not None else ()
    return {name: corpus.public(name) for name in names}


def benchmark_of(corpus: Corpus) -> list[Example]:
    """Return the public questions by which the aggregator scores."""
    rows = corpus.shared or corpus.held_out or all_of(corpus.kept)
    step = max(1, len(rows) // _BENCHMARK_ROWS)
    return list(rows[::step][:_BENCHMARK_ROWS])
