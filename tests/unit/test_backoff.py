"""Back-off: the delay grows to a cap, is spread over all of it, and no attempt is the last."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.backoff import Backoff

attempts = st.one_of(st.integers(0, 100), st.integers(0, 10**400))


@given(attempts, st.integers())
def test_a_delay_is_never_negative_and_never_above_the_cap(attempt: int, seed: int) -> None:
    backoff = Backoff()
    delay = backoff.delay(attempt, random.Random(seed))
    assert 0 <= delay <= backoff.ceiling(attempt) <= 10


def test_the_ceiling_doubles_from_half_a_second_to_ten() -> None:
    assert [Backoff().ceiling(attempt) for attempt in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]


def test_the_delays_of_many_workers_are_spread_over_all_of_it() -> None:
    rng = random.Random(1)
    delays = [Backoff().delay(20, rng) for _ in range(10_000)]
    for second in range(10):
        assert 800 < sum(second <= delay < second + 1 for delay in delays) < 1_200


def test_the_same_generator_gives_the_same_delays() -> None:
    assert Backoff().delay(3, random.Random(7)) == Backoff().delay(3, random.Random(7))


def test_a_factor_of_one_is_a_constant_ceiling() -> None:
    steady = Backoff(first=2, factor=1, cap=2)
    assert {steady.ceiling(attempt) for attempt in (0, 5, 10**100)} == {2}


@pytest.mark.parametrize(
    ("first", "factor", "cap"), [(0, 2, 10), (-1, 2, 10), (11, 2, 10), (1, 0.5, 10)]
)
def test_settings_that_make_no_sense_are_refused(first: float, factor: float, cap: float) -> None:
    with pytest.raises(ValueError, match="must hold"):
        Backoff(first, factor, cap)


def test_attempts_count_from_zero() -> None:
    with pytest.raises(ValueError, match="count from 0"):
        Backoff().ceiling(-1)
