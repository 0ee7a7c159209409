"""The command line, one file per command group.

It exports no names: the entry point is `rescind.cli.main.main`.
"""

__all__: list[str] = []
