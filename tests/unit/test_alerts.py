"""What is told of failures, once, and how it reads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bartos.alert_text import (
    CONTENT_MAX,
    LINE_MAX,
    LINES,
    SUBJECT_MAX,
    Around,
    clean,
    clean_line,
    compose,
    lines_at_end,
    message_of_test,
    shortened,
)
from bartos.alerts import MEMBERS, ROAMING_US, WINDOW_US, Decision, Hanging, Known, decide, words
from bartos.store.alerts import ANY_WORKER, NO_RUN, AlertRow, AlertState, Member, Outcome, Pair
from libbarto.identity import uuid_text
from libbarto.message.v2.record import Verdict

NOON = 1_795_521_600_000_000
MINUTE = 60_000_000
BACKUP = b"b" * 16
WEB1 = b"1" * 16
URL = "https://example.org/barto"


def outcome(
    minute: int, verdict: Verdict = Verdict.FAILED, worker: bytes = WEB1, **more: object
) -> Outcome:
    """Of a run that was due `minute` minutes after noon and ended half a minute later."""
    slot = NOON + minute * MINUTE
    one = Outcome(
        schedule_uid=BACKUP,
        schedule="backup",
        worker_uid=worker,
        worker=f"web{worker[:1].decode()}",
        verdict=verdict,
        slot=slot,
        at=slot + MINUTE // 2,
        run_id=minute.to_bytes(16, "big"),
    )
    return replace(one, **more)  # type: ignore[arg-type]


def missed(minute: int) -> Outcome:
    return outcome(minute, Verdict.MISSED, run_id=NO_RUN)


def hanging(minute: int) -> Hanging:
    slot = NOON + minute * MINUTE
    return Hanging(BACKUP, "backup", WEB1, "web1", minute.to_bytes(16, "big"), slot, "2 skipped")


class Ledger:
    """Decides again and again, and keeps the states as the store does."""

    def __init__(self, **known: object) -> None:
        self.states: dict[Pair, AlertState] = {}
        self.now = NOON
        self.known = known

    def told(self, *outcomes: Outcome, hangs: tuple[Hanging, ...] = ()) -> list[str]:
        """The events of the alerts that come of these."""
        decision = self.decide(*outcomes, hangs=hangs)
        return [row.event for row in decision.alerts]

    def decide(self, *outcomes: Outcome, hangs: tuple[Hanging, ...] = ()) -> Decision:
        self.now += MINUTE
        known = Known(states=self.states, **self.known)  # type: ignore[arg-type]
        decision = decide(known, outcomes, hangs, self.now)
        self.states |= {state.pair: state for state in decision.states}
        return decision


# -- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verdict", [Verdict.FAILED, Verdict.TIMED_OUT, Verdict.INTERRUPTED, Verdict.LOST]
)
def test_the_first_failure_is_told_and_no_further_one_until_it_recovered(verdict: Verdict) -> None:
    ledger = Ledger()
    assert ledger.told(outcome(1, verdict)) == ["failed"]
    assert ledger.told(outcome(2, verdict)) == []
    assert ledger.told(outcome(3, Verdict.OK)) == ["recovered"]
    assert ledger.told(outcome(4, Verdict.OK)) == []
    assert ledger.told(outcome(5, verdict)) == ["failed"]


def test_what_was_told_is_not_told_again_after_a_restart() -> None:
    ledger = Ledger()
    ledger.told(outcome(1), outcome(2))
    ledger.told(outcome(3, Verdict.OK))
    assert ledger.decide(outcome(1), outcome(2), outcome(3, Verdict.OK)) == Decision([], [])


def test_outcomes_count_in_the_order_in_which_they_were_known() -> None:
    ledger = Ledger()
    assert ledger.told(outcome(2, Verdict.OK), outcome(1)) == ["failed", "recovered"]


def test_a_run_of_an_earlier_start_is_no_recovery() -> None:
    ledger = Ledger()
    ledger.told(outcome(5))
    late = replace(outcome(4, Verdict.OK), at=NOON + 9 * MINUTE)
    assert ledger.told(late) == []
    early = replace(outcome(6, Verdict.OK), at=NOON + 5 * MINUTE)
    assert ledger.told(early) == []


def test_a_lost_run_that_was_ok_after_all_has_recovered() -> None:
    ledger = Ledger()
    ledger.told(outcome(5, Verdict.LOST))
    assert ledger.told(outcome(5, Verdict.OK)) == ["recovered"]


def test_only_what_is_worse_is_told_meanwhile() -> None:
    ledger = Ledger()
    assert ledger.told(missed(1)) == ["missed"]
    assert ledger.told(missed(2)) == []
    assert ledger.told(hangs=(hanging(3),)) == ["stuck"]
    assert ledger.told(missed(4)) == []
    assert ledger.told(hangs=(hanging(3), hanging(5))) == []
    assert ledger.told(outcome(3, at=NOON + 5 * MINUTE)) == ["failed"]
    assert ledger.told(missed(6), hangs=(hanging(7),)) == []


def test_a_stuck_run_is_told_once_and_recovers_by_itself_alone() -> None:
    ledger = Ledger()
    assert ledger.told(hangs=(hanging(3),)) == ["stuck"]
    assert ledger.told(outcome(4, Verdict.OK)) == [], "another run says nothing of it"
    assert ledger.told(missed(4)) == []
    recovered = ledger.decide(outcome(3, Verdict.OK, at=NOON + 90 * MINUTE)).alerts
    assert [row.members[0].words for row in recovered] == ["ok, after it was stuck"]
    assert ledger.told(hangs=(hanging(3),)) == [], "the look is from before it ended"


def test_a_stuck_run_that_was_cancelled_is_over_in_silence() -> None:
    ledger = Ledger()
    ledger.told(hangs=(hanging(3),))
    assert ledger.told(outcome(2, Verdict.CANCELLED)) == []
    assert ledger.told(outcome(3, Verdict.CANCELLED)) == []
    assert ledger.told(hangs=(hanging(3),)) == []
    assert ledger.told(hangs=(hanging(4),)) == ["stuck"]


def test_a_cancelled_run_ends_no_failure() -> None:
    ledger = Ledger()
    ledger.told(outcome(1))
    assert ledger.told(outcome(2, Verdict.CANCELLED)) == []
    assert ledger.told(outcome(3, Verdict.OK)) == ["recovered"]


def test_a_silent_schedule_is_never_told_and_its_past_is_done_with() -> None:
    ledger = Ledger(silent={BACKUP})
    assert ledger.told(outcome(1), missed(2), hangs=(hanging(3),)) == []
    ledger.known = {}
    assert ledger.told(outcome(1), outcome(2)) == [], "it was looked at"
    assert ledger.told(outcome(3)) == ["failed"]
    ledger.known = {"silent": {BACKUP}}
    assert ledger.told(outcome(4, Verdict.OK)) == []


def test_a_roaming_worker_may_miss_what_it_likes_for_a_week() -> None:
    ledger = Ledger(roaming={WEB1})
    assert ledger.told(missed(1)) == []
    assert ledger.told(outcome(2)) == ["failed"], "what ran and failed is told"
    assert ledger.told(outcome(3, Verdict.OK)) == ["recovered"]
    ledger.now = NOON + 4 * MINUTE + ROAMING_US
    assert ledger.told(missed(4)) == ["missed"]


def test_where_the_server_chooses_the_worker_all_of_them_are_one() -> None:
    ledger = Ledger(floating={BACKUP})
    assert ledger.told(outcome(1)) == ["failed"]
    assert ledger.told(outcome(2, worker=b"2" * 16)) == []
    assert list(ledger.states) == [(BACKUP, ANY_WORKER)]
    assert ledger.told(outcome(3, Verdict.OK, b"3" * 16)) == ["recovered"]


# -- one alert for many workers -------------------------------------------------------------------


def test_a_later_start_that_failed_is_told_though_its_clock_is_behind() -> None:
    ledger = Ledger()
    # What was missed is known by the server's clock, what failed by the worker's.
    assert ledger.told(replace(missed(1), at=NOON + 9 * MINUTE)) == ["missed"]
    assert ledger.told(outcome(2)) == ["failed"]
    assert ledger.told(outcome(2)) == []


@pytest.mark.parametrize(("before", "after"), [((BACKUP,), ()), ((), (BACKUP,))])
def test_trouble_is_forgotten_where_another_chooses_the_worker_now(
    before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    ledger = Ledger(floating=before)
    assert ledger.told(outcome(1)) == ["failed"]
    ledger.known = {"floating": after}
    assert ledger.told(outcome(2, Verdict.OK)) == []
    assert not any(state.trouble for state in ledger.states.values())
    assert ledger.decide(outcome(3, Verdict.OK)) == Decision([], [])


def test_workers_that_fail_together_are_one_alert() -> None:
    workers = [bytes([65 + number]) * 16 for number in range(37)]
    (row,) = Ledger().decide(*(outcome(1, worker=uid) for uid in workers)).alerts
    assert (row.count, len(row.members), row.due - row.at) == (37, 37, WINDOW_US)


def test_workers_join_an_alert_that_is_not_due_yet_each_once() -> None:
    ledger = Ledger()
    (first,) = ledger.decide(outcome(1)).alerts
    ledger.known = {"gathering": [first]}
    (joined,) = ledger.decide(outcome(1, worker=b"2" * 16)).alerts
    assert (joined.alert_id, joined.due) == (first.alert_id, first.due)
    assert [one.worker for one in joined.members] == ["web1", "web2"]
    ledger.states.clear()
    assert ledger.told(outcome(1)) == []


def test_of_very_many_workers_only_the_number_is_kept() -> None:
    workers = [number.to_bytes(2, "big") * 8 for number in range(0x4141, 0x4141 + 150)]
    many = [replace(outcome(1), worker_uid=uid) for uid in workers]
    (row,) = Ledger().decide(*many).alerts
    assert (row.count, len(row.members)) == (150, MEMBERS)


def test_no_two_alerts_have_the_same_id() -> None:
    ledger = Ledger()
    rows = [*ledger.decide(outcome(1)).alerts, *ledger.decide(outcome(2, Verdict.OK)).alerts]
    rows += ledger.decide(outcome(3)).alerts
    assert len({row.alert_id for row in rows}) == 3


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (outcome(1, exit_code=1), "failed, exit 1"),
        (outcome(1, exit_code=1, reason="exit 1"), "failed, exit 1"),
        (outcome(1, exit_code=0, reason="no shell"), "failed: no shell"),
        (outcome(1, signal=9), "failed, SIGKILL"),
        (outcome(1, signal=9, reason="killed by signal 9"), "failed, SIGKILL"),
        (
            outcome(1, signal=9, reason="step 2: killed by signal 9 (out of memory)"),
            "failed, step 2: SIGKILL (out of memory)",
        ),
        (outcome(1, Verdict.TIMED_OUT, signal=15), "timed out, SIGTERM"),
        (outcome(1, Verdict.INTERRUPTED), "interrupted: may or may not have started"),
        (outcome(1, Verdict.INTERRUPTED, reason="did not start"), "interrupted: did not start"),
        (outcome(1, Verdict.MISSED, count=3), "missed 3 planned starts"),
    ],
)
def test_a_verdict_is_told_in_words(one: Outcome, text: str) -> None:
    assert words(one) == text


# -- how it reads ---------------------------------------------------------------------------------


def alert(event: str = "failed", *members: Member, count: int = 0) -> AlertRow:
    some = members or (Member("web1", "failed, exit 1", NOON, b"r" * 16, WEB1),)
    at = NOON + MINUTE
    return AlertRow(b"a" * 16, event, BACKUP, "backup", at, at, some, count or len(some))


def test_a_message_has_all_that_one_needs_to_act() -> None:
    around = Around(
        URL, 40, ["pg_dump: error", "no space left"], "https://wiki/backup", "Europe/Berlin"
    )
    run = uuid_text(b"r" * 16)
    assert compose(alert(), around).text.splitlines() == [
        "backup failed on web1",
        "failed, exit 1; planned for Tue 24 Nov 2026 13:00:00 (Europe/Berlin)",
        "",
        "last lines:",
        "    pg_dump: error",
        "    no space left",
        "",
        "runbook: https://wiki/backup",
        f"run: https://example.org/barto/runs/{run}",
        "why: barto-cli why backup --on web1",
    ]


def test_a_message_as_json_has_a_schema() -> None:
    around = Around(URL, 40, ["no space left"], "https://wiki/backup")
    said = compose(alert(), around).as_json()
    run = uuid_text(b"r" * 16)
    text = said.pop("text")
    assert said.pop("content") == text
    assert json.loads(json.dumps(said)) == {
        "version": 1,
        "id": (b"a" * 16).hex(),
        "event": "failed",
        "at": "2026-11-24T12:01:00Z",
        "subject": "backup failed on web1",
        "schedule": "backup",
        "worker": "web1",
        "workers": ["web1"],
        "worker_count": 1,
        "worker_total": 40,
        "verdict": "failed, exit 1",
        "planned": "2026-11-24T12:00:00Z",
        "run": run,
        "lines": ["no space left"],
        "runbook": "https://wiki/backup",
        "link": f"{URL}/runs/{run}",
        "why": "barto-cli why backup --on web1",
        "allowed_mentions": {"parse": []},
    }


def test_a_message_of_many_workers_names_some_and_counts_all() -> None:
    members = [Member(f"web{number}", "lost", NOON) for number in range(30)]
    message = compose(alert("failed", *members, count=37), Around(URL, 40))
    assert message.subject == "backup failed on 37 of 40 workers"
    lines = message.text.splitlines()
    assert lines[1] == "web0: lost; planned for Tue 24 Nov 2026 12:00:00 (UTC)"
    assert lines[2].startswith("workers: web0, web1, ") and lines[2].endswith("and 17 more")
    assert lines[3] == "schedule: https://example.org/barto/schedules/backup"
    both = compose(alert("missed", *members[:2]), Around(URL, 2))
    assert both.subject == "backup was missed on 2 workers"
    assert both.text.splitlines()[2] == "workers: web0, web1"


def test_where_nobody_was_to_run_it_no_worker_is_named() -> None:
    nobody = Member("", "lost", NOON)
    message = compose(alert("failed", nobody), Around(URL))
    assert message.subject == "backup failed (on no worker)"
    assert message.why == "barto-cli why backup"
    assert (message.as_json()["worker"], message.as_environment()["BARTO_ALERT_WORKER"]) == ("", "")
    assert compose(alert("failed", nobody, nobody), Around(URL)).text.splitlines()[1] == (
        "lost; planned for Tue 24 Nov 2026 12:00:00 (UTC)"
    )


@pytest.mark.parametrize(
    ("event", "subject"),
    [
        ("failed", "backup failed on web1"),
        ("missed", "backup was missed on web1"),
        ("stuck", "backup is stuck on web1"),
        ("recovered", "backup has recovered on web1"),
    ],
)
def test_a_subject_says_it_all(event: str, subject: str) -> None:
    assert compose(alert(event), Around(URL)).subject == subject


def test_a_command_finds_the_message_in_its_environment() -> None:
    variables = compose(alert(), Around(URL)).as_environment()
    assert variables["BARTO_ALERT_EVENT"] == "failed"
    assert variables["BARTO_ALERT_WORKER"] == "web1"
    assert all(name.startswith("BARTO_ALERT_") for name in variables)
    assert not any("\0" in value for value in variables.values())


def test_a_test_says_that_it_is_one() -> None:
    message = message_of_test("ab", NOON, URL, "ann\x1b[31m")
    assert (message.event, message.link) == ("test", URL)
    assert "asked for by ann; nothing has failed" in message.text


HOSTILE = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x1b(B\x9b2J\r\n\x00Bcc: all@example.org\u202e<!channel>"
)


def test_what_others_wrote_does_nothing() -> None:
    member = Member(f"web1{HOSTILE}", HOSTILE, NOON, b"r" * 16, WEB1)
    around = Around(URL, 1, [HOSTILE, "```", "@everyone", "10 %\r100 %"], f"https://x{HOSTILE}")
    message = compose(alert("failed", member), around)
    assert "\n" not in message.subject and "\r" not in message.text
    everything = json.dumps(message.as_json(), ensure_ascii=False) + str(message.as_environment())
    for bad in ("\x1b", "\x07", "\x00", "\x9b", "\u202e", "owned", "[31m"):
        assert bad not in everything
    said = message.as_json()
    for chat in (str(said["text"]), str(said["content"])):
        for call in ("@everyone", "<!channel>", "```"):
            assert call not in chat
    assert message.lines[-1] == "100 %"


@pytest.mark.parametrize("slot", [1 << 62, -(1 << 62)])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_planned_start_that_no_calendar_has_is_told_all_the_same(slot: int, zone: str) -> None:
    member = Member("web1", "failed", slot, WEB1, WEB1)
    row = AlertRow(BACKUP, "failed", BACKUP, "backup", slot, NOON, (member,), 1)
    message = compose(row, Around(URL, timezone=zone))
    assert message.planned == message.at
    assert zone in message.text


def test_the_name_that_a_worker_gives_its_schedule_does_nothing() -> None:
    name = "a\nb\x1b[2J\0 #c"
    row = AlertRow(BACKUP, "missed", BACKUP, name, NOON, NOON, (Member("", "missed", NOON),), 1)
    message = compose(row, Around(URL))
    assert message.schedule == "a b #c"
    assert message.link == f"{URL}/schedules/a%20b%20%23c"
    assert message.why == "barto-cli why 'a b #c'"
    assert "\0" not in "".join(message.as_environment().values())
    assert len(message.text.splitlines()) == 4


def test_texts_have_bounds() -> None:
    member = Member("web1" * 100, "x" * 5000, NOON, b"r" * 16, WEB1)
    around = Around(URL, 1, ["y" * 1000] * 100)
    message = compose(alert("failed", member), around)
    assert len(message.subject) == SUBJECT_MAX
    assert len(message.lines) == LINES
    assert {len(line) for line in message.lines} == {LINE_MAX}
    assert len(str(message.as_json()["content"])) == CONTENT_MAX


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("a\tb", "a b"),
        ("\x1bPdevice\x1b\\x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]never ended", ""),
        ("größer 日本語", "größer 日本語"),
    ],
)
def test_sequences_are_taken_out_whole(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_lines_lose_what_was_written_over_and_empty_ends() -> None:
    assert clean_line("abc\r") == "abc"
    assert lines_at_end(["a", "b", "", " "], 1) == ["b"]
    assert lines_at_end(["", ""]) == []
    assert shortened("abc", 3) == "abc"
