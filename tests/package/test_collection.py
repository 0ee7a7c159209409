"""Collecting: workers that disagree run no test, and importing torch takes each one seconds."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def collected(seed: str) -> list[str]:
    """Return the names of all tests as a process with this seed of hashes sees them."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in ended.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_two_processes_collect_the_same_tests() -> None:
    """Ten seconds lie between them, so a time in a name shows as well as an order of a set."""
    first = collected("1")
    assert len(first) > 1000
    assert collected("2") == first


@pytest.mark.slow
def test_the_fast_tests_are_collected_without_torch() -> None:
    """Mark what imports torch `trains`, or extend NEEDS in tests/conftest.py."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (fast,) = re.findall(r'-m "(not \(slow or [\w ]+\))"', makefile)
    program = (
        "import sys, pytest\n"
        f"status = pytest.main(['--collect-only', '-q', '-p', 'no:cacheprovider', '-m', {fast!r}])\n"
        "assert status == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
