#!/usr/bin/env python3
"""Remove each guard of the contracts in turn, and see whether a test notices.

Run it with: python scripts/guards.py [--limit N] [--only TEXT] [--list]

A guard is a condition with a revert, a revert of its own, or a modifier of a function. Results are
kept in runs/guards.json, so a run that is stopped goes on where it was; a guard whose file changed
is tried again. The contracts are compiled in a copy under runs/guards, without optimizer, which is
fast. The exit code is 1 if some guard was removed and no test failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "contracts" / "src"
WORK = ROOT / "runs" / "guards"
RESULTS = ROOT / "runs" / "guards.json"
SLOW = "GasTest|LargeTest|Invariants"
"""Tests that deploy the published artifacts, which do not change here, or that take minutes."""

CONDITION = re.compile(r"if \((?:[^(){};]|\((?:[^()]|\([^()]*\))*\))*\) revert [^;]+;")
BRANCH = re.compile(r"if \((?:[^(){};]|\((?:[^()]|\([^()]*\))*\))*\) \{\s*revert [^;]+;\s*\}")
ALONE = re.compile(r"(?m)^ +revert [^;]+;")
MODIFIER = re.compile(r"(?<=[\s)])only\w*(?:\([\w]+\))?(?=\s)")
HEADER = re.compile(r"function [^{;]*\{")


@dataclass(frozen=True)
class Guard:
    """A span of a file without which the contracts compile and guard less."""

    file: Path
    start: int
    end: int
    text: str

    @property
    def name(self) -> str:
        """The file, the line, and the guard in one line."""
        line = self.file.read_text(encoding="utf-8")[: self.start].count("\n") + 1
        return f"{self.file.relative_to(SOURCES)}:{line}: {' '.join(self.text.split())}"

    @property
    def key(self) -> str:
        """Changes when the file does."""
        content = hashlib.sha256(self.file.read_bytes()).hexdigest()[:16]
        return f"{self.file.relative_to(SOURCES)}:{content}:{self.start}"


def guards() -> list[Guard]:
    """Return all guards, file by file."""
    files = sorted(path for path in SOURCES.rglob("*.sol") if "interfaces" not in path.parts)
    return [guard for file in files for guard in _guards_of(file)]


def _guards_of(file: Path) -> Iterator[Guard]:
    text = file.read_text(encoding="utf-8")
    spans: set[tuple[int, int]] = set()
    for pattern in (CONDITION, BRANCH):
        spans |= {found.span() for found in pattern.finditer(text)}
    for found in ALONE.finditer(text):
        if not any(start <= found.start() < end for start, end in spans):
            spans.add(found.span())
    for header in HEADER.finditer(text):
        for found in MODIFIER.finditer(header.group()):
            spans.add((header.start() + found.start(), header.start() + found.end()))
    for start, end in sorted(spans):
        yield Guard(file, start, end, text[start:end])


def prepare() -> None:
    """Copy what forge needs, but keep what it compiled before."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in ("src", "test"):
        target = WORK / "contracts" / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ROOT / "contracts" / name, target)
    for name in ("contracts/solc", "foundry.toml"):
        shutil.copy2(ROOT / name, WORK / name)
    for name in ("node_modules", "contracts/artifacts"):
        link = WORK / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)


def forge() -> subprocess.CompletedProcess[str]:
    """Run the quick tests up to the first that fails."""
    command = ["forge", "test", "--fail-fast", "--no-match-contract", SLOW]
    program = next((ROOT / "node_modules" / "@foundry-rs").glob("forge-*/bin/forge"))
    environment = {**os.environ, "FOUNDRY_PROFILE": "quick", "FOUNDRY_OPTIMIZER": "false"}
    return subprocess.run(
        [str(program), *command[1:]],
        cwd=WORK,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def verdict(run: subprocess.CompletedProcess[str]) -> str:
    """Say what came of a run without a guard."""
    if "Suite result" not in run.stdout:
        return "does not compile"
    return "unnoticed" if run.returncode == 0 else "noticed"


def attempt(guard: Guard) -> str:
    """Remove a guard in the copy, run the tests, and put it back."""
    copy = WORK / "contracts" / "src" / guard.file.relative_to(SOURCES)
    text = guard.file.read_text(encoding="utf-8")
    # A branch before an else must leave a statement behind.
    gap = "if (false) {}" if guard.text.startswith("if") else ""
    copy.write_text(text[: guard.start] + gap + text[guard.end :], encoding="utf-8")
    try:
        return verdict(forge())
    finally:
        copy.write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Try what was not tried yet, and list what no test noticed."""
    parser = argparse.ArgumentParser(description="Remove each guard of the contracts in turn.")
    parser.add_argument("--limit", type=int, default=1_000_000, help="most guards to try now")
    parser.add_argument("--only", default="", help="only guards whose name holds this text")
    parser.add_argument("--list", action="store_true", help="list the guards and end")
    options = parser.parse_args(arguments)
    chosen = [guard for guard in guards() if options.only in guard.name]
    if options.list:
        sys.stdout.writelines(f"{guard.name}\n" for guard in chosen)
        return 0
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    waiting = [guard for guard in chosen if guard.key not in results][: options.limit]
    if waiting:
        prepare()
        if verdict(forge()) != "unnoticed":
            sys.stderr.write("The quick tests fail already with all guards in place.\n")
            return 2
    for guard in waiting:
        results[guard.key] = attempt(guard)
        sys.stdout.write(f"{results[guard.key]:17} {guard.name}\n")
        sys.stdout.flush()
        RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return _report(chosen, results)


def _report(chosen: list[Guard], results: dict[str, str]) -> int:
    tried = [guard for guard in chosen if guard.key in results]
    unnoticed = [guard for guard in tried if results[guard.key] == "unnoticed"]
    sys.stdout.write(f"{len(tried)} of {len(chosen)} guards tried, {len(unnoticed)} unnoticed\n")
    sys.stdout.writelines(f"unnoticed: {guard.name}\n" for guard in unnoticed)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
