"""rescind export: blocks and heads of a run's model as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rescind.cli.chain_access import check_run, stopped_chain_hint
from rescind.cli.options import JsonOption, RequiredRunArgument
from rescind.cli.printing import out, print_json, reported_errors
from rescind.cli.transformers_output import quiet_transformers
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.devnet.exporting import Format, Written, WrittenHead
    from rescind.training.export.merged import MergedDtype

_DTYPES: dict[str, MergedDtype] = {"float32": "float32", "bfloat16": "bfloat16"}


def export_command(
    run: RequiredRunArgument,
    peft: Annotated[
        Path | None, typer.Option("--peft", help="Folder of an adapter for peft and vLLM.")
    ] = None,
    merged: Annotated[
        Path | None,
        typer.Option("--merged", help="Folder of a full model, with the block merged into it."),
    ] = None,
    gguf: Annotated[
        Path | None, typer.Option("--gguf", help="Folder of an adapter for llama.cpp.")
    ] = None,
    heads: Annotated[
        Path | None,
        typer.Option("--heads", help="Folder of the heads that are solved from summed statistics."),
    ] = None,
    organization: Annotated[
        str | None,
        typer.Option(
            help="Name or address of the organization whose block to write. Not needed in the "
            "federated coupling."
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Write every block, each into a folder of its own.")
    ] = False,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="Name of the base model on the other machine: a hub id or a path. By default it "
            "follows from the run.",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Revision of the hub id of --base.")
    ] = None,
    dtype: Annotated[
        str, typer.Option("--dtype", help="Type of merged weights: float32 or bfloat16.")
    ] = "float32",
    before: Annotated[
        bool,
        typer.Option(
            "--before-withdrawal", help="Export the model before the removal, which is out of use."
        ),
    ] = False,
    remote_code: Annotated[
        bool,
        typer.Option("--remote-code", help="Let Python files of the base model's folder run."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write blocks and heads of the run's model in use, for other programs and other machines.

    A folder may be new, be empty, or hold an earlier export of the same block, which is replaced.
    """
    with reported_errors(), stopped_chain_hint(run):
        folders: dict[Format, Path | None] = {"peft": peft, "merged": merged, "gguf": gguf}
        wanted = {kind: folder for kind, folder in folders.items() if folder is not None}
        every_folder = [*wanted.values(), *([] if heads is None else [heads])]
        _check_options(every_folder, organization, every=every, base=base, revision=revision)
        if dtype not in _DTYPES:
            raise ConfigError(f"--dtype {dtype}: give {' or '.join(_DTYPES)}.")
        check_run(run)
        with quiet_transformers():
            from rescind.devnet.exporting import RunExporter
            from rescind.training.export.reference import BaseReference
        reference = None if base is None else BaseReference.given(base, revision)
        exporter = RunExporter.open(
            run, before=before, reference=reference, remote_code=remote_code
        )
        written: list[Written] = []
        if wanted:
            chosen = list(exporter.names) if every else [exporter.owner(organization)]
            written = exporter.write(wanted, chosen, each_in_own_folder=every, dtype=_DTYPES[dtype])
        solved = [] if heads is None else exporter.write_heads(heads)
        if as_json:
            print_json([*map(_facts, written), *map(_head_facts, solved)])
        else:
            for each in written:
                out.print(f"{_described(each)} written to {each.folder}", markup=False)
            for head in solved:
                out.print(f"the head of task {head.task} written to {head.file}", markup=False)


def _check_options(
    folders: list[Path],
    organization: str | None,
    *,
    every: bool,
    base: str | None,
    revision: str | None,
) -> None:
    if not folders:
        raise ConfigError("Name a folder with --peft, --merged, --gguf or --heads.")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("Each format needs a folder of its own. Name different ones.")
    if every and organization is not None:
        raise ConfigError("--all writes every block. Leave out --organization, or --all.")
    if revision is not None and base is None:
        raise ConfigError("--revision is that of the hub id of --base. Give --base, too.")


def _facts(written: Written) -> dict[str, object]:
    return {
        "format": written.format,
        "organization": written.organization,
        "model": written.model,
        "folder": str(written.folder),
    }


def _head_facts(head: WrittenHead) -> dict[str, object]:
    return {
        "format": "heads",
        "task": head.task,
        "head": head.head,
        "model": head.model,
        "file": str(head.file),
    }


def _described(written: Written) -> str:
    if written.organization == "shared":
        return "the shared adapter"
    return f"{written.organization}'s block"
