"""A ledger when any write, fsync, truncation, rename or unlink fails or ends the process."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rescind.ledger import Ledger, LocalKey

# The first two are tried at every call. The others take the same paths: every third call suffices.
MODES = {
    "an input/output error": (errno.EIO, 1),
    "kill -9": (0, 1),
    "a full disk": (errno.ENOSPC, 3),
    "a torn write": (-1, 3),
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip(
            "no C compiler: faults cannot be injected, and what they do to a ledger is NOT tested"
        )
    path = tmp_path_factory.mktemp("shim") / "faults.so"
    source = Path(__file__).parent / "faults.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.mark.parametrize("what", MODES)
def test_a_ledger_survives_a_fault_at_every_call(
    tmp_path: Path, key: LocalKey, shim: Path, what: str
) -> None:
    mode, stride = MODES[what]
    template = tmp_path / "template"
    with Ledger.create(template, key) as ledger:
        for number in range(5):
            ledger.append(
                "consent", {"event": "given", "n": number}, subject=("Ada", "Bela")[number % 2]
            )
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.ledger.faulty",
            template,
            tmp_path / "ledger.key",
            str(mode),
            str(stride),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) * stride > 100, "faults were injected"
    assert runs[-1]["said"][:-1] == ["a", "many", "seal", "shred", "b", "close"]
    for run in runs:
        said = set(run["said"])
        assert run["problems"] == [], run
        assert run["new"], run
        rewards = run["types"].count("reward") - 1
        assert rewards >= ("a" in said) + 3 * ("many" in said), run
        assert rewards in (0, 1, 3, 4), run
        if "shred" in said:
            assert "tombstone" in run["types"], run
            assert run["of_ada"] in ([], ["consent"]), run
        if "b" in said:
            assert run["types"].count("consent") == 6, run
