"""rescind evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from rescind.cli.options import JsonOption
from rescind.cli.printing import out, print_json, reported_errors

evaluate_app = typer.Typer(no_args_is_help=True, help="Measure how well a model has forgotten.")


@evaluate_app.callback()
def _group() -> None:
    """Keep the command's name: typer drops it from a group with a single command."""


@evaluate_app.command("tofu-log")
def tofu_log_command(
    model: Annotated[Path, typer.Argument(help="The model's aggregated evaluation log of TOFU.")],
    retain: Annotated[Path, typer.Option(help="The log of a model that never saw the forget set.")],
    as_json: JsonOption = False,
) -> None:
    """Compute model utility and forget quality from two logs (.json or .json.gz)."""
    with reported_errors():
        from rescind.forgetting.metrics import read_tofu_log, tofu_forget_quality, tofu_utility

        record, retrained = read_tofu_log(model), read_tofu_log(retain)
        quality = tofu_forget_quality(record, retrained)
        facts = {
            "model_utility": tofu_utility(record).value,
            "ks_statistic": quality.details["statistic"],
            "ks_pvalue": quality.value,
            "n": quality.details["n"],
        }
        if as_json:
            print_json(facts)
        else:
            table = Table("figure", "value", box=None, header_style="bold")
            for name, value in facts.items():
                table.add_row(
                    name.replace("_", " "), str(value) if isinstance(value, int) else f"{value:.5g}"
                )
            out.print(table)
