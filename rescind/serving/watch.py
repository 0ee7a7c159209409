"""The watch over the served model: it asks the chain, refuses, and switches over by itself."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import structlog

from rescind.core import Totals, blocks_of
from rescind.core.errors import ChainError, RescindError
from rescind.core.parameters import reference_of
from rescind.serving.errors import FilesMissing
from rescind.serving.gate import Gate
from rescind.serving.names import ServedModel, prefix_of
from rescind.serving.sources import Files, ModelSource
from rescind.serving.standing import Decision, Look, ModelKey, decide, look
from rescind.training.serving.heads import skills_of
from rescind.withdrawals import members_in_sum


class Models(Protocol):
    """The place where models are loaded."""

    def switch(self, model: ServedModel, totals: Totals) -> None:
        """Load a model in place of the present one. Returns once that has happened.

        Requests that are being answered end first, by the model that they began with.
        """
        ...

    def drop(self, reason: str) -> None:
        """Cut the requests that are being answered, and remove the model from memory.

        Args:
            reason: Why, in a sentence for those who wait.
        """
        ...

    def keep(self) -> None:
        """Bring about again what must hold, for example after another server has started again."""
        ...


@dataclass(frozen=True)
class WatchSettings:
    """Times of the watch.

    Attributes:
        check_seconds: Time between two looks at the chain.
        overlap_seconds: For how long a model that a later round replaced is served while the files
            of the newer one are not there. It must not be stale.
    """

    check_seconds: float = 60.0
    overlap_seconds: float = 600.0


class Watch:
    """The watch. One thread at a time may call `check`.

    Args:
        source: Where models come from.
        gate: Opened and closed here.
        models: Where they are loaded.
        settings: Times.
    """

    def __init__(
        self, source: ModelSource, gate: Gate, models: Models, settings: WatchSettings
    ) -> None:
        self._source, self._gate, self._models = source, gate, models
        self._settings = settings
        self._served: ServedModel | None = None
        self._replaced_at: float | None = None
        self._log = structlog.get_logger()
        self._last_words = ""

    @property
    def served(self) -> ServedModel | None:
        """The model that is loaded."""
        return self._served

    def run(self, stop: threading.Event) -> None:
        """Look at the chain again and again until `stop` is set."""
        while not stop.wait(self._settings.check_seconds):
            self.check()

    def check(self) -> None:
        """Look at the chain once, and do what follows. A chain that does not answer is noted."""
        self._look()
        try:
            self._models.keep()
        except (RescindError, OSError) as error:
            self._say("the models cannot be kept", reason=str(error))

    def _look(self) -> None:
        looked_at = self._gate.now()
        try:
            seen = look(self._source.reader, self._served.key if self._served else None)
        except (ChainError, OSError) as error:
            self._gate.miss(str(error))
            self._say("the chain cannot be asked", reason=str(error))
            return
        if self._served is not None and seen.served_stale:
            self._refuse(_stale(self._served.key.number), seen, looked_at)
        files, problem = self._files(seen)
        choice = self._decide(seen, available=files is not None, now=looked_at)
        if choice is Decision.SWITCH and files is not None:
            problem = self._switch(seen, files, looked_at)
            if not problem:
                return
            choice = self._decide(seen, available=False, now=looked_at)
        if choice is Decision.KEEP and self._served is not None:
            self._gate.open(self._served, seen.block, looked_at)
            if problem:
                self._say("a newer model cannot be served yet", reason=problem)
        else:
            self._refuse(_reason(seen, problem), seen, looked_at)

    def _decide(self, seen: Look, *, available: bool, now: float) -> Decision:
        served = self._served.key if self._served else None
        if served is None or served == seen.newest:
            self._replaced_at = None
        elif self._replaced_at is None:
            self._replaced_at = now
        passed = 0.0 if self._replaced_at is None else now - self._replaced_at
        overlap_left = passed <= self._settings.overlap_seconds
        return decide(seen, served, available=available, overlap_left=overlap_left)

    def _files(self, seen: Look) -> tuple[Files | None, str]:
        """Return the files of the newest model, or why they cannot be had."""
        if seen.newest_stale or (self._served is not None and self._served.key == seen.newest):
            return None, ""
        try:
            return self._source.files(seen.newest), ""
        except (FilesMissing, ChainError, OSError) as error:
            return None, str(error)

    def _switch(self, seen: Look, files: Files, looked_at: float) -> str:
        """Load the newest model, and return why that failed, or an empty text."""
        source = self._source
        try:
            totals = source.totals(seen.newest, files)
            model = _served(source, seen.newest, files, totals)
            self._models.switch(model, totals)
        except (RescindError, OSError) as error:
            return str(error)
        before = self._served.key.number if self._served else None
        self._served, self._replaced_at = model, None
        self._gate.open(model, seen.block, looked_at)
        self._say("model loaded", model=model.key.number, adapter=files.adapter_id, before=before)
        return ""

    def _refuse(self, reason: str, seen: Look, looked_at: float) -> None:
        self._gate.close(reason, seen.block, looked_at)
        if self._served is not None:
            self._models.drop(reason)
            self._served = None
        self._say("no model is served", reason=reason)

    def _say(self, event: str, **facts: object) -> None:
        """Log an event, unless it was the last one that was logged."""
        words = f"{event} {facts}"
        if words != self._last_words:
            self._log.info(event, **facts)
        self._last_words = words


def _served(source: ModelSource, key: ModelKey, files: Files, totals: Totals) -> ServedModel:
    """Return a model with the heads and the router of its statistics, solved."""
    parameters = source.parameters
    members = members_in_sum(source.reader, parameters, key.number)
    router = None
    reference = reference_of(parameters)
    if reference:
        from rescind.training.routers import agreed_router

        tensors = source.published(reference)
        router = agreed_router(parameters, totals, members or {}, tensors)
    return ServedModel(
        prefix_of(parameters.name),
        key,
        files.adapter_id,
        tuple(blocks_of(totals)),
        {each.address.lower(): each.name for each in source.reader.members()},
        skills_of(parameters, totals, members),
        router,
    )


def _stale(number: int) -> str:
    return (
        f"Model {number} is not in use any more: an organization or a person in it was withdrawn. "
        "Answers go on when the model without them is built."
    )


def _reason(seen: Look, problem: str) -> str:
    if seen.newest_stale:
        return _stale(seen.newest.number)
    return f"Model {seen.newest.number} cannot be served yet. {problem}".strip()
