"""A consortium's rounds played in this process, without chain, network and daemons.

tests/daemons/test_library.py pins that daemons make the same bytes, so that every story of daemons
can be compared with what the library makes of the same keys, data and parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from rescind.core import ArtifactStore, ConsortiumParameters, artifact_id, encode
from rescind.devnet import RunFolder
from rescind.devnet.defaults import BASE_MODEL
from rescind.forgetting.history import Entry, History, Task, TrainedDelta, extend
from rescind.training import LoraModel, RoundTraining, load_base, read_examples
from rescind.training.engine.contribution import contribute


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, as daemons of tests do: more threads add floats up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def play(
    run: RunFolder, folder: Path, rounds: int, *, absent: str = "", without: Sequence[str] = ()
) -> History:
    """Play rounds of full effort by a run's organizations, which must still have their data.

    Args:
        run: The run that has the parameters, addresses and private data.
        folder: Where to store artifacts.
        absent: Name of an organization that never takes part.
        without: Data subjects to leave out of every organization's data.
    """
    parameters = ConsortiumParameters.parse(run.parameters.read_bytes())
    model = LoraModel(load_base(BASE_MODEL), parameters.lora)
    data = {
        address: [
            example
            for example in read_examples(run.organization(name) / "data" / "private.jsonl")
            if example.subject not in without
        ]
        for name, address in run.facts().organizations.items()
        if name != absent
    }

    def train(task: Task) -> TrainedDelta:
        entry = task.entry
        quantized = contribute(
            model,
            parameters,
            entry.organization,
            entry.round_id,
            task.adapter,
            data[entry.organization],
            task.residual,
            RoundTraining(steps=entry.steps),
            past=task.past,
        ).quantized
        return TrainedDelta(quantized.delta, quantized.residual)

    steps = parameters.training.steps_per_round
    plan = [
        Entry(number, organization, steps)
        for number in range(1, rounds + 1)
        for organization in data
    ]
    with _one_thread():
        return extend(History(parameters, ArtifactStore(folder)), plan, train)


def adapter_of(history: History) -> str:
    """Return the artifact id of the sum of all deltas, as it is on chain."""
    return artifact_id(encode(history.adapter()))
