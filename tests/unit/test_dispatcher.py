"""What the server starts itself: once over the fleet, whoever dies in between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bartos.dispatch_events import (
    Commit,
    Committed,
    DrainsChanged,
    ExecAsked,
    GivenUp,
    Left,
    Now,
    ParentsEnded,
    Restored,
    SendCancel,
    Tick,
)
from bartos.dispatcher import GRACE_S, SILENCE_S, Dispatcher, wants
from bartos.store.orders import ALL_SCHEDULES, RESTORED, DispatchState, DrainRow, PauseRow
from libbarto.identity import Kind, occurrence_id, schedule_uid
from libbarto.message.v2.record import Verdict
from libbarto.message.v2.schedule import SCHEDULE, Schedule
from tests.desk import MIDNIGHT, SECOND, Desk, named

HOUR = 3600.0


def toml(*more: str, calendar: str = "*:0/10", name: str = "report", **keys: str) -> str:
    """One floating schedule, due each ten minutes, and what else is given."""
    lines = [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(
        [
            "[[schedule]]",
            f'name = "{name}"',
            'workers = "*"',
            'pick = "one"',
            f'on_calendar = "{calendar}"',
            'cmds = ["true"]',
            *lines,
            *more,
        ]
    )


PINNED = """
[[schedule]]
name = "backup"
workers = "*"
on_calendar = "daily"
cmds = ["true"]
"""
REPORT = schedule_uid("report")


@pytest.fixture
def desk() -> Desk:
    return Desk(toml())


# -- due, offered, claimed ------------------------------------------------------------------------


def test_a_slot_is_an_intent_then_an_offer_and_then_it_is_sent(desk: Desk) -> None:
    desk.join("web1")
    before = desk.commits
    desk.advance(599)
    assert (desk.offers(), desk.commits) == ([], before), "nothing is written while nothing is due"
    desk.advance(2)
    (offer,) = desk.offers("web1")
    assert desk.commits == before + 2
    row = offer.intent
    assert (row.slot, row.schedule, offer.number) == (MIDNIGHT + 600 * SECOND, "report", 1)
    assert row.run_id == occurrence_id(Kind.CALENDAR, REPORT, b"", row.slot)
    assert SCHEDULE.decode(row.spec).steps == ["true"]
    (kept,) = desk.store.state().intents
    assert kept.offer is not None and kept.offer.worker_uid == named("web1")
    desk.claim("web1", offer)
    desk.end("web1", row.run_id)
    assert desk.store.state().intents == []
    assert desk.order(row.run_id).claimed


def test_the_least_loaded_gets_it_and_equals_share(desk: Desk) -> None:
    for number in range(4):
        desk.join(f"web{number}")
    desk.claims("web0", named("a run"), named("backup"), "backup", MIDNIGHT)
    got = set()
    for _ in range(12):
        desk.advance(600)
        (offer,) = desk.offers()
        name = desk.name(offer.worker_uid)
        got.add(name)
        desk.claim(name, offer)
        desk.end(name, offer.intent.run_id)
    assert got == {"web1", "web2", "web3"}
    desk.end("web0", named("a run"))


def test_only_those_that_match_are_asked() -> None:
    desk = Desk(
        toml().replace('workers = "*"', 'workers = "role=db"').replace("cmds", 'run_as = "x"\ncmds')
    )
    desk.join("web1", labels={"role": "web"})
    desk.join("db1", labels={"role": "db"}, root=False)
    desk.advance(601)
    assert desk.offers() == []
    desk.join("db2", labels={"role": "db"}, root=True)
    assert [desk.name(one.worker_uid) for one in desk.offers()] == ["db2"]


def test_next_due_is_the_slot_or_a_second(desk: Desk) -> None:
    assert desk.dispatcher.next_due(desk.now) == 1.0
    later = Now(MIDNIGHT + 599_750_000, desk.boottime + GRACE_S)
    assert desk.dispatcher.next_due(later) == 0.25
    past = Now(MIDNIGHT + 601 * SECOND, desk.boottime + GRACE_S)
    assert desk.dispatcher.next_due(past) == 0.0
    desk.sleep(601)
    desk.restart()
    assert desk.dispatcher.next_due(desk.now) == 1.0, "what is held back is looked at each second"
    assert Desk(PINNED).dispatcher.next_due(desk.now) == 1.0
    assert Desk(PINNED).dispatcher.idle and not desk.dispatcher.idle


def test_commands_that_fit_no_frame_are_not_offered() -> None:
    desk = Desk(toml().replace("true", "true #" + "x" * 50_000))
    desk.join("web1")
    desk.advance(601)
    assert desk.offers() == []
    assert [why[:26] for *_, why in desk.verdicts()] == ["its commands are too long "]


# -- proof, and nothing but proof -----------------------------------------------------------------


def offered(desk: Desk, name: str = "web1") -> tuple[bytes, int]:
    """A worker is there, and has been offered a start."""
    desk.join(name)
    desk.advance(601)
    (offer,) = desk.offers(name)
    return offer.intent.run_id, offer.number


def test_a_refusal_of_the_current_offer_lets_another_worker_have_it(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.join("web2")
    assert desk.offers() == []
    desk.refuse("web1", run_id, number)
    (offer,) = desk.offers("web2")
    assert (offer.intent.run_id, offer.number) == (run_id, 2)


def test_a_refusal_of_an_earlier_offer_counts_for_nothing(desk: Desk) -> None:
    run_id, _ = offered(desk)
    desk.refuse("web1", run_id, 1)
    desk.advance(2)
    (offer,) = desk.offers("web1")
    assert offer.number == 2, "the same worker may be offered it again, after a while"
    desk.refuse("web1", run_id, 1)
    desk.advance(60)
    assert desk.offers() == []


def test_nobody_elses_word_counts(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.join("web2")
    desk.refuse("web2", run_id, number)
    desk.refuse("web2", named("unknown"), 1)
    assert desk.offers() == []
    desk.claims("web2", run_id, REPORT, "report", MIDNIGHT)
    desk.refuse("web1", run_id, number)
    assert [one.number for one in desk.offers("web2")] == [2]
    desk.past.runs.clear()


def test_time_proves_nothing(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.leave("web1")
    desk.join("web2")
    desk.configure(PINNED)  # no further slots, so that nothing else is offered
    desk.sleep(7 * 24 * HOUR)
    desk.do(Tick())
    assert desk.offers() == []
    assert desk.join("web1") == [(run_id, number)]
    desk.configure(toml(calendar="2040-01-01"))
    desk.refuse("web1", run_id, number)
    assert desk.offers() == [], "and by now it is too late for anybody"
    desk.advance(1)
    assert desk.order(run_id).verdict is Verdict.MISSED


def test_a_refusal_by_another_journal_of_the_same_worker_proves_nothing(desk: Desk) -> None:
    run_id, number = offered(desk)
    session, asked = desk.greet("web1", "new")
    assert asked == [], "the new journal knows nothing of it"
    desk.refuse("web1", run_id, number)
    assert desk.offers() == []
    desk.do(Left(named("web1"), session))
    desk.leave("web1")
    desk.join("web1", "new")
    desk.advance(1)
    assert desk.order(run_id).verdict is Verdict.LOST
    assert desk.offers() == []


def test_what_a_worker_took_along_for_ever_is_lost_after_thirty_days(desk: Desk) -> None:
    run_id, _ = offered(desk)
    desk.leave("web1")
    desk.configure(PINNED)
    desk.sleep(29 * 24 * HOUR)
    desk.do(Tick())
    assert desk.order(run_id).verdict is None
    desk.sleep(2 * 24 * HOUR)
    desk.do(Tick())
    assert desk.order(run_id).verdict is Verdict.LOST
    assert "never came back" in desk.order(run_id).reason


def test_a_worker_that_claims_what_was_lost_has_the_last_word(desk: Desk) -> None:
    run_id, _ = offered(desk)
    desk.leave("web1")
    desk.join("web1", "new")
    desk.claims("web1", run_id, REPORT, "report", MIDNIGHT + 600 * SECOND)
    assert desk.verdicts() == []
    desk.end("web1", run_id)
    assert desk.dispatcher.running(REPORT) == {}


def test_while_a_worker_greets_nothing_is_offered_to_it(desk: Desk) -> None:
    desk.join("web1")
    session, asked = desk.greet("web1")
    desk.advance(601)
    assert (asked, desk.offers()) == ([], [])
    other, _ = desk.greet("web1")
    desk.do(Left(named("web1"), session))
    desk.advance(1)
    assert desk.offers() == []
    desk.do(Left(named("web1"), other))
    assert len(desk.offers()) == 1, "neither came of it: the old session goes on"


def test_an_offer_goes_to_its_session_and_no_other(desk: Desk) -> None:
    run_id, number = offered(desk)
    old = desk.sessions["web1"]
    asked = desk.join("web1")
    assert asked == [(run_id, number)], "and it is not sent again"
    assert desk.offers() == []
    desk.do(Left(named("web1"), old))
    desk.refuse("web1", run_id, number)
    desk.advance(2)
    (offer,) = desk.offers("web1")
    assert (offer.number, offer.session) == (2, desk.sessions["web1"])


def test_an_offer_whose_session_ended_before_the_commit_is_not_sent(desk: Desk) -> None:
    desk.join("web1")
    desk.sleep(601)
    intents = desk.dispatcher.handle(Tick(), desk.now)
    desk.dispatcher.handle(Left(named("web1"), desk.sessions["web1"]), desk.now)
    (commit,) = intents
    assert isinstance(commit, Commit)
    made = desk.store.commit(commit.change)
    assert desk.dispatcher.handle(Committed(commit, made), desk.now) == []
    desk.join("web1")
    (offer,) = desk.offers()
    late = Committed(Commit(commit.change, (offer,)), frozenset())
    desk.do(Left(named("web1"), desk.sessions["web1"]))
    assert desk.dispatcher.handle(late, desk.now) == []


# -- the server dies ------------------------------------------------------------------------------


def test_a_server_that_comes_back_asks_and_does_not_offer_again(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.restart()
    desk.join("web2")
    desk.advance(GRACE_S + 1)
    assert desk.offers() == []
    assert desk.join("web1") == [(run_id, number)]
    desk.refuse("web1", run_id, number)
    (offer,) = desk.offers("web2")
    assert offer.number == 2


def test_a_refusal_that_was_stored_before_the_server_died_is_remembered(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.past.refused[run_id, named("web1"), desk.spools["web1"]] = number
    desk.restart()
    desk.join("web2")
    desk.advance(1)
    assert desk.offers() == [], "others may come first, and say that the database was restored"
    desk.advance(GRACE_S)
    assert [one.number for one in desk.offers("web2")] == [2]


def test_a_claim_and_an_end_that_were_stored_are_remembered(desk: Desk) -> None:
    run_id, _ = offered(desk)
    uid = named("web1")
    desk.claims("web1", run_id, REPORT, "report", MIDNIGHT + 600 * SECOND)
    desk.restart()
    assert desk.dispatcher.running(REPORT) == {run_id: uid}
    assert desk.dispatcher.knows(run_id)
    assert desk.dispatcher.worker_of(run_id) == uid
    assert desk.dispatcher.worker_of(named("unknown")) is None
    assert desk.join("web1") == []
    desk.end("web1", run_id)
    desk.restart()
    assert not desk.dispatcher.knows(run_id)
    assert desk.store.state().intents == []


def test_an_end_that_was_stored_while_nobody_listened_closes_the_intent(desk: Desk) -> None:
    run_id, _ = offered(desk)
    desk.claims("web1", run_id, REPORT, "report", MIDNIGHT + 600 * SECOND)
    desk.past.runs[run_id] = replace(desk.past.runs[run_id], verdict=Verdict.OK, ended_at=1)
    desk.restart()
    assert desk.store.state().intents == []


def test_an_answer_of_the_store_that_was_lost_changes_nothing(desk: Desk) -> None:
    desk.lose_answers = True
    run_id, number = offered(desk)
    assert number == 1
    desk.refuse("web1", run_id, 1)
    desk.advance(2)
    assert [one.number for one in desk.offers()] == [2]
    desk.sleep(3 * HOUR)
    desk.do(Tick())
    assert [(count, word) for _, _, count, word, _ in desk.verdicts()] == [
        (17, "missed"),
        (1, "skipped"),
    ]


def test_slots_that_passed_while_no_server_ran_wait_for_the_workers_word(desk: Desk) -> None:
    desk.sleep(25 * 60)
    desk.restart()
    desk.join("web1")
    desk.advance(GRACE_S - 1)
    assert desk.offers() == []
    desk.advance(2)
    (offer,) = desk.offers()
    assert offer.intent.slot == MIDNIGHT + 1200 * SECOND
    assert offer.intent.caught_up
    assert desk.words() == [(600.0, "missed")]


def test_a_start_that_is_refused_after_its_schedule_was_removed_is_over(desk: Desk) -> None:
    desk.join("web1")
    desk.advance(601)
    (offer,) = desk.offers()
    desk.configure(PINNED)
    desk.refuse("web1", offer.intent.run_id, offer.number)
    assert desk.verdicts() == [
        (600.0, 600.0, 1, "skipped", "the schedule was removed or disabled"),
    ]
    assert desk.dispatcher.idle


# -- the database is an older copy ----------------------------------------------------------------


def test_a_restored_server_gives_up_what_it_cannot_know(desk: Desk) -> None:
    desk.advance(601)
    (waiting,) = desk.dispatcher.pending(REPORT)
    desk.sleep(15 * 60)
    desk.restart()
    desk.join("web1", restored=True)
    assert desk.offers() == []
    lost = [(600.0, "lost"), (1200.0, "lost")]
    assert desk.words() == lost
    assert desk.order(waiting).verdict is Verdict.LOST
    desk.join("web2", restored=True)
    desk.advance(600)
    assert len(desk.offers()) == 1, "it is learned once, and then life goes on"
    assert desk.words() == lost
    assert [audit.kind for audit in desk.past.audits] == ["restored"]
    assert [note.level for note in desk.notes] == ["error"]


def test_a_server_that_has_seen_more_committed_learns_it_by_itself(desk: Desk) -> None:
    desk.sleep(700)
    desk.restart()
    desk.do(Restored())
    assert desk.words() == [(600.0, "lost")]
    desk.join("web1", restored=True)
    desk.advance(600)
    assert len(desk.offers()) == 1, "and what a worker says of it is not new"


def test_a_worker_that_this_server_knew_tells_of_a_second_restoration(desk: Desk) -> None:
    desk.join("web1", restored=True)
    desk.advance(601)
    (offer,) = desk.offers()
    desk.join("web1", restored=True)
    desk.advance(1)
    assert desk.order(offer.intent.run_id).verdict is Verdict.LOST


def test_a_worker_whose_records_tell_of_a_lost_start_replaces_the_verdict(desk: Desk) -> None:
    desk.sleep(700)
    desk.restart()
    desk.join("web1", restored=True)
    run_id = occurrence_id(Kind.CALENDAR, REPORT, b"", MIDNIGHT + 600 * SECOND)
    desk.claims("web1", run_id, REPORT, "report", MIDNIGHT + 600 * SECOND)
    assert desk.verdicts() == []
    desk.restart()
    desk.join("web1")
    assert desk.dispatcher.running(REPORT) == {run_id: named("web1")}


# -- policies -------------------------------------------------------------------------------------


def running(desk: Desk, name: str = "web1") -> bytes:
    run_id, number = offered(desk, name)
    (kept,) = desk.store.state().intents
    desk.claims(name, run_id, REPORT, "report", kept.intent.slot, number=number)
    return run_id


def test_overlap_skip_is_judged_over_the_fleet(desk: Desk) -> None:
    running(desk)
    desk.join("web2")
    desk.advance(600)
    assert desk.offers() == []
    assert desk.verdicts() == [
        (1200.0, 1200.0, 1, "skipped", "overlap: it was still running"),
    ]


def test_overlap_allow_lets_both_run() -> None:
    desk = Desk(toml(overlap='"allow"'))
    first = running(desk)
    desk.join("web2")
    desk.advance(600)
    (offer,) = desk.offers("web2")
    desk.claim("web2", offer)
    desk.end("web1", first)
    assert desk.dispatcher.running(REPORT) == {offer.intent.run_id: named("web2")}


def test_overlap_queue_holds_the_newest() -> None:
    desk = Desk(toml(overlap='"queue"'))
    run_id = running(desk)
    desk.join("web2")
    desk.advance(1200)
    assert desk.words() == [(1200.0, "skipped")]
    desk.end("web1", run_id)
    (offer,) = desk.offers()
    assert offer.intent.slot == MIDNIGHT + 1800 * SECOND


def test_what_waits_in_the_queue_for_longer_than_catch_up_is_skipped() -> None:
    desk = Desk(toml(overlap='"queue"', missed='"none"', catch_up='"5m"'))
    running(desk)
    desk.advance(600)
    desk.advance(299)
    assert desk.words() == []
    desk.advance(2)
    assert desk.words() == [(1200.0, "skipped")]


def test_a_queued_start_of_a_schedule_that_is_gone_ends_with_it() -> None:
    desk = Desk(toml(overlap='"queue"'))
    running(desk)
    desk.run("report", "web1")
    desk.advance(1)
    desk.configure(PINNED)
    desk.advance(600)
    assert desk.words() == [], "an order by hand stays"
    assert [one.intent.worker for one in desk.offers()] == ["web1"], "and its worker judges it"


def test_overlap_replace_stops_the_old_one_first() -> None:
    desk = Desk(toml(overlap='"replace"'))
    run_id = running(desk)
    desk.join("web2")
    desk.advance(600)
    assert desk.offers() == []
    assert desk.cancels() == [("web1", run_id)]
    desk.advance(5)
    assert desk.cancels() == [], "it is told once"
    desk.end("web1", run_id, Verdict.CANCELLED)
    assert [one.intent.slot for one in desk.offers()] == [MIDNIGHT + 1200 * SECOND]
    assert desk.store.state().cancels == []


def test_replace_never_stops_a_newer_run_for_an_older_slot() -> None:
    desk = Desk(toml(overlap='"replace"'))
    desk.join("web1")
    desk.claims("web1", named("newer"), REPORT, "report", MIDNIGHT + 2000 * SECOND)
    desk.advance(601)
    assert (desk.offers(), desk.cancels()) == ([], [])
    assert desk.words() == [(600.0, "skipped")]


def test_a_start_that_is_caught_up_waits_until_the_former_has_ended() -> None:
    desk = Desk(toml(missed='"all"'))
    desk.sleep(25 * 60)
    desk.restart()
    desk.join("web1")
    desk.join("web2")
    desk.advance(GRACE_S + 1)
    (first,) = desk.offers()
    assert first.intent.slot == MIDNIGHT + 600 * SECOND
    name = desk.name(first.worker_uid)
    desk.claim(name, first)
    desk.advance(5)
    assert desk.offers() == []
    desk.end(name, first.intent.run_id)
    (second,) = desk.offers()
    assert second.intent.slot == MIDNIGHT + 1200 * SECOND
    assert desk.words() == []


def test_a_newer_start_satisfies_one_that_still_waits_for_a_worker(desk: Desk) -> None:
    desk.advance(1201)
    assert desk.words() == [(600.0, "missed")]
    desk.join("web1")
    assert [one.intent.slot for one in desk.offers()] == [MIDNIGHT + 1200 * SECOND]


def test_what_nobody_takes_within_catch_up_is_missed() -> None:
    desk = Desk(toml(calendar="00:10", catch_up='"5m"'))
    desk.advance(600 + 299)
    assert desk.words() == []
    desk.advance(2)
    assert [why for *_, why in desk.verdicts()] == [
        "no worker that matches was there for longer than catch_up"
    ]


def test_what_all_refuse_is_missed_too() -> None:
    desk = Desk(toml(calendar="00:10", missed='"none"'))
    run_id, number = offered(desk)
    for _ in range(40):
        desk.refuse("web1", run_id, number)
        desk.advance(1)
        for offer in desk.offers():
            number = offer.number
    assert [why for *_, why in desk.verdicts()] == [
        "the workers that match took no starts for longer than catch_up"
    ]
    assert number < 10, "it is not asked without a pause"


def test_one_that_refused_comes_last(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.join("web2")
    desk.refuse("web1", run_id, number)
    assert [one.number for one in desk.offers("web2")] == [2]
    desk.refuse("web2", run_id, 2)
    desk.advance(1)
    assert [one.number for one in desk.offers()] == [3]


def test_reassign_on_silence_starts_it_elsewhere_and_says_so() -> None:
    desk = Desk(toml(on_silence='"reassign"', calendar="00:10"))
    run_id, number = offered(desk)
    desk.leave("web1")
    desk.join("web2")
    desk.advance(SILENCE_S - 1)
    assert desk.offers() == []
    desk.advance(2)
    (offer,) = desk.offers("web2")
    row = offer.intent
    assert row.run_id == occurrence_id(Kind.MANUAL, REPORT, b"", row.slot, run_id)
    assert (row.kind, row.cause, row.who) == (Kind.MANUAL, run_id, "on_silence")
    assert "twice" in row.reason
    assert desk.order(run_id).verdict is Verdict.LOST
    desk.join("web1")
    desk.claims("web1", run_id, REPORT, "report", row.slot, number=number)
    assert desk.verdicts() == [], "its worker has the last word of the first"


def test_silence_counts_from_the_servers_start_too() -> None:
    desk = Desk(toml(on_silence='"reassign"', calendar="00:10"))
    offered(desk)
    desk.restart()
    desk.join("web2")
    desk.advance(SILENCE_S + 1)
    assert len(desk.offers("web2")) == 1


def test_on_silence_an_order_to_a_named_worker_or_one_that_is_cancelled_waits() -> None:
    desk = Desk(toml(on_silence='"reassign"', calendar="00:10"))
    run_id, _ = offered(desk)
    desk.cancel(run_id)
    desk.leave("web1")
    desk.join("web2")
    desk.run("report", "web2")
    desk.offers()
    desk.leave("web2")
    desk.join("web3")
    desk.advance(SILENCE_S + 2)
    assert desk.offers() == []


def test_with_reassign_a_run_on_a_silent_worker_is_in_nobodys_way() -> None:
    desk = Desk(toml(on_silence='"reassign"'))
    running(desk)
    desk.join("web2")
    desk.advance(600)
    assert desk.offers() == []
    desk.leave("web1")
    desk.advance(600)
    assert len(desk.offers("web2")) == 1


def test_without_it_a_run_on_a_worker_that_is_away_is_in_the_way(desk: Desk) -> None:
    run_id = running(desk)
    desk.leave("web1")
    desk.join("web2")
    desk.advance(600)
    assert desk.offers() == []
    desk.do(GivenUp([run_id, named("unknown")]))
    desk.advance(600)
    assert len(desk.offers("web2")) == 1


def test_a_further_attempt_is_still_the_same_run(desk: Desk) -> None:
    run_id = running(desk)
    desk.end("web1", run_id, Verdict.FAILED, final=False)
    desk.advance(600)
    assert desk.words() == [(1200.0, "skipped")]


def test_an_order_that_the_worker_decided_is_over(desk: Desk) -> None:
    desk.join("web1")
    desk.advance(601)
    (offer,) = desk.offers()
    desk.decide("web1", offer, Verdict.SKIPPED, "overlap: it was still running")
    assert desk.store.state().intents == []
    row = desk.order(offer.intent.run_id)
    assert (row.verdict, row.claimed) == (Verdict.SKIPPED, False)


# -- pauses, changes ------------------------------------------------------------------------------


@pytest.mark.parametrize("uid", [REPORT, ALL_SCHEDULES])
def test_the_slots_of_a_pause_are_skipped(desk: Desk, uid: bytes) -> None:
    desk.join("web1")
    desk.advance(60)
    desk.pause(PauseRow(uid, "", "ann", desk.wall, "maintenance"))
    desk.advance(1200)
    desk.pause()
    desk.advance(600)
    assert desk.verdicts() == [
        (600.0, 600.0, 1, "skipped", "paused: maintenance (by ann)"),
        (1200.0, 1200.0, 1, "skipped", "paused: maintenance (by ann)"),
    ]
    assert [one.intent.slot for one in desk.offers()] == [MIDNIGHT + 1800 * SECOND]


def test_a_run_by_hand_starts_in_spite_of_a_pause(desk: Desk) -> None:
    desk.join("web1")
    desk.pause(PauseRow(REPORT, "report", "ann", desk.wall))
    desk.run("report")
    assert len(desk.offers()) == 1


def test_what_still_waits_when_its_schedule_goes_is_skipped(desk: Desk) -> None:
    desk.advance(601)
    desk.configure(PINNED)
    assert desk.verdicts() == [
        (600.0, 600.0, 1, "skipped", "the schedule was removed or disabled"),
    ]
    assert desk.store.state().cursors == []


def test_a_run_by_hand_that_nobody_took_is_missed_when_its_schedule_goes(desk: Desk) -> None:
    desk.run("report")
    desk.configure(PINNED)
    desk.join("web1")
    desk.sleep(3601)
    desk.do(Tick())
    assert (desk.offers(), desk.words()) == ([], [(0.0, "missed")])


# -- follow-ups -----------------------------------------------------------------------------------

FOLLOWED = (
    PINNED
    + """
