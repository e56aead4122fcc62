"""The core decides and the shell acts: every core module is held to that, and so is this test."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.rooms import (
    ROOT,
    SRC,
    Impurity,
    Room,
    core_modules,
    impurities,
    is_value,
    module_name,
    modules,
    parsed,
    room_of,
    shell_imports,
)

SOURCES = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}


def shown(module: str, found: list[Impurity]) -> list[str]:
    """One line for each impurity, as editors like them."""
    path = modules()[module].relative_to(ROOT)
    return [f"{path}:{impurity.line}: {impurity.what}" for impurity in found]


def test_every_module_is_said_to_be_core_or_shell() -> None:
    unknown = [name for name in SOURCES if room_of(name) is None]
    assert unknown == [], "name them in tests/rooms.py: core if they only decide, else shell"


@pytest.mark.parametrize("module", core_modules())
def test_a_core_module_touches_nothing_outside(module: str) -> None:
    assert shown(module, impurities(SOURCES[module])) == []


@pytest.mark.parametrize("module", core_modules())
def test_a_core_module_takes_only_values_from_the_shell(module: str) -> None:
    assert shown(module, list(shell_imports(module, SOURCES))) == []


def test_there_is_a_core() -> None:
    assert "libbarto.errors" in core_modules()


def test_the_keeper_imports_only_the_standard_library() -> None:
    foreign = [
        f"{name}: {imported}"
        for name, source in SOURCES.items()
        if f"{name}.".startswith("bartoc.keeper.")
        for imported in imported_modules(source)
        if imported.partition(".")[0] not in sys.stdlib_module_names
        and not f"{imported}.".startswith("bartoc.keeper.")
    ]
    assert foreign == []


def test_the_old_peer_imports_nothing_of_ours() -> None:
    ours = [
        f"{path.relative_to(ROOT)}: {imported}"
        for path in sorted((ROOT / "tests" / "peer_v1").rglob("*.py"))
        for imported in imported_modules(path.read_text(encoding="utf-8"))
        if imported.partition(".")[0] in {"libbarto", "bartos", "bartoc", "barto_cli"}
    ]
    assert ours == []


def imported_modules(source: str) -> list[str]:
    """Every module that a text imports, wherever in it."""
    found: list[str] = []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or ".")
    return found


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("async def f(): pass", "async def"),
        ("class P:\n async def f(self): ...", "async def"),
        ("async def f():\n await g()", "await"),
        ("async def f():\n async with a: pass", "async with"),
        ("async def f():\n async for a in b: pass", "async for"),
        ("async def f():\n return [a async for a in b]", "async for"),
        ("import asyncio", "imports asyncio"),
        ("import os.path", "imports os.path"),
        ("def f():\n import socket", "imports socket"),
        ("import time as t", "imports time"),
        ("from time import monotonic", "imports monotonic from time"),
        ("from os import environ", "imports environ from os"),
        ("from pathlib import Path", "imports Path from pathlib"),
        ("import pathlib", "imports pathlib"),
        ("from urllib.request import urlopen", "imports urlopen from urllib.request"),
        ("import secrets", "imports secrets"),
        ("import threading", "imports threading"),
        ("import subprocess", "imports subprocess"),
        ("import sqlite3", "imports sqlite3"),
        ("import logging", "imports logging"),
        ("import concurrent.futures", "imports concurrent.futures"),
        ("import random\nrandom.random()", "uses random.random"),
        ("import random as r\nr.shuffle(x)", "uses random.shuffle"),
        ("from random import choice", "imports choice from random"),
        ("import random\nrandom.Random()", "seeds Random from the host"),
        ("from random import Random\nRandom()", "seeds Random from the host"),
        ("import random\nrandom.SystemRandom()", "uses random.SystemRandom"),
        ("from uuid import uuid4", "imports uuid4 from uuid"),
        ("import uuid\nuuid.uuid4()", "uses uuid.uuid4"),
        ("from datetime import datetime\ndatetime.now(tz)", "uses datetime.now"),
        ("import datetime\ndatetime.datetime.utcnow()", "uses datetime.utcnow"),
        ("import datetime as dt\ndt.datetime.now()", "uses datetime.now"),
        ("from datetime import datetime as D\nD.now()", "uses D.now"),
        ("from datetime import date\ndate.today()", "uses date.today"),
        ("from datetime import datetime\nclock = datetime.now", "uses datetime.now"),
        ("moment.astimezone()", "reads the host's time zone"),
        ("datetime.fromtimestamp(0)", "reads the host's time zone"),
        ("open('x')", "uses open"),
        ("reader = open", "uses open"),
        ("print('x')", "uses print"),
        ("import sys\nsys.stdout.write('x')", "uses sys.stdout"),
        ("from sys import argv", "imports argv from sys"),
        ("__import__('os')", "uses __import__"),
        ("if x:\n import time", "imports time"),
        ("if TYPE_CHECKING:\n pass\nelse:\n import time", "imports time"),
    ],
)
def test_what_only_the_shell_may_do_is_caught(text: str, what: str) -> None:
    assert what in {impurity.what for impurity in impurities(text)}


@pytest.mark.parametrize(
    "text",
    [
        "import hashlib, hmac, struct, uuid, datetime, random, re",
        "from datetime import UTC, datetime\ndatetime.fromtimestamp(0, UTC)",
        "from datetime import datetime\ndatetime(2026, 1, 1).astimezone(zone)",
        "from pathlib import PurePosixPath",
        "from urllib.parse import quote",
        "import random\ndef f(rng: random.Random) -> float: return rng.uniform(0.0, 1.0)",
        "import random\nrandom.Random(7).random()",
        "import uuid\nuuid.UUID(bytes=b'')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n from libbarto.clock import Clock",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import asyncio",
        "def due(now: int) -> int: return now",
        "schedule.now(3)",
        "self.opened = True",
    ],
)
def test_what_the_core_may_do_is_not_caught(text: str) -> None:
    assert impurities(text) == []


def test_an_impurity_is_found_at_its_line() -> None:
    assert impurities("x = 1\n\nimport time\n") == [Impurity(3, "imports time")]


PORT = """
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Instant = int
SECOND: Instant = 1_000_000
BOOT = Path("/proc/boot_id")

