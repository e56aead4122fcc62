"""Which module of src/ is core and which is shell, and what may a core module not do?

The core takes values and returns values. The shell has the loop, the clock, files and sockets.
Every module is one or the other: one that is not in these tables fails `make check`, so a new file
states where it belongs. Purity is judged from the source, without running it.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
PACKAGES = ("libbarto", "bartos", "bartoc", "barto_cli")


class Room(Enum):
    """Where a module belongs."""

    CORE = "core"
    SHELL = "shell"


# A name stands for the module or for the package with all in it; the longest name that fits counts.
ROOMS: dict[str, Room] = {
    "libbarto.errors": Room.CORE,
    "libbarto.codec": Room.CORE,
    "libbarto.message": Room.CORE,
    "libbarto.realtime": Room.CORE,
    # The one room of the calendar that opens files: it finds the rules of a time zone in tzdata.
    # They are data of a release, not state of the host, so the calendar may call it.
    "libbarto.realtime.zones": Room.SHELL,
    "libbarto.schedule": Room.CORE,
    "libbarto.timing": Room.CORE,
    "libbarto.triggers": Room.CORE,
    "libbarto.findings": Room.CORE,
    "libbarto.planned": Room.CORE,
    "libbarto.identity": Room.CORE,
    "libbarto.envelope": Room.CORE,
    "libbarto.session": Room.CORE,
    "libbarto.selector": Room.CORE,
    "libbarto.quantity": Room.CORE,
    "libbarto.joincode": Room.CORE,
    "libbarto.toml_lines": Room.CORE,
    "libbarto.toml_text": Room.CORE,
    "libbarto.settings": Room.CORE,
    "libbarto.harmless": Room.CORE,
    "libbarto.brief": Room.CORE,
    "libbarto.states": Room.CORE,
    "libbarto.backoff": Room.CORE,
    "libbarto.build_info": Room.SHELL,
    "libbarto.clock": Room.SHELL,
    "libbarto.places": Room.SHELL,
    "libbarto.unix_http": Room.SHELL,
    "libbarto.mailbox": Room.SHELL,
    "libbarto.transport": Room.SHELL,
    "libbarto.websocket": Room.SHELL,
    "libbarto.tls": Room.SHELL,
    "libbarto.command_line": Room.SHELL,
    "libbarto.config": Room.SHELL,
    "libbarto.tracing": Room.SHELL,
    "libbarto.testing": Room.SHELL,
    "bartos.hub": Room.CORE,
    "bartos.alerts": Room.CORE,
    "bartos.alert_text": Room.CORE,
    "bartos.alert_settings": Room.SHELL,
    "bartos.alerting": Room.SHELL,
    "bartos.channels": Room.SHELL,
    "bartos.outgoing": Room.SHELL,
    "bartos.heartbeat": Room.SHELL,
    "bartos.plan": Room.CORE,
    "bartos.schedules": Room.CORE,
    "bartos.check": Room.CORE,
    "bartos.init": Room.SHELL,
    "bartos.dispatcher": Room.CORE,
    "bartos.dispatch_events": Room.CORE,
    "bartos.floating": Room.CORE,
    "bartos.dispatching": Room.SHELL,
    "bartos.acting": Room.SHELL,
    "bartos.ledger": Room.CORE,
    "bartos.checksum": Room.CORE,
    "bartos.nearest": Room.CORE,
    "bartos.planning": Room.CORE,
    "bartos.exits": Room.CORE,
    "bartos.why": Room.CORE,
    "bartos.why_words": Room.CORE,
    "bartos.asking_why": Room.SHELL,
    "bartos.presence": Room.SHELL,
    "bartos.tail": Room.SHELL,
    "bartos.outlook": Room.CORE,
    "bartos.describing": Room.CORE,
    "bartos.preview": Room.CORE,
    "bartos.transcript": Room.CORE,
    "bartos.ansi": Room.CORE,
    "bartos.searching": Room.CORE,
    "bartos.explaining": Room.CORE,
    "bartos.hourly": Room.CORE,
    "bartos.folding": Room.CORE,
    "bartos.dayline": Room.CORE,
    "bartos.updates": Room.CORE,
    "bartos.commands": Room.SHELL,
    "bartos.demo": Room.SHELL,
    "bartos.services": Room.SHELL,
    "bartos.writer": Room.SHELL,
    "bartos.feed": Room.SHELL,
    "bartos.overview": Room.SHELL,
    "bartos.news": Room.SHELL,
    "bartos.audit": Room.SHELL,
    "bartos.watch": Room.SHELL,
    "bartos.store": Room.SHELL,
    "bartos.store.coverage": Room.CORE,
    "bartos.server": Room.SHELL,
    "bartos.endpoints": Room.SHELL,
    "bartos.api": Room.SHELL,
    "bartos.web": Room.SHELL,
    "bartos.web.strip": Room.CORE,
    "bartos.web.words": Room.CORE,
    "bartos.sessions": Room.CORE,
    "bartos.config": Room.SHELL,
    "bartos.app": Room.SHELL,
    "bartos.editing": Room.SHELL,
    "bartos.ending": Room.SHELL,
    "bartos.enrolment": Room.SHELL,
    "bartos.listening": Room.SHELL,
    "bartos.reload": Room.SHELL,
    "bartos.cli": Room.SHELL,
    "bartoc.worker": Room.CORE,
    "bartoc.chunker": Room.CORE,
    "bartoc.books": Room.CORE,
    "bartoc.clockwork": Room.CORE,
    "bartoc.deciding": Room.CORE,
    "bartoc.events": Room.CORE,
    "bartoc.following": Room.CORE,
    "bartoc.orders": Room.CORE,
    "bartoc.overlap": Room.CORE,
    "bartoc.running": Room.CORE,
    "bartoc.sets": Room.CORE,
    "bartoc.starting": Room.CORE,
    "bartoc.waiting": Room.CORE,
    "bartoc.agent": Room.SHELL,
    "bartoc.facts": Room.SHELL,
    "bartoc.join": Room.SHELL,
    "bartoc.ballast": Room.SHELL,
    "bartoc.pace": Room.CORE,
    "bartoc.pressure": Room.CORE,
    "bartoc.renewal": Room.CORE,
    "bartoc.salvage": Room.SHELL,
    "bartoc.seals": Room.SHELL,
    "bartoc.state": Room.SHELL,
    "bartoc.witness": Room.SHELL,
    "bartoc.journal": Room.SHELL,
    "bartoc.journal_memory": Room.SHELL,
    "bartoc.journal_sqlite": Room.SHELL,
    "bartoc.journal_tables": Room.SHELL,
    "bartoc.keeper_runner": Room.SHELL,
    "bartoc.keeper": Room.SHELL,
    "bartoc.runner": Room.SHELL,
    "bartoc.connection": Room.SHELL,
    "bartoc.config": Room.SHELL,
    "bartoc.app": Room.SHELL,
    "bartoc.cli": Room.SHELL,
    "barto_cli.commands": Room.SHELL,
    "barto_cli.render": Room.SHELL,
    "barto_cli.client": Room.SHELL,
    "barto_cli.app": Room.SHELL,
    "barto_cli.asked": Room.CORE,
    "barto_cli.declared": Room.SHELL,
    "barto_cli.ending": Room.SHELL,
    "barto_cli.completion": Room.SHELL,
    "barto_cli.config": Room.SHELL,
    "barto_cli.files": Room.SHELL,
    "barto_cli.given": Room.SHELL,
    "barto_cli.importing": Room.SHELL,
    "barto_cli.importing.jobs": Room.CORE,
    "barto_cli.importing.crontab": Room.CORE,
    "barto_cli.importing.execs": Room.CORE,
    "barto_cli.importing.units": Room.CORE,
    "barto_cli.importing.host": Room.SHELL,
    "barto_cli.importing.disabling": Room.SHELL,
    "barto_cli.events": Room.CORE,
    "barto_cli.lines": Room.CORE,
    "barto_cli.progress": Room.SHELL,
    "barto_cli.target": Room.SHELL,
    "barto_cli.times": Room.SHELL,
    # A package's own `__init__` says what is in it.
    **dict.fromkeys(PACKAGES, Room.CORE),
}

# What a core module may call although it is shell; the reason is at its line above.
TRUSTED = frozenset({"libbarto.realtime.zones"})

# Modules that are the outside world: a core module does not import them.
# fmt: off
FORBIDDEN_MODULES = frozenset({
    "aiosqlite", "anyio", "asyncio", "asyncmy", "concurrent", "ctypes", "fcntl", "getpass", "glob",
    "http", "importlib", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "platform",
    "platformdirs", "psutil", "pty", "resource", "sched", "secrets", "select", "selectors",
    "shutil", "signal", "socket", "socketserver", "sqlalchemy", "sqlite3", "ssl", "subprocess",
    "tempfile", "termios", "threading", "time", "tty", "urllib", "uvicorn", "uvloop", "websockets",
})
# fmt: on
# Parts of them that are plain functions of their arguments.
ALLOWED_PARTS = {
    "pathlib": {"PurePath", "PurePosixPath"},
    "urllib": {"parse"},
    "urllib.parse": None,
    "io": {"BytesIO", "StringIO"},
}
# Modules of which only some parts are the outside world.
FORBIDDEN_PARTS = {
    "uuid": {"uuid1", "uuid4", "uuid6", "uuid7", "getnode"},
    "sys": {"argv", "stdin", "stdout", "stderr"},
}
# `exec` is not among them: the codec compiles annotations to code, values in and values out.
FORBIDDEN_CALLS = frozenset({"open", "print", "input", "__import__", "breakpoint"})
# Methods that read the clock, or the zone that this host is set to.
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
CLOCK_OWNERS = frozenset({"datetime", "date", "dt"})


@dataclass(frozen=True)
class Impurity:
    """One thing in a core module that only the shell may do."""

    line: int
    what: str


def module_name(path: Path) -> str:
    """`libbarto.realtime.zones` for src/libbarto/realtime/zones.py; a package is its `__init__`."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    """Every module in src/, by name."""
    paths = sorted(path for package in PACKAGES for path in (SRC / package).rglob("*.py"))
    return {module_name(path): path for path in paths}


def room_of(module: str) -> Room | None:
    """Core or shell, or None if nobody has said."""
    if module in ROOMS:
        return ROOMS[module]
    parts = module.split(".")
    # A top-level package speaks for its `__init__` alone: every file in it is named by itself.
    for length in range(len(parts) - 1, 1, -1):
        room = ROOMS.get(".".join(parts[:length]))
        if room is not None:
            return room
    return None


def core_modules() -> dict[str, Path]:
    """Every core module that exists, by name."""
    return {name: path for name, path in modules().items() if room_of(name) is Room.CORE}


def impurities(source: str) -> list[Impurity]:
    """What in this text only the shell may do, in order of lines.

    >>> impurities("import time")
    [Impurity(line=1, what='imports time')]
    """
    found = Finder()
    found.visit(parsed(source))
    return sorted(set(found.impurities), key=lambda impurity: (impurity.line, impurity.what))


def parsed(source: str) -> ast.Module:
    """The syntax tree of a text.

    Without the garbage collector: on Python 3.11.2, Debian 12's, `ast.parse` fails if a collection
    amid it prints a traceback, which parses too (python/cpython#106905).
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if collecting:
            gc.enable()


class Finder(ast.NodeVisitor):
    """Walks a module and collects what only the shell may do."""

    def __init__(self) -> None:
        self.impurities: list[Impurity] = []
        # What names mean here: `t` after `import time as t` is "time".
        self._modules: dict[str, str] = {}

    def _add(self, node: ast.stmt | ast.expr | ast.comprehension, what: str) -> None:
        line = node.target.lineno if isinstance(node, ast.comprehension) else node.lineno
        self.impurities.append(Impurity(line, what))

    def visit_If(self, node: ast.If) -> None:
        # What only type checkers read is not imported at all.
        if ast.unparse(node.test) not in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            self.visit(node.test)
            for statement in node.body:
                self.visit(statement)
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._modules[alias.asname or alias.name.partition(".")[0]] = alias.name
            if is_forbidden(alias.name):
                self._add(node, f"imports {alias.name}")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        for alias in node.names:
            if node.level == 0 and is_forbidden(module, alias.name):
                self._add(node, f"imports {alias.name} from {module}")
            if module == "random" and alias.name not in {"Random"}:
                self._add(node, f"imports {alias.name} from random")
            if module in {"random", "datetime"} and node.level == 0:
                self._modules[alias.asname or alias.name] = f"{module}.{alias.name}"

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._add(node, "async def")
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        self._add(node, "await")
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._add(node, "async for")
        self.generic_visit(node)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._add(node, "async with")
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            self._add(node, "async for")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name):
            owner = self._modules.get(node.value.id, "")
            if node.attr in FORBIDDEN_PARTS.get(owner, ()):
                self._add(node, f"uses {owner}.{node.attr}")
            if owner == "random" and node.attr != "Random":
                self._add(node, f"uses random.{node.attr}")
        # `datetime.now`, `dt.datetime.now`, `date.today`: called or handed on.
        if node.attr in CLOCK_METHODS:
            owner = ast.unparse(node.value).rpartition(".")[2]
            if owner in CLOCK_OWNERS or self._modules.get(owner, "").startswith("datetime."):
                self._add(node, f"uses {owner}.{node.attr}")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in FORBIDDEN_CALLS:
            self._add(node, f"uses {node.id}")

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        bare = not node.args and not node.keywords
        if bare and self._is_random_class(function):
            self._add(node, "seeds Random from the host")
        if isinstance(function, ast.Attribute):
            if function.attr == "astimezone" and bare:
                self._add(node, "reads the host's time zone")
            if function.attr == "fromtimestamp" and len(node.args) + len(node.keywords) == 1:
                self._add(node, "reads the host's time zone")
        self.generic_visit(node)

    def _is_random_class(self, function: ast.expr) -> bool:
        if isinstance(function, ast.Name):
            return self._modules.get(function.id) == "random.Random"
        return (
            isinstance(function, ast.Attribute)
            and function.attr == "Random"
            and isinstance(function.value, ast.Name)
            and self._modules.get(function.value.id) == "random"
        )


