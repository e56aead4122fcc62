"""Completion in a real shell: commands, options, and the names that a server knows, at once."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barto_cli import completion
from barto_cli.app import LIVE, app
from bartos.plan import schedule_rows
from bartos.schedules import load_schedules
from tests.faces import NOON, Barto
from tests.served import on_loopback, on_unix_socket

SCHEDULES = "".join(
    f'[[schedule]]\nname = "{name}"\nworkers = "*"\nevery = "5m"\ncmds = ["true"]\n'
    f"enabled = {enabled}\n"
    for name, enabled in (("backup", "true"), ("balance", "false"), ("sync", "true"))
)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """The configuration of a server that knows three schedules, two workers and a run."""
    barto = Barto()

    async def known() -> None:
        await barto.run("web1", "backup", NOON)
        await barto.worker("web2", connected=False)
        rows = schedule_rows(load_schedules([("bartos.toml", SCHEDULES)]), (), NOON)
        await barto.store.replace_schedules(rows, NOON)

    asyncio.run(known())
    file = tmp_path / "barto-cli.toml"
    file.write_text(f'[bartos]\nsocket = "{tmp_path / "s"}"\n')
    with on_unix_socket(barto, tmp_path / "s"):
        yield file


def completed(config: Path, *words: str, program: str = "barto-cli") -> list[str]:
    """What bash offers for the last of the words."""
    here = config.parent / "bin"
    here.mkdir(exist_ok=True)
    for name in ("barto-cli", "barto"):
        (here / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m barto_cli.app "$@"\n')
        (here / name).chmod(0o755)
    line = [program, "-c", str(config), *words]
    quoted = " ".join(f"'{word}'" for word in line)
    script = (
        f"source <({program} completion bash)\ncompopt() {{ :; }}\n"
        f"COMP_WORDS=({quoted})\nCOMP_CWORD={len(line) - 1}\n"
        f"_barto_cli_completion {program}\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        f"complete -p {program} >&2\n"
    )
    environment = {"PATH": f"{here}:{os.environ['PATH']}", "HOME": str(config.parent)}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert "_barto_cli_completion" in done.stderr
    return done.stdout.split()


def test_commands_and_options_are_completed(config: Path) -> None:
    assert completed(config, "rese") == []
    assert completed(config, "cal") == ["calendar"]
    assert completed(config, "worker", "a") == ["add"]
    assert completed(config, "runs", "--sc") == ["--schedule"]
    assert completed(config, "runs", "-o", "js") == ["json", "jsonl"]
    assert completed(config, "cal", program="barto") == ["calendar"]


def test_names_come_from_the_server(config: Path) -> None:
    assert completed(config, "runs", "--schedule", "ba") == ["backup", "balance"]
    assert completed(config, "runs", "--worker", "w") == ["web1", "web2"]
    offered = completed(config, "show", "")
    assert offered[0] == "@last"
    assert len(offered) == 2
    assert completed(config, "show", offered[1][:13]) == [offered[1]]
    assert completed(config, "show", "zz") == []


def test_what_newer_commands_take_is_offered_too(config: Path) -> None:
    assert completed(config, "timers", "ba") == ["backup", "balance"]
    assert completed(config, "logs", "ba") == ["backup", "balance"]
    assert completed(config, "logs", "x", "--worker", "w") == ["web1", "web2"]
    assert completed(config, "watch", "sy") == ["sync"]
    assert completed(config, "runs", "--verdict", "mi") == ["missed"]
    assert completed(config, "help", "ver") == ["verdicts", "verify"]


def test_names_have_a_few_words_beside_them(config: Path) -> None:
    asked = [completion.ask(kind, "", config, {}) for kind in ("schedules", "workers")]
    assert asked == [
        [("backup", ""), ("balance", "not in force"), ("sync", "")],
        [("web1", ""), ("web2", "away")],
    ]
    last, (run, about) = completion.ask("runs", "", config, {})
    assert last == ("@last", "the newest")
    assert about == "backup on web1, ok"
    assert len(run) == 36


def test_who_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "barto-cli.toml"
    file.write_text(f'[bartos]\nsocket = "{tmp_path / "none"}"\n')
    assert completed(file, "runs", "--schedule", "") == []
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        file.write_text(f'[bartos]\nsocket = "{tmp_path / "silent"}"\n')
        began = time.monotonic()
        assert completion.ask("schedules", "", file, {}) == []
        assert time.monotonic() - began < 5
    file.write_text("[bartos")
    assert completion.ask("schedules", "", file, {}) == []


def test_who_is_refused_gets_nothing(tmp_path: Path) -> None:
    file = tmp_path / "barto-cli.toml"
    with on_loopback(Barto()) as port:
        file.write_text(f'[bartos]\nurl = "http://127.0.0.1:{port}"\napi_key = "wrong"\n')
        assert completion.ask("workers", "", file, {}) == []


@pytest.mark.parametrize(
    ("shell", "told"),
    [
        ("bash", "complete -o nosort -F _barto_cli_completion barto-cli barto\n"),
        ("zsh", "#compdef barto-cli barto\n"),
        ("zsh", "compdef _barto_cli_completion barto-cli barto\n"),
        ("fish", "complete --no-files --command barto-cli --command barto "),
    ],
)
def test_each_shell_is_told_both_names(shell: str, told: str, tmp_path: Path) -> None:
    script = completion.script(shell, app.group)
    assert told in script
    program = shutil.which(shell)
    if program is not None:
        file = tmp_path / "script"
        file.write_text(script)
        subprocess.run([program, "-n", str(file)], check=True)


def test_every_kind_of_name_has_its_metavar() -> None:
    assert set(LIVE) == set(completion.LIVE)
