"""The promise holds whatever happens; and where a rule is missing, the model notices."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.model.deeds import DEEDS, Deed, Stage, heal
from tests.model.mutants import MUTANTS
from tests.model.play import SECONDS, play

ROOT = Path(__file__).parents[2]
OCCURRENCES = 20_000
EACH = 2_500
"""Of one test; together they make up all occurrences."""

_often = [deed for deed, weight in DEEDS.items() for _ in range(round(weight * 2))]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of faults make many log lines, which nobody would read."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Fleet(RuleBasedStateMachine):
    """Some workers and a server, to which anything may happen."""

    decided = 0

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.stage = Stage(seed)

    @rule(deed=st.sampled_from(_often), seconds=st.sampled_from(SECONDS))
    def something_happens(self, deed: Deed, seconds: float) -> None:
        self.stage.do(deed, seconds)
        assert self.stage.wrong() == []

    def teardown(self) -> None:
        stage = self.stage
        try:
            stage.do(heal, 0.0)
            assert stage.wrong() == []
        finally:
            Fleet.decided += stage.model.occurrences
            stage.close()


def test_every_planned_start_keeps_the_promise_whatever_happens() -> None:
    Fleet.decided = 0
    run_state_machine_as_test(
        Fleet,
        settings=settings(
            max_examples=5,
            stateful_step_count=30,
            deadline=None,
            # A minimal example takes long to find; `make model` repeats a seed at will.
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
    seed = 1
    while Fleet.decided < EACH:
        count, wrong = play(seed, EACH - Fleet.decided)
        assert wrong == [], f"seed {seed}"
        Fleet.decided += count
        seed += 1


@pytest.mark.parametrize("seed", range(100, 100 + OCCURRENCES // EACH - 1))
def test_every_planned_start_keeps_the_promise_in_a_long_run(seed: int) -> None:
    count, wrong = play(seed, EACH)
    assert wrong == []
    assert count >= EACH


def test_a_seed_gives_the_same_history_again() -> None:
    def history() -> list[str]:
        told: list[str] = []
        play(5, 300, told.append)
        return told

    assert history() == history()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_missing_rule_is_noticed(name: str) -> None:
    command = ["-m", "tests.model", "--occurrences", "20000", "--each", "800", "--mutant", name]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    noticed = {line.split(":")[0] for line in done.stdout.splitlines() if ": " in line}
    assert MUTANTS[name].invariant in noticed, done.stdout
