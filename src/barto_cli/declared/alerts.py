"""Which commands are about alerts?"""

from __future__ import annotations

from typing import Annotated

from barto_cli.declared.common import Output, Utc, given_by
from libbarto import command_line as cli

commands = cli.Program("alerts", help="Alerts")

alerts = cli.Program("alerts", help="Who is told of failures.")
commands.add(alerts)


@alerts.command("test")
def alerts_test(
    context: cli.Context,
    channel: Annotated[
        str | None,
        cli.Option("--channel", metavar="NAME", help="Only this: command, webhook or mail."),
    ] = None,
    output: Output = None,
    utc: Utc = False,
) -> None:
    """Send a test message by every channel that is configured, and say what came of each.

    Shows the last heartbeat as well. Ends with 1 where a channel failed.

    Examples:
        barto-cli alerts test
        barto-cli alerts test --channel mail
    """
    from barto_cli.commands import alerts

    with given_by(context, output, utc) as given:
        code = alerts.test(given, channel)
    raise cli.Exit(code)
