"""Run the command line: python -m rescind."""

from rescind.cli.main import main

main()
