"""The tutorial and the README, followed line by line as a reader on two hosts would.

Only what a test cannot have is replaced: the two hosts are two directories on one (as systemd's
units have them), the network is loopback, and what is due each minute is due each second.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.fleet import Process, until
from tests.keepers import end_keeper
from tests.mariadb import free_port

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ADDRESS = "127.0.0.2"
FIVE_MINUTES_S = 300.0

BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
EVERY = re.compile(r'^on_calendar = ".*?"', re.MULTILINE)


class Host:
    """A machine of the reader's: files of its own, and the programs on its PATH."""

    def __init__(self, directory: Path) -> None:
        self.configuration = directory / "etc"
        self.state = directory / "var"
        self.directory = directory
        for one in (self.configuration, self.state):
            one.mkdir(parents=True, mode=0o700)
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "CONFIGURATION_DIRECTORY": str(self.configuration),
            "STATE_DIRECTORY": str(self.state),
        }

    def in_background(self, program: str) -> Process:
        process = Process([str(BIN / program)], self.directory / f"{program}.log", self.environment)
        process.start()
        return process

    def says(self, line: str) -> str:
        """What a command line prints; it must end with 0."""
        done = subprocess.run(
            shlex.split(line, comments=True),
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout


class Reader:
    """Who follows a page: types each line of its blocks, and pastes what the server prints."""

    def __init__(self, directory: Path) -> None:
        self.server = Host(directory / "server")
        self.worker = Host(directory / "web1")
        self.port = free_port()
        self.join = ""
        self.typed: list[str] = []
        self.answers: dict[str, str] = {}
        self.running: list[Process] = []

    def follow(self, page: str) -> None:
        for block in BLOCK.finditer(page):
            if block["kind"] == "toml":
                self.write(block["text"])
            elif block["kind"] == "":
                for line in block["text"].splitlines():
                    self.type(line)

    def write(self, schedule: str) -> None:
        schedule, changed = EVERY.subn('on_calendar = "*:*:*"', schedule)
        assert changed == 1
        with (self.server.configuration / "bartos.toml").open("a") as file:
            file.write("\n" + schedule)
        bartos = self.running[0]
        until(lambda: "added hello" in bartos.log, "the log says what was added")
        until(lambda: "hello" in self.server.says("barto-cli runs"), "it has run")

    def type(self, line: str) -> None:
        command = line.partition("#")[0].strip().removesuffix("&").strip()
        self.typed.append(command)
        match command.split():
            case ["git", "clone", *_] | ["make", *_] | ["export", *_]:
                pass  # whoever runs this has done it
            case ["bartos", "init", "--listen", "0.0.0.0"]:
                self.server.says(f"bartos init --listen {ADDRESS} --port {self.port}")
            case ["bartos"]:
                self.running.append(self.server.in_background("bartos"))
                until(lambda: "listening on" in self.running[0].log, "it listens")
            case ["barto-cli", "worker", "add", _]:
                printed = self.server.says(command)
                found = re.search(r"bartoc join https://\S+ barto1-\S+", printed)
                assert found, printed
                self.join = found[0]
                assert f"https://{ADDRESS}:{self.port}" in self.join
            case ["bartoc", "join", *_]:
                self.worker.says(self.join)
            case ["bartoc"]:
                self.running.append(self.worker.in_background("bartoc"))
                until(lambda: "web1" in self.server.says("barto-cli clients"), "it is shown")
            case ["barto-cli", *_]:
                self.answers[command] = self.server.says(command)
            case _:
                raise AssertionError(f"what is a reader to do with {line!r}?")


@pytest.fixture
def reader() -> Iterator[Reader]:
    with tempfile.TemporaryDirectory(prefix="barto-") as directory:
        reader = Reader(Path(directory))
        try:
            yield reader
        finally:
            for process in reversed(reader.running):
                if process.is_running():
                    process.ends(signal.SIGTERM)
            end_keeper(reader.worker.state)


def section(page: str, title: str) -> str:
    """What stands below a heading, up to the next of its rank."""
    _, _, rest = page.partition(f"\n## {title}")
    assert rest, f"the README has no longer a section {title!r}"
    return rest.partition("\n## ")[0]


def test_the_tutorial_leads_to_a_first_run_on_a_second_host(reader: Reader) -> None:
    began = time.monotonic()
    reader.follow((ROOT / "docs/tutorial/first-schedule.md").read_text())
    assert {"bartos", "bartoc", "make setup"} <= set(reader.typed)
    assert "hello from" in reader.answers["barto-cli logs @last"]
    assert "hello" in reader.answers["barto-cli show @last"]
    assert time.monotonic() - began < FIVE_MINUTES_S
    server = reader.running[0]
    server.ends(signal.SIGTERM)
    away_from = time.time()
    time.sleep(2)  # the tutorial's few minutes without a server
    back = time.time()
    server.start()

    def told() -> bool:
        sql = (
            "SELECT count(*) FROM run WHERE verdict = 0 AND slot BETWEEN "
            f"{int(away_from * 1e6)} AND {int(back * 1e6)}"
        )
        try:
            return int(reader.server.says(f'barto-cli query -o csv -q "{sql}"').split()[-1]) >= 1
        except AssertionError:
            return False  # it is not up again yet

    until(told, "the runs of those minutes are there")


def test_the_readme_says_the_same_in_short(reader: Reader) -> None:
    reader.follow(section((ROOT / "README.md").read_text(), "A first schedule on a second host"))
    assert "hello from" in reader.answers["barto-cli logs @last"]
    assert any("web1" in said for line, said in reader.answers.items() if " query " in line)
