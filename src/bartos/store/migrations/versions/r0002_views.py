"""Views: readable times for people, and the columns of barto 1.x for queries written for it."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

VERDICTS = ("ok", "failed", "timed_out", "cancelled", "skipped", "missed", "interrupted", "lost")


def upgrade() -> None:
    lite = op.get_bind().dialect.name == "sqlite"

    def time(column: str) -> str:
        """An instant as text, in UTC."""
        if lite:
            whole = f"strftime('%Y-%m-%d %H:%M:%S', {column} / 1000000, 'unixepoch')"
            return f"({whole} || printf('.%06d', {column} % 1000000))"
        # FROM_UNIXTIME would use the session's zone.
        return f"(TIMESTAMP'1970-01-01 00:00:00' + INTERVAL {column} MICROSECOND)"

    def uuid(column: str) -> str:
        text = f"lower(hex({column}))"
        parts = [f"substr({text}, {start}, {size})" for start, size in _UUID_PARTS]
        return (
            "(" + " || '-' || ".join(parts) + ")" if lite else f"concat_ws('-', {', '.join(parts)})"
        )

    # A chunk of one segment tells its stream (libbarto.message.v2.segment); of several, none does.
    kinds = "WHEN '0101' THEN 'stdout' WHEN '0102' THEN 'stderr' WHEN '0103' THEN 'barto'"
    words = " ".join(f"WHEN {number} THEN '{word}'" for number, word in enumerate(VERDICTS))
    views = {
        "runs": f"""
            SELECT {uuid("run_id")} AS run, attempt, schedule, worker,
                   {time("slot")} AS planned, {time("claimed_at")} AS claimed,
                   {time("started_at")} AS started, {time("ended_at")} AS ended,
                   CASE verdict {words} ELSE 'running' END AS verdict,
                   reason, exit_code, {_quoted("signal", lite)}, late_us / 1e6 AS late_s,
                   (ended_at - started_at) / 1e6 AS duration_s,
                   bytes_out, bytes_err, cut_bytes, cut_lines
            FROM run""",
        "slots": f"""
            SELECT schedule, worker, {time("first_slot")} AS first_planned,
                   {time("last_slot")} AS last_planned, {_quoted("count", lite)},
                   CASE verdict {words} END AS verdict, reason
            FROM slot_range""",
        "output_v1": f"""
            SELECT {time("output.started_at")} AS timestamp, run.worker_uid AS bartoc_uuid,
                   run.worker AS bartoc_name, output.run_id AS cmd_uuid,
                   substr(run.schedule, instr(run.schedule, '/') + 1) AS cmd_name,
                   CASE substr(hex(output.segments), 1, 4) {kinds} ELSE 'output' END AS kind,
                   output.data AS data
            FROM output JOIN run ON run.run_id = output.run_id""",
        "exit_status_v1": f"""
            SELECT {time("ended_at")} AS timestamp, run_id AS cmd_uuid, exit_code, success
            FROM exit_status""",
    }
    for name, text in views.items():
        op.execute(f"DROP VIEW IF EXISTS {name}")
        op.execute(f"CREATE VIEW {name} AS {text}".replace(":", "\\:"))


def downgrade() -> None:
    for name in ("runs", "slots", "output_v1", "exit_status_v1"):
        op.execute(f"DROP VIEW IF EXISTS {name}")


_UUID_PARTS = ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))


def _quoted(name: str, lite: bool) -> str:
    return f'"{name}"' if lite else f"`{name}`"
