"""Output of a demo while its daemons work."""

import io

import pytest
from rich.console import Console

from rescind.cli.demo_display import DemoDisplay, duration, line, table
from rescind.daemon import Activity
from rescind.devnet.watching import Doing

TRAINING = Doing("aurora", Activity("training", 2, 12, 48, rate=0.25, seconds_left=144.0, loss=0.5))
SCORING = Doing("aggregator", Activity("scoring", 1, 3, 9))
EVALUATING = Doing("borealis", Activity("evaluating"))


def test_a_line_has_step_rate_and_time_left_where_they_are_known() -> None:
    assert line(TRAINING) == "aurora training round 2 12/48 (0.25/s, 2 min 24 s left)"
    assert line(SCORING) == "aggregator scoring round 1 3/9"
    assert line(EVALUATING) == "borealis evaluating"


def test_a_table_has_a_row_for_each_daemon() -> None:
    console = Console(file=io.StringIO(), width=100, record=True)
    console.print(table([TRAINING, SCORING, EVALUATING]))
    rows = [row.split() for row in console.export_text().splitlines()]
    assert rows[1] == [
        "aurora",
        "training",
        "round",
        "2",
        "12/48",
        "0.25",
        "2",
        "min",
        "24",
        "s",
        "0.500",
    ]
    assert rows[2] == ["aggregator", "scoring", "round", "1", "3/9"]
    assert rows[3] == ["borealis", "evaluating"]


def test_without_a_terminal_a_line_is_printed_after_a_minute_of_silence() -> None:
    now = 0.0
    output = io.StringIO()
    with DemoDisplay(Console(file=output, width=80), lambda: now) as display:
        for second in range(0, 200, 10):
            now = float(second)
            if second == 90:
                display.say("round 1: committed")
            display.show([TRAINING] if second else [])
    said = output.getvalue().splitlines()
    assert [row.split()[0] for row in said] == ["60.0", "90.0", "150.0"]
    assert said[0].endswith(line(TRAINING))


def test_a_fast_demo_prints_its_steps_alone() -> None:
    output = io.StringIO()
    with DemoDisplay(Console(file=output, width=80), lambda: 1.5) as display:
        display.show([TRAINING])
        display.say("round 1: [final]")
    assert output.getvalue() == "   0.0 s  round 1: [final]\n"


def test_a_terminal_shows_the_table_and_keeps_the_steps() -> None:
    output = io.StringIO()
    console = Console(file=output, width=80, force_terminal=True, color_system=None)
    with DemoDisplay(console) as display:
        display.show([TRAINING, SCORING])
        display.say("round 1: final")
    text = output.getvalue()
    assert "12/48" in text
    assert "round 1: final" in text.replace("\x1b[2K", "")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (-1, "0 s")],
)
def test_times_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
