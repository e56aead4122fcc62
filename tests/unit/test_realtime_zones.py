"""Zones are read from the tzdata package as zoneinfo reads them, and for longer."""

from __future__ import annotations

import zoneinfo
from bisect import bisect_right
from datetime import UTC, datetime, timedelta, tzinfo
from importlib import resources
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import CalendarError
from libbarto.realtime.zones import (
    EPOCH,
    Zone,
    expand_rule,
    is_zone,
    load,
    names,
    read_tzif,
    suggestion,
    system_data,
)
from tests.unit.realtime_oracle import SECOND, midnight, packaged


def data_of(name: str) -> bytes:
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def offset_by(zone: tzinfo, instant: int) -> int:
    offset = (EPOCH + timedelta(microseconds=instant)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


def test_every_zone_is_there() -> None:
    assert len(names()) > 590
    assert is_zone("Europe/Berlin")
    assert not is_zone("europe/berlin")
    assert repr(load("Europe/Berlin")) == "<Zone Europe/Berlin>"


def distinct() -> list[str]:
    """One name for each file: zones that are alike are looked at once."""
    return list({data_of(name): name for name in sorted(names())}.values())


def test_every_change_of_every_zone_is_the_one_that_zoneinfo_knows() -> None:
    checked = 0
    for name in distinct():
        zone, other = load(name), packaged(name)
        for start, before, after in zip(zone.starts, zone.offsets, zone.offsets[1:], strict=False):
            assert offset_by(other, start - 1) == before, name
            assert offset_by(other, start) == after, name
            checked += 1
    assert checked > 50_000


def test_zoneinfo_knows_no_other_change() -> None:
    week, end = timedelta(days=7), datetime(2201, 1, 1, tzinfo=UTC)
    for name in distinct():
        zone, other = load(name), packaged(name)
        at = EPOCH
        bounds = [*zone.starts, 1 << 62]
        for stop, offset in zip(bounds, zone.offsets, strict=True):
            wall = timedelta(microseconds=offset)
            stop_at = min(end, EPOCH + timedelta(microseconds=min(stop, 10**16)))
            while at < stop_at:
                assert at.astimezone(other).utcoffset() == wall, (name, at)
                at += week


def test_zones_that_have_one_file_have_one_table() -> None:
    by_data: dict[bytes, set[tuple[object, ...]]] = {}
    for name in names():
        zone = load(name)
        by_data.setdefault(data_of(name), set()).add((zone.starts, zone.offsets, zone.edges))
    assert {len(found) for found in by_data.values()} == {1}


@given(
    st.sampled_from(sorted(names())),
    st.datetimes(midnight(1970, 1, 1), midnight(2199, 12, 31)),
)
def test_offsets_at_any_instant_are_those_of_zoneinfo(name: str, at: datetime) -> None:
    instant = (at.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert load(name).offset_at(instant) == offset_by(packaged(name), instant)


@pytest.mark.parametrize(
    "system",
    [
        data_of("Asia/Seoul"),
        b"",
        b"TZif2",
        b"TZif" + data_of("Asia/Tokyo")[4:5].replace(b"2", b"\0") + data_of("Asia/Tokyo")[5:],
        data_of("Asia/Tokyo")[:200],
        data_of("Asia/Tokyo").replace(b"JST-9", b"JST=9"),
    ],
    ids=["another", "empty", "a header alone", "version 1", "cut off", "another footer"],
)
def test_a_zone_whose_system_data_differ_uses_the_package_s(system: bytes) -> None:
    zone = Zone("Asia/Tokyo", data_of("Asia/Tokyo"), system)
    assert zone.starts == ()
    assert zone.tzinfo is not ZoneInfo("Asia/Tokyo")
    assert str(zone.tzinfo) == "Asia/Tokyo"


def test_a_zone_whose_system_data_agree_is_the_one_that_callers_have() -> None:
    data = data_of("Europe/Berlin")
    assert load("Europe/Berlin").tzinfo is ZoneInfo("Europe/Berlin")
    for system in (None, data, data + b"\n"):
        assert Zone("Europe/Berlin", data, system).tzinfo is ZoneInfo("Europe/Berlin")


def test_the_system_s_data_are_those_of_the_first_place_that_has_them(tmp_path: Path) -> None:
    here = tmp_path / "here" / "Europe"
    here.mkdir(parents=True)
    (here / "Berlin").write_bytes(b"TZif")
    places = zoneinfo.TZPATH
    try:
        zoneinfo.reset_tzpath(to=[tmp_path / "nowhere", tmp_path / "here"])
        assert system_data("Europe/Berlin") == b"TZif"
        assert system_data("Europe/Paris") is None
    finally:
        zoneinfo.reset_tzpath(to=places)


def test_utc_is_the_datetime_module_s_own() -> None:
    assert load("UTC").tzinfo is UTC
    assert load("UTC").starts == ()


def seconds(*fields: int) -> int:
    return int((datetime(*fields, tzinfo=UTC) - EPOCH).total_seconds())  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("<+0530>-5:30", [(seconds(2026, 1, 1) + 1, 19_800)]),
        (
            "EST5EDT,M3.2.0,M11.1.0",
            [(seconds(2026, 3, 8, 7), -14_400), (seconds(2026, 11, 1, 6), -18_000)],
        ),
        (
            "CET-1CEST,M3.5.0,M10.5.0/3",
            [(seconds(2026, 3, 29, 1), 7200), (seconds(2026, 10, 25, 1), 3600)],
        ),
        (
            "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
            [(seconds(2026, 3, 29, 1), -3600), (seconds(2026, 10, 25, 1), -7200)],
        ),
        (
            "IST-1GMT0,M10.5.0,M3.5.0/1",
            [(seconds(2026, 3, 29, 1), 3600), (seconds(2026, 10, 25, 1), 0)],
        ),
        (
            "AAA3BBB2:30,J60/0,300/+1:30:15",
            [
                (seconds(2026, 3, 1, 3), -9000),
                (seconds(2026, 10, 28, 4, 0, 15), -10_800),
                (seconds(2027, 3, 1, 3), -9000),
                (seconds(2027, 10, 28, 4, 0, 15), -10_800),
                (seconds(2028, 3, 1, 3), -9000),
                (seconds(2028, 10, 27, 4, 0, 15), -10_800),
            ],
        ),
        ("AAA0BBB,J59/0,J1/0", [(seconds(2026, 2, 28), 3600), (seconds(2026, 12, 31, 23), 0)]),
    ],
)
def test_a_posix_rule_is_expanded(rule: str, changes: list[tuple[int, int]]) -> None:
    assert expand_rule(rule, seconds(2026, 1, 1))[: len(changes)] == changes


