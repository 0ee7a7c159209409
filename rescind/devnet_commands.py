"""rescind devnet up|down|status"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescind.console import out, print_json, reported_errors

devnet_app = typer.Typer(no_args_is_help=True, help="The chain of a run on this machine.")
RunArgument = Annotated[Path, typer.Argument(help="The folder of a run.")]


@devnet_app.command("up")
def devnet_up(run: RunArgument) -> None:
    """Bring the run's chain back, in the background."""
    from devnet.chain import free_port, port_is_free, running_chain, start_chain, url_of
    from devnet.layout import RunFolder

    with reported_errors():
        folder = RunFolder(run.resolve())
        facts = folder.facts()
        if running_chain(folder.chain) is not None:
            out.print(f"up already: {url_of(facts.chain_port)}")
            return
        if not port_is_free(facts.chain_port):
            facts.chain_port = free_port()
            folder.save(facts)
            out.print("its port is taken, so it comes back on another one")
        start_chain(folder.chain, facts.chain_port)
        out.print(f"up: {url_of(facts.chain_port)}")


@devnet_app.command("down")
def devnet_down(run: RunArgument) -> None:
    """Stop the run's chain; its state is kept."""
    from devnet.chain import stop_chain
    from devnet.layout import RunFolder

    with reported_errors():
        folder = RunFolder(run.resolve())
        folder.facts()
        out.print("down" if stop_chain(folder.chain) else "was not up")


@devnet_app.command("status")
def devnet_status(
    run: RunArgument, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Whether the run's chain is up, and where."""
    from devnet.chain import running_chain, url_of
    from devnet.layout import RunFolder

    with reported_errors():
        folder = RunFolder(run.resolve())
        facts = folder.facts()
        pid = running_chain(folder.chain)
        found = {
            "up": pid is not None,
            "rpc_url": url_of(facts.chain_port) if pid else None,
            "pid": pid,
            "organizations": facts.organizations,
            "withdrawn": facts.withdrawn,
        }
        if as_json:
            print_json(found)
        else:
            for key, value in found.items():
                out.print(f"{key}: {value}", markup=False)
