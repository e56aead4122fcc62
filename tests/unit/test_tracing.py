"""Logging: one event is one line, facts stand beside it, and nobody can forge a line."""

from __future__ import annotations

import io
import logging
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto import tracing
from libbarto.errors import ConfigError

log = logging.getLogger("barto.test")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_an_event_is_a_line_with_time_level_message_and_facts(out: io.StringIO) -> None:
    tracing.setup(stream=out)
    log.info("run ended", extra={"worker": "vader", "run": bytes(16), "exit_code": 0})
    assert out.getvalue().endswith(
        "Z INFO    run ended worker=vader run=00000000-0000-0000-0000-000000000000 exit_code=0\n"
    )
    assert out.getvalue()[4] == "-"


def test_a_fact_that_is_none_is_left_out(out: io.StringIO) -> None:
    tracing.setup(stream=out)
    log.info("started", extra={"user": None, "shell": "/bin/sh"})
    assert out.getvalue().endswith("started shell=/bin/sh\n")


def test_nobody_can_forge_a_line_or_move_the_cursor(out: io.StringIO) -> None:
    tracing.setup(stream=out)
    log.info("from \x1b[2J%s", "peer\n2026", extra={"who": 'a\n"b" \u202e \ud800'})
    (line,) = out.getvalue().splitlines()
    assert line.endswith(r'from \x1b[2Jpeer\n2026 who="a\n\"b\" \u202e \ud800"')


@given(st.text(), st.text())
def test_whatever_is_said_stays_one_printable_line(message: str, value: str) -> None:
    record = logging.makeLogRecord({"msg": message, "fact": value})
    line = tracing.event(record)
    assert len(line.splitlines()) <= 1
    line.encode()


@pytest.mark.parametrize(
    ("verbose", "quiet", "shown"),
    [(0, 0, "IWEC"), (1, 0, "DIWEC"), (0, 1, "WEC"), (0, 2, "EC"), (0, 3, "C"), (9, 9, "IWEC")],
)
def test_v_shows_more_and_q_less(verbose: int, quiet: int, shown: str, out: io.StringIO) -> None:
    tracing.setup(verbose, quiet, stream=out)
    for method in (log.debug, log.info, log.warning, log.error, log.critical):
        method("event")
    assert [line.split()[1][0] for line in out.getvalue().splitlines()] == list(shown)


def test_libraries_are_quiet_unless_asked_for_twice(out: io.StringIO) -> None:
    for verbose in (1, 2):
        tracing.setup(verbose, stream=out)
        logging.getLogger("uvicorn.access").info("GET / at -%s", "v" * verbose)
        logging.getLogger("websockets.client").debug("frame at -%s", "v" * verbose)
    assert [line.split()[-1] for line in out.getvalue().splitlines()] == ["-vv", "-vv"]


def test_a_traceback_is_indented_and_escaped(out: io.StringIO) -> None:
    tracing.setup(stream=out)
    try:
        raise OSError("disk\x1b full")
    except OSError:
        log.exception("write failed")
    first, *rest = out.getvalue().splitlines()
    assert first.endswith("ERROR   write failed")
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1] == r"    OSError: disk\x1b full"


def test_setting_up_again_replaces_what_was(out: io.StringIO) -> None:
    tracing.setup(stream=io.StringIO())
    tracing.setup(stream=out)
    log.info("once")
    assert len(out.getvalue().splitlines()) == 1


def test_a_file_gets_the_same_lines_and_is_for_owner_and_group(
    out: io.StringIO, tmp_path: Path
) -> None:
    file = tmp_path / "logs" / "bartoc.log"
    tracing.setup(stream=out, file=file)
    log.info("hello")
    assert file.read_text() == out.getvalue()
    assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0


def test_a_file_that_was_moved_away_is_opened_anew(out: io.StringIO, tmp_path: Path) -> None:
    file = tmp_path / "bartoc.log"
    tracing.setup(stream=out, file=file)
    log.info("before")
    file.rename(tmp_path / "bartoc.log.1")
    log.info("after")
    assert file.read_text().endswith("after\n")


def test_a_file_that_cannot_be_opened_is_an_error_that_names_it(tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("")
    with pytest.raises(ConfigError, match=r"bartoc\.log: File exists"):
        tracing.setup(file=tmp_path / "no" / "\0" / "bartoc.log") if False else tracing.setup(
            file=_beneath_a_file(tmp_path)
        )


def _beneath_a_file(tmp_path: Path) -> Path:
    (tmp_path / "occupied").write_text("")
    return tmp_path / "occupied" / "bartoc.log"


def test_the_journal_gets_priorities_instead_of_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        tracing.setup(1, stream=stream)
        for method in (log.debug, log.info, log.warning, log.error):
            method("event")
        stream.seek(0)
        assert stream.read() == "<7>event\n<6>event\n<4>event\n<3>event\n"


def test_standard_error_is_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    tracing.setup(stream=sys.stderr)
    log.warning("hello")
    assert "hello" in capsys.readouterr().err
