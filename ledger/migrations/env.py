"""Run by Alembic, over the connection that ledger.database gives it."""

from alembic import context

from rescind.ledger import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
