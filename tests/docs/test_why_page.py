"""The answers that the page about "why" shows are those that are given."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bartos import why
from bartos.exits import code_in_words
from bartos.store.port import RunRow
from bartos.why import Away, Before, Facts, Since, explain
from libbarto.message.v2.record import Verdict
from tests.unit.test_why import HOUR, OTHER, SECOND, a_range, a_run, a_step, berlin, some

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "howto" / "why.md"
TEXT = PAGE.read_text(encoding="utf-8")


def busy() -> RunRow:
    begun = berlin("24 01:00")
    return a_run(None, run_id=OTHER, slot=begun, started_at=begun + 3 * SECOND)


SHOWN = [
    some(a_range(Verdict.MISSED, why.ASLEEP), away=Away(berlin("24 01:12"), berlin("24 08:31"))),
    some(
        a_run(Verdict.FAILED, exit_code=1, reason="exit 1"),
        steps=[a_step(exit_code=1, success=False)],
        lines=["pg_dump: error: connection to server failed"],
        before=Before(oks=31, last_ok=a_run(slot=berlin("24 02:00") - 24 * HOUR)),
        since=Since(["cmds"], berlin("23 10:12")),
    ),
    some(a_range(Verdict.SKIPPED, "overlap: it was still running"), blocking=busy()),
    some(a_run(Verdict.INTERRUPTED, reason="may or may not have started")),
    some(
        state=why.NOT_DUE,
        slot=berlin("24 02:30"),
        around=(berlin("24 02:00"), berlin("25 02:00")),
    ),
]


@pytest.mark.parametrize("facts", SHOWN)
def test_an_answer_is_shown_as_it_is_given(facts: Facts) -> None:
    assert f"```text\n{explain(facts).text}\n```" in TEXT


def test_no_other_answer_is_shown() -> None:
    assert TEXT.count("```text") == len(SHOWN)


def test_the_words_for_codes_are_those_that_are_said() -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 10
    assert [(code, code_in_words(int(code))) for code, _ in rows] == rows
