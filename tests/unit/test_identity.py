"""Ids are computed, and the same for ever: every golden vector stands for runs in someone's
history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from libbarto.identity import (
    Kind,
    calendar_seed,
    netstrings,
    next_tag,
    occurrence_id,
    schedule_uid,
    uuid_text,
)

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "vectors" / "identity.jsonl").read_text().splitlines()
]
ids = st.binary(min_size=16, max_size=16)


def vectors(what: str) -> list[dict[str, Any]]:
    found = [row for row in VECTORS if row["what"] == what]
    assert found
    return found


def test_uids_of_schedules_stay_what_they_were() -> None:
    for row in vectors("schedule"):
        assert schedule_uid(row["name"], row["id"]).hex() == row["uid"]


def test_ids_of_occurrences_stay_what_they_were() -> None:
    for row in vectors("occurrence"):
        found = occurrence_id(
            Kind[row["kind"].upper()],
            bytes.fromhex(row["schedule"]),
            bytes.fromhex(row["worker"]),
            row["slot"],
            bytes.fromhex(row["cause"]),
        )
        assert found.hex() == row["id"]


def test_tags_and_seeds_stay_what_they_were() -> None:
    for row in vectors("tag"):
        record = bytes.fromhex(row["record"])
        assert next_tag(bytes.fromhex(row["before"]), record).hex() == row["tag"]
    for row in vectors("seed"):
        schedule, worker = bytes.fromhex(row["schedule"]), bytes.fromhex(row["worker"])
        assert calendar_seed(schedule, worker).hex() == row["seed"]


@given(ids, ids, st.integers(0, 4_000_000_000_000_000))
def test_an_id_is_a_version_8_uuid_that_begins_with_its_time(
    schedule: bytes, worker: bytes, slot: int
) -> None:
    found = occurrence_id(Kind.CALENDAR, schedule, worker, slot)
    assert len(found) == 16
    assert found[6] >> 4 == 8
    assert found[8] >> 6 == 0b10
    assert int.from_bytes(found[:6], "big") == slot // 1000


@given(ids, ids, st.integers(0, 4_000_000_000_000_000), st.integers(1, 10**9))
def test_later_slots_have_greater_ids(schedule: bytes, worker: bytes, slot: int, more: int) -> None:
    early = occurrence_id(Kind.CALENDAR, schedule, worker, slot)
    late = occurrence_id(Kind.CALENDAR, schedule, worker, slot + more * 1000)
    assert early < late


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_no_two_lists_have_the_same_netstrings(one: list[bytes], two: list[bytes]) -> None:
    assert (netstrings(*one) == netstrings(*two)) is (one == two)


def test_a_uuid_is_written_as_usual() -> None:
    assert uuid_text(bytes(range(16))) == "00010203-0405-0607-0809-0a0b0c0d0e0f"
