"""The conditions of a figure beside its setting: machine and versions."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "peft", "numpy")


def conditions(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {accelerator()}",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in packages},
    }


def clock() -> float:
    """Seconds; of CPU where there is no accelerator, so that other work on the machine does not count."""
    return time.monotonic() if torch.cuda.is_available() else time.process_time()


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def accelerator() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
