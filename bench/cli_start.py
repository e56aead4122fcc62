"""How long does a command of barto-cli take of its own? Each is run as a process against a server
on a Unix socket that answers at once; DESIGN wants under 200 ms, and 150 ms for `calendar`.

    python bench/cli_start.py [RUNS]
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.faces import NOON, OUT, SECOND, Barto
from tests.served import on_unix_socket

COMMANDS = (
    ["--version"],
    ["--help"],
    ["status"],
    ["timers"],
    ["runs"],
    ["show", "@last"],
    ["logs", "@last"],
    ["logs", "tick", "-n", "10"],
    ["verify"],
    ["help", "verdicts"],
    ["worker", "list"],
    ["clients"],
    ["list", "-n", "web1", "-c", "tick"],
    ["calendar", "Mon..Fri 02:30", "--tz", "Europe/Berlin"],
    ["calendar", "--check", "examples/demo.toml"],
    ["plan", "examples/bartos.toml"],
    ["import", "crontab", "/dev/null"],
    ["completion", "bash"],
)
LIMITS = {"calendar": 150.0}
LIMIT = 200.0
"""Milliseconds of its own that a command may take."""


async def history(barto: Barto) -> None:
    for number in range(100):
        await barto.run("web1", "tick", NOON + number * 60 * SECOND, [(OUT, b"hello\n" * 5)])


def main(runs: int) -> None:
    barto = Barto()
    asyncio.run(history(barto))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "bartos.sock"
        config = Path(directory) / "barto-cli.toml"
        config.write_text(f'[bartos]\nsocket = "{path}"\n')
        with on_unix_socket(barto, path):
            measure(None, config, runs)
            for command in COMMANDS:
                limit = LIMITS.get(command[0], LIMIT)
                least = measure(command, config, runs)
                if least > limit:
                    print(f"    over {limit:.0f} ms of its own: {least:.0f}, on a host at work")


def measure(command: list[str] | None, config: Path, runs: int) -> float:
    """The milliseconds of CPU of the quickest run: its own time, whatever else goes on."""
    program = [sys.executable, "-c", "pass"]
    if command is not None:
        start = "import sys; from barto_cli.app import main; sys.exit(main(sys.argv[1:]))"
        program = [sys.executable, "-c", start, "-c", str(config), *command]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    took, worked = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        # A command may say with its exit code what it has found.
        subprocess.run(program, capture_output=True, env=environment, check=False)
        took.append((time.perf_counter() - began) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        worked.append(cpu * 1000)
    name = "python -c pass" if command is None else f"barto-cli {' '.join(command)}"
    print(
        f"{name:58} median {statistics.median(took):5.0f} ms  least {min(took):5.0f} ms"
        f"  CPU {statistics.median(worked):5.0f} ms"
    )
    return min(worked)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
