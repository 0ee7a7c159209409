"""Jobs for the one model of a server: a queue, and the thread that works through it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import structlog

from rescind.serving.errors import ApiError, too_busy
from rescind.serving.names import ServedModel

_T = TypeVar("_T")


@dataclass(frozen=True)
class Routed:
    """The first event of an answer: which model answers.

    Attributes:
        model: The model; None where a server has adapters without a consortium.
        owner: Lowercase address of the block that answers, "shared", "base", or "head".
        name: The name of the model, as the answer states it.
        block: The block of the chain at which the model was in use; 0 where no chain is asked.
        task: The task whose head answers; empty if no head does.
        head: The SHA-256 of that head.
    """

    model: ServedModel | None
    owner: str
    name: str
    block: int = 0
    task: str = ""
    head: str = ""


@dataclass(frozen=True)
class Delta:
    """A piece of an answer's text."""

    text: str


@dataclass(frozen=True)
class Done:
    """The last event of an answer.

    Attributes:
        reason: Whether the model or a stop sequence ended it, or the limit.
        prompt_tokens: Tokens of the prompt.
        completion_tokens: Tokens of the answer.
    """

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Failed:
    """The last event of an answer that failed."""

    error: ApiError


Event = Routed | Delta | Done | Failed


class Job:
    """An answer in the making.

    Args:
        work: Makes it, in a worker's thread; None if something else does.

    Attributes:
        refusal: Why it was cut; None if it was not, or no one waits for it.
    """

    def __init__(self, work: Callable[[Job], None] | None = None) -> None:
        self._work = work
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._stopped = threading.Event()
        self.refusal: ApiError | None = None

    @property
    def stopped(self) -> bool:
        """True once no more text is wanted."""
        return self._stopped.is_set()

    def stop(self, refusal: ApiError | None = None) -> None:
        """End the answer as soon as possible.

        Args:
            refusal: What the client is told.
        """
        self.refusal = self.refusal or refusal
        self._stopped.set()

    def emit(self, event: Event) -> None:
        """Hand an event to the client's task, from the worker's thread."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the server has stopped
            self._stopped.set()

    def perform(self) -> None:
        """Do the work. Whatever goes wrong becomes the last event."""
        try:
            if self._work is not None and not self.stopped:
                self._work(self)
        except ApiError as error:
            self.emit(Failed(error))
        except Exception as error:  # no request may end the thread that all others need
            structlog.get_logger().error("answer failed", reason=str(error), exc_info=True)
            self.emit(Failed(ApiError(500, "The model failed on this request.", "model_failed")))
        else:
            if self.refusal is not None:
                self.emit(Failed(self.refusal))

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what happens, up to Done or Failed. To leave earlier stops the job."""
        try:
            while True:
                event = await self._events.get()
                yield event
                if isinstance(event, Done | Failed):
                    return
        finally:
            self.stop()


class Worker:
    """The thread that has the model. It does one thing after the other.

    Args:
        most_waiting: Jobs that may wait; more are refused.
    """

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._waiting: deque[Job] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._current: Job | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def submit(self, work: Callable[[Job], None]) -> Job:
        """Queue an answer.

        Args:
            work: Is called in the worker's thread with the job, and emits its events.

        Raises:
            ApiError: The queue is full.
        """
        with self._changed:
            self._waiting = deque(job for job in self._waiting if not job.stopped)
            if len(self._waiting) >= self._most_waiting:
                raise too_busy(len(self._waiting))
            job = Job(work)
            self._waiting.append(job)
            self._changed.notify()
        return job

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function in the worker's thread, before any job that waits, and return its result.

        Blocks the caller until the job that is being done has ended.
        """
        done: Future[_T] = Future()
        with self._changed:
            self._calls.append((function, done))
            self._changed.notify()
        return done.result()

    def cut(self, refusal: ApiError) -> None:
        """End the job that is being done and all that wait, with an error."""
        with self._changed:
            jobs = [*self._waiting, *([self._current] if self._current else [])]
        for job in jobs:
            job.stop(refusal)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.cut(ApiError(503, "The server is stopping.", "server_stopping"))
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._calls or self._waiting)
                call = self._calls.popleft() if self._calls else None
                self._current = None if call else self._next()
                if call is None and self._current is None:
                    return
            if call is not None:
                _answer(*call)
            elif self._current is not None:
                self._current.perform()
                self._current = None

    def _next(self) -> Job | None:
        return self._waiting.popleft() if self._waiting else None


def _answer(function: Callable[[], _T], done: Future[_T]) -> None:
    try:
        done.set_result(function())
    except BaseException as error:
        done.set_exception(error)
