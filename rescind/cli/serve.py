"""rescind serve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rescind.cli.chain_access import open_consortium, stopped_chain_hint
from rescind.cli.options import (
    ConfirmationsOption,
    ContractsOption,
    IndexOption,
    RpcOption,
    RunArgument,
)
from rescind.cli.printing import daemon_logging, interrupt_on_sigterm, reported_errors
from rescind.cli.toml_files import load_config
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.serving.sources import ModelSource

_Chain = tuple[list[str] | None, Path | None, Path | None, int]
"""The values of --rpc, --contracts, --index and --confirmations."""


@dataclass(frozen=True)
class _Found:
    """A source of models, and what it says about the base model."""

    source: ModelSource
    base: str = ""
    dtype: str = "float32"
    remote_code: bool = False


def serve_command(
    run: RunArgument = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="A node's node.toml: serve what it has adopted."),
    ] = None,
    store: Annotated[
        str | None, typer.Option(help="A store that an aggregator publishes into: folder or URL.")
    ] = None,
    contracts: ContractsOption = None,
    rpc: RpcOption = None,
    confirmations: ConfirmationsOption = 0,
    index: IndexOption = None,
    base: Annotated[
        str | None, typer.Option(help="Base model: a folder or a hub id. Default: the source's.")
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="The agreed parameters, if they are not in the store.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any.")] = 8010,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with one API key on each line.")
    ] = None,
    check_seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Time between two looks at the chain.")
    ] = 60.0,
    unchecked_seconds: Annotated[
        float,
        typer.Option(min=1, help="Stop answering when the chain cannot be asked for this long."),
    ] = 300.0,
    overlap_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="Serve a model that a later round replaced for this long, while the files of the "
            "newer one are not there. A withdrawn model is never served.",
        ),
    ] = 600.0,
    body_bytes: Annotated[int, typer.Option(min=1024, help="Most bytes of a request's body.")] = 2
    ** 20,
    queue: Annotated[int, typer.Option(min=1, max=10_000, help="Requests that may wait.")] = 32,
    prompt_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Most tokens of a prompt. Default: what the model can read."),
    ] = None,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of an answer.")] = 1024,
    device: Annotated[str, typer.Option(help="A torch device, or auto.")] = "auto",
    dtype: Annotated[
        Literal["float32", "bfloat16", "4bit"] | None,
        typer.Option(help="Type of the base model's weights. Default: the source's, or float32."),
    ] = None,
    remote_code: Annotated[
        bool,
        typer.Option(
            "--remote-code",
            help="Let Python files that come with the base model run, as model.remote_code of a node.",
        ),
    ] = False,
    upstream: Annotated[
        str | None, typer.Option(help="URL of the server that runs the model, such as vLLM.")
    ] = None,
    upstream_key_file: Annotated[
        Path | None, typer.Option(help="File with the key of --upstream.")
    ] = None,
    upstream_model: Annotated[
        str, typer.Option(help="The base model's name there. Default: the first that it lists.")
    ] = "",
    adapters: Annotated[
        Path | None, typer.Option(help="Folder to export adapters to, for --upstream.")
    ] = None,
    adapters_seen_as: Annotated[
        str | None, typer.Option(help="The same folder, as the server of --upstream sees it.")
    ] = None,
    accept_adapters: Annotated[
        Path | None,
        typer.Option(
            help="Serve the bare --base, and let another rescind serve load exported folders from "
            "this one, as into vLLM. Asks no chain, and needs --api-key-file."
        ),
    ] = None,
) -> None:
    """Serve the model in use over OpenAI's API. Logs are JSON lines on standard error.

    The chain is asked before the start and every minute: a withdrawn model is refused, and a newer
    one takes its place.
    """
    interrupt_on_sigterm()
    with reported_errors(), stopped_chain_hint(run):
        server = _server_module()
        limits = server.Limits(
            body_bytes=body_bytes,
            waiting=queue,
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
        )
        keys = server.ApiKeys.read(api_key_file) if api_key_file else server.ApiKeys()
        watch = server.WatchSettings(check_seconds, overlap_seconds)
        options = server.ServeOptions(
            host,
            port,
            keys,
            limits,
            watch,
            unchecked_seconds,
            device,
            dtype or "float32",
            remote_code,
        )
        options.check()
        if accept_adapters is not None:
            _check_alone(run, config, store, upstream)
            daemon_logging()
            server.serve_adapters(_named(base), upstream_model or "base", accept_adapters, options)
            return
        chain = (rpc, contracts, index, confirmations)
        served = _source(run, config, store, parameters, chain)
        source, model = served.source, _named(base or served.base)
        allowed = remote_code or served.remote_code
        options = replace(options, dtype=dtype or served.dtype, remote_code=allowed)
        build = server.build_local
        if upstream is not None:
            key = server.read_keys(upstream_key_file)[0] if upstream_key_file else ""
            folder, seen_as = _adapters(adapters, adapters_seen_as)
            place = server.UpstreamPlace(upstream, key, folder, seen_as, upstream_model)
            build = server.build_upstream(source, model, place, remote_code=allowed)
        daemon_logging()
        server.serve(source, model, options, build)


def _server_module() -> ModuleType:
    try:
        from rescind.serving import server
    except ImportError as error:
        raise ConfigError(
            f"rescind serve needs {error.name}. Install it: pip install 'rescind[train,serve]'"
        ) from error
    return server


def _named(base: str | None) -> str:
    if not base:
        raise ConfigError("Pass --base MODEL: the base model's folder or hub id.")
    return base


def _check_alone(*others: object) -> None:
    if any(other is not None for other in others):
        raise ConfigError(
            "--accept-adapters serves a bare base model for another rescind serve, so it takes "
            "--base and no source of models and no --upstream."
        )


def _adapters(folder: Path | None, seen_as: str | None) -> tuple[Path, str]:
    if folder is None:
        raise ConfigError(
            "--upstream needs --adapters FOLDER: adapters are exported there, and the other server "
            "loads them from it. Pass --adapters-seen-as if it sees the folder under another path."
        )
    return folder.resolve(), seen_as or str(folder.resolve())


def _source(
    run: Path | None, config: Path | None, store: str | None, parameters: Path | None, chain: _Chain
) -> _Found:
    """Return the source of models, with the base model that it names."""
    if [run, config, store].count(None) != 2:
        raise ConfigError(
            "Pass one source of models: the folder of a run, --config NODE.TOML, or --store with "
            "--rpc, --contracts and --base."
        )
    if config is not None:
        from rescind.node import NodeConfig
        from rescind.serving.sources import NodeSource

        loaded = load_config(config, NodeConfig)
        section = loaded.model
        return _Found(NodeSource.open(loaded), section.path, section.dtype, section.remote_code)
    rpc, contracts, index, confirmations = chain
    reader = open_consortium(run, rpc, contracts, index, confirmations)
    if run is not None:
        from rescind.devnet.serving import run_source

        return _Found(*run_source(run, reader))
    from rescind.serving.sources import StoreSource

    return _Found(StoreSource.open(reader, str(store), parameters))