[[schedule]]
name = "upload"
after = "backup"
when = "WHEN"
pick = "one"
workers = "*"
cmds = ["true"]
"""
)
UPLOAD = schedule_uid("upload")


def follow(when: str = "ok") -> Desk:
    desk = Desk(FOLLOWED.replace("WHEN", when))
    desk.store.watch(desk.dispatcher.followed)
    desk.join("web1")
    desk.join("web2")
    desk.advance(GRACE_S)
    desk.claims("web1", named("parent"), schedule_uid("backup"), "backup", MIDNIGHT)
    return desk


def test_each_run_that_ends_ok_brings_about_one_start() -> None:
    desk = follow()
    assert desk.dispatcher.followed == {schedule_uid("backup")}
    assert desk.dispatcher.is_followed(named("parent"))
    assert desk.dispatcher.is_followed(named("unknown")), "it may be"
    assert not Desk(PINNED).dispatcher.is_followed(named("unknown"))
    desk.end("web1", named("parent"), final=False)
    assert desk.offers() == []
    desk.end("web1", named("parent"))
    (offer,) = desk.offers()
    row = offer.intent
    assert row.run_id == occurrence_id(Kind.FOLLOW, UPLOAD, b"", MIDNIGHT, named("parent"))
    assert (row.kind, row.slot, row.cause) == (Kind.FOLLOW, MIDNIGHT, named("parent"))
    assert desk.store.parent_ends(9) == []


@pytest.mark.parametrize(
    ("when", "verdict", "starts"),
    [
        ("ok", Verdict.FAILED, 0),
        ("failed", Verdict.FAILED, 1),
        ("failed", Verdict.CANCELLED, 0),
        ("always", Verdict.CANCELLED, 1),
    ],
)
def test_a_follow_up_looks_at_the_verdict(when: str, verdict: Verdict, starts: int) -> None:
    desk = follow(when)
    desk.end("web1", named("parent"), verdict)
    assert len(desk.offers()) == starts
    assert wants(when, verdict) == bool(starts)


def test_the_end_of_a_parent_is_followed_though_the_server_dies() -> None:
    desk = follow()
    desk.store.run_ended(desk.past.runs[named("parent")], desk.spools["web1"], 1)
    desk.restart()
    desk.join("web1")
    desk.end("web1", named("parent"))
    desk.advance(20)
    assert len(desk.offers()) == 1


def test_a_follow_up_of_a_paused_schedule_is_skipped() -> None:
    desk = follow()
    desk.pause(PauseRow(UPLOAD, "upload", "ann", desk.wall))
    desk.end("web1", named("parent"))
    assert desk.offers() == []
    assert desk.verdicts() == [(0.0, 0.0, 1, "skipped", "paused: by ann")]


def test_after_a_restoration_nobody_knows_of_what_followed_before() -> None:
    desk = follow()
    desk.past.runs.clear()
    desk.restart()
    desk.join("web1", restored=True)
    assert desk.store.state().facts[RESTORED] == desk.wall
    desk.claims("web1", named("parent"), schedule_uid("backup"), "backup", MIDNIGHT)
    desk.end("web1", named("parent"))
    assert desk.offers() == []
    assert desk.words() == [(0.0, "lost")]
    desk.advance(20)
    desk.claims("web1", named("later"), schedule_uid("backup"), "backup", MIDNIGHT)
    desk.end("web1", named("later"))
    assert len(desk.offers()) == 1


def restored_behind(desk: Desk) -> None:
    """The database is put back to before a parent ran; its worker comes back with ten records."""
    desk.past.runs.clear()
    desk.restart()
    desk.do(Restored())
    desk.join("web1", last=10)
    desk.advance(20)


def ends(desk: Desk, parent: str, worker: str, seq: int, ahead: int = 0) -> None:
    desk.claims(worker, named(parent), schedule_uid("backup"), "backup", MIDNIGHT)
    desk.end(worker, named(parent), seq=seq, at=desk.wall + ahead)


def test_what_ended_before_a_restoration_is_told_by_number_as_clocks_may_be_wrong() -> None:
    desk = follow()
    restored_behind(desk)
    ends(desk, "before", "web1", 10, ahead=3600 * SECOND)
    assert desk.offers() == []
    assert desk.words() == [(0.0, "lost")]
    ends(desk, "after", "web1", 11)
    assert len(desk.offers()) == 1


def test_the_number_outlives_the_server_and_a_later_greeting() -> None:
    desk = follow()
    restored_behind(desk)
    desk.restart()
    desk.join("web1", last=13)
    desk.advance(20)
    ends(desk, "before", "web1", 10, ahead=3600 * SECOND)
    assert desk.offers() == []
    ends(desk, "after", "web1", 12)
    assert len(desk.offers()) == 1


def test_an_end_in_the_older_copy_itself_is_from_before() -> None:
    desk = follow()
    desk.store.run_ended(desk.past.runs[named("parent")], named("spool web1 "), 3)
    kept = desk.store.parent_ends(1)
    desk.restart()
    desk.do(Restored())
    desk.do(ParentsEnded(kept))
    assert desk.words() == [(0.0, "lost")]


def test_a_second_restoration_counts_the_records_anew() -> None:
    desk = follow()
    restored_behind(desk)
    desk.restart()
    desk.do(Restored())
    desk.join("web1", last=20)
    desk.advance(20)
    ends(desk, "between", "web1", 20, ahead=3600 * SECOND)
    assert desk.offers() == []
    ends(desk, "after", "web1", 21)
    assert len(desk.offers()) == 1


def test_a_worker_that_is_there_when_it_is_learned_has_its_number_too() -> None:
    desk = follow()
    desk.past.runs.clear()
    desk.restart()
    desk.join("web1", last=10)
    desk.join("web2", restored=True, last=5)
    desk.advance(20)
    ends(desk, "before", "web1", 10, ahead=3600 * SECOND)
    assert desk.offers() == []
    ends(desk, "after", "web1", 11)
    assert len(desk.offers()) == 1


def test_what_follows_right_after_a_start_waits_for_what_workers_say() -> None:
    desk = follow()
    desk.restart()
    desk.join("web1")
    desk.end("web1", named("parent"))
    assert desk.offers() == [], "the database may be an older copy"
    desk.advance(20)
    assert len(desk.offers()) == 1


# -- by hand --------------------------------------------------------------------------------------


def test_a_run_by_hand_is_an_order_to_each_worker() -> None:
    desk = Desk(PINNED)
    for name in ("web1", "web2", "web3"):
        desk.join(name)
    request = desk.run("backup", "web1", "web2")
    found = {desk.name(one.worker_uid): one.intent for one in desk.offers()}
    assert set(found) == {"web1", "web2"}
    for name, row in found.items():
        uid = schedule_uid("backup")
        assert row.run_id == occurrence_id(Kind.MANUAL, uid, named(name), MIDNIGHT, request)
        assert (row.request, row.cause, row.who, row.reason) == (
            request, request, "ann", "to try it",
        )  # fmt: skip
    (audit,) = desk.past.audits
    assert audit.kind == "run asked"
    assert audit.facts["workers"] == ["web1", "web2"]


def test_asking_twice_is_asking_once() -> None:
    desk = Desk(PINNED)
    desk.join("web1")
    desk.run("backup", "web1")
    desk.run("backup", "web1")
    assert len(desk.offers()) == 1


def test_a_run_that_is_made_again_is_said_so() -> None:
    desk = Desk(PINNED)
    desk.join("web1")
    desk.do(replace(desk.run_asked("backup", "web1"), again=(named("failed"),)))
    (audit,) = desk.past.audits
    assert (audit.kind, audit.facts["again"]) == ("rerun asked", [named("failed").hex()])


def test_an_unknown_schedule_is_nothing_to_run() -> None:
    desk = Desk(PINNED)
    desk.join("web1")
    desk.run("backap", "web1")
    assert desk.offers() == []


def test_an_order_waits_for_its_worker_and_no_other_has_it() -> None:
    desk = Desk(PINNED)
    desk.join("web2")
    desk.run("backup", "web1")
    desk.advance(60)
    assert desk.offers() == []
    desk.restart()
    desk.join("web1")
    assert [desk.name(one.worker_uid) for one in desk.offers()] == ["web1"], "without any grace"


def test_an_order_to_a_worker_that_stays_away_is_missed() -> None:
    desk = Desk(PINNED)
    desk.spools["web1"] = b""
    desk.run("backup", "web1")
    desk.sleep(3601)
    desk.do(Tick())
    assert [why for *_, why in desk.verdicts()] == [
        "web1 was away, or took no starts, for longer than catch_up"
    ]


def test_a_claim_by_another_worker_than_the_one_named_is_not_believed() -> None:
    desk = Desk(PINNED)
    desk.join("web2")
    desk.spools["web1"] = b""
    desk.run("backup", "web1")
    (run_id,) = desk.dispatcher.pending(schedule_uid("backup"))
    desk.claims("web2", run_id, schedule_uid("backup"), "backup", MIDNIGHT)
    assert desk.dispatcher.pending(schedule_uid("backup")) == [run_id]


# -- cancel ---------------------------------------------------------------------------------------


def test_cancelling_what_nobody_has_is_done_at_once(desk: Desk) -> None:
    desk.advance(601)
    (run_id,) = desk.dispatcher.pending(REPORT)
    desk.cancel(run_id)
    assert desk.verdicts() == [(600.0, 600.0, 1, "cancelled", "cancelled by ann: it hangs")]
    assert [audit.kind for audit in desk.past.audits] == ["cancel asked"]


def test_cancelling_a_run_tells_its_worker_until_it_has_ended(desk: Desk) -> None:
    run_id = running(desk)
    desk.cancel(run_id)
    desk.cancel(run_id)
    assert desk.cancels() == [("web1", run_id)]
    desk.leave("web1")
    desk.restart()
    desk.join("web2")
    assert desk.cancels() == []
    desk.join("web1")
    assert desk.cancels() == [("web1", run_id)]
    desk.end("web1", run_id, Verdict.CANCELLED)
    desk.join("web1")
    assert desk.cancels() == []
    assert desk.store.state().cancels == []


def test_a_cancel_waits_for_a_worker_that_is_away(desk: Desk) -> None:
    run_id = running(desk)
    desk.leave("web1")
    desk.cancel(run_id)
    assert desk.cancels() == []
    desk.join("web1")
    (sent,) = [one for one in desk.sent if isinstance(one, SendCancel)]
    assert (sent.run_id, sent.reason) == (run_id, "cancelled by ann: it hangs")


def test_a_start_that_was_cancelled_is_offered_to_nobody_else(desk: Desk) -> None:
    run_id, number = offered(desk)
    desk.join("web2")
    desk.cancel(run_id)
    desk.refuse("web1", run_id, number)
    assert desk.offers() == []
    assert desk.order(run_id).verdict is Verdict.CANCELLED
    assert desk.store.state().cancels == []


def test_cancelling_what_has_ended_does_nothing(desk: Desk) -> None:
    desk.cancel(named("unknown"))
    assert (desk.cancels(), desk.verdicts()) == ([], [])


# -- the clock ------------------------------------------------------------------------------------


def test_a_clock_that_reads_earlier_is_waited_for_and_then_believed(desk: Desk) -> None:
    desk.join("web1")
    desk.advance(601)
    (first,) = desk.offers()
    desk.claim("web1", first)
    desk.end("web1", first.intent.run_id)
    desk.wall += round(10 * 365 * 86_400 * SECOND)
    desk.do(Tick())
    (second,) = desk.offers()
    desk.claim("web1", second)
    desk.end("web1", second.intent.run_id)
    assert [count for _, _, count, _, _ in desk.verdicts()] == [10 * 365 * 144 - 1]
    desk.wall -= round(10 * 365 * 86_400 * SECOND)
    desk.advance(119)
    assert len(desk.verdicts()) == 1
    desk.advance(3)
    assert desk.verdicts() == [], "what lies ahead is withdrawn: it will be due again"
    assert [note.level for note in desk.notes] == ["warning"]
    desk.advance(600)
    (third,) = desk.offers()
    assert third.intent.slot == MIDNIGHT + 1200 * SECOND


def test_a_clock_that_is_put_right_in_time_changes_nothing(desk: Desk) -> None:
    desk.join("web1")
    desk.advance(601)
    desk.wall -= 60 * SECOND
    desk.advance(50)
    desk.wall += 60 * SECOND
    desk.advance(200)
    assert (len(desk.offers()), desk.verdicts(), desk.notes) == (1, [], [])


def test_a_dispatcher_begins_with_nothing() -> None:
    dispatcher = Dispatcher(DispatchState(), Now(MIDNIGHT, 0.0))
    assert dispatcher.handle(Tick(), Now(MIDNIGHT, 0.0)) == []


# -- drains, and commands of no schedule ----------------------------------------------------------


def test_a_drained_worker_is_offered_nothing_until_its_drain_ends() -> None:
    desk = Desk(PINNED)
    desk.join("web1")
    until = desk.wall + 60 * SECOND
    desk.do(DrainsChanged([DrainRow(named("web1"), "web1", "ann", desk.wall, "", until)]))
    desk.run("backup", "web1")
    assert desk.offers() == []
    desk.sleep(61)
    desk.do(Tick())
    assert len(desk.offers()) == 1


def test_a_start_by_hand_that_a_drained_worker_never_got_says_so() -> None:
    desk = Desk(PINNED)
    desk.join("web1")
    request = desk.run("backup", "web1")
    (offer,) = desk.offers()
    desk.refuse("web1", offer.intent.run_id, offer.number)
    desk.do(DrainsChanged([DrainRow(named("web1"), "web1", "ann", desk.wall)]))
    desk.sleep(3601)
    desk.do(Tick())
    (row,) = desk.store.orders(request, None)
    assert row.reason == "web1 was drained, away, or took no starts, for longer than catch_up"


def test_a_command_of_no_schedule_is_an_order_to_each_worker() -> None:
    desk = Desk(PINNED)
    for name in ("web1", "web2"):
        desk.join(name)
    spec = Schedule(uid=named("exec"), name="exec", calendars=[], steps=["uptime"])
    workers = [(named(name), name) for name in ("web1", "web2")]
    request = named("request")
    desk.do(ExecAsked(request, workers, spec, 60 * SECOND, "ann", "to see"))
    found = {desk.name(one.worker_uid): one.intent for one in desk.offers()}
    assert set(found) == {"web1", "web2"}
    row = found["web1"]
    assert row.run_id == occurrence_id(Kind.EXEC, spec.uid, named("web1"), MIDNIGHT, request)
    assert (row.schedule, row.until - MIDNIGHT) == ("exec", 60 * SECOND)
    (audit,) = desk.past.audits
    assert audit.kind == "exec asked"
    assert (audit.facts["command"], audit.facts["workers"]) == (["uptime"], ["web1", "web2"])


def test_what_a_request_made_can_be_told_from_what_another_did() -> None:
    desk = Desk(PINNED)
    desk.join("web1")
    desk.run("backup", "web1")
    backup = [one.intent for one in desk.offers()]
    assert desk.run_asked("backup", "web1", "web2").made(backup)
    assert not desk.run_asked("backup", "web2").made(backup), "of other workers"
    assert not desk.run_asked("report").made(backup), "of another schedule"
    spec = Schedule(uid=named("exec"), name="exec", calendars=[], steps=["uptime"])
    asked = ExecAsked(named("another"), [(named("web1"), "web1")], spec, 60 * SECOND, "ann")
    assert not asked.made(backup)
    desk.do(asked)
    command = [one.intent for one in desk.offers() if one.intent.kind == Kind.EXEC]
    assert asked.made(command)
    other = Schedule(uid=named("exec"), name="exec", calendars=[], steps=["rm -r /srv/old"])
    assert not replace(asked, spec=other).made(command)
    assert not replace(asked, workers=[(named("web2"), "web2")]).made(command)
