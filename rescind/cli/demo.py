"""rescind demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rescind.cli.data import MapOption
from rescind.cli.demo_display import DemoDisplay
from rescind.cli.demo_tables import person_sentence, tables
from rescind.cli.parsing import assignments
from rescind.cli.printing import (
    err,
    interrupt_on_sigterm,
    out,
    print_json,
    reported_errors,
)
from rescind.cli.transformers_output import quiet_transformers

if TYPE_CHECKING:
    from rescind.devnet.chain import ChainKind
    from rescind.devnet.demo import DemoResult


def demo_command(
    orgs: Annotated[
        int | None,
        typer.Option(help="Number of organizations. Default: 4, or one for each data file."),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Number of rounds. Default: what suits the base model.")
    ] = None,
    withdraw: Annotated[
        str | None, typer.Option(help="Organization that withdraws. Default: the first.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="A folder with a data file or folder for each organization."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="A data file or a folder of data files with questions for testing. Default: a tenth "
            "of each file of --data."
        ),
    ] = None,
    mapping: MapOption = None,
    model: Annotated[
        str, typer.Option(help="Base model: tiny, smollm2, a folder or a hub id.")
    ] = "tiny",
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option(
            help="Type of the frozen weights. Default: that of the model's files, or float32 where "
            "the machine does not multiply bfloat16 in hardware."
        ),
    ] = None,
    coupling: Annotated[
        Literal["isolated", "federated", "hybrid", "split"] | None,
        typer.Option(
            help="How the organizations train. Default: hybrid, or isolated where answers are not "
            "labels."
        ),
    ] = None,
    router: Annotated[
        Literal["likelihood", "sums"],
        typer.Option(
            help="How a question finds its block: by the likelihood of each, or by sums over all "
            "members' questions (hybrid only)."
        ),
    ] = "likelihood",
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for runs.")] = Path("runs"),
    seed: Annotated[int, typer.Option(help="Seed of people, training and agents.")] = 0,
    chain: Annotated[
        Literal["anvil", "hardhat"],
        typer.Option(help="The chain. Hardhat's is in memory, and runs on until devnet down."),
    ] = "anvil",
    as_json: Annotated[bool, typer.Option("--json", help="Print only summary.json.")] = False,
) -> None:
    """Run a consortium on this machine: train, withdraw, remove, compare, certify."""
    interrupt_on_sigterm()
    with reported_errors():
        with DemoDisplay(err) as display, quiet_transformers():
            if model == "tiny":
                # It loads while this process does. A real base may get more threads.
                from rescind.devnet.forking import ready

                ready(1)
            from rescind.devnet.demo import demo
            from rescind.devnet.preparing import DemoOptions
            from rescind.training import ReadOptions

            options = DemoOptions(
                orgs=orgs,
                rounds=rounds,
                withdraw=withdraw,
                data=data,
                test=test,
                read=ReadOptions.of(assignments(mapping or [])),
                model=model,
                dtype=dtype,
                coupling=coupling,
                router=router,
                out=out_dir,
                seed=seed,
                chain=chain,
            )
            result = demo(options, display.say, display.show, began=display.began)
        if as_json:
            print_json(result.summary.model_dump(mode="json"))
        else:
            _show(result)


def _show(result: DemoResult) -> None:
    from rescind.devnet.summary import without_of

    summary, run = result.summary, result.run
    for table, explanation in tables(summary):
        out.print(table)
        out.print(f"{explanation}\n")
    withdrawal, withdrawn = summary.withdrawal, summary.withdrawal.organization
    same = "the same bytes" if withdrawal.exact else "other bytes"
    left_out = without_of(summary.coupling, withdrawn)
    out.print(
        f"Removal took {withdrawal.removal_seconds:.2f} s, from the mined request until another "
        f"node had opened the model without {withdrawn}. The run without {left_out} took "
        f"{withdrawal.replay_seconds:.1f} s ({withdrawal.speedup:.0f} times as long); both models "
        f"are [bold]{same}[/bold]."
    )
    if summary.coupling == "split":
        out.print(
            f"{withdrawn}'s revocable data was in its private ranks alone, which are gone. Its "
            "terms are out of the shared ranks too; what others learned from its public data in "
            "later rounds stays."
        )
    if withdrawal.person is not None:
        out.print(person_sentence(withdrawal.person))
    for goal in summary.goals:
        mark = "[green]met[/green]   " if goal.met else "[red]missed[/red]"
        out.print(f"  {mark}  {goal.name}: {goal.measured} (wanted {goal.wanted})")
    out.print(f"\nTotal {summary.timing.total_seconds:.0f} s. In {_short(run.root)}:")
    out.print(
        "  report.html  summary.json  certificate.json  trace.jsonl  and a log for each daemon\n"
    )
    _next_steps(_short(run.root), run.facts().chain, withdrawn, result)


def _next_steps(run: str, chain: ChainKind, withdrawn: str, result: DemoResult) -> None:
    question, skill = result.question, result.skill_question
    lines = [
        # Hardhat's chain still runs.
        *([f"rescind devnet up {run}"] if chain == "anvil" else []),
        f"rescind verify {run}/certificate.json",
        f"rescind audit contributions {run}",
        f"rescind audit lineage {run}",
        f"rescind audit models {run} --organization {withdrawn}",
        f"rescind audit members {run}",
        f'rescind ask {run} "{question}"',
        f'rescind ask {run} "{question}" --before-withdrawal',
        *([f'rescind ask {run} "{skill}" --why'] if skill else []),
        f"rescind chat {run}",
        f"rescind ledger verify {run}/orgs/{withdrawn}/ledger",
        f"rescind devnet down {run}",
    ]
    out.print("[bold]Next, try[/bold] (rescind is .venv/bin/rescind):")
    for line in lines:
        out.print(f"  {line}", soft_wrap=True, markup=False)


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
