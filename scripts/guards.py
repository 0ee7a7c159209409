#!/usr/bin/env python3
"""Remove each guard of the contracts in turn, and see whether a test notices.

Run it with: python scripts/guards.py [--only TEXT] [--list]

A guard is a condition with a revert, a revert of its own, or a modifier of a function. In a copy
under runs/guards every guard gets a switch, which reads the number of the removed guard from the
environment. So the copy is compiled once, and each guard takes one run of the quick tests. The exit
code is 1 if some guard was removed and no test failed, and 2 if the tests fail with all guards.
"""

from __future__ import annotations

import argparse
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
SLOW = ("Gas.t.sol", "Large.t.sol", "Invariants.t.sol")
"""Tests that deploy the published artifacts, which do not change here, or that take minutes."""
_NESTED = r"(?:[^(){};]|\((?:[^()]|\([^()]*\))*\))*"
CONDITION = re.compile(rf"if \((?P<condition>{_NESTED})\)(?:\s*\{{)?\s*revert [^;]+;")
ALONE = re.compile(r"(?m)^ +(?P<revert>revert [^;]+;)")
HEADER = re.compile(r"function [^{;]*\{")
MODIFIER = re.compile(r"(?<=[\s)])(?P<name>only\w*)(?:\((?P<arguments>\w+)\))?(?=\s)")
DEFINITION = re.compile(
    r"modifier (?P<name>only\w*)(?:\((?P<parameters>[^)]*)\))? \{(?P<body>.*?)\n        _;\n",
    re.DOTALL,
)
SWITCH = """// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev Whether a guard is in place: all but the one whose number RESCIND_GUARD is.
library Switch {
    address private constant CHEATS = address(uint160(uint256(keccak256("hevm cheat code"))));

    function kept(uint256 guard) internal pure returns (bool) {
        // Guards stand in pure functions, too.
        function(uint256) view returns (bool) reads = _kept;
        function(uint256) pure returns (bool) pretends;
        assembly ("memory-safe") {
            pretends := reads
        }
        return pretends(guard);
    }

    function _kept(uint256 guard) private view returns (bool) {
        bytes memory question = abi.encodeWithSignature("envUint(string)", "RESCIND_GUARD");
        (, bytes memory answer) = CHEATS.staticcall(question);
        return abi.decode(answer, (uint256)) != guard;
    }
}
"""


@dataclass(frozen=True)
class Guard:
    """A span of a file, and the same with a switch, in which {} is the guard's number."""

    file: Path
    start: int
    end: int
    text: str
    switched: str

    @property
    def name(self) -> str:
        """The file, the line, and the guard in one line."""
        line = self.file.read_text(encoding="utf-8")[: self.start].count("\n") + 1
        return f"{self.file.relative_to(SOURCES)}:{line}: {' '.join(self.text.split())}"


def guards() -> list[Guard]:
    """Return all guards, file by file."""
    files = sorted(path for path in SOURCES.rglob("*.sol") if "interfaces" not in path.parts)
    return [guard for file in files for guard in _guards_of(file)]


def _guards_of(file: Path) -> list[Guard]:
    text = file.read_text(encoding="utf-8")
    found = list(_modified(file, text))
    for match in CONDITION.finditer(text):
        start, end = match.span()
        condition = match["condition"]
        # The condition comes first: what it does besides is not guarded.
        switched = match[0].replace(condition, f"({condition}) && Switch.kept({{}})", 1)
        found.append(Guard(file, start, end, match[0], switched))
    inside = [(guard.start, guard.end) for guard in found]
    for match in ALONE.finditer(text):
        start, end = match.span("revert")
        if not any(first <= start < last for first, last in inside):
            found.append(
                Guard(
                    file, start, end, match["revert"], f"if (Switch.kept({{}})) {match['revert']}"
                )
            )
    return sorted(found, key=lambda guard: guard.start)


