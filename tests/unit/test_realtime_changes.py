"""Beside every clock change of every zone from 2000 to 2040 the rules hold, minute by minute."""

from __future__ import annotations

import pytest

from libbarto.realtime.zones import names
from tests.unit.realtime_changes import changes_of, check_change, telling_cases

YEAR_2000, YEAR_2041 = 946_684_800_000_000, 2_240_524_800_000_000
SLICES = 8
"""So that the work can be shared out."""


@pytest.fixture(scope="module")
def changes() -> list[tuple[int, str]]:
    """Instants of changes; those that many zones make alike once, in one of these zones."""
    found = changes_of(sorted(names()), YEAR_2000, YEAR_2041)
    return sorted((at, name) for (at, _, _), name in found.items())


def test_the_changes_are_those_of_all_zones(changes: list[tuple[int, str]]) -> None:
    assert len(changes) > 3200
    assert len({name for _, name in changes}) > 90


@pytest.mark.parametrize("part", range(SLICES))
def test_gaps_and_folds_are_as_the_rules_have_it(part: int, changes: list[tuple[int, str]]) -> None:
    held = [check_change(name, at, telling_cases) for at, name in changes[part::SLICES]]
    assert min(held) == max(held) == 10 * 7 * 4
