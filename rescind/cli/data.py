"""rescind data: look at training data before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.exit_codes import BY_ERROR
from rescind.cli.options import JsonOption
from rescind.cli.parsing import assignments
from rescind.cli.printing import out, plain, print_json, reported_errors
from rescind.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rescind.core import ConsortiumParameters
    from rescind.node import NodeConfig
    from rescind.training import ReadOptions
    from rescind.training.checking.check import DataCheck
    from rescind.training.checking.findings import Finding

data_app = typer.Typer(no_args_is_help=True, help="Training data: check it.")
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        help='How the data is read, as in [data] of node.toml: subject="{first} {last}", for example. '
        "Repeatable.",
    ),
]
_SHOWN = 20
"""Findings of a kind that are printed; --json has all."""


@data_app.callback()
def _group() -> None:
    """Keep the command's name: typer drops it from a group with a single command."""


@dataclass(frozen=True)
class _Data:
    """The data to check, and the model and parameters to check it against.

    `path` is None for a node that trains nothing and has rows of statistics alone.
    """

    path: Path | None
    options: ReadOptions
    model: str | None
    parameters: ConsortiumParameters | None
    remote_code: bool = False
    node: NodeConfig | None = None


@data_app.command("check")
def data_check(
    source: Annotated[
        Path,
        typer.Argument(help="A file or folder of data, or a node.toml or aggregator.toml."),
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Base model, to count tokens: a preset, a folder or a hub id."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="The agreed parameters.json, for the longest length.")
    ] = None,
    benchmark: Annotated[
        Path | None, typer.Option(help="A file that the data should have no row of.")
    ] = None,
    mapping: MapOption = None,
    strict: Annotated[bool, typer.Option(help="Fail for warnings too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Report rows, tokens, lengths, duplicates, subjects and encoding trouble, with file and line.

    Exit 0 if the data can be trained on, 11 if it has a problem.
    """
    from rescind.training.checking.check import check_data

    with reported_errors():
        data = _data(source, model, parameters, mapping or [])
        if data.path is None:
            _check_statistics(data, as_json=as_json)
            return
        count, limit = None, None
        if data.parameters is not None:
            limit = data.parameters.training.max_length
        if data.model is not None:
            from rescind.training.checking.tokens import token_counter

            count = token_counter(data.model, data.parameters, remote_code=data.remote_code)
        check = check_data(data.path, data.options, count=count, limit=limit, benchmark=benchmark)
        if as_json:
            print_json(check.to_json())
        else:
            _print(check)
        _check_statistics(data, as_json=as_json)
        _check_split(data, as_json=as_json)
    if check.problems or (strict and check.warnings):
        raise typer.Exit(BY_ERROR[DataError])


def _data(source: Path, model: str | None, parameters: Path | None, mapping: list[str]) -> _Data:
    from rescind.training import ReadOptions

    given = assignments(mapping)
    if source.suffix != ".toml":
        return _Data(source, ReadOptions.of(given), model, _parameters(parameters))
    if given:
        raise ConfigError(f"--map belongs to a file of data. {source} has its own section [data].")
    from rescind.cli.toml_files import load_daemon
    from rescind.node import NodeConfig

    config, node = load_daemon(source), None
    if isinstance(config, NodeConfig):
        node = config
        path, section = config.node.data, config.model
        agreed = _parameters(parameters) or _agreed(config)
    else:
        if config.evaluation is None or config.model is None:
            raise ConfigError(
                f"{source} has no benchmark to check: it lacks [evaluation] or [model]."
            )
        path, section = config.evaluation.data, config.model
        agreed = _parameters(parameters or config.aggregator.parameters)
    return _Data(path, config.data, model or section.path, agreed, section.remote_code, node)


def _check_statistics(data: _Data, *, as_json: bool) -> None:
    """Check the rows of a node's statistics, and print how many there are.

    Raises:
        DataError: A row cannot be read, or is not of an agreed task and label.
    """
    if data.node is None:
        return
    from rescind.node.data_checks import read_data
    from rescind.node.statistics_rows import check_questions, check_rows, read_rows

    rows = read_rows(data.node)
    agreed = data.parameters.statistics if data.parameters else None
    if data.parameters is not None:
        check_rows(rows, agreed)
    if agreed is not None and agreed.router is not None:
        check_questions(read_data(data.node), agreed)
    if as_json:
        if data.path is None:
            print_json({task: len(located) for task, located in rows.items()})
        return
    for task, located in rows.items():
        labels = len({row.example.answer for row in located})
        known = "" if data.parameters else "; labels were not compared: --parameters has them"
        out.print(
            plain(f"statistics {task}: {len(located):,} rows, {labels:,} labels{known}"),
            soft_wrap=True,
        )


def _check_split(data: _Data, *, as_json: bool) -> None:
    """Check which rows of a node are declared public, and print how many there are.

    Raises:
        DataError: A subject has no row, or the consortium has not agreed on a split.
    """
    public = data.node.split.public if data.node is not None else ()
    agreed = data.parameters.split if data.parameters else None
    if data.node is None or not (public or agreed):
        return
    from rescind.node.data_checks import read_data
    from rescind.node.split import check_public

    located = read_data(data.node)
    check_public(data.node, data.parameters, located)
    if as_json:
        return
    count = sum(row.example.subject in public for row in located)
    out.print(f"split: {count:,} examples are public, {len(located) - count:,} are revocable")


def _agreed(config: NodeConfig) -> ConsortiumParameters | None:
    """Return the agreed parameters that a node has fetched, None if it cannot be known which."""
    from rescind.core import ArtifactStore, ConsortiumParameters
    from rescind.core.errors import RescindError
    from rescind.daemon import open_consortium

    store = ArtifactStore(config.node.state_dir / "store")
    try:
        agreed = open_consortium(config.chain).settings().parameters_id
        return ConsortiumParameters.parse(store.get(agreed)) if store.has(agreed) else None
    except RescindError:
        return None  # No chain: lengths are shown without a limit.


def _parameters(path: Path | None) -> ConsortiumParameters | None:
    if path is None:
        return None
    from rescind.core import ConsortiumParameters

    try:
        return ConsortiumParameters.parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error


def _print(check: DataCheck) -> None:
    kinds = ", ".join(f"{count:,} of kind {kind}" for kind, count in check.kinds.items())
    head = f"{check.path}: {check.rows:,} rows, {check.examples:,} examples ({kinds})"
    out.print(plain(head), soft_wrap=True)
    out.print(f"{check.subjects:,} subjects, {check.characters:,} characters", soft_wrap=True)
    lengths = check.lengths
    if lengths is None:
        out.print("tokens were not counted; --model counts them", soft_wrap=True)
    else:
        limit = "no limit known; --parameters has it" if lengths.limit is None else ""
        limit = limit or f"limit {lengths.limit:,}"
        out.print(
            f"{lengths.total:,} tokens, median {lengths.median:g}, longest {lengths.longest:,} ({limit})"
        )
        if lengths.split:
            out.print(f"{lengths.split:,} documents are longer and are split", soft_wrap=True)
    for remark in check.remarks:
        out.print(plain(f"note      {remark}"), soft_wrap=True)
    for word, findings in (("warning", check.warnings), ("problem", check.problems)):
        _print_findings(word, findings)
    state = f"{len(check.problems):,} problems, {len(check.warnings):,} warnings"
    out.print(state if check.findings else "no problem found")


def _print_findings(word: str, findings: list[Finding]) -> None:
    shown: dict[str, int] = {}
    for finding in findings:
        shown[finding.kind] = shown.get(finding.kind, 0) + 1
        if shown[finding.kind] <= _SHOWN:
            out.print(plain(f"{word:<9} {finding.kind}: {finding}"), soft_wrap=True)
    for kind, count in shown.items():
        if count > _SHOWN:
            out.print(f"{word:<9} {kind}: {count - _SHOWN:,} more; --json has all", soft_wrap=True)
