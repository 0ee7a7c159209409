"""The program that renders chat templates, in a process whose time and memory are bounded.

It is run by its path and imports nothing of Rescind, so that it starts quickly and holds little. Each
line of its input is a request in JSON: the arguments of transformers' `render_jinja_template`. Its
first line of output is `ready`, each further one is the text, or the error. What a template may use is counted by the system: a
sandbox sees neither loops in loops, nor texts that double, nor wide formats.
"""

from __future__ import annotations

import contextlib
import json
import math
import resource
import select
import sys
import time
from pathlib import Path
from typing import Any

MEMORY = 4
"""Exit status after a request that needed too much memory. Beyond its time a process is killed."""


def main(seconds: int, memory: int, text: int, idle: int) -> int:
    """Answer requests until there are none.

    Args:
        seconds: CPU time for a request.
        memory: Bytes that requests may use beside the program itself.
        text: Characters of the longest text that is returned.
        idle: Seconds without a request after which the process ends.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    with contextlib.suppress(OSError):  # only Linux has it
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + memory)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while select.select([sys.stdin], [], [], idle)[0]:
        line = sys.stdin.readline()
        if not line:
            return 0
        _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + seconds)
        try:
            reply = _reply(render_jinja_template, json.loads(line), text)
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()
        except MemoryError:
            return MEMORY
    return 0


def _reply(render: Any, request: dict[str, Any], most: int) -> dict[str, str]:
    try:
        (text,), _ = render(**request)
    except MemoryError:
        raise
    except Exception as error:  # templates are programs: they raise whatever they like
        return {"error": f"it raises {str(error)[:300] or type(error).__name__!r}"}
    if len(text) > most:
        return {"error": f"it writes {len(text):,} characters, and {most:,} are accepted"}
    return {"text": text}


def _limit(kind: int, most: int) -> None:
    """Set the soft limit: the hard one stays, so that the next request can raise it."""
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    sys.exit(main(*(int(word) for word in sys.argv[1:])))
