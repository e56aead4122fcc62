"""The command `bartos`: what the person at the keyboard may ask of the server."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from libbarto import command_line as cli
from libbarto.errors import BartoError, ConfigError, StoreUnavailable

if TYPE_CHECKING:
    from bartos.app import Bartos
    from bartos.config import Configuration
    from bartos.editing import Draft
    from bartos.plan import WorkerFacts
    from bartos.schedules import Definition

app = cli.Program(
    "bartos",
    help="The server of barto: keeps schedules, holds the workers, stores every run.",
)

Config = Annotated[
    Path | None,
    cli.Option(
        "-c", "--config", "--config-absolute-path", metavar="FILE", help="The bartos.toml to read."
    ),
]


@dataclass(frozen=True, slots=True)
class Given:
    """The options that stand before a command."""

    config: Path | None
    verbose: int
    quiet: int
    log_file: Path | None
    flags: dict[str, object]


def _given(context: cli.Context, config: Path | None = None) -> Given:
    """The options before the command; `-c` may stand behind it as well."""
    found = context.find_object(Given)
    assert found is not None
    return found if config is None else replace(found, config=config)


@app.callback(invoke_without_command=True)
def run(
    context: cli.Context,
    config: Config = None,
    verbose: Annotated[int, cli.Option("-v", "--verbose", count=True, help="Say more.")] = 0,
    quiet: Annotated[int, cli.Option("-q", "--quiet", count=True, help="Say less.")] = 0,
    enable_std_output: Annotated[
        bool, cli.Option("-e", "--enable-std-output", help="Log to the terminal as well.")
    ] = False,
    log_file: Annotated[
        Path | None,
        cli.Option("-t", "--tracing-absolute-path", metavar="FILE", help="Log to a file too."),
    ] = None,
    listen: Annotated[
        str | None, cli.Option(metavar="ADDRESS", help="The address to listen on.")
    ] = None,
    port: Annotated[int | None, cli.Option(metavar="PORT", help="The port.")] = None,
    state_dir: Annotated[
        Path | None, cli.Option(metavar="DIRECTORY", help="Keys and the embedded database.")
    ] = None,
    version: Annotated[
        bool, cli.Option("-V", "--version", help="Show the version and leave.")
    ] = False,
) -> None:
    """Run the server in the foreground. A first one also does what `bartos init` does."""
    if version:
        from libbarto.build_info import build_info

        cli.echo(f"bartos {build_info().version}")
        raise cli.Exit
    flags: dict[str, object] = {
        "listen": listen,
        "port": port,
        "state_dir": None if state_dir is None else str(state_dir),
    }
    if enable_std_output:
        flags["enable_std_output"] = True
    given = {key: value for key, value in flags.items() if value is not None}
    context.obj = Given(config, verbose, quiet, log_file, given)
    if context.invoked_subcommand is None:
        _serve(context.obj)


def _serve(given: Given) -> None:
    from bartos.app import Bartos, StateLock, identity_of
    from bartos.config import Configuration, load_all, load_settings, main_file
    from bartos.init import Paths, ensure_initialised
    from libbarto.clock import SystemClock
    from libbarto.config import start_logging
    from libbarto.places import schedule_files
    from libbarto.settings import InvalidConfig

    def read() -> Configuration:
        return load_all(given.config, flags=given.flags)

    loaded = load_settings(given.config, flags=given.flags)
    settings = loaded.settings
    state = settings.state_dir or loaded.places.state
    start_logging(loaded, given.verbose, given.quiet, given.log_file)
    lock = StateLock(state)
    lock.take()
    try:
        paths = Paths(loaded.path, state)
        initialised = ensure_initialised(
            paths,
            SystemClock().now(),
            secrets.token_bytes,
            reached_as=settings.reached_as,
            write_config=given.config is None,
        )
        try:
            configuration = read()
        except InvalidConfig:
            main = main_file(given.config)
            files = (main, *schedule_files(main))
            configuration = Configuration(loaded, (), files, usable=False)
        identity = identity_of(configuration.settings, initialised)

        async def serve() -> None:
            server = Bartos(configuration, identity, initialised.host.addresses, read)
            server.handle_signals()
            _banner(server, configuration)
            await server.run()

        _run(serve())
    finally:
        lock.release()


def _run(work: Coroutine[Any, Any, None]) -> None:
    import uvloop

    uvloop.run(work)


def _banner(server: Bartos, configuration: Configuration) -> None:
    """What a person wants to see first."""
    from bartos.app import store_settings
    from libbarto.build_info import build_info

    store = store_settings(configuration).described
    alone = configuration.settings.listen in {"127.0.0.1", "::1", "localhost"}
    lines = [
        f"bartos {build_info().version}   config {configuration.described}   store {store}",
        f"listening on {server.url}"
        + (" (this host only). Let others in:  bartos init --listen 0.0.0.0" if alone else ""),
        "add a worker:  barto-cli worker add NAME     what ran:  barto-cli runs     "
        "pages:  barto-cli web",
    ]
    print("\n".join(lines), file=sys.stderr, flush=True)


@app.command()
def init(
    context: cli.Context,
    config: Config = None,
    listen: Annotated[
        str | None, cli.Option(metavar="ADDRESS", help='The address to listen on: "0.0.0.0".')
    ] = None,
    port: Annotated[int | None, cli.Option(metavar="PORT", help="The port.")] = None,
) -> None:
    """Make bartos.toml, the server's key, a small CA and its certificate.

    What is there stays as it is.

    Example: bartos init --listen 0.0.0.0
    """
    from bartos.config import load_settings
    from bartos.init import LOOPBACK, Paths, ensure_initialised, report
    from bartos.listening import check_address
    from libbarto.clock import SystemClock

    given = _given(context, config)
    wanted = {"listen": listen, "port": port}
    flags = {**given.flags, **{key: value for key, value in wanted.items() if value is not None}}
    loaded = load_settings(given.config, flags=flags)  # what is no address or port is told here
    if listen is not None:
        check_address(listen)
    state_dir = given.flags.get("state_dir")
    made = ensure_initialised(
        Paths(loaded.path, loaded.settings.state_dir or loaded.places.state),
        SystemClock().now(),
        secrets.token_bytes,
        reached_as=loaded.settings.reached_as,
        listen=listen,
        port=port,
        state_dir=None if state_dir is None else str(Path(str(state_dir)).absolute()),
    )
    cli.echo(report(made, listen=listen or LOOPBACK, named=given.config is not None))


@app.command()
def check(
    context: cli.Context,
    config: Config = None,
    files: Annotated[list[Path] | None, cli.Argument("FILE", help="The files to check.")] = None,
) -> None:
    """Read the configuration as a start would, and say what is wrong or probably not meant.

    Works without a server. Exit code 1 where something is wrong.

    Example: bartos check /etc/barto/bartos.toml
    """
    from bartos.config import check_files
    from libbarto.clock import SystemClock

    given = _given(context, config)
    report = check_files(
        files or (),
        path=given.config,
        workers=_known_workers(given),
        now=SystemClock().now(),
    )
    cli.echo(str(report))
    raise cli.Exit(report.exit_code)


def _known_workers(given: Given) -> list[WorkerFacts] | None:
    """The workers that the embedded database knows; None where nobody can be asked."""
    known = _known(given)
    return None if known is None else known[0]


def _known(given: Given) -> tuple[list[WorkerFacts], list[Definition]] | None:
    """The workers and the schedules in force, as the embedded database has them; None where
    nobody can be asked."""
    from bartos.config import load_settings
    from bartos.planning import facts_of
    from bartos.schedules import from_json
    from bartos.store.settings import SqliteSettings
    from bartos.store.sql import pending, reader

    try:
        loaded = load_settings(given.config, flags=given.flags)
    except ConfigError:
        return None  # what is wrong is said by the check itself
    state = loaded.settings.state_dir or loaded.places.state
    database = loaded.settings.sqlite.path or state / "barto.db"
    if loaded.settings.mariadb is not None or not database.exists():
        return None

    async def ask() -> tuple[list[WorkerFacts], list[Definition]] | None:
        wanted = SqliteSettings(database)
        if await pending(wanted):
            return None  # a check changes nothing, not even the database's form
        store = reader(wanted)
        try:
            workers = [facts_of(row) for row in await store.workers()]
            return workers, [from_json(row.definition) for row in await store.schedules()]
        finally:
            await store.close()

    return asyncio.run(ask())


@app.command()
def edit(
    context: cli.Context,
    config: Config = None,
    name: Annotated[
        str | None, cli.Argument("NAME", help="The schedule to go to; left out: bartos.toml.")
    ] = None,
    yes: Annotated[
        bool, cli.Option("-y", "--yes", help="Install what is right without asking.")
    ] = False,
) -> None:
    """Change the configuration in your editor ($VISUAL, $EDITOR): a copy of it, which is checked
    and shown as a plan, and takes the file's place when you say yes. The old one stays beside it.

    Examples:
        bartos edit backup
        bartos edit
    """
    import shutil

    from bartos.config import main_file
    from bartos.editing import Draft, editor, find

    given = _given(context, config)
    main = main_file(given.config)
    draft = Draft(find(name, main))
    raise cli.Exit(_edit(given, main, draft, editor(os.environ, shutil.which), yes=yes))


def _edit(given: Given, main: Path, draft: Draft, program: list[str], *, yes: bool) -> int:
    """Edit until it is right and wanted, or given up; the exit code."""
    terminal = sys.stdin.isatty()
    line = draft.spot.line
    while True:
        draft.edit(program, line)
        if draft.text == draft.before:
            draft.drop()
            cli.echo("nothing changed")
            return 0
        faulty, line = _show_draft(given, main, draft)
        if faulty:
            if terminal and _answer("edit it again? [Y/n] ", "y") == "y":
                continue
            cli.echo(f"nothing changed; yours is {draft.file}", err=True)
            return 2
        word = "y" if yes else "n"
        if terminal and not yes:
            word = _answer("install it? [y/N/e, to edit again] ", "n")
        elif not yes:
            cli.echo("without a terminal --yes says that it is to be installed", err=True)
        if word == "e":
            continue
        if word != "y":
            cli.echo(f"nothing changed; yours is {draft.file}", err=True)
            return 0 if terminal else 2
        old = draft.install()
        draft.drop()
        cli.echo(f"installed; the old one is {old}")
        cli.echo(_when_it_counts(given))
        return 0


def _answer(question: str, default: str) -> str:
    """The first letter of what the person says."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return (sys.stdin.readline().strip().lower() or default)[:1]