def is_forbidden(module: str, name: str | None = None) -> bool:
    """Whether a core module may not `import module` or `from module import name`."""
    if name is not None and name in FORBIDDEN_PARTS.get(module, ()):
        return True
    if module.partition(".")[0] not in FORBIDDEN_MODULES:
        return False
    if module in ALLOWED_PARTS:
        allowed = ALLOWED_PARTS[module]
        return allowed is not None and name not in allowed
    return True


def shell_imports(module: str, sources: dict[str, str]) -> Iterator[Impurity]:
    """What core `module` takes from the shell, except values: constants, types and plain classes.

    A port lives in the shell because it is `async`, yet its words (rows, events, `Instant`) are
    values, and the core speaks them. So a name may be imported from a shell module if its own text
    there, and what that refers to, is pure.
    """
    for node in runtime_imports(parsed(sources[module])):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in sources and is_shell(alias.name):
                    yield Impurity(node.lineno, f"imports {alias.name}, which is shell")
            continue
        if node.level or node.module is None or node.module.partition(".")[0] not in PACKAGES:
            continue
        for alias in node.names:
            if is_shell(f"{node.module}.{alias.name}") and f"{node.module}.{alias.name}" in sources:
                yield Impurity(node.lineno, f"imports {node.module}.{alias.name}, which is shell")
            elif (
                is_shell(node.module)
                and node.module in sources
                and not is_value(sources[node.module], alias.name)
            ):
                yield Impurity(node.lineno, f"imports {alias.name} from {node.module} (shell)")


