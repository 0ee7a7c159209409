"""The demo's look at its daemons: what they do, why they cannot go on, and how they ended."""

import json
import os
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from rescind.daemon import Activities
from rescind.devnet import watching
from rescind.devnet.processes import DaemonDied, Daemons
from rescind.devnet.watching import Doing, TrainingFailed, Watch, Watched


def logged(path: Path, **entry: object) -> None:
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")


def test_a_look_shows_what_each_daemon_does(tmp_path: Path) -> None:
    shown: list[list[str]] = []

    def show(doing: object) -> None:
        assert isinstance(doing, list)
        shown.append([each.name for each in doing if isinstance(each, Doing)])

    watch = Watch(show)
    for name in ("aurora", "borealis"):
        (tmp_path / name).mkdir()
        watch.add(name, tmp_path / name, tmp_path / f"{name}.log")
    with Activities(tmp_path / "borealis").during("training", total=3):
        watch.look()
    watch.clear()
    assert shown == [["borealis"], []]


def test_a_training_that_fails_ends_the_run_with_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    watched = Watched("aurora", tmp_path, log)
    watched.read_log(0)
    logged(log, event="step begins", step="train")
    watched.read_log(0)
    logged(log, event="training failed", round=1, reason="Not enough memory for training.")
    with pytest.raises(TrainingFailed, match=r"aurora could not train round 1: Not enough memory"):
        watched.read_log(0)


def test_a_step_that_keeps_failing_is_said_once_and_one_that_recovers_is_not(
    tmp_path: Path,
) -> None:
    log = tmp_path / "node.log"
    watched = Watched("aurora", tmp_path, log)
    failed = {"event": "step failed, will try again", "reason": "the disk is full"}
    logged(log, **failed)
    watched.read_log(0.0)
    assert watched.stuck(10.0) == ""
    assert watched.stuck(31.0) == "the disk is full"
    assert watched.stuck(60.0) == ""
    logged(log, event="step done")
    logged(log, **{**failed, "reason": "no answer"})
    logged(log, event="step begins")
    watched.read_log(61.0)
    assert watched.stuck(200.0) == ""


def test_half_a_line_and_a_line_that_is_not_json_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_bytes(b'error[chain]: no\n[1]\n{"event": "training failed", "round"')
    watched = Watched("aurora", tmp_path, log)
    watched.read_log(0)
    with log.open("ab") as file:
        file.write(b': 2, "reason": "r"}\n')
    with pytest.raises(TrainingFailed, match="round 2"):
        watched.read_log(0)


def ended(daemons: Daemons, log: Path, number: int) -> None:
    """Let a process stand for the daemon `cirrus`, and end it with a signal."""
    log.write_text("one\ntwo\n")
    process = get_context("spawn").Process(target=time.sleep, args=(60,))
    process.start()
    daemons.started["cirrus"] = (process, log)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join()


def test_a_daemon_killed_for_want_of_memory_is_explained(tmp_path: Path) -> None:
    daemons = Daemons(needs="The run was estimated at about 9 GiB. ")
    ended(daemons, tmp_path / "node.log", signal.SIGKILL)
    with pytest.raises(DaemonDied) as caught:
        daemons.check()
    text = str(caught.value)
    assert "cirrus was killed by the system (signal 9)" in text
    assert "because memory ran out. The run was estimated at about 9 GiB." in text
    assert "--dtype bfloat16" in text
    assert text.endswith("two")


def test_a_daemon_that_ended_otherwise_is_not(tmp_path: Path) -> None:
    daemons = Daemons()
    ended(daemons, tmp_path / "node.log", signal.SIGTERM)
    with pytest.raises(DaemonDied, match=r"^cirrus ended with status -15\. The end of"):
        daemons.check()


def test_a_wait_lasts_as_long_as_daemons_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rescind.devnet.processes._WAIT_SECONDS", 0.05)
    monkeypatch.setattr(watching, "_LOOK_SECONDS", 0.0)
    daemons, looks = Daemons(), 0
    daemons.watch.add("aurora", tmp_path, tmp_path / "node.log")
    activities = Activities(tmp_path, lambda: float(looks))

    def done() -> bool:
        nonlocal looks
        looks += 1
        tell(looks, 100)
        return looks == 20

    with activities.during("training", total=100) as tell:
        daemons.wait_for(done, look_seconds=0.01)
    assert looks == 20
