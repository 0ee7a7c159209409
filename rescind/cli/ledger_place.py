"""Which ledger a command is about, and which organization's anchors on which chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescind.cli.public_record import open_record

if TYPE_CHECKING:
    from rescind.contracts import Consortium
    from rescind.ledger import Ledger, MasterKey


WhereOption = Annotated[
    str | None,
    typer.Option("--ledger", envvar="RESCIND_LEDGER", help="A folder, or postgresql://..."),
]
WhereArgument = Annotated[str | None, typer.Argument(help="The same as --ledger.", metavar="DIR")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A node's node.toml, in place of --ledger.")
]
KeyOption = Annotated[
    Path | None, typer.Option("--key-file", help="Its key; else RESCIND_LEDGER_KEY.")
]
ProgramOption = Annotated[
    str | None, typer.Option("--key-program", help="A program that asks a key service, with words.")
]
OrganizationOption = Annotated[
    str | None, typer.Option("--organization", help="Address whose anchors on chain are meant.")
]
RunOption = Annotated[
    Path | None, typer.Option("--run", help="The folder of a run, in place of --rpc, --contracts.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The file to write.")]


class Place:
    """By folder or URL, or by the configuration of a node."""

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
            raise ConfigError("which ledger? Give --ledger DIR_OR_URL, or --config node.toml")
        self.where: str | Path = where if where is not None else self.node.ledger.where
        self._key_file, self._program = key_file, key_program

    def key(self) -> MasterKey:
        import shlex

        from rescind.ledger import load_key

        if self._program is None and self._key_file is None and self.node is not None:
            return load_key(self.node.ledger.key_file, self.node.ledger.key_program)
        return load_key(self._file(), shlex.split(self._program or ""))

    def _file(self) -> Path | None:
        if self._key_file is not None or "://" in str(self.where):
            return self._key_file
        beside = Path(self.where).parent / "ledger.key"
        return beside if beside.is_file() else None

    @contextmanager
    def opened(self) -> Iterator[Ledger]:
        from rescind.ledger import Ledger

        with Ledger.open(self.where, self.key()) as ledger:
            yield ledger

    def chain(
        self,
        run: Path | None,
        rpc: str | None,
        contracts: Path | None,
        organization: str | None,
    ) -> tuple[Consortium, str] | None:
        """None when no chain was named."""
        from rescind.core.errors import ConfigError

        if self.node is not None and run is None and rpc is None:
            from rescind.daemon import load_account, open_consortium

            who = organization or load_account(self.node.identity).address
            return open_consortium(self.node.chain), who
        if run is None and rpc is None and contracts is None:
            if organization is not None:
                raise ConfigError("which chain? Give --run RUN, or --rpc URL and --contracts FILE")
            return None
        if organization is None:
            raise ConfigError("whose anchors? Give --organization ADDRESS")
        return open_record(run, rpc, contracts), organization


def anchors(chain: tuple[Consortium, str] | None) -> list[tuple[int, str]]:
    from rescind.audit import anchors_of

    return [] if chain is None else [(size, root) for size, root, _ in anchors_of(*chain)]
