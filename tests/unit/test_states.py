"""Every state has a word, a shape and colours that can be read."""

from __future__ import annotations

import pytest

from libbarto.message.v2.record import Verdict
from libbarto.states import LOOKS, STATES, Act, Look, state_of

WHITE, NIGHT = "#FFFFFF", "#14171A"


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2, "relative luminance")."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast ratio (WCAG 2.2, "contrast ratio"), from 1 to 21."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_black_on_white_has_all_the_contrast_there_is() -> None:
    assert contrast("#000000", WHITE) == pytest.approx(21)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_a_state(verdict: Verdict) -> None:
    assert STATES[verdict.word].name == verdict.word


def test_looks_differ_in_shape_and_class() -> None:
    assert len({look.shape for look in LOOKS}) == len({look.css for look in LOOKS}) == len(LOOKS)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.css)
def test_colours_can_be_read_as_text_by_day_and_by_night(look: Look) -> None:
    assert contrast(look.light, WHITE) >= 4.5
    assert contrast(look.dark, NIGHT) >= 4.5


def test_what_someone_must_act_on_says_how() -> None:
    assert all(state.advice and state.means for state in STATES.values())
    assert {name for name, state in STATES.items() if state.act is Act.YES} == {
        "failed",
        "timed_out",
        "lost",
        "interrupted",
    }


def test_a_run_without_a_verdict_runs() -> None:
    assert state_of(None) is STATES["running"]


def test_a_state_of_a_newer_server_is_its_word() -> None:
    assert (state_of("held_back").word, state_of("held_back").act) == ("held back", Act.LOOK)
