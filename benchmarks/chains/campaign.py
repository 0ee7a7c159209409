"""A consortium of real daemons under every misbehaving provider:
python -m benchmarks.chains.campaign [--only NAME ...] [--again] [--jobs N]

Each case is a result in results/campaign, and is not run again while it is there. The table compares
every case with the plain one, and is written into docs/chains.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.chains.cases import Case, cases
from tests.support.provider_story.outcome import Outcome

DOCS = Path("docs/chains.md")
BEGIN, END = "<!-- campaign: begin (make campaign) -->", "<!-- campaign: end -->"
RESULTS = Path(__file__).parent / "results" / "campaign"


def result_of(case: Case) -> Path:
    return RESULTS / f"{case.name.replace(' ', '-').lower()}.json"


def load(case: Case) -> Outcome | None:
    path = result_of(case)
    return Outcome(**json.loads(path.read_text())) if path.is_file() else None


def run(missing: Sequence[Case], folder: Path, jobs: int) -> None:
    """Play the cases, several at once, and write each result as soon as it is there."""
    pending = iter(missing)
    lock = threading.Lock()

    def work() -> None:
        command = [sys.executable, "-W", "ignore", "-m", "tests.support.provider_story"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as player:
            assert player.stdin is not None
            assert player.stdout is not None
            while True:
                with lock:
                    case = next(pending, None)
                if case is None:
                    break
                story = case.arguments(folder / result_of(case).stem)
                player.stdin.write(json.dumps(story) + "\n")
                player.stdin.flush()
                _keep(case, Outcome(**json.loads(player.stdout.readline())))
            player.stdin.close()

    workers = [threading.Thread(target=work) for _ in range(min(jobs, len(missing)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _keep(case: Case, outcome: Outcome) -> None:
    RESULTS.mkdir(parents=True, exist_ok=True)
    result_of(case).write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    sys.stdout.write(f"{case.name}: {outcome.problem or f'{outcome.seconds:.0f} s'}\n")
    sys.stdout.flush()


def table(chosen: Sequence[Case]) -> str:
    """Return the table of docs/chains.md."""
    plain = load(next(cases()))
    assert plain is not None, "the plain case has no result yet"
    lines = [
        "| provider | faults of calls | finished | seconds | payments lost | doubled | daemons that ended | late withdrawals |",
        "|---|--:|---|--:|--:|--:|--:|--:|",
    ]
    for case in chosen:
        outcome = load(case)
        if outcome is not None:
            lines.append(_line(case, outcome, plain))
    return "\n".join(lines)


def _line(case: Case, outcome: Outcome, plain: Outcome) -> str:
    calls = outcome.faults.get("calls", 0)
    faults = sum(outcome.faults.values()) - calls
    ended = sum(code != 0 for code in outcome.daemons.values())
    cells = [
        case.name,
        f"{faults:,} of {calls:,}" if calls else "",
        "yes" if not outcome.problem and not any(outcome.commands.values()) else "no",
        f"{outcome.seconds:.0f}",
        str(len(outcome.lost(plain)) + len(outcome.paid_otherwise(plain))),
        str(len(outcome.doubled(plain))),
        str(ended),
        str(outcome.late),
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chains.campaign")
    parser.add_argument(
        "--only",
        action="append",
        choices=[case.name for case in cases()],
        metavar="NAME",
        help="a case; may be repeated, in the order in which they are played",
    )
    parser.add_argument("--again", action="store_true", help="run what has a result, too")
    parser.add_argument("--jobs", type=int, default=2, help="cases at once")
    parser.add_argument("--folder", type=Path, help="keep the runs here")
    options = parser.parse_args(arguments)
    every = list(cases())
    by_name = {case.name: case for case in every}
    chosen = [by_name[name] for name in options.only or by_name]
    missing = [case for case in chosen if options.again or load(case) is None]
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rescind-campaign-"))
    folder.mkdir(parents=True, exist_ok=True)
    run(missing, folder, options.jobs)
    plain = load(every[0])
    assert plain is not None, "run the plain case first"
    failed = False
    for case in chosen:
        outcome = load(case)
        for failure in outcome.failures(plain) if outcome else ["has no result"]:
            failed = True
            sys.stdout.write(f"{case.name}: {failure}\n")
    publish(table(every))
    return int(failed)


def publish(lines: str) -> None:
    """Print the table, and write it into the documentation."""
    sys.stdout.write(lines + "\n")
    before, rest = DOCS.read_text().split(BEGIN)
    _, after = rest.split(END)
    DOCS.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
