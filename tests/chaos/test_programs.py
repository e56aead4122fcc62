"""The two small programs do what the checker expects of them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import collect
from tests.chaos.behaviour import behaviour, printed
from tests.chaos.carrying import set_clock
from tests.chaos.programs import MISSING, Programs, build, compiler

RUN = "01a20d64-9fa0-8f8a-916e-5289edafac{:02x}"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    if compiler() is None:
        pytest.skip(MISSING)
    yield build(tmp_path_factory.mktemp("programs"))


def test_a_witness_does_what_was_drawn_for_it(programs: Programs, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    seen = set()
    for number in range(60):
        run = RUN.format(number)
        done = subprocess.run(
            [programs.witness, ledger, "7", "20"],
            env={
                "BARTO_RUN": run,
                "BARTO_ATTEMPT": "2",
                "BARTO_SCHEDULE": "tick",
                "BARTO_SLOT": "2026-11-24T11:50:26Z",
                "BARTO_WORKER": "vader",
            },
            capture_output=True,
            check=False,
        )
        does = behaviour("7", run, 2, 20)
        seen.add((does.stdout, does.exit_code == 0, does.orphan))
        assert done.stdout == printed(run, 2, 1, does.stdout)
        assert done.stderr == printed(run, 2, 2, does.stderr)
        assert done.returncode == (does.exit_code if does.signal is None else -does.signal)
    assert len(seen) >= 4
    marks = collect.ledger(ledger)
    assert [mark.what for mark in marks] == ["B", "E"] * 60
    assert {(one.schedule, one.worker, one.attempt) for one in marks} == {("tick", "vader", 2)}
    assert {mark.slot for mark in marks} == {1_795_521_026_000_000}
    assert all(abs(mark.at / 1e6 - time.time()) < 60 for mark in marks)


def test_a_torn_line_of_the_ledger_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("B 01a20d64 tick\n")
    with pytest.raises(ValueError, match="torn"):
        collect.ledger(tmp_path / "ledger")


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0, -0.25])
def test_a_clock_is_ahead_as_its_file_says(
    programs: Programs, tmp_path: Path, ahead: float
) -> None:
    set_clock(tmp_path / "clock", ahead)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import time; print(time.time())"],
        env={"LD_PRELOAD": str(programs.clock), "CHAOS_CLOCK": str(tmp_path / "clock")},
        capture_output=True,
        check=True,
    )
    assert abs(float(done.stdout) - time.time() - ahead) < 5
