"""The conversation of worker and server: who may say what, when, and what comes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import pytest

from libbarto.envelope import SealBroken, SigningKey
from libbarto.errors import BartoError, ProtocolError
from libbarto.identity import NO_TAG, next_tag
from libbarto.message.v2.record import STATE_RECORD, Lane, SetApplied
from libbarto.message.v2.server import (
    TO_WORKER,
    Acknowledged,
    Asked,
    Cancel,
    CleanUp,
    Credit,
    Mark,
    Offer,
    Ready,
    SignedSet,
)
from libbarto.message.v2.worker import (
    FROM_WORKER,
    Batch,
    EpochHeld,
    Hello,
    LaneState,
    OfferAnswer,
)
from libbarto.session import (
    ASKED_MOST,
    SET_PART_BYTES,
    CancelReceived,
    CleanUpAsked,
    ClockMeasured,
    Close,
    ConfirmEpoch,
    ForkFound,
    ForkReported,
    HelloReceived,
    OfferAnswered,
    OfferReceived,
    Opened,
    RecordsReceived,
    RefusedBy,
    SafeUpTo,
    Send,
    ServerSession,
    SetReceived,
    Stage,
    StoreEpoch,
    TellEpoch,
    Undecodable,
    UnknownMessage,
    Welcomed,
    WorkerSession,
    cost,
)

KEY = SigningKey(bytes(range(32)))
NONCE = b"n" * 16
HELLO = Hello(uid=b"u" * 16, name="vader", version="2.0.0", spool_id=b"s" * 16)
NOTHING = {Lane.STATE: Mark(), Lane.OUTPUT: Mark()}
RECORD = STATE_RECORD.encode(SetApplied(generation=1, at=5))


class Pair:
    """Both ends, joined: frames go over at once, other events are kept."""

    def __init__(self, hello: Hello = HELLO) -> None:
        self.worker = WorkerSession(hello, KEY.public, 0.0)
        self.server = ServerSession(NONCE, "2.0.0", 0.0)
        self.at_worker: list[object] = []
        self.at_server: list[object] = []
        self.to_server(self.worker.open())

    def to_server(self, events: Sequence[object], boottime: float = 0.0) -> None:
        for event in events:
            if isinstance(event, Send):
                self.to_worker(self.server.receive(event.frame, 0, boottime), boottime)
            else:
                self.at_worker.append(event)

    def to_worker(self, events: Sequence[object], boottime: float = 0.0) -> None:
        for event in events:
            if isinstance(event, Send):
                self.to_server(self.worker.receive(event.frame, 0, boottime), boottime)
            else:
                self.at_server.append(event)

    def opened(self, marks: Mapping[Lane, Mark] = NOTHING, credit: int = 10_000) -> Pair:
        """Greet, judge, confirm: until records may flow."""
        self.to_worker(self.server.answer(self.worker._hello.epoch, marks, 0))
        self.to_server(self.worker.judge({lane: mark.tag for lane, mark in marks.items()}))
        (store,) = [e for e in self.at_worker if isinstance(e, StoreEpoch)]
        self.to_server(self.worker.epoch_stored(store.epoch))
        self.to_worker(self.server.confirmed(True, credit))
        return self


def closes(events: Sequence[object]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Close)]


# -- how a session begins -------------------------------------------------------------------------


def test_a_session_opens_by_hello_welcome_epoch_and_ready() -> None:
    pair = Pair()
    assert pair.at_server == [HelloReceived(HELLO)]
    assert pair.server.peer == HELLO
    pair.opened()
    assert pair.at_server[-1] == ConfirmEpoch(1)
    assert isinstance(pair.at_worker[0], Welcomed)
    assert pair.at_worker[-1] == Opened({Lane.STATE: 0, Lane.OUTPUT: 0})
    assert pair.worker.stage is pair.server.stage is Stage.OPEN


def test_the_epoch_issued_is_higher_than_what_either_end_knows() -> None:
    pair = Pair(msgspec.structs.replace(HELLO, epoch=7))
    pair.to_worker(pair.server.answer(4, NOTHING, 0))
    assert pair.server.epoch == 8
    other = Pair(msgspec.structs.replace(HELLO, epoch=4))
    other.to_worker(other.server.answer(4, NOTHING, 0))
    assert other.server.epoch == 5


def test_an_epoch_that_was_not_committed_ends_the_session() -> None:
    pair = Pair()
    pair.to_worker(pair.server.answer(0, NOTHING, 0))
    pair.to_server(pair.worker.judge({Lane.STATE: NO_TAG, Lane.OUTPUT: NO_TAG}))
    pair.to_server(pair.worker.epoch_stored(1))
    pair.to_worker(pair.server.confirmed(False, 0))
    assert closes(pair.at_server) == ["another connection of this worker was confirmed meanwhile"]
    assert pair.server.confirmed(True, 0) == []


def test_another_epoch_than_the_one_issued_breaks_the_protocol() -> None:
    pair = Pair()
    pair.to_worker(pair.server.answer(0, NOTHING, 0))
    with pytest.raises(ProtocolError, match="epoch 9"):
        pair.server.receive(FROM_WORKER.encode(EpochHeld(epoch=9)), 0, 0)


def test_an_old_hello_is_doubted_and_a_fresh_worker_reconnects() -> None:
    pair = Pair(msgspec.structs.replace(HELLO, epoch=3))
    pair.to_worker(pair.server.answer(5, NOTHING, 0))
    assert pair.at_worker == [TellEpoch()]
    pair.to_server(pair.worker.epoch_stored(5))
    assert closes(pair.at_server) == ["the hello was older than what the worker holds now"]


def test_a_worker_that_still_holds_a_lower_epoch_is_a_fork() -> None:
    pair = Pair(msgspec.structs.replace(HELLO, epoch=3))
    pair.to_worker(pair.server.answer(5, NOTHING, 0))
    pair.to_server(pair.worker.epoch_stored(3))
    assert isinstance(pair.at_server[1], ForkReported)
    refused = [e for e in pair.at_worker if isinstance(e, RefusedBy)]
    assert refused[0].code == "fork"
    assert "copied or rolled back" in refused[0].reason


def test_a_mark_beyond_what_the_worker_has_is_a_fork() -> None:
    pair = Pair()
    pair.to_worker(pair.server.answer(0, {**NOTHING, Lane.OUTPUT: Mark(seq=4, tag=b"x" * 8)}, 0))
    pair.to_server(pair.worker.judge({Lane.STATE: NO_TAG, Lane.OUTPUT: None}))
    assert isinstance(pair.at_worker[1], ForkFound)
    assert isinstance(pair.at_server[1], ForkReported)
    assert pair.worker.stage is pair.server.stage is Stage.CLOSED


def test_a_mark_with_another_tag_than_the_workers_own_is_a_fork() -> None:
    hello = msgspec.structs.replace(HELLO, state=LaneState(first=1, last=4, tag=b"a" * 8))
    pair = Pair(hello)
    pair.to_worker(pair.server.answer(0, {**NOTHING, Lane.STATE: Mark(seq=4, tag=b"x" * 8)}, 0))
    pair.to_server(pair.worker.judge({Lane.STATE: b"a" * 8, Lane.OUTPUT: NO_TAG}))
    (found,) = [e for e in pair.at_worker if isinstance(e, ForkFound)]
    assert found.lane is Lane.STATE


def test_records_the_worker_no_longer_holds_are_a_gap() -> None:
    hello = msgspec.structs.replace(
        HELLO, state=LaneState(first=5, last=6, tag=b"t" * 8, before_tag=b"b" * 8)
    )
    pair = Pair(hello)
    marks = {**NOTHING, Lane.STATE: Mark(seq=2, tag=b"c" * 8)}
    pair.to_worker(pair.server.answer(0, marks, 0))
    pair.to_server(pair.worker.judge({Lane.STATE: None, Lane.OUTPUT: NO_TAG}))
    gap = pair.server.gap(Lane.STATE)
    assert gap == Mark(seq=4, tag=b"b" * 8)
    assert pair.server.gap(Lane.OUTPUT) is None
    pair.server.gap_recorded(Lane.STATE, gap)
    pair.to_server(pair.worker.epoch_stored(1))
    pair.to_worker(pair.server.confirmed(True, 100))
    assert pair.worker.sent[Lane.STATE] == 4
    assert pair.server.mark(Lane.STATE).seq == 4


@pytest.mark.parametrize("lane", [Lane.STATE, Lane.OUTPUT])
@pytest.mark.parametrize(("acknowledged", "less"), [(2, False), (3, True)])
def test_a_server_that_knows_less_than_it_acknowledged_was_restored(
    lane: Lane, acknowledged: int, less: bool
) -> None:
    told = LaneState(first=1, last=6, tag=b"t" * 8, acknowledged=acknowledged)
    changed = {"state": told} if lane is Lane.STATE else {"output": told}
    pair = Pair(msgspec.structs.replace(HELLO, **changed))
    marks = {**NOTHING, lane: Mark(seq=2, tag=b"c" * 8)}
    pair.to_worker(pair.server.answer(0, marks, 0))
    assert pair.server.knows_less() is less


def test_a_refusal_tells_why() -> None:
    pair = Pair()
    pair.to_worker(pair.server.refuse("name-taken", "another is called so"))
    assert RefusedBy("name-taken", "another is called so") in pair.at_worker
    assert pair.worker.stage is Stage.CLOSED


def test_there_is_no_peer_before_the_hello() -> None:
    with pytest.raises(ProtocolError):
        _ = ServerSession(NONCE, "2", 0.0).peer


# -- records --------------------------------------------------------------------------------------


def test_records_travel_numbered_and_tagged_and_cost_credit() -> None:
    pair = Pair().opened()
    pair.to_server([pair.worker.batch(Lane.STATE, [RECORD, RECORD])])
    received = pair.at_server[-1]
    assert isinstance(received, RecordsReceived)
    assert (received.first_seq, received.last_seq) == (1, 2)
    assert received.tag == next_tag(next_tag(NO_TAG, RECORD), RECORD)
    assert received.records == (SetApplied(generation=1, at=5),) * 2
    assert pair.worker.credit == 10_000 - cost([RECORD, RECORD])
    pair.to_worker(pair.server.committed(Lane.STATE, 2))
    assert pair.at_worker[-1] == SafeUpTo(Lane.STATE, 2)


def test_without_credit_nothing_may_be_sent_until_more_is_granted() -> None:
    pair = Pair().opened(credit=1)
    pair.to_server([pair.worker.batch(Lane.OUTPUT, [b"x"])])
    assert not pair.worker.may_send()
    with pytest.raises(ProtocolError, match="credit"):
        pair.worker.batch(Lane.OUTPUT, [b"x"])
    pair.to_worker(pair.server.grant(50))
    assert pair.worker.may_send()
    assert pair.server.outstanding == pair.worker.credit


def test_records_without_credit_break_the_protocol() -> None:
    pair = Pair().opened(credit=1)
    pair.to_server([pair.worker.batch(Lane.STATE, [RECORD])])
    frame = FROM_WORKER.encode(Batch(lane=Lane.STATE, first_seq=2, records=[RECORD]))
    with pytest.raises(ProtocolError, match="without credit"):
        pair.server.receive(frame, 0, 0)


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (Batch(lane=Lane.STATE, first_seq=2, records=[RECORD]), "follow 0"),
        (Batch(lane=Lane.STATE, first_seq=1, records=[]), "follow 0"),
        (Batch(lane=9, first_seq=1, records=[RECORD]), "no lane 9"),
    ],
)
def test_a_gap_within_a_session_breaks_the_protocol(batch: Batch, text: str) -> None:
    pair = Pair().opened()
    with pytest.raises(ProtocolError, match=text):
        pair.server.receive(FROM_WORKER.encode(batch), 0, 0)


def test_a_record_that_cannot_be_read_is_put_aside_alone() -> None:
    pair = Pair().opened()
    newer = bytes([100, 1, 0])
    pair.to_server([pair.worker.batch(Lane.STATE, [b"\xff\xff", RECORD, newer])])
    received = pair.at_server[-1]
    assert isinstance(received, RecordsReceived)
    bad, good, unknown = received.records
    assert isinstance(bad, Undecodable)
    assert (bad.seq, bad.data) == (1, b"\xff\xff")
    assert good == SetApplied(generation=1, at=5)
    assert isinstance(unknown, Undecodable)
    assert "unknown kind 100" in unknown.error


def test_an_acknowledgement_of_what_was_never_sent_breaks_the_protocol() -> None:
    pair = Pair().opened()
    with pytest.raises(ProtocolError, match="only 0 were sent"):
        pair.worker.receive(TO_WORKER.encode(Acknowledged(lane=0, seq=1)), 0, 0)


# -- sets and orders ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, SET_PART_BYTES, 3 * SET_PART_BYTES + 5])
def test_a_set_arrives_whole_whatever_its_size(size: int) -> None:
    pair = Pair().opened()
    body = bytes(i % 251 for i in range(size))
    pair.to_worker(pair.server.push_set(3, body, KEY))
    assert pair.at_worker[-1] == SetReceived(3, hashlib.sha256(body).digest(), body)
    assert pair.worker.generation == 3


def forged(**changes: object) -> SignedSet:
    pair = Pair().opened()
    (send,) = pair.server.push_set(3, b"body", KEY)
    assert isinstance(send, Send)
    genuine = TO_WORKER.decode(send.frame)
    assert isinstance(genuine, SignedSet)
    return msgspec.structs.replace(genuine, **changes)


@pytest.mark.parametrize(
    "part",
    [
        forged(generation=4),
        forged(hash=b"x" * 32),
        forged(body=b"evil"),
        forged(signature=bytes(64)),
        forged(part=1, parts=2),
    ],
)
def test_a_set_that_is_not_genuine_is_refused(part: SignedSet) -> None:
    pair = Pair().opened()
    with pytest.raises(BartoError):
        pair.worker.receive(TO_WORKER.encode(part), 0, 0)
    assert pair.worker.generation == 0


def test_a_set_of_another_session_is_refused() -> None:
    other = Pair().opened()
    other.server._nonce = b"m" * 16
    (send,) = other.server.push_set(3, b"body", KEY)
    pair = Pair().opened()
    assert isinstance(send, Send)
    with pytest.raises(BartoError):
        pair.worker.receive(send.frame, 0, 0)


def test_a_set_that_is_not_newer_is_refused() -> None:
    pair = Pair(msgspec.structs.replace(HELLO, generation=3)).opened()
    (send,) = pair.server.push_set(3, b"body", KEY)
    assert isinstance(send, Send)
    with pytest.raises(ProtocolError, match="not newer"):
        pair.worker.receive(send.frame, 0, 0)


OFFER = Offer(request=b"r" * 16, run_id=b"i" * 16, kind=2, schedule_uid=b"c" * 16, slot=7)
CANCEL = Cancel(request=b"r" * 16, run_id=b"i" * 16, reason="it hangs")


def unsigned(order: Offer | Cancel) -> Offer | Cancel:
    return msgspec.structs.replace(order, signature=b"")


def test_orders_and_their_answers_travel() -> None:
    pair = Pair().opened()
    pair.to_worker(pair.server.signed_order(OFFER, KEY))
    (received,) = [event for event in pair.at_worker if isinstance(event, OfferReceived)]
    assert unsigned(received.offer) == OFFER
    answer = OfferAnswer(request=OFFER.request, accepted=True)
    pair.to_server([pair.worker.answer_offer(answer)])
    assert pair.at_server[-1] == OfferAnswered(answer)
    pair.to_worker(pair.server.signed_order(CANCEL, KEY))
    (told,) = [event for event in pair.at_worker if isinstance(event, CancelReceived)]
    assert unsigned(told.cancel) == CANCEL
    pair.to_worker(pair.server.order(CleanUp(before=9)))
    assert CleanUpAsked(9) in pair.at_worker


@pytest.mark.parametrize("order", [OFFER, CANCEL])
def test_an_order_that_is_not_genuine_ends_the_session(order: Offer | Cancel) -> None:
    for key, change in ((SigningKey(bytes(32)), {}), (KEY, {"run_id": b"j" * 16})):
        pair = Pair().opened()
        (send,) = pair.server.signed_order(order, key)
        assert isinstance(send, Send)
        sent = TO_WORKER.decode(send.frame)
        assert isinstance(sent, Offer | Cancel)
        with pytest.raises(SealBroken, match="not signed"):
            pair.worker.receive(TO_WORKER.encode(msgspec.structs.replace(sent, **change)), 0, 0)


@pytest.mark.parametrize("order", [OFFER, CANCEL])
def test_an_order_is_for_one_session_alone(order: Offer | Cancel) -> None:
    (send,) = Pair().opened().server.signed_order(order, KEY)
    assert isinstance(send, Send)
    other = Pair()
    other.server = ServerSession(b"m" * 16, "2.0.0", 0.0)
    other.worker = WorkerSession(HELLO, KEY.public, 0.0)
    other.to_server(other.worker.open())
    other.opened()
    with pytest.raises(SealBroken, match="not signed"):
        other.worker.receive(send.frame, 0, 0)


def test_a_welcome_asks_what_became_of_old_offers() -> None:
    pair = Pair()
    offers = [Asked(run_id=b"i" * 16, number=number) for number in range(ASKED_MOST + 1)]
    (send,) = pair.server.answer(0, NOTHING, 0, offers)
    assert isinstance(send, Send) and len(send.frame) < 64 * 1024
    (event,) = pair.worker.receive(send.frame, 0, 0)
    assert isinstance(event, Welcomed)
    assert event.welcome.offers == offers[:ASKED_MOST]


def test_nothing_is_sent_to_a_worker_that_is_not_ready() -> None:
    server = ServerSession(NONCE, "2", 0.0)
    assert server.order(CleanUp(before=1)) == []
    assert server.signed_order(OFFER, KEY) == []
    assert server.grant(5) == []
    assert server.committed(Lane.STATE, 1) == []


# -- signs of life --------------------------------------------------------------------------------


def test_heartbeats_go_both_ways_and_measure_the_clocks() -> None:
    pair = Pair().opened()
    ahead = 3_000_000  # the server's clock is three seconds ahead
    (from_worker,) = pair.worker.tick(1_000_000, 5.0)
    assert isinstance(from_worker, Send)
    assert pair.server.receive(from_worker.frame, 1_000_000 + ahead, 5.0) == []
    (from_server,) = pair.server.tick(2_000_000 + ahead, 6.0)
    assert isinstance(from_server, Send)
    assert pair.worker.receive(from_server.frame, 2_000_000, 6.0) == [ClockMeasured(ahead)]
    (again,) = pair.worker.tick(6_000_000, 10.0)
    assert isinstance(again, Send)
    assert pair.server.receive(again.frame, 6_000_000 + ahead, 10.0) == [ClockMeasured(-ahead)]
    assert pair.worker.tick(6_000_000, 10.1) == []
    assert pair.server.tick(6_000_000, 10.1) == []


def test_silence_ends_the_session_at_either_end() -> None:
    pair = Pair().opened()
    assert pair.worker.next_due() == 5.0
    assert pair.server.next_due() == 5.0
    assert "nothing heard" in closes(pair.worker.tick(0, 15.1))[0]
    assert "nothing heard" in closes(pair.server.tick(0, 15.1))[0]
    assert pair.worker.tick(0, 16) == []
    assert pair.server.tick(0, 16) == []
    assert pair.worker.receive(b"", 0, 16) == []
    assert pair.server.receive(b"", 0, 16) == []


def test_either_end_may_leave_in_order() -> None:
    pair = Pair().opened()
    pair.to_server(pair.worker.leave("bye"))
    assert closes(pair.at_server) == ["the worker left: bye"]
    assert pair.worker.leave("again") == []
    other = Pair().opened()
    other.to_worker(other.server.leave(""))
    assert closes(other.at_worker) == ["the server left"]
    assert other.server.leave("again") == []
    third, fourth = Pair().opened(), Pair().opened()
    third.to_server(third.worker.leave(""))
    assert closes(third.at_server) == ["the worker left"]
    fourth.to_worker(fourth.server.leave("to rest"))
    assert closes(fourth.at_worker) == ["the server left: to rest"]


# -- what is out of place -------------------------------------------------------------------------


def test_what_is_said_at_the_wrong_time_breaks_the_protocol() -> None:
    pair = Pair()
    with pytest.raises(ProtocolError, match="while judging"):
        pair.server.receive(FROM_WORKER.encode(HELLO), 0, 0)
    with pytest.raises(ProtocolError, match="while greeting"):
        pair.worker.receive(TO_WORKER.encode(Credit(bytes_=1)), 0, 0)
    with pytest.raises(ProtocolError, match="Ready while greeting"):
        pair.worker.receive(TO_WORKER.encode(Ready(credit=1)), 0, 0)


def test_bytes_that_are_no_message_break_the_protocol() -> None:
    pair = Pair().opened()
    with pytest.raises(ProtocolError, match="cannot be read"):
        pair.server.receive(b"\xff\xff\xff", 0, 0)
    with pytest.raises(ProtocolError, match="cannot be read"):
        pair.worker.receive(b"", 0, 0)


def test_messages_of_newer_peers_are_passed_over() -> None:
    pair = Pair().opened()
    strange = bytes([99, 2, 0, 0])
    assert pair.worker.receive(strange, 0, 0) == [UnknownMessage(99)]
    assert pair.server.receive(strange, 0, 0) == [UnknownMessage(99)]
    with pytest.raises(ProtocolError):
        ServerSession(NONCE, "2", 0.0).receive(strange, 0, 0)