def _show_draft(given: Given, main: Path, draft: Draft) -> tuple[bool, int]:
    """Show what a draft would do; whether it is faulty, and the line of its first fault."""
    import shutil
    from datetime import datetime

    from bartos.api.plan import answer
    from bartos.editing import ask_server
    from libbarto.clock import SystemClock
    from libbarto.config import read_text
    from libbarto.places import SOCKET, schedule_files, shown_path
    from libbarto.planned import Look, plan_lines

    texts = [(shown_path(it), read_text(it) or "") for it in (main, *schedule_files(main))]
    mine = shown_path(draft.spot.file)
    texts = [(file, draft.text if file == mine else text) for file, text in texts]
    found = ask_server(_state(given) / SOCKET, texts)
    if found is None:
        workers, old = _known(given) or (None, _in_place(given))
        if workers is None:
            cli.echo("no server runs here: which workers there are is not known", err=True)
        found = answer(texts, old, workers, SystemClock().now()).model_dump(mode="json")

    def shown(text: str) -> str:
        return datetime.fromisoformat(text).astimezone().strftime("%a %d %b %H:%M:%S")

    zone = datetime.now().astimezone().tzname() or ""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in plan_lines(found, Look(shown, zone, width)):
        cli.echo(line)
    errors = [
        it["line"] for it in found["findings"] if it["kind"] == "error" and it["file"] == mine
    ]
    return not found["usable"], min(errors, default=draft.spot.line)