def is_shell(module: str) -> bool:
    """Whether the core has to keep away from it."""
    return room_of(module) is not Room.CORE and module not in TRUSTED


def runtime_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports, wherever they stand, that are not for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from runtime_imports(node)


def bindings(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str, str | None]]:
    """Each name that an import binds, its module and, for `from … import`, the part of it."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            yield alias.asname or alias.name.partition(".")[0], alias.name, None
        else:
            yield alias.asname or alias.name, node.module or "", alias.name


def is_value(source: str, name: str) -> bool:
    """Whether `name`, defined at the top of this text, is pure with all that it refers to there."""
    tree = parsed(source)
    definitions = dict(top_level(tree))
    outside = {
        bound
        for node in runtime_imports(tree)
        for bound, module, part in bindings(node)
        if is_forbidden(module, part)
    }
    waiting, seen = [name], set[str]()
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in outside:
            return False
        definition = definitions.get(current)
        if definition is None:
            # Imported from somewhere else, or a built-in: its own module answers for it.
            if current == name:
                return False
            continue
        finder = Finder()
        finder.visit(definition)
        if finder.impurities:
            return False
        waiting += [node.id for node in ast.walk(definition) if isinstance(node, ast.Name)]
    return True


def top_level(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The names that a module defines at its top, with the statement that does."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                yield name, node
            case ast.AsyncFunctionDef(name=name):
                yield name, node
            case ast.Assign(targets=targets):
                yield from ((target.id, node) for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case _:
                pass
