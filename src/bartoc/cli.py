"""The command `bartoc`: what the person at the keyboard may ask of the worker."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from libbarto import command_line as cli
from libbarto.errors import BartoError, ConfigError, ConnectionClosed

app = cli.Program(
    "bartoc",
    help="The worker of barto: fires its schedules, runs the commands, delivers what they print.",
)


@dataclass(frozen=True, slots=True)
class Given:
    """The options that stand before a command."""

    config: Path | None
    verbose: int
    quiet: int
    log_file: Path | None
    flags: dict[str, object]


def _given(context: cli.Context) -> Given:
    found = context.find_object(Given)
    assert found is not None
    return found


@app.callback(invoke_without_command=True)
def run(
    context: cli.Context,
    config: Annotated[
        Path | None,
        cli.Option(
            "-c",
            "--config",
            "--config-absolute-path",
            metavar="FILE",
            help="The bartoc.toml to read.",
        ),
    ] = None,
    verbose: Annotated[int, cli.Option("-v", "--verbose", count=True, help="Say more.")] = 0,
    quiet: Annotated[int, cli.Option("-q", "--quiet", count=True, help="Say less.")] = 0,
    enable_std_output: Annotated[
        bool, cli.Option("-e", "--enable-std-output", help="Log to the terminal as well.")
    ] = False,
    log_file: Annotated[
        Path | None,
        cli.Option("-t", "--tracing-absolute-path", metavar="FILE", help="Log to a file too."),
    ] = None,
    redb: Annotated[
        Path | None,
        cli.Option("-r", "--redb-absolute-path", hidden=True, help="Of barto 1.x; no effect."),
    ] = None,
    name: Annotated[
        str | None, cli.Option(metavar="NAME", help="What this worker is called.")
    ] = None,
    state_dir: Annotated[
        Path | None, cli.Option(metavar="DIRECTORY", help="Identity and journal.")
    ] = None,
    version: Annotated[
        bool, cli.Option("-V", "--version", help="Show the version and leave.")
    ] = False,
) -> None:
    """Run the worker in the foreground.

    SIGTERM stops it and leaves commands running; Ctrl-C and `bartoc stop` end them, too.
    """
    if version:
        from libbarto.build_info import build_info

        cli.echo(f"bartoc {build_info().version}")
        raise cli.Exit
    flags: dict[str, object] = {
        "name": name,
        "state_dir": None if state_dir is None else str(state_dir),
        "enable_std_output": enable_std_output or None,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    context.obj = Given(config, verbose, quiet, log_file, given)
    if context.invoked_subcommand is None:
        _work(context.obj)


def _work(given: Given) -> None:
    from bartoc.app import Options
    from bartoc.app import run as run_worker
    from bartoc.config import load_settings, state_dir
    from libbarto.config import start_logging
    from libbarto.envelope import PublicKey
    from libbarto.tls import client_context

    loaded = load_settings(given.config, flags=given.flags)
    settings = loaded.settings
    server = settings.bartos
    start_logging(loaded, given.verbose, given.quiet, given.log_file)
    if server.server_public_key is None:
        raise ConfigError(
            f"{loaded.path}: no server is known. On the server, `barto-cli worker add "
            f"{settings.worker_name}` prints the line that makes this host its worker"
        )
    endpoint = server.endpoint
    context = None
    if endpoint.secure:
        ca = None if server.ca_cert is None else _read(server.ca_cert, "bartos.ca_cert")
        context = client_context(ca, cert=server.client_cert, key=server.client_key)
    options = Options(
        name=settings.worker_name,
        state_dir=state_dir(loaded),
        url=endpoint.url(websocket=True),
        token=server.secret(),
        server_key=PublicKey.from_base64(server.server_public_key),
        ssl_context=context,
        labels=settings.labels,
        stop_timeout=settings.stop_timeout,
        keep=settings.spool.keep,
        keep_bytes=settings.spool.keep_max,
        spool_max=settings.spool.max,
        catch_up=settings.catch_up_s,
        roaming=settings.roaming,
        max_running=settings.max_running,
    )
    asyncio.run(run_worker(options))


def _read(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: {file} cannot be read: {error.strerror}") from error


@app.command()
def join(
    context: cli.Context,
    url: Annotated[str, cli.Argument("URL", help="https://SERVER:PORT")],
    code: Annotated[str, cli.Argument("CODE", help="What the server printed.")],
    replace: Annotated[
        bool, cli.Option("--replace", help="Also where this host has joined already.")
    ] = False,
) -> None:
    """Make this host a worker of the server at URL: writes bartoc.toml.

    Example: bartoc join https://192.0.2.1:21526 barto1-…
    """
    import os

    from bartoc.config import PROGRAM
    from bartoc.join import ask, write
    from libbarto.places import places

    given = _given(context)
    where = places(PROGRAM, os.environ)
    told = ask(url, code)
    state_dir = given.flags.get("state_dir")
    state = Path(str(state_dir)) if state_dir else where.state
    files = write(told, given.config or where.files[0], state.absolute(), replace=replace)
    cli.echo(f'this host is the worker "{told.name}" of {told.server.url()} now')
    for file in files:
        cli.echo(f"    wrote {file}")
    cli.echo("start it:  bartoc")


@app.command()
def stop(context: cli.Context) -> None:
    """Have the running worker end its commands and leave.

    Example: bartoc stop
    """
    from bartoc.app import stop as stop_worker
    from bartoc.config import load_settings, state_dir

    given = _given(context)
    loaded = load_settings(given.config, flags=given.flags)
    state = state_dir(loaded)
    patience = loaded.settings.stop_timeout + 15
    try:
        stopped = asyncio.run(stop_worker(state, patience))
    except TimeoutError:
        cli.echo(f"bartoc: it has not stopped within {patience:.0f} s", err=True)
        raise cli.Exit(1) from None
    cli.echo("stopped" if stopped else f"no bartoc runs on {state}")


def main() -> None:
    """The entry point."""
    try:
        sys.exit(app(program="bartoc"))
    except ConnectionClosed as error:
        cli.echo(f"bartoc: {error.reason}", err=True)
        sys.exit(3)
    except BartoError as error:
        cli.echo(f"bartoc: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