def _in_place(given: Given) -> list[Definition]:
    """The schedules as the files have them; none where these are faulty."""
    from bartos.config import load_all

    try:
        return list(load_all(given.config, flags=given.flags).definitions)
    except ConfigError:
        return []


def _state(given: Given) -> Path:
    """The server's state directory, where the configuration in place says so."""
    from bartos.config import load_settings
    from libbarto.places import places

    try:
        loaded = load_settings(given.config, flags=given.flags)
    except ConfigError:
        return places("bartos", os.environ).state
    return loaded.settings.state_dir or loaded.places.state


def _when_it_counts(given: Given) -> str:
    """When the server goes by what was installed."""
    from bartos.app import StateLock

    if StateLock(_state(given)).holder() is None:
        return "no server runs here; it counts when one starts"
    return "the server reads it within seconds; its log says what changed"


@app.command()
def migrate(
    context: cli.Context,
    config: Config = None,
    check_only: Annotated[
        bool, cli.Option("--check", help="Only say what is to be done; exit code 6 if anything.")
    ] = False,
) -> None:
    """Bring the database to the form that this version needs. A start does it, too.

    Example: bartos migrate --check
    """
    from bartos.app import store_settings
    from bartos.config import load_all
    from bartos.store.sql import migrate as bring
    from bartos.store.sql import pending

    given = _given(context, config)
    wanted = store_settings(load_all(given.config, flags=given.flags))
    steps = asyncio.run(pending(wanted) if check_only else bring(wanted))
    for step in steps:
        cli.echo(step)
    if not steps:
        cli.echo(f"{wanted.described}: nothing to do")
    if steps and check_only:
        raise cli.Exit(6)


