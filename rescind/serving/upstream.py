"""Answers by a server behind this one, which the chain is checked for. Imports torch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rescind.core import SHARED, ConsortiumParameters, Totals, make_private_folder
from rescind.core.exports import exports_in
from rescind.serving.asked import Asked, Limits
from rescind.serving.errors import ApiError, UpstreamFailed, not_in_use, too_busy
from rescind.serving.jobs import Delta, Done, Event, Failed, Job, Worker
from rescind.serving.names import ServedModel
from rescind.serving.planning import Plan, Planner
from rescind.serving.text import Trimmed
from rescind.serving.upstream_client import UpstreamClient, piece_of
from rescind.training.export.adapter import block_tensors, write_peft
from rescind.training.export.origin import Origin
from rescind.training.export.source import Source

_LEAVE_SECONDS = 60.0
"""For how long answers may go on with a model that a later round replaced."""


@dataclass(frozen=True)
class UpstreamSettings:
    """The server behind this one.

    Attributes:
        client: Calls it.
        mark: What the names of this consortium's adapters begin with there.
        folder: Where adapters are exported to.
        seen_as: The same folder as that server sees it.
        base: The base model's folder or hub id.
        model: The name of the bare base model there; by default the first one that it lists.
        remote_code: Let Python files that come with the base model run.
    """

    client: UpstreamClient
    mark: str
    folder: Path
    seen_as: str
    base: str
    model: str = ""
    remote_code: bool = False


@dataclass(frozen=True, eq=False)
class _Forward:
    """An answer that is on its way from the other server.

    Attributes:
        job: Takes what comes.
        task: Reads it.
        loop: The task's loop.
        model: The model that answers; None for the bare base model.
    """

    job: Job
    task: asyncio.Task[None]
    loop: asyncio.AbstractEventLoop
    model: ServedModel | None

    def cut(self, refusal: ApiError) -> None:
        """End it with an error, from any thread."""
        self.job.stop(refusal)
        with suppress(RuntimeError):  # the server has stopped
            self.loop.call_soon_threadsafe(self.task.cancel)


class UpstreamModels:
    """The served model in another server, to which requests are forwarded.

    The router runs here: it needs the base model and the blocks, but only reads prompts. Heads
    answer here, and are not forwarded.

    Args:
        planner: Routes requests and writes their prompts.
        parameters: The agreed parameters.
        settings: The other server.
        limits: What one request may take.
    """

    def __init__(
        self,
        planner: Planner,
        parameters: ConsortiumParameters,
        settings: UpstreamSettings,
        limits: Limits,
    ) -> None:
        self._planner, self._parameters = planner, parameters
        self._settings, self._limits = settings, limits
        self._worker = Worker(limits.waiting)
        self._wanted: dict[str, str] = {}
        self._base_name = settings.model
        self._forwards: set[_Forward] = set()
        self._left = threading.Condition()
        make_private_folder(settings.folder)

    @property
    def waiting(self) -> int:
        """How many requests wait or are on their way."""
        return self._worker.waiting + len(self._forwards)

    def switch(self, model: ServedModel, totals: Totals) -> None:
        """Load a model's adapters there and its router here, then remove those of the one before.

        Raises:
            UpstreamFailed: The other server does not load them.
        """
        before = dict(self._wanted)
        owners = set(model.owners)
        if owners and self._parameters.split is not None:
            # Where no block answers, the shared ranks alone do.
            owners.add(SHARED)
        self._wanted = before | {self._name(model, owner): owner for owner in sorted(owners)}
        added = {name: owner for name, owner in self._wanted.items() if name not in before}
        try:
            self._export(model, totals, added)
            self._bring_about()
            self._worker.call(lambda: self._planner.load(model, totals))
        except BaseException:
            self._wanted = before
            raise
        self._wanted = {name: each for name, each in self._wanted.items() if name not in before}
        self._await_leaving(model)
        self.keep()

    def drop(self, reason: str) -> None:
        """Cut every request, and remove the model there and here.

        The other server is asked again at each look at the chain until it has done so.
        """
        self._wanted = {}
        self._worker.cut(not_in_use(reason))
        self._cut(not_in_use(reason))
        self._worker.call(self._planner.unload)

    def keep(self) -> None:
        """Load there what is missing, and remove what is not wanted, also after a restart.

        Raises:
            UpstreamFailed: The other server does not do so.
        """
        self._bring_about()
        for export in list(exports_in([self._settings.folder])):
            # An export that was interrupted has a dot before its name.
            name = export.folder.name.lstrip(".")
            if name.startswith(f"{self._settings.mark}-") and name not in self._wanted:
                export.delete()

    def _name(self, model: ServedModel, owner: str) -> str:
        return f"{self._settings.mark}-{model.key.number}-{model.adapter_id[:8]}-{owner}"

    def _export(self, model: ServedModel, totals: Totals, names: Mapping[str, str]) -> None:
        if not names:
            return
        source = Source.open(
            self._parameters, self._settings.base, remote_code=self._settings.remote_code
        )
        for name, owner in names.items():
            origin = Origin(
                owner,
                organization=model.organizations.get(owner, ""),
                adapter_id=model.adapter_id,
                model_id=model.key.number,
                in_use=True,
            )
            tensors = block_tensors(self._parameters, totals, owner)
            write_peft(source, origin, tensors, self._settings.folder / name)

    def _bring_about(self) -> None:
        """Compare the adapters there with the wanted ones, and load and remove the difference."""
        settings = self._settings
        cards = settings.client.models()
        listed = {card["id"] for card in cards}
        own = {name for name in listed if name.startswith(f"{settings.mark}-")}
        for name in sorted(own - set(self._wanted)):
            settings.client.unload(name)
        for name in sorted(set(self._wanted) - own):
            settings.client.load(name, f"{settings.seen_as.rstrip('/')}/{name}")
        if not settings.model:
            bases = [card["id"] for card in cards if not card.get("parent")]
            self._base_name = next((name for name in bases if name not in own), "")

    def _await_leaving(self, model: ServedModel) -> None:
        """Wait for answers of the model before, and cut those that take too long."""

        def gone() -> bool:
            return all(each.model in (None, model) for each in self._forwards)

        with self._left:
            self._left.wait_for(gone, _LEAVE_SECONDS)
            late = [each for each in self._forwards if each.model not in (None, model)]
        for each in late:
            each.cut(not_in_use("A later model took the place of the one that was answering."))

    def _cut(self, refusal: ApiError) -> None:
        with self._left:
            forwards = [each for each in self._forwards if each.model is not None]
        for each in forwards:
            each.cut(refusal)

    async def ask(self, asked: Asked) -> AsyncGenerator[Event, None]:
        """Route a request here, and forward it."""
        if len(self._forwards) >= self._limits.waiting:
            raise too_busy(len(self._forwards))
        plan = await self._planned(asked)
        job = Job()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(self._forward(job, plan, asked))
        forward = _Forward(job, task, loop, plan.routed.model)
        with self._left:
            self._forwards.add(forward)
        try:
            async with aclosing(job.events()) as events:
                async for event in events:
                    yield event
        finally:
            task.cancel()
            with self._left:
                self._forwards.discard(forward)
                self._left.notify_all()

    async def _planned(self, asked: Asked) -> Plan:
        plans: list[Plan] = []

        def work(job: Job) -> None:
            plans.append(self._planner.plan(asked))
            job.emit(Done("stop", 0, 0))

        async with aclosing(self._worker.submit(work).events()) as events:
            async for event in events:
                if isinstance(event, Failed):
                    raise event.error
        return plans[0]

    async def _forward(self, job: Job, plan: Plan, asked: Asked) -> None:
        try:
            job.emit(await self._answered(job, plan, asked))
        except ApiError as error:
            job.emit(Failed(error))
        except asyncio.CancelledError:
            if job.refusal is not None:
                job.emit(Failed(job.refusal))
            raise

    async def _answered(self, job: Job, plan: Plan, asked: Asked) -> Event:
        if plan.spoken is not None:
            job.emit(plan.routed)
            return plan.spoken.tell(job.emit, len(plan.tokens))
        name = self._base_name
        if plan.owner is not None and plan.routed.model is not None:
            name = self._name(plan.routed.model, plan.owner)
            if name not in self._wanted:
                raise not_in_use("The model is not in use any more. Ask again.")
        trimmed = Trimmed() if asked.is_chat else None
        reason, count, usage = "stop", 0, None
        body = _body(name, plan, asked, self._planner.base.encoder.stops)
        async with self._settings.client.completion(body) as documents:
            job.emit(plan.routed)
            async for document in documents:
                text, ended = piece_of(document)
                usage = document.get("usage") or usage
                reason = ended or reason
                count += bool(text)
                text = trimmed.push(text) if trimmed else text
                if text:
                    job.emit(Delta(text))
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        made = tokens if isinstance(tokens, int) else count
        return Done("length" if reason == "length" else "stop", len(plan.tokens), made)

    async def close(self) -> None:
        """Remove the model there: no one would check it any more."""
        self._wanted = {}
        self._cut(ApiError(503, "The server is stopping.", "server_stopping"))
        with suppress(UpstreamFailed):
            await asyncio.to_thread(self.keep)
        self._worker.close()


def _body(name: str, plan: Plan, asked: Asked, ends: Sequence[int]) -> dict[str, Any]:
    """Return the request for the other server, with the prompt as the consortium writes it.

    Args:
        name: The model there.
        plan: The plan of the answer.
        asked: The request here.
        ends: The tokens that end an answer.
    """
    sampling = asked.sampling
    body: dict[str, Any] = {
        "model": name,
        "prompt": list(plan.tokens),
        "max_tokens": plan.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if len(ends) > 1:
        # A server knows the tokenizer's own end of text; vLLM has this parameter for others.
        body["stop_token_ids"] = list(ends)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stops:
        body["stop"] = list(sampling.stops)
    return body
