"""An artifact that is larger than the memory that a process may have."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 2**20


@pytest.mark.slow
def test_an_artifact_larger_than_the_memory_goes_through_every_step(tmp_path: Path) -> None:
    """Judged, summed, uploaded, downloaded, accepted, verified: with RLIMIT_DATA below its size."""
    command = [sys.executable, "-m", "benchmarks.scale.artifact", "--mebibytes", "384"]
    result = tmp_path / "result.json"
    done = subprocess.run(
        [*command, "--room", "320", "--json", str(result)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert not done.returncode, done.stderr[-2000:]
    steps = json.loads(result.read_text())["steps"]
    assert len(steps) == 7
    for step in steps:
        assert step["bytes"] < 200 * MIB, step
