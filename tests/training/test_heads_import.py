"""A head is solved and checked by programs without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["heads", "ridges", "skills"])
def test_a_head_needs_no_torch(module: str) -> None:
    code = f"import sys, rescind.training.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
