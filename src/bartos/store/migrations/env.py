"""What Alembic runs: the steps, on the connection that the caller hands over."""

from alembic import context

from bartos.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # MariaDB commits with each statement of a step; each step is written to be repeatable.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