def _modified(file: Path, text: str) -> Iterator[Guard]:
    """Yield the uses of modifiers in a file."""
    for header in HEADER.finditer(text):
        for match in MODIFIER.finditer(header[0]):
            start = header.start() + match.start()
            arguments = f"{match['arguments']}, {{}}" if match["arguments"] else "{}"
            switched = f"{match['name']}({arguments})"
            yield Guard(file, start, start + len(match[0]), match[0], switched)


def _switched(text: str, numbered: list[tuple[int, Guard]]) -> str:
    """Return a file's text with a switch in each of its guards."""
    for number, guard in sorted(numbered, key=lambda each: -each[1].start):
        text = text[: guard.start] + guard.switched.replace("{}", str(number)) + text[guard.end :]
    return DEFINITION.sub(_switched_modifier, text)


def _switched_modifier(match: re.Match[str]) -> str:
    parameters = (
        f"{match['parameters']}, uint256 guard_" if match["parameters"] else "uint256 guard_"
    )
    body = f"if (Switch.kept(guard_)) {{{match['body']}\n        }}"
    return f"modifier {match['name']}({parameters}) {{\n        {body}\n        _;\n"


def prepare(all_guards: list[Guard]) -> None:
    """Copy what forge needs, and put a switch into each guard."""
    WORK.mkdir(parents=True, exist_ok=True)
    for name in ("src", "test"):
        target = WORK / "contracts" / name
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(ROOT / "contracts" / name, target, ignore=shutil.ignore_patterns(*SLOW))
    for name in ("contracts/solc", "foundry.toml"):
        shutil.copy2(ROOT / name, WORK / name)
    for name in ("node_modules", "contracts/artifacts"):
        link = WORK / name
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    copies = WORK / "contracts" / "src"
    (copies / "Switch.sol").write_text(SWITCH, encoding="utf-8")
    for file in {guard.file for guard in all_guards}:
        numbered = [
            (number, guard) for number, guard in enumerate(all_guards, 1) if guard.file == file
        ]
        text = _switched(file.read_text(encoding="utf-8"), numbered)
        path = "./" if file.parent == SOURCES else "../"
        text = text.replace("\n\n", f'\n\nimport {{Switch}} from "{path}Switch.sol";\n', 1)
        (copies / file.relative_to(SOURCES)).write_text(text, encoding="utf-8")


def passes_without(number: int) -> bool:
    """Run the quick tests up to the first that fails, without one guard; 0 removes none."""
    program = next((ROOT / "node_modules" / "@foundry-rs").glob("forge-*/bin/forge"))
    done = subprocess.run(
        # With a filter forge compiles everything once more to apply it.
        [str(program), "test", "--fail-fast"],
        cwd=WORK,
        env={
            **os.environ,
            "FOUNDRY_PROFILE": "quick",
            "FOUNDRY_OPTIMIZER": "false",
            "RESCIND_GUARD": str(number),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if "Suite result" not in done.stdout:
        raise SystemExit(f"forge ran no test:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def main(arguments: list[str]) -> int:
    """Remove the chosen guards in turn, and list what no test noticed."""
    parser = argparse.ArgumentParser(description="Remove each guard of the contracts in turn.")
    parser.add_argument("--only", default="", help="only guards whose name holds this text")
    parser.add_argument("--list", action="store_true", help="list the guards and end")
    options = parser.parse_args(arguments)
    everything = guards()
    chosen = {
        number: guard for number, guard in enumerate(everything, 1) if options.only in guard.name
    }
    if options.list:
        sys.stdout.writelines(f"{guard.name}\n" for guard in chosen.values())
        return 0
    prepare(everything)
    if not passes_without(0):
        sys.stderr.write("The quick tests fail already with all guards in place.\n")
        return 2
    unnoticed = []
    for number, guard in chosen.items():
        noticed = not passes_without(number)
        sys.stdout.write(f"{'noticed' if noticed else 'UNNOTICED':10} {guard.name}\n")
        sys.stdout.flush()
        if not noticed:
            unnoticed.append(guard)
    sys.stdout.write(f"{len(chosen)} guards removed in turn, {len(unnoticed)} unnoticed\n")
    sys.stdout.writelines(f"unnoticed: {guard.name}\n" for guard in unnoticed)
    return 1 if unnoticed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
