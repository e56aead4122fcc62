"""`bartos demo`: the whole of barto on this host for a while, told live as it happens.

A server in this process, on a free loopback port with a database of its own, and one bartoc beside
it, joined as a second host would. All of it is in a temporary directory, and gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from bartos.app import Bartos, identity_of
from bartos.config import Configuration, load_all
from bartos.init import Paths, ensure_initialised
from bartos.store.port import Batch
from libbarto import tracing
from libbarto.clock import SystemClock
from libbarto.errors import ConfigError
from libbarto.message.v2.record import Claimed, Cut, Decided, Ended, Lane, Output, Stream, Verdict
from libbarto.message.v2.segment import unpack
from libbarto.places import SOCKET
from libbarto.toml_text import toml_text

WORKER: Final = "demo"
END_COMMANDS_S: Final = 20.0
LINES_SHOWN: Final = 3
NAME_WIDTH: Final = 9
QUERY: Final = "SELECT schedule, count(*) FROM run GROUP BY schedule"

COLOURS: Final = {
    Verdict.OK: "#56B4E9",
    Verdict.FAILED: "#FF8A80",
    Verdict.TIMED_OUT: "#FF8A80",
    Verdict.LOST: "#FF8A80",
    Verdict.CANCELLED: "#9AA0A6",
    Verdict.SKIPPED: "#9AA0A6",
    Verdict.MISSED: "#9AA0A6",
    Verdict.INTERRUPTED: "#CE93D8",
}
SHAPES: Final = {Verdict.OK: "●", Verdict.FAILED: "■", Verdict.TIMED_OUT: "■", Verdict.LOST: "■"}


def run_demo(seconds: float | None) -> int:
    """Run the demo for so many seconds, or until Ctrl-C; returns the exit code: 0 if runs were
    stored."""
    directory = Path(tempfile.mkdtemp(prefix="barto-demo-"))
    try:
        return asyncio.run(_Demo(directory, seconds).run())
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def demo_schedules() -> Path:
    """The file of schedules: beside this module in an installed barto, else in `examples/`."""
    for place in (
        Path(__file__).with_name("demo.toml"),
        Path(__file__).parents[2] / "examples" / "demo.toml",
    ):
        if place.exists():
            return place
    raise ConfigError("the demo's schedules (demo.toml) are not part of this installation")


class View:
    """What happens, one line each, as it is committed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._names: dict[bytes, str] = {}
        self._ends: list[Ended] = []
        self._output_seq = 0
        self._shown: Counter[bytes] = Counter()
        self.verdicts: Counter[Verdict] = Counter()
        self.output_bytes = 0

    def committed(self, batch: Batch) -> None:
        """Tell of a batch that is safe in the database now."""
        for record in batch.records:
            match record:
                case Claimed():
                    self._names[record.run_id] = record.schedule
                    late = f"{record.late_us / 1000:.0f} ms after its time"
                    self._line(record.schedule, "▷", f"starts, {late}", "dim")
                case Output():
                    self._output(record)
                case Cut():
                    size = record.to_offset - record.from_offset
                    self._line(self._name(record.run_id), "⋯", f"{size:,} bytes left out", "dim")
                case Ended():
                    # State travels first: the end is told when what was printed is here too.
                    self._ends.append(record)
                case Decided():
                    verdict = Verdict(record.verdict)
                    self.verdicts[verdict] += record.count
                    text = f"{verdict.word} {record.count}: {record.reason}"
                    self._line(record.schedule, "○", text, COLOURS[verdict])
                case _:
                    pass
        if batch.lane is Lane.OUTPUT:
            self._output_seq = batch.last_seq
        for end in [end for end in self._ends if end.output_seq <= self._output_seq]:
            self._ends.remove(end)
            self._ended(end)

    def _ended(self, record: Ended) -> None:
        verdict = Verdict(record.verdict)
        self.verdicts[verdict] += 1
        took = (record.ended_at - (record.started_at or record.ended_at)) / 1e6
        printed = sum(total.lines for total in record.totals)
        hidden = printed - min(self._shown.pop(record.run_id, 0), LINES_SHOWN)
        more = f", {hidden} more lines stored" if hidden > 0 else ""
        text = f"{verdict.word.replace('_', ' ')} after {took:.1f} s"
        text += f": {record.reason}" if record.reason else ""
        name = self._names.pop(record.run_id, "?")
        self._line(name, SHAPES.get(verdict, "○"), text + more, COLOURS[verdict])

    def _output(self, record: Output) -> None:
        self.output_bytes += len(record.data)
        at = 0
        for segment in unpack(record.segments):
            piece = record.data[at : at + segment.length]
            at += segment.length
            for line in piece.decode("utf-8", "replace").splitlines():
                self._shown[record.run_id] += 1
                if self._shown[record.run_id] <= LINES_SHOWN:
                    is_error = segment.stream == Stream.STDERR
                    text = "".join(c if c.isprintable() else "·" for c in line)[:200]
                    mark, style = ("┃", "#FFB74D") if is_error else ("│", "")
                    self._line(self._name(record.run_id), mark, text, style)

    def _name(self, run_id: bytes) -> str:
        return self._names.get(run_id, "?")

    def _line(self, name: str, shape: str, text: str, style: str) -> None:
        line = Text(f"{name[:NAME_WIDTH]:>{NAME_WIDTH}} ", style="dim")
        line.append(f"{shape} {text}", style=style)
        self._console.print(line, soft_wrap=True)


