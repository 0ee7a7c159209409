"""The command line.

Commands import what they need when they are called, so that the command line starts quickly and runs
without torch wherever torch is not needed.
"""

from __future__ import annotations

import sys

import typer

from rescind.cli.agents import agents_app
from rescind.cli.attest import attest_app
from rescind.cli.audit import audit_app
from rescind.cli.audit_models import models_app
from rescind.cli.authority import authority_app
from rescind.cli.base_models import model_app
from rescind.cli.daemons import aggregator_app, node_app
from rescind.cli.data import data_app
from rescind.cli.demo import demo_command
from rescind.cli.devnet import devnet_app
from rescind.cli.evaluate import evaluate_app
from rescind.cli.export import export_command
from rescind.cli.founder import admit_command, deploy_command, revoke_command, sweep_command
from rescind.cli.govern import govern_app
from rescind.cli.ledger import ledger_app
from rescind.cli.ledger_checkpoints import checkpoints_app
from rescind.cli.ledger_maintenance import maintenance_app
from rescind.cli.ledger_proofs import proofs_app
from rescind.cli.model import ask_command, chat_command
from rescind.cli.moves import moves_app
from rescind.cli.organization import org_app
from rescind.cli.outbox import outbox_app
from rescind.cli.printing import show_unexpected_errors
from rescind.cli.repetition import repetition_app
from rescind.cli.rewards import rewards_app
from rescind.cli.rounds import round_app
from rescind.cli.serve import serve_command
from rescind.cli.verify import certify_command, verify_command
from rescind.cli.withdraw import withdraw_app

app = typer.Typer(
    name="rescind",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train a language model together, on record, and take your data back.",
)
app.command("demo")(demo_command)
app.command("ask")(ask_command)
app.command("chat")(chat_command)
app.command("serve")(serve_command)
app.command("verify")(verify_command)
app.command("certify")(certify_command)
app.command("export")(export_command)
app.command("deploy")(deploy_command)
app.command("admit")(admit_command)
app.command("revoke")(revoke_command)
app.command("sweep")(sweep_command)
audit_app.add_typer(models_app)
audit_app.add_typer(attest_app)
audit_app.add_typer(repetition_app)
app.add_typer(audit_app, name="audit")
app.add_typer(govern_app, name="govern")
app.add_typer(model_app, name="model")
app.add_typer(agents_app, name="agents")
app.add_typer(evaluate_app, name="evaluate")
withdraw_app.add_typer(moves_app)
app.add_typer(withdraw_app, name="withdraw")
app.add_typer(rewards_app, name="rewards")
app.add_typer(round_app, name="round")
app.add_typer(outbox_app, name="outbox")
org_app.add_typer(authority_app)
app.add_typer(org_app, name="org")
app.add_typer(data_app, name="data")
app.add_typer(node_app, name="node")
app.add_typer(aggregator_app, name="aggregator")
ledger_app.add_typer(proofs_app)
ledger_app.add_typer(maintenance_app)
ledger_app.add_typer(checkpoints_app)
app.add_typer(ledger_app, name="ledger")
app.add_typer(devnet_app, name="devnet")


def main() -> None:
    """Run the command line."""
    show_unexpected_errors()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
