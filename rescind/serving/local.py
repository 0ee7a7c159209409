"""Answers by a model in this process. Imports torch."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from rescind.core import Totals
from rescind.serving.asked import Asked, Limits
from rescind.serving.errors import not_in_use
from rescind.serving.generation import generate
from rescind.serving.jobs import Event, Job, Worker
from rescind.serving.names import ServedModel
from rescind.serving.planning import Planner


class LocalModels:
    """The served model in this process, behind a queue.

    Args:
        planner: Has the base model and the blocks.
        limits: What one request may take.
    """

    def __init__(self, planner: Planner, limits: Limits) -> None:
        self._planner = planner
        self._worker = Worker(limits.waiting)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._worker.waiting

    def switch(self, model: ServedModel, totals: Totals) -> None:
        """Load a model, after the request that is being answered."""
        self._worker.call(lambda: self._planner.load(model, totals))

    def drop(self, reason: str) -> None:
        """Cut every request, and remove the model from memory."""
        self._worker.cut(not_in_use(reason))
        self._worker.call(self._planner.unload)

    def keep(self) -> None:
        """Do nothing: what is loaded stays loaded."""

    def ask(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Queue a request, and return what happens to it."""

        def work(job: Job) -> None:
            plan = self._planner.plan(asked)
            job.emit(plan.routed)
            if plan.spoken is not None:
                done = plan.spoken.tell(job.emit, len(plan.tokens))
            else:
                done = generate(
                    self._planner.base,
                    self._planner.network(plan.owner),
                    plan.tokens,
                    asked.sampling,
                    plan.max_tokens,
                    job.emit,
                    lambda: job.stopped,
                    strip=asked.is_chat,
                )
            if job.refusal is None:
                job.emit(done)

        return self._worker.submit(work).events()

    async def close(self) -> None:
        """End the thread."""
        self._worker.close()