@app.command()
def reload(
    context: cli.Context,
    config: Config = None,
    yes: Annotated[
        bool, cli.Option("--yes", help="Also where it removes most of the schedules.")
    ] = False,
) -> None:
    """Have the running server read its configuration again.

    Example: bartos reload --yes
    """
    from bartos.app import CONFIRMATION, StateLock
    from bartos.config import check_files, load_settings

    given = _given(context, config)
    loaded = load_settings(given.config, flags=given.flags)
    state = loaded.settings.state_dir or loaded.places.state
    pid = StateLock(state).holder()
    if pid is None:
        cli.echo(f"bartos: no server runs on {state}", err=True)
        raise cli.Exit(3)
    report = check_files(path=given.config)
    if report.faults:
        cli.echo(str(report), err=True)
        raise cli.Exit(2)
    if yes:
        (state / CONFIRMATION).touch(mode=0o600)
    os.kill(pid, signal.SIGHUP)
    cli.echo("asked; the server's log says what changed")


@app.command()
def demo(
    for_: Annotated[
        str | None, cli.Option("--for", metavar="DURATION", help="End by itself, as after 30s.")
    ] = None,
) -> None:
    """A server, a worker and a few schedules on this host, live before your eyes.

    Everything is in a temporary directory, and gone afterwards.

    Example: bartos demo --for 30s
    """
    from bartos.demo import run_demo
    from libbarto.quantity import parse_duration

    raise cli.Exit(run_demo(None if for_ is None else parse_duration(for_)))


def main() -> None:
    """The entry point."""
    try:
        sys.exit(app(program="bartos"))
    except StoreUnavailable as error:
        cli.echo(f"bartos: the database does not answer: {error}", err=True)
        sys.exit(3)
    except BartoError as error:
        cli.echo(f"bartos: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 2))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
