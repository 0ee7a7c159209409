"""The server as a whole: it loads a model, asks the chain, listens, and stops."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog

from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError
from rescind.core.hosts import is_loopback
from rescind.serving.adapter_routes import adapter_routes
from rescind.serving.app import Server, make_app
from rescind.serving.asked import Asked, Limits
from rescind.serving.gate import Gate
from rescind.serving.jobs import Event
from rescind.serving.names import listing, prefix_of
from rescind.serving.requests import ApiKeys, read_keys
from rescind.serving.sources import ModelSource
from rescind.serving.watch import Models, Watch, WatchSettings

if TYPE_CHECKING:
    from rescind.training import LoraModel

__all__ = [
    "ApiKeys",
    "Limits",
    "ServeOptions",
    "ServingModels",
    "UpstreamPlace",
    "WatchSettings",
    "build_local",
    "build_upstream",
    "read_keys",
    "serve",
    "serve_adapters",
]


@dataclass(frozen=True)
class ServeOptions:
    """Options of the server.

    Attributes:
        host: The address to listen on.
        port: The port; 0 for any that is free.
        keys: The keys of the API.
        limits: What one request may take.
        watch: Times of the watch over the model.
        unchecked_seconds: For how long answers go on while the chain cannot be asked.
        device: A torch device, or "auto".
        dtype: Type of the base model's weights.
        remote_code: Let Python files that come with the base model run.
    """

    host: str = "127.0.0.1"
    port: int = 8010
    keys: ApiKeys = field(default_factory=ApiKeys)
    limits: Limits = field(default_factory=Limits)
    watch: WatchSettings = field(default_factory=WatchSettings)
    unchecked_seconds: float = 300.0
    device: str = "auto"
    dtype: Literal["float32", "bfloat16", "4bit"] = "float32"
    remote_code: bool = False

    def check(self) -> None:
        """Check what can be checked before anything is loaded.

        Raises:
            ConfigError: Others could reach the server without a key.
        """
        if not self.keys and not is_loopback(self.host):
            raise ConfigError(
                f"--host {self.host} can be reached from other machines, and there is no key. Pass "
                "--api-key-file FILE, or listen on 127.0.0.1."
            )


class ServingModels(Models, Protocol):
    """Models that answer requests, and are switched by the watch."""

    @property
    def waiting(self) -> int: ...

    def ask(self, asked: Asked) -> AsyncGenerator[Event, None]: ...

    async def close(self) -> None: ...


Build = Callable[["LoraModel", ConsortiumParameters, Gate, Limits], ServingModels]


def build_local(
    model: LoraModel, parameters: ConsortiumParameters, gate: Gate, limits: Limits
) -> ServingModels:
    """Return models in this process."""
    from rescind.serving.local import LocalModels
    from rescind.serving.planning import Planner

    return LocalModels(Planner(model, parameters, gate, limits), limits)


@dataclass(frozen=True)
class UpstreamPlace:
    """The server behind this one, as an operator names it.

    Attributes:
        url: Its address.
        key: Its API key; empty for none.
        folder: Where adapters are exported to.
        seen_as: The same folder as that server sees it.
        model: The name of the bare base model there; by default the first one that it lists.
    """

    url: str
    key: str
    folder: Path
    seen_as: str
    model: str = ""


def build_upstream(
    source: ModelSource, base: str, place: UpstreamPlace, *, remote_code: bool = False
) -> Build:
    """Return what makes models that another server runs.

    Args:
        source: Where models come from.
        base: The base model's folder or hub id.
        place: The other server.
        remote_code: Let Python files that come with the base model run.

    Raises:
        ConfigError: Its URL is not one of HTTP.
    """
    from rescind.serving.upstream_client import UpstreamClient

    client = UpstreamClient(place.url, place.key)
    # Adapters of several consortia may be in one server.
    mark = f"rescind-{source.reader.deployment.rounds[2:10].lower()}"

    def build(
        model: LoraModel, parameters: ConsortiumParameters, gate: Gate, limits: Limits
    ) -> ServingModels:
        from rescind.serving.planning import Planner
        from rescind.serving.upstream import UpstreamModels, UpstreamSettings

        planner = Planner(model, parameters, gate, limits)
        settings = UpstreamSettings(
            client, mark, place.folder, place.seen_as, base, place.model, remote_code
        )
        return UpstreamModels(planner, parameters, settings, limits)

    return build


def serve(source: ModelSource, base: str, options: ServeOptions, build: Build) -> None:
    """Serve a consortium's model until SIGTERM or SIGINT.

    Args:
        source: Where models come from.
        base: The base model's folder or hub id.
        options: The server's options.
        build: Makes what answers.

    Raises:
        ConfigError: The options are not safe, or the port is taken.
        TrainingError: The base model cannot be loaded, or is another one than agreed on.
    """
    options.check()
    with _listener(options) as listener:
        _run(_server(source, base, options, build), listener)


def _server(source: ModelSource, base: str, options: ServeOptions, build: Build) -> Server:
    """Load the base model, look at the chain once, and return what answers."""
    gate = Gate(options.unchecked_seconds)
    parameters = source.parameters
    training = _training()
    loaded = training.load_agreed(
        base, parameters, options.device, options.dtype, remote_code=options.remote_code
    )
    models = build(loaded, parameters, gate, options.limits)
    watch = Watch(source, gate, models, options.watch)
    watch.check()
    prefix = prefix_of(parameters.name)

    def listed() -> list[dict[str, Any]]:
        served = None if gate.refusal else gate.state.model
        return listing(prefix, served, gate.state.opened_at)

    def facts() -> dict[str, float]:
        state = gate.state
        return {
            "model": state.model.key.number if state.model else -1,
            "block": state.block,
            "unchecked_seconds": round(gate.unchecked_seconds, 1),
            "waiting": models.waiting,
        }

    stop = threading.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        thread = threading.Thread(target=watch.run, args=(stop,), name="watch", daemon=True)
        thread.start()
        yield
        stop.set()
        await asyncio.to_thread(thread.join, 10)
        await models.close()

    return Server(
        models, listed, lambda: gate.refusal, facts, options.keys, options.limits, lifespan=lifespan
    )


def serve_adapters(base: str, name: str, folder: Path, options: ServeOptions) -> None:
    """Serve a base model, with adapters that another server loads and unloads.

    Args:
        base: The base model's folder or hub id.
        name: The name of the bare base model.
        folder: Only exported folders inside of it are loaded.
        options: The server's options.

    Raises:
        ConfigError: There is no key, the folder is missing, or the port is taken.
        TrainingError: The base model cannot be loaded.
    """
    if not options.keys:
        raise ConfigError(
            "--accept-adapters needs --api-key-file: this server loads any adapter it is asked to, "
            "without asking a chain, so only the server in front of it may reach it."
        )
    if not folder.is_dir():
        raise ConfigError(f"--accept-adapters {folder} is not a folder. Create it first.")
    with _listener(options) as listener:
        _run(_adapter_server(base, name, folder, options), listener)


def _adapter_server(base: str, name: str, folder: Path, options: ServeOptions) -> Server:
    """Load the base model, and return what answers with the adapters that are loaded into it."""
    loaded = _training().load_base(
        base, None, options.device, options.dtype, remote_code=options.remote_code
    )
    from rescind.serving.engine import EngineModels
    from rescind.training.model.text_rules import default_text

    # Prompts come as tokens from the server in front; conversations are for trying it out.
    loaded = loaded.reading(default_text(loaded))
    models = EngineModels(loaded, name, folder, options.limits)

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        yield
        await models.close()

    return Server(
        models,
        models.listed,
        lambda: "",
        lambda: {"waiting": float(models.waiting)},
        options.keys,
        options.limits,
        routers=(adapter_routes(models, options.limits),),
        lifespan=lifespan,
    )


def _training() -> ModuleType:
    """Import what loads models, which takes seconds.

    Raises:
        ConfigError: It is not installed.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from transformers.utils import logging

        from rescind import training
    except ImportError as error:
        raise ConfigError(
            f"rescind serve needs {error.name}. Install it: pip install 'rescind[train,serve]'"
        ) from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return training


def _listener(options: ServeOptions) -> socket.socket:
    """Return a bound socket, before minutes are spent on loading a model."""
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"--host {options.host} --port {options.port} cannot be listened on: {error.strerror}. "
            "Choose another port."
        ) from error
    return listener


def _run(server: Server, listener: socket.socket) -> None:
    import uvicorn

    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    # Clients that come before uvicorn has started wait instead of being refused.
    listener.listen(128)
    structlog.get_logger().info("listening", url=f"http://{shown}:{port}")
    config = uvicorn.Config(
        make_app(server),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=30,
        # Answers that are being made are told that the server stops; see `Worker.close`.
        timeout_graceful_shutdown=10,
        limit_concurrency=server.limits.waiting * 4 + 16,
    )
    # uvicorn ends in order at a signal, and then raises the signal again.
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
