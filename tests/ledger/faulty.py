"""Append and shred under faults.c, in one process for each fault, and report what was acknowledged.

Prints one JSON line for each fault: python -m tests.ledger.faulty TEMPLATE KEY MODE STRIDE
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

from rescind.core.errors import LedgerError
from rescind.ledger import Ledger, NewRecord, load_key, shred

SHIM = ctypes.CDLL(None)


def work(folder: Path, key, nth: int, mode: int, pipe: int) -> None:
    def say(what: str) -> None:
        os.write(pipe, f"{what}\n".encode())

    ledger = Ledger.open(folder, key)
    SHIM.fault_arm(str(folder).encode(), nth, mode)
    steps = {
        "a": lambda: ledger.append("reward", {"round": 1}, key="a"),
        "many": lambda: ledger.append_all([NewRecord("reward", {"round": n}) for n in range(3)]),
        "seal": ledger.write_seal,
        "shred": lambda: shred(ledger, "Ada"),
        "b": lambda: ledger.append("consent", {"event": "given"}, subject="Ada", key="b"),
        "close": ledger.close,
    }
    for name, step in steps.items():
        try:
            step()
            say(name)
        except (LedgerError, OSError) as error:
            say(f"failed {name}: {error}")
    say(f"left {SHIM.fault_left()}")


def main() -> None:
    template, key = Path(sys.argv[1]), load_key(Path(sys.argv[2]))
    mode, stride = int(sys.argv[3]), int(sys.argv[4])
    nth = 1
    while True:
        folder = template.with_name("struck")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            work(folder, key, nth, mode, writer)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as file:
            said = file.read().split("\n")[:-1]
        _, status = os.waitpid(child, 0)
        report = {"nth": nth, "said": said, "status": status, **after(folder, key)}
        print(json.dumps(report))
        if "left 0" not in said and os.WIFEXITED(status):
            return
        nth += stride


def after(folder: Path, key) -> dict[str, object]:
    """Return what a new process finds in the ledger."""
    with Ledger.open(folder, key) as ledger:
        report = ledger.verify()
        again = ledger.append("reward", {"round": 9})
        return {
            "problems": [problem.what for problem in report.problems],
            "size": report.size,
            "types": [record.type for record in ledger.records()],
            "of_ada": [record.type for record in ledger.records(subject="Ada")],
            "new": again.new,
        }


if __name__ == "__main__":
    main()
