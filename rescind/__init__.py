"""The command line, configuration files, logging and exit codes."""

from rescind.config import load_config
from rescind.exit_codes import EXIT_CODES, exit_code

__all__ = ["EXIT_CODES", "exit_code", "load_config"]
