"""Renders chat templates in another process, within bounds of time and memory.

A template is a program that comes with a base model. Its sandbox keeps it from files and from the
network, and not from loops in loops, texts that double, wide formats or deep recursion. So it runs in
a process of its own (`template_process`), which the system ends when it uses too much.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from rescind.core.errors import TrainingError
from rescind.training.text.template_process import MEMORY

_PROGRAM = Path(__file__).with_name("template_process.py")


class TemplateFailed(Exception):
    """A template cannot be rendered, for the reason in the message."""


@dataclass(frozen=True)
class Bounds:
    """Bounds of rendering a template once. Templates in use need a few milliseconds.

    Attributes:
        seconds: CPU time.
        wall_seconds: Time until the reply. A machine that is busy with other work may need long for
            the CPU time, so an end of this time says nothing about the template.
        memory: Bytes, beside the program itself. Only Linux counts them.
        text: Characters of the text.
    """

    seconds: int = 5
    wall_seconds: float = 600.0
    memory: int = 512 * 2**20
    text: int = 2**20


_IDLE_SECONDS = 60
"""Time after which an unused process ends; the next request starts another one."""

_END_SECONDS = 10.0
"""Time in which a process ends by itself."""


class TemplateRenderer:
    """Renders chat templates as transformers does, in a process that starts with the first request.

    A template that exceeded the bounds is not tried again.

    Args:
        bounds: What one request may use.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ending: weakref.finalize[..., TemplateRenderer] | None = None
        self._owner = 0
        self._refused: dict[bytes, str] = {}

    def render(self, template: str, arguments: Mapping[str, Any]) -> str:
        """Return the text of a template.

        Args:
            template: The template.
            arguments: Further arguments of transformers' `render_jinja_template`, as JSON has them.

        Raises:
            TemplateFailed: The template raises an error, or uses more than the bounds.
            TrainingError: No process can be started, or the machine is too busy.
        """
        key = sha256(template.encode(errors="surrogatepass")).digest()
        request = json.dumps({"chat_template": template, **arguments}).encode() + b"\n"
        with self._lock:
            if key in self._refused:
                raise TemplateFailed(self._refused[key])
            reply = self._ask(request) or self._ask(request)
            if reply is None:
                raise TrainingError(
                    f"The process that renders chat templates, {sys.executable} {_PROGRAM}, ended "
                    "without a reply. Run it by hand to see why."
                )
            if "exceeds" in reply:
                self._refused[key] = reply["exceeds"]
                raise TemplateFailed(reply["exceeds"])
        if "error" in reply:
            raise TemplateFailed(reply["error"])
        return reply["text"]

    def _ask(self, request: bytes) -> dict[str, str] | None:
        """Return the reply to a request; None if the process had ended before it read the request."""
        process, bounds = self._running(), self._bounds
        late = threading.Event()
        line = _exchanged(process, request, bounds.wall_seconds, late)
        if line.endswith(b"\n"):
            reply: dict[str, str] = json.loads(line)
            return reply
        _end(process)
        if late.is_set():
            raise TrainingError(
                f"The base model's chat template was not rendered within {bounds.wall_seconds:g} s, "
                f"and did not get the {bounds.seconds} s of computing that it may take. Try again "
                "when this machine is less busy."
            )
        if process.returncode < 0:
            # The system ended it. A recursion in C can also overflow its stack.
            return {
                "exceeds": f"it takes more than {bounds.seconds} s of computing to write a text"
            }
        if process.returncode == MEMORY:
            most = bounds.memory // 2**20
            return {"exceeds": f"it takes more than {most} MiB of memory to write a text"}
        return None

    def _running(self) -> subprocess.Popen[bytes]:
        """Return the process. A process that was forked from this one starts its own."""
        process = self._process
        if process is None or self._owner != os.getpid() or process.poll() is not None:
            if self._ending is not None:
                self._ending()
            bounds = self._bounds
            limits = (bounds.seconds, bounds.memory, bounds.text, _IDLE_SECONDS)
            # -P keeps the program's own folder out of the places where modules are looked for.
            command = [sys.executable, "-P", str(_PROGRAM), *map(str, limits)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._ending = weakref.finalize(self, _end, process)
            self._process, self._owner = process, os.getpid()
            # The imports take long on a busy machine, and are no work of a template.
            assert process.stdout is not None
            process.stdout.readline()
        return process


def special_tokens(tokenizer: Any) -> dict[str, Any]:
    """Return a tokenizer's special tokens, as its `apply_chat_template` hands them to a template."""
    tokens: Mapping[str, Any] = tokenizer.special_tokens_map
    return {
        name: [str(each) for each in value] if isinstance(value, list | tuple) else str(value)
        for name, value in tokens.items()
    }


@cache
def shared_renderer() -> TemplateRenderer:
    """Return the renderer of this process: one child is enough for all base models."""
    return TemplateRenderer()


def _exchanged(
    process: subprocess.Popen[bytes], request: bytes, seconds: float, late: threading.Event
) -> bytes:
    """Send a request, and return the line of the reply, or nothing if the process ends first.

    After so many seconds the process is ended, and `late` is set.
    """
    assert process.stdin is not None
    assert process.stdout is not None

    def give_up() -> None:
        late.set()
        process.kill()

    watch = threading.Timer(seconds, give_up)
    watch.daemon = True
    watch.start()
    try:
        process.stdin.write(request)
        process.stdin.flush()
        return process.stdout.readline()
    except BrokenPipeError:
        return b""
    finally:
        watch.cancel()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process: it ends by itself when there is nothing more to read."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
