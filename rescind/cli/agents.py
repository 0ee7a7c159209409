"""Commands of `rescind agents`: train, evaluate, sweep, report, trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from rescind.cli.options import JsonOption
from rescind.cli.printing import (
    out,
    plain,
    print_json,
    reported_errors,
)
from rescind.core.errors import AgentError, ConfigError

if TYPE_CHECKING:
    from rescind.agents.experiments import Experiment
    from rescind.agents.experiments.store import RunFolder

agents_app = typer.Typer(no_args_is_help=True, help="Participation strategies: learn and compare.")

ExperimentArgument = Annotated[Path, typer.Argument(help="The experiment's TOML file.")]
FolderOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the results; runs/agents/NAME by default.")
]


@agents_app.command("train")
def agents_train(
    experiment: ExperimentArgument,
    learner: Annotated[
        str | None, typer.Option(help="Learner to train, if the file has several.")
    ] = None,
    folder: FolderOption = None,
) -> None:
    """Train a learner in the game and write policy files that nodes can load."""
    with reported_errors():
        from rescind.agents.experiments.policies import train_policies

        document = _read(experiment)
        cells = [c for c in document.cells() if learner in (None, c.learner.title, c.learner.name)]
        if not cells:
            titles = ", ".join(sorted({section.title for section in document.learner}))
            raise ConfigError(
                f"--learner {learner} is not in {experiment}. Choose one of: {titles}."
            )
        policies = (folder or Path("runs/agents") / document.experiment.name) / "policies"
        for cell in cells:
            target = policies if len(cells) == 1 else policies / cell.key
            files = train_policies(cell, target)
            cell_title = ", ".join(part for part in (cell.learner.title, cell.label) if part)
            _say(f"{cell_title}: {len(files)} policies in {target}")


@agents_app.command("evaluate")
def agents_evaluate(
    experiment: ExperimentArgument,
    policies: Annotated[
        list[Path], typer.Argument(help="One policy for all organizations, or one for each.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Play an experiment's games with policies from files, without learning."""
    with reported_errors():
        from rescind.agents.experiments.policies import evaluate_policies
        from rescind.agents.experiments.statistics import estimate

        rows = []
        seen: set[str] = set()
        for cell in _read(experiment).cells():
            if cell.label in seen:
                continue
            seen.add(cell.label)
            played = evaluate_policies(cell, policies)
            of = played.by_round
            rows.append(
                {
                    "game": cell.label or cell.section.name,
                    "participation": estimate([of["participation"].mean(axis=(0, 1))]),
                    "quality": estimate([of["quality"][:, -1].mean(axis=0)]),
                    "welfare": estimate([of["welfare"].sum(axis=1).mean(axis=0)]),
                    "net": estimate([played.by_organization["net"].mean(axis=1)]),
                }
            )
        if as_json:
            print_json([{k: v if k == "game" else vars(v) for k, v in r.items()} for r in rows])
            return
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
        out.print(table)


@agents_app.command("sweep")
def agents_sweep(
    experiment: ExperimentArgument,
    folder: FolderOption = None,
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Processes on this machine; one for each core by default."),
    ] = None,
    ray: Annotated[
        str | None, typer.Option(help="A Ray cluster's address, or 'local' to start one.")
    ] = None,
) -> None:
    """Run an experiment's missing cells, then report. An interrupted sweep continues."""
    with reported_errors():
        if processes is not None and ray is not None:
            raise ConfigError(
                "--processes is for this machine and --ray for a cluster. Give only one of them."
            )
        document = _read(experiment)
        results = _folder(folder or Path("runs/agents") / document.experiment.name)
        from rescind.agents.experiments.sweep import sweep

        sweep(document, results, say=_say, processes=processes, ray_address=ray)
        _report(results)


@agents_app.command("report")
def agents_report(
    folder: Annotated[Path, typer.Argument(help="Folder of an experiment, as sweep wrote it.")],
) -> None:
    """Write the report again from the folder's results.json."""
    with reported_errors():
        _report(_folder(folder))


@agents_app.command("trace")
def agents_trace(
    trace: Annotated[Path, typer.Argument(help="A run's trace.jsonl.")],
    as_json: JsonOption = False,
) -> None:
    """Fit the game's learning curve to a run's trace."""
    with reported_errors():
        from rescind.agents import read_trace
        from rescind.agents.curves import fit

        rows = read_trace(trace)
        curve, error = fit(rows)
        if as_json:
            print_json({**curve.model_dump(), "error": error, "rounds": len(rows)})
            return
        _say(f"# fitted to {len(rows)} rounds, root mean square error {error:.3f} of quality")
        _say("[game.curve]")
        for name, value in curve.model_dump().items():
            _say(f"{name} = {value:.4g}")


def _say(text: str) -> None:
    out.print(plain(text), soft_wrap=True)


def _read(path: Path) -> Experiment:
    try:
        from rescind.agents.experiments import read_experiment
    except ImportError as error:
        raise _missing_package(error) from error
    return read_experiment(path)


def _folder(path: Path) -> RunFolder:
    try:
        from rescind.agents.experiments.store import RunFolder
    except ImportError as error:
        raise _missing_package(error) from error
    return RunFolder(path)


def _missing_package(error: ImportError) -> AgentError:
    return AgentError(f"experiments need {error.name}. Run: pip install 'rescind[agents]'")


def _report(folder: RunFolder) -> None:
    from rescind.agents.experiments.report import as_text, write_report
    from rescind.agents.experiments.results import read_results

    results = read_results(folder)
    path = write_report(results, folder)
    header, *rows = as_text(results)
    table = Table(*header, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(width=max(out.width, 160), highlight=False).print(table)
    _say(f"These are interquartile means; intervals, plots and verdicts are in {path}")