def test_zone_data_that_cannot_be_read_are_named() -> None:
    with pytest.raises(CalendarError, match="the rule 'nonsense' cannot be read"):
        expand_rule("nonsense", 0)


def test_a_zone_of_one_offset_has_no_changes() -> None:
    data = resources.files("tzdata").joinpath("zoneinfo", "Etc", "GMT+5").read_bytes()
    first, changes = read_tzif(data)
    assert first == -18_000
    assert load("Etc/GMT+5").starts == ()
    assert {offset for _, offset in changes} <= {-18_000}


def test_edges_bound_the_readings_that_a_change_touches() -> None:
    zone = load("Europe/Berlin")
    wall = seconds(2026, 3, 29, 2, 30) * SECOND
    place = bisect_right(zone.edges, wall)
    assert place % 2 == 1
    assert zone.edges[place - 1] == seconds(2026, 3, 29, 2) * SECOND
    assert zone.edges[place] == seconds(2026, 3, 29, 3) * SECOND


def test_near_names_are_suggested() -> None:
    assert suggestion("Europe/Berln") == "; did you mean Europe/Berlin?"
    assert suggestion("tokyo") == "; did you mean Asia/Tokyo?"
    assert suggestion("utc") == "; did you mean UTC?"
    assert suggestion("Qqqqqqqq") == ""
    assert suggestion("x" * 100) == ""
