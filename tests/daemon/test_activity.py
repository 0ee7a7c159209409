"""The file that says what a daemon is doing for a long time."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rescind.daemon import Activities, activity_of, activity_status


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_training_says_step_rate_and_time_left_while_it_runs(tmp_path: Path) -> None:
    clock = Clock()
    with Activities(tmp_path, clock).during("training", total=40, round_id=3) as tell:
        first = activity_of(tmp_path)
        assert first is not None
        assert (first.doing, first.round_id, first.done, first.total) == ("training", 3, 0, 40)
        for step in (1, 2, 3):
            clock.now += 2
            tell(step, 40, loss=0.5)
        state = activity_of(tmp_path)
        assert state is not None
        assert (state.done, state.rate, state.seconds_left, state.loss) == (3, 0.5, 74.0, 0.5)
    assert activity_of(tmp_path) is None


def test_the_rate_of_a_resumed_training_does_not_count_the_steps_before(tmp_path: Path) -> None:
    clock = Clock()
    with Activities(tmp_path, clock).during("training", total=100) as tell:
        tell(51, 100)
        clock.now += 10
        tell(52, 100)
        state = activity_of(tmp_path)
        assert state is not None
        assert (state.rate, state.seconds_left) == (0.1, pytest.approx(480))


def test_the_file_is_written_at_most_twice_a_second_and_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    with Activities(tmp_path, clock).during("training", total=100) as tell:
        for step in range(1, 100):
            clock.now += 0.01
            tell(step, 100)
        state = activity_of(tmp_path)
        assert state is not None
        assert state.done in (50, 51)
        tell(100, 100)
        state = activity_of(tmp_path)
        assert state is not None
        assert state.done == 100


def test_an_error_in_the_work_leaves_no_file_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="odd"), Activities(tmp_path).during("scoring"):
        raise ValueError("odd")
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    with Activities(tmp_path).during("training"):
        assert (tmp_path / "activity.json").stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_does_not_stop_the_work(tmp_path: Path) -> None:
    with Activities(tmp_path / "missing").during("training", total=2) as tell:
        tell(2, 2)
    assert activity_of(tmp_path / "missing") is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"doing": "x", "other": 1}', "\xff"])
def test_a_file_that_is_not_an_activity_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "activity.json").write_text(content, encoding="latin-1")
    assert activity_status(tmp_path) is None


def test_the_log_gets_a_line_every_half_minute(tmp_path: Path) -> None:
    clock = Clock()
    with capture_logs() as logs, Activities(tmp_path, clock).during("training", total=90) as tell:
        for step in range(1, 91):
            clock.now += 1
            tell(step, 90, loss=0.25)
    assert [entry["step"] for entry in logs] == [30, 60, 90]
    assert logs[0] == {
        "event": "training",
        "log_level": "info",
        "step": 30,
        "steps": 90,
        "steps_per_second": 1.0,
        "seconds_left": 60,
        "loss": 0.25,
    }


def test_a_status_says_how_old_the_activity_of_a_killed_daemon_is(tmp_path: Path) -> None:
    clock = Clock()
    with Activities(tmp_path, clock).during("training", total=4):
        status = activity_status(tmp_path, now=1090.0)
    assert status == {"step": 0, "steps": 4, "doing": "training", "seconds_ago": 90.0}
