"""Nested JSON ends no process."""

from __future__ import annotations

import subprocess
import sys

import pytest

PARSE = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
try:
    json.loads("[" * 100_000)
except RecursionError:
    print("refused")
"""


@pytest.mark.parametrize("module", ["rescind.contracts", "rescind.wire.signing"])
def test_nested_json_is_refused_by_every_process_that_reads_the_chain(module: str) -> None:
    command = [sys.executable, "-c", PARSE, module]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout == "refused\n", ran.stderr
