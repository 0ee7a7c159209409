"""Request a withdrawal, and follow it to a node that has opened the result."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Following:
    """A run whose daemons are at work, and what looks at it.

    Attributes:
        run: The run's folder.
        consortium: The public record.
        daemons: The daemons.
        say: Receives one line for each step.
    """

    run: RunFolder
    consortium: Consortium
    daemons: Daemons
    say: Say


def remove(following: Following, leaver: str, others: Sequence[str]) -> Removal:
    """Remove an organization as its operator does, and say each step as it is seen on chain.

    Args:
        following: The run.
        leaver: Name of the organization that withdraws.
        others: Names of the organizations that stay.

    Raises:
        RescindError: The request fails, a daemon ends, or a step takes too long.
    """
    consortium, say = following.consortium, following.say
    before, in_use = consortium.latest_model_id(), consortium.models_in_use()
    say(f"{leaver} asks for its contribution to be removed")
    mined = _request(following, leaver)
    stale = ", ".join(str(each) for each in in_use if consortium.is_stale(each))
    say(f"request mined: {leaver} is out, and with it model {stale} in use is stale")
    model_id = _folded(following, before)
    count = len(consortium.content(model_id))
    noun = "contribution" if count == 1 else "contributions"
    say(f"folded: model {model_id} succeeds model {before} with {count} {noun} of the rest")
    return _opened(following, model_id, mined, others, "all who stay have")


def forget(following: Following, organization: str, subject: str, others: Sequence[str]) -> Removal:
    """Withdraw one data subject of an organization, and say each step as it is seen on chain.

    Args:
        following: The run.
        organization: Name of the organization that has the rows.
        subject: The data subject, who is not named in what is said.
        others: Names of the other organizations.

    Raises:
        RescindError: The request fails, a daemon ends, or a step takes too long.
    """
    before = following.consortium.latest_model_id()
    following.say(f"one person whose rows are in {organization}'s statistics asks to be forgotten")
    words = ("--method", "replacement", "--subject", subject)
    mined = _request(following, organization, *words)
    following.say(f"request mined: {organization} sums its rows again, without the person")
    model_id = _folded(following, before)
    following.say(f"folded: model {model_id} succeeds model {before}; nothing was trained")
    return _opened(following, model_id, mined, others, "the others have")


def _request(following: Following, name: str, *words: str) -> float:
    """Request a withdrawal in a process of its own; return when it was seen to be mined."""
    count = len(following.consortium.withdrawals())
    with _requesting(following, name, words) as (process, log):

        def mined() -> bool:
            _check_request(process, log)
            return len(following.consortium.withdrawals()) > count

        following.daemons.wait_for(mined, _LOOK_SECONDS)
        return time.monotonic()


def _folded(following: Following, before: int) -> int:
    """Wait for the model that succeeds one, and return its number."""
    consortium = following.consortium
    following.daemons.wait_for(lambda: consortium.latest_model_id() > before, _LOOK_SECONDS)
    return consortium.latest_model_id()


def _opened(
    following: Following, model_id: int, mined: float, others: Sequence[str], closed_by: str
) -> Removal:
    """Wait until a node has opened a model, and then until the withdrawal is closed."""
    run, consortium, daemons = following.run, following.consortium, following.daemons
    journals = {name: open_journal(run.node_state(name)) for name in others}

    def opened() -> list[str]:
        return [name for name in others if model_id in AdoptedModel.ids(journals[name])]

    daemons.wait_for(lambda: bool(opened()), _LOOK_SECONDS)
    first, seconds = opened()[0], time.monotonic() - mined
    following.say(
        f"{first} has opened model {model_id}, {seconds:.2f} s after the request was mined"
    )
    daemons.wait_for(lambda: _is_closed(consortium) and len(opened()) == len(others))
    following.say(f"closed: {closed_by} opened model {model_id}")
    return Removal(opened_adapter(run, first, model_id), seconds)


def opened_adapter(run: RunFolder, name: str, model_id: int) -> Bytes:
    """Return the bytes of a model's adapter in the store of a node that opened them."""
    fact = AdoptedModel.load(open_journal(run.node_state(name)), model_id)
    if fact is None or not fact.adapter_id:
        return b""
    return ArtifactStore(run.node_state(name) / "store").view(fact.adapter_id)


@contextmanager
def _requesting(
    following: Following, name: str, words: Sequence[str]
) -> Iterator[tuple[BaseProcess, Path]]:
    """Run `rescind withdraw request`, and wait for its end."""
    folder = following.run.organization(name)
    log = folder / "withdraw.log"
    config = str(folder / "node.toml")
    arguments = ["withdraw", "request", "-c", config, *words]
    process = start(following.daemons.threads, arguments, log)
    yield process, log
    process.join()
    _check_request(process, log)


def _check_request(process: BaseProcess, log: Path) -> None:
    if process.exitcode:
        problem = log.read_text(encoding="utf-8", errors="replace").strip()
        raise RescindError(f"rescind withdraw request failed: {problem}")


def _is_closed(consortium: Consortium) -> bool:
    return consortium.withdrawals()[-1].state is WithdrawalState.CLOSED
