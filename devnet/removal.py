"""Request the removal of an organization, and follow it to a node that has opened the result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from rescind.contracts import Consortium, WithdrawalState
from rescind.core import ArtifactStore
from rescind.core.errors import RescindError
from rescind.core.mapped import Bytes
from rescind.devnet.adapters import Removal
from rescind.devnet.forking import start
from rescind.devnet.layout import RunFolder
from rescind.devnet.processes import Daemons
from rescind.devnet.watching import Say
from rescind.node.facts import AdoptedModel, open_journal

_LOOK_SECONDS = 0.05


def remove(
    run: RunFolder,
    consortium: Consortium,
    daemons: Daemons,
    leaver: str,
    others: Sequence[str],
    say: Say,
) -> Removal:
    """Remove an organization as its operator does, and say each step as it is seen on chain.

    Args:
        run: The run's folder; its daemons are at work.
        consortium: The public record.
        daemons: The daemons.
        leaver: Name of the organization that withdraws.
        others: Names of the organizations that stay.
        say: Receives one line for each step.

    Raises:
        RescindError: The request fails, a daemon ends, or a step takes too long.
    """
    before, in_use = consortium.latest_model_id(), consortium.models_in_use()
    say(f"{leaver} asks for its contribution to be removed")
    with _request(run, leaver, daemons.threads) as request:
        daemons.wait_for(lambda: _is_mined(consortium, *request), _LOOK_SECONDS)
        mined = time.monotonic()
        stale = ", ".join(str(each) for each in in_use if consortium.is_stale(each))
        say(f"request mined: {leaver} is out, and with it model {stale} in use is stale")
    daemons.wait_for(lambda: consortium.latest_model_id() > before, _LOOK_SECONDS)
    model_id = consortium.latest_model_id()
    count = len(consortium.content(model_id))
    say(f"folded: model {model_id} succeeds model {before} with {count} contributions of the rest")
    journals = {name: open_journal(run.node_state(name)) for name in others}

    def opened() -> list[str]:
        return [name for name in others if model_id in AdoptedModel.ids(journals[name])]

    daemons.wait_for(lambda: bool(opened()), _LOOK_SECONDS)
    first, seconds = opened()[0], time.monotonic() - mined
    say(f"{first} has opened model {model_id}, {seconds:.2f} s after the request was mined")
    daemons.wait_for(lambda: _is_closed(consortium) and len(opened()) == len(others))
    say(f"closed: all who stay have opened model {model_id}")
    return Removal(opened_adapter(run, first, model_id), seconds)


def opened_adapter(run: RunFolder, name: str, model_id: int) -> Bytes:
    """Return the bytes of a model's adapter in the store of a node that opened them."""
    fact = AdoptedModel.load(open_journal(run.node_state(name)), model_id)
    if fact is None or not fact.adapter_id:
        return b""
    return ArtifactStore(run.node_state(name) / "store").view(fact.adapter_id)


@contextmanager
def _request(run: RunFolder, name: str, threads: int) -> Iterator[tuple[BaseProcess, Path]]:
    """Run `rescind withdraw request` in a process of its own, and wait for its end."""
    folder = run.organization(name)
    log = folder / "withdraw.log"
    words = ["withdraw", "request", "-c", str(folder / "node.toml")]
    process = start(threads, words, log)
    yield process, log
    process.join()
    _check_request(process, log)


def _check_request(process: BaseProcess, log: Path) -> None:
    if process.exitcode:
        problem = log.read_text(encoding="utf-8", errors="replace").strip()
        raise RescindError(f"rescind withdraw request failed: {problem}")


def _is_mined(consortium: Consortium, process: BaseProcess, log: Path) -> bool:
    _check_request(process, log)
    return bool(consortium.withdrawals())


def _is_closed(consortium: Consortium) -> bool:
    return consortium.withdrawals()[-1].state is WithdrawalState.CLOSED