@dataclass(frozen=True)
class Row:
    at: Instant = SECOND

class Stamp:
    def now(self): return time.time()

class Heir(Stamp):
    pass

class Store(Protocol):
    async def rows(self) -> list[Row]: ...

def later(row): return Row(row.at + SECOND)
def loop(): return asyncio.get_event_loop()
"""


@pytest.mark.parametrize("name", ["Instant", "SECOND", "Row", "later"])
def test_the_words_of_a_port_are_values(name: str) -> None:
    assert is_value(PORT, name)


@pytest.mark.parametrize(
    "name", ["BOOT", "Stamp", "Heir", "Store", "loop", "asyncio", "Path", "nowhere"]
)
def test_what_acts_is_no_value_even_by_way_of_another(name: str) -> None:
    assert not is_value(PORT, name)


def test_the_core_may_take_a_row_from_a_port_and_not_the_port() -> None:
    sources = {
        "bartoc.journal": PORT,
        "bartoc.worker": "from bartoc.journal import Row\nfrom bartoc.journal import Store\n",
    }
    assert list(shell_imports("bartoc.worker", sources)) == [
        Impurity(2, "imports Store from bartoc.journal (shell)")
    ]


def test_the_core_may_not_take_a_whole_shell_module() -> None:
    sources = {
        "bartoc.journal": PORT,
        "bartoc.worker": "import bartoc.journal\nfrom bartoc import journal\n",
    }
    assert [impurity.line for impurity in shell_imports("bartoc.worker", sources)] == [1, 2]


def test_the_longest_name_says_where_a_module_belongs() -> None:
    assert room_of("libbarto.realtime.units") is Room.CORE
    assert room_of("libbarto.realtime.zones") is Room.SHELL
    assert room_of("libbarto.message.v2.record") is Room.CORE
    assert room_of("bartos.store.port") is Room.SHELL


def test_a_new_file_cannot_hide_behind_its_package() -> None:
    assert room_of("bartos.surprise") is None
    assert room_of("bartos") is Room.CORE


def test_a_package_is_named_by_its_directory() -> None:
    assert module_name(SRC / "bartos" / "store" / "__init__.py") == "bartos.store"
    assert module_name(SRC / "bartos" / "hub.py") == "bartos.hub"
