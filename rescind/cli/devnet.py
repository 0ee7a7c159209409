"""rescind devnet up|down|status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rescind.cli.options import RequiredRunArgument
from rescind.cli.printing import out, print_json, reported_errors
from rescind.core.errors import ChainError

devnet_app = typer.Typer(no_args_is_help=True, help="The chain of a run on this machine.")


@devnet_app.command("init")
def devnet_init(
    run: Annotated[Path, typer.Argument(help="A new folder.")],
    rpc: Annotated[str, typer.Option("--rpc", help="URL of a running Anvil or Hardhat.")],
    orgs: Annotated[int, typer.Option(help="Number of organizations.")] = 3,
    rounds: Annotated[int, typer.Option(help="Number of rounds.")] = 3,
    aggregator: Annotated[
        str, typer.Option(help="Host and port by which nodes reach the aggregator.")
    ] = "localhost:50051",
    seed: Annotated[int, typer.Option(help="Seed of people, training and agents.")] = 0,
) -> None:
    """Set up identities, contracts, admissions and configuration files on a running chain.

    Does nothing if the folder already holds a consortium, so that you can run it at every start.
    """
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from rescind.devnet import RunFolder
    from rescind.devnet.chain import check_chain

    with reported_errors():
        folder = RunFolder(run.resolve())
        if folder.facts_file.is_file():
            out.print(f"{folder.root} already holds a consortium.")
            return
        check_chain(rpc)
        # Only now, because the training libraries take seconds to load.
        from rescind.devnet.demo import prepare

        facts = prepare(folder, rpc, orgs, rounds, aggregator, seed)
        for name, address in facts.organizations.items():
            out.print(f"{name}: {address}")


@devnet_app.command("up")
def devnet_up(run: RequiredRunArgument) -> None:
    """Start the run's chain again, in the background. Only Anvil keeps one to start."""
    from rescind.devnet import RunFolder
    from rescind.devnet.chain import (
        free_port,
        port_is_free,
        running_chain,
        start_chain,
        url_of,
    )

    with reported_errors():
        folder = RunFolder(run.resolve())
        facts = folder.facts()
        if running_chain(folder.chain) is not None:
            out.print(f"already up: {url_of(facts.chain_port)}")
            return
        if facts.chain == "hardhat":
            raise ChainError(
                f"Hardhat kept the chain of {folder.root} in memory, and it ended with its process. "
                "Start a new run. With --chain anvil a chain is kept in the run's folder."
            )
        if not port_is_free(facts.chain_port):
            facts.chain_port = free_port()
            folder.save(facts)
            out.print("The run's port is taken; the chain starts on another one.")
        start_chain(folder.chain, facts.chain_port, facts.chain)
        out.print(f"up: {url_of(facts.chain_port)}")


@devnet_app.command("down")
def devnet_down(run: RequiredRunArgument) -> None:
    """Stop the run's chain. Anvil keeps its state in the run's folder, Hardhat keeps none."""
    from rescind.devnet import RunFolder
    from rescind.devnet.chain import stop_chain

    with reported_errors():
        folder = RunFolder(run.resolve())
        folder.facts()
        out.print("down" if stop_chain(folder.chain) else "The chain was not running.")


@devnet_app.command("status")
def devnet_status(
    run: RequiredRunArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show whether the run's chain is up, and its URL."""
    from rescind.devnet import RunFolder
    from rescind.devnet.chain import running_chain, url_of

    with reported_errors():
        folder = RunFolder(run.resolve())
        facts = folder.facts()
        pid = running_chain(folder.chain)
        status = {
            "up": pid is not None,
            "chain": facts.chain,
            "rpc_url": url_of(facts.chain_port) if pid else None,
            "pid": pid,
            "organizations": facts.organizations,
            "withdrawn": facts.withdrawn,
        }
        if as_json:
            print_json(status)
        else:
            for key, value in status.items():
                out.print(f"{key}: {value}", markup=False)