class _Demo:
    """One demonstration in `directory`."""

    def __init__(self, directory: Path, seconds: float | None) -> None:
        self._directory = directory
        self._seconds = seconds
        self._console = Console(highlight=False)
        self._view = View(self._console)
        self._stop = asyncio.Event()

    async def run(self) -> int:
        tracing.setup(quiet=1)
        server = self._server()
        server.server.writer.on_commit.append(self._view.committed)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        serving = asyncio.create_task(server.run())
        try:
            await asyncio.wait_for(server.server.store_open.wait(), 30)
            self._welcome(server)
            worker = await asyncio.to_thread(self._start_worker, server)
            try:
                await self._until_done(serving, worker)
            finally:
                await asyncio.to_thread(self._end_worker, worker)
        finally:
            server.stop()
            await asyncio.gather(serving, return_exceptions=True)
        return self._farewell()

    def _server(self) -> Bartos:
        config = self._directory / "bartos.toml"
        state = self._directory / "bartos"
        text = demo_schedules().read_text(encoding="utf-8")
        config.write_text(f"port = 0\nstate_dir = {toml_text(str(state))}\n{text}")
        paths = Paths(config, state)
        made = ensure_initialised(
            paths, SystemClock().now(), secrets.token_bytes, write_config=False
        )

        def read() -> Configuration:
            return load_all(config, environment={})

        configuration = read()
        identity = identity_of(configuration.settings, made)
        return Bartos(configuration, identity, made.host.addresses, read)

    def _start_worker(self, server: Bartos) -> subprocess.Popen[bytes]:
        """bartoc as a second host would have it: joined by a code, then started."""
        config = self._directory / "bartoc.toml"
        bartoc = [
            sys.executable,
            "-m",
            "bartoc.cli",
            "-q",
            "--config",
            str(config),
            "--state-dir",
            str(self._directory / "bartoc"),
        ]
        code = server.enrolment.join_code(WORKER, {})
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BARTO")}
        subprocess.run(
            [*bartoc, "join", server.url, code],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        # A group of its own: Ctrl-C is ours to pass on, once.
        return subprocess.Popen(bartoc, env=environment, start_new_session=True)

    async def _until_done(
        self, serving: asyncio.Task[None], worker: subprocess.Popen[bytes]
    ) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        leaving = asyncio.create_task(asyncio.to_thread(worker.wait))
        try:
            await asyncio.wait(
                [stopping, serving, leaving],
                timeout=self._seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            stopping.cancel()

    def _end_worker(self, worker: subprocess.Popen[bytes]) -> None:
        """As Ctrl-C in its own terminal: it ends its commands, and leaves."""
        with contextlib.suppress(ProcessLookupError):
            worker.send_signal(signal.SIGINT)
        try:
            worker.wait(END_COMMANDS_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

    def _welcome(self, server: Bartos) -> None:
        config = self._directory / "barto-cli.toml"
        socket = self._directory / "bartos" / SOCKET
        config.write_text(f"[bartos]\nsocket = {toml_text(str(socket))}\n")
        command = f"{Path(sys.executable).with_name('barto-cli')} -c {config}"
        lines = (
            f"bartos listens on {server.url}; bartoc runs the schedules of {demo_schedules()}.",
            "From a second terminal:",
            f"  {command} runs",
            f"  {command} failed",
            f"  {command} logs @last",
            f"  {command} clients",
            f"  {command} query -q '{QUERY}'",
            "Ctrl-C ends everything." if self._seconds is None else "",
        )
        for line in filter(None, lines):
            self._console.print(line, style="bold" if line[0] != " " else "", soft_wrap=True)

    def _farewell(self) -> int:
        counts = self._view.verdicts
        total = sum(counts.values())
        parts = ", ".join(
            f"{count} {verdict.word.replace('_', ' ')}" for verdict, count in sorted(counts.items())
        )
        self._console.print(
            f"\n{total} planned starts in the database ({parts or 'none'}), "
            f"{self._view.output_bytes:,} bytes of output.",
            style="bold",
            soft_wrap=True,
        )
        return 0 if total else 1
