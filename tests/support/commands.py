"""The command line, in a process of its own."""

import subprocess
import sys
from pathlib import Path


def rescind(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `rescind` and return what it printed and its exit status, whatever that is."""
    command = [sys.executable, "-W", "ignore", "-m", "rescind", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
