"""The ledger that a command works on, and the anchors to compare it with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rescind.cli.chain_access import open_consortium

if TYPE_CHECKING:
    from rescind.contracts import Consortium
    from rescind.ledger import Ledger, MasterKey


class LedgerTarget:
    """A ledger named by its folder, its URL or a node's configuration.

    Attributes:
        where: Folder or database URL of the ledger.
        node: The node's configuration, or None.
    """

    def __init__(
        self,
        where: str | None,
        config: Path | None = None,
        key_file: Path | None = None,
        key_program: str | None = None,
    ) -> None:
        from rescind.core.errors import ConfigError

        self.node: Any = None
        if config is not None:
            from rescind import node
            from rescind.cli.toml_files import load_config

            self.node = load_config(config, node.NodeConfig)
        if where is None and self.node is None:
            raise ConfigError("Pass --ledger DIR_OR_URL or --config node.toml to select a ledger.")
        self.where: str | Path = where if where is not None else self.node.ledger.location
        self._key_file, self._program = key_file, key_program

    def key(self) -> MasterKey:
        """Load the master key: from the options, the node's configuration or beside the ledger."""
        import shlex

        from rescind.ledger import load_key

        if self._program is None and self._key_file is None and self.node is not None:
            return load_key(self.node.ledger.key_file, self.node.ledger.key_program)
        return load_key(self._key_file_or_default(), shlex.split(self._program or ""))

    def _key_file_or_default(self) -> Path | None:
        if self._key_file is not None or "://" in str(self.where):
            return self._key_file
        beside = Path(self.where).parent / "ledger.key"
        return beside if beside.is_file() else None

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        """Open the ledger, and close it at the end of the block."""
        from rescind.ledger import Ledger

        ran_ahead = 0 if self.node is None else self.node.ledger.ran_ahead
        with Ledger.open(self.where, self.key(), ran_ahead=ran_ahead) as ledger:
            yield ledger

    def chain(
        self,
        run: Path | None,
        rpc: Sequence[str] | None,
        contracts: Path | None,
        organization: str | None,
    ) -> tuple[Consortium, str] | None:
        """Return the consortium and the address whose anchors count, or None if no chain was named.

        Raises:
            ConfigError: Only one of chain and organization was given.
        """
        from rescind.core.errors import ConfigError

        if self.node is not None and run is None and not rpc:
            from rescind.daemon import load_account
            from rescind.daemon import open_consortium as open_configured_consortium

            address = organization or load_account(self.node.identity).address
            return open_configured_consortium(self.node.chain), address
        if run is None and not rpc and contracts is None:
            if organization is not None:
                raise ConfigError(
                    "Pass --run RUN, or --rpc URL and --contracts FILE, to select the chain."
                )
            return None
        if organization is None:
            raise ConfigError("Pass --organization ADDRESS to select whose anchors to compare.")
        return open_consortium(run, rpc, contracts), organization


def anchors(chain: tuple[Consortium, str] | None) -> list[tuple[int, str]]:
    """Return the (size, root) pairs that the organization anchored on chain, oldest first."""
    from rescind.audit import anchors_of

    return [] if chain is None else [(size, root) for size, root, _ in anchors_of(*chain)]
