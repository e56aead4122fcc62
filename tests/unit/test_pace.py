"""How much output is on its way at once."""

from __future__ import annotations

import pytest

from bartoc.pace import AT_MOST_S, FIRST, LEAST, MOST, Pace


def test_the_window_grows_on_a_fast_link_to_its_most() -> None:
    pace = Pace()
    for seq in range(1, 10):
        pace.sent(seq, pace.window, 0.0)
        assert not pace.may_send()
        pace.acknowledged(seq, 0.01)
    assert pace.window == MOST


def test_little_says_little_about_a_fast_link() -> None:
    pace = Pace()
    pace.sent(1, 100, 0.0)
    pace.acknowledged(1, 1.0)
    assert pace.window == LEAST
    for seq in range(2, 20):
        pace.sent(seq, 33_000, float(seq))
        pace.acknowledged(seq, seq + 0.01)
    assert pace.window == MOST


def test_what_was_not_on_its_way_changes_nothing() -> None:
    pace = Pace()
    pace.acknowledged(1, 99.0)
    assert pace.window == FIRST


def test_a_link_that_slows_down_is_noticed_with_the_next_acknowledgement() -> None:
    pace = Pace()
    for seq in range(1, 10):
        pace.sent(seq, 33_000, float(seq))
        pace.acknowledged(seq, seq + 0.01)
    pace.sent(10, 33_000, 10.0)
    pace.acknowledged(10, 10.0 + 4 * AT_MOST_S)
    assert pace.window == 33_000 // 4


@pytest.mark.parametrize("rate", [8_000, 125_000, 10_000_000])
def test_what_is_on_its_way_is_gone_in_some_seconds_at_any_rate(rate: int) -> None:
    """A link of so many bytes a second, and more chunks than it can carry."""
    pace = Pace()
    now, free_at, seq, queue = 0.0, 0.0, 0, []
    worst = 0.0
    for _ in range(400):
        while pace.may_send():
            seq += 1
            free_at = max(free_at, now) + 33_000 / rate
            queue.append((seq, free_at))
            pace.sent(seq, 33_000, now)
        if now > 60:
            worst = max(worst, free_at - now)
        done, now = queue.pop(0)
        pace.acknowledged(done, now)
    assert worst <= max(AT_MOST_S * 1.5, 2 * 33_000 / rate)
