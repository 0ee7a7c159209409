"""Open a consortium's contracts from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rescind.cli.endpoints import NamedEndpoints
from rescind.cli.printing import reported_errors
from rescind.cli.toml_files import load_config
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.contracts import Chain, Consortium


@contextmanager
def node_account(config: Path) -> Iterator[tuple[Consortium, str]]:
    """Open a consortium with a node's key for one command, which reports its errors.

    Args:
        config: The node's TOML file.

    Yields:
        The consortium, and the address of the account.
    """
    from rescind import node
    from rescind.daemon import load_account, open_consortium

    with reported_errors():
        loaded = load_config(config, node.NodeConfig)
        account = load_account(loaded.identity)
        yield open_consortium(loaded.chain, account), account.address


def sending_chain(
    rpc: Sequence[str],
    confirmations: int,
    max_fee_gwei: float | None,
    chain_id: int | None = None,
) -> Chain:
    """Return a chain for a command that sends transactions.

    Args:
        rpc: The values of --rpc.
        confirmations: How many blocks must lie on top of a final one.
        max_fee_gwei: Most gwei for a unit of gas; None for the default.
        chain_id: The expected chain; None accepts any.
    """
    from rescind.contracts import Chain

    named = NamedEndpoints.of(rpc)
    chain = Chain(named.urls, chain_id, confirmations=confirmations, agree=named.agree)
    if max_fee_gwei is not None:
        chain.sending.max_fee_gwei = max_fee_gwei
    return chain


@contextmanager
def stopped_chain_hint(run: Path | None) -> Iterator[None]:
    """Say in errors of an unreachable chain how to start it, if it is the chain of a run.

    Raises:
        ChainUnavailable: No node answers.
    """
    from rescind.contracts import ChainUnavailable

    try:
        yield
    except ChainUnavailable as error:
        if run is None:
            raise
        raise ChainUnavailable(
            f"{error} Start the run's chain again: rescind devnet up {run}"
        ) from error


def check_run(run: Path) -> None:
    """Check that a path is the folder of a run, before libraries are loaded that take seconds.

    Raises:
        ConfigError: It is not.
    """
    from rescind.devnet import RunFolder

    RunFolder.find(run)


def open_consortium(
    run: Path | None,
    rpc: Sequence[str] | None,
    contracts: Path | None,
    index: Path | None = None,
    confirmations: int = 0,
) -> Consortium:
    """Open a consortium's contracts for reading.

    Args:
        run: The folder of a run, whose chain and contracts are the defaults.
        rpc: URLs of Ethereum nodes; without a run the environment may name them instead.
        contracts: The consortium's contracts.json.
        index: A file for events; without it they are read again for each command.
        confirmations: How many blocks must lie on top of a final one.

    Raises:
        ConfigError: Neither a run nor both other arguments were given.
        ChainUnavailable: No node answers; for a run the message says how to start its chain.
    """
    from rescind.contracts import Chain, Consortium, Deployment, EventIndex
    from rescind.devnet import RunFolder
    from rescind.devnet.chain import url_of

    named = NamedEndpoints.of(rpc) if rpc or run is None else NamedEndpoints(())
    if run is not None:
        folder = RunFolder.find(run)
        if not named.urls:
            named = NamedEndpoints((url_of(folder.facts().chain_port),))
        contracts = contracts or folder.contracts
    if not named.urls or contracts is None:
        raise ConfigError("Pass the folder of a run, or both --rpc URL and --contracts FILE.")
    deployment = Deployment.load(contracts)
    with stopped_chain_hint(run):
        chain = Chain(
            named.urls, deployment.chain_id, confirmations=confirmations, agree=named.agree
        )
        events = EventIndex(chain, deployment, index)
        consortium = Consortium(chain, deployment, index=events)
        consortium.check()
    return consortium
