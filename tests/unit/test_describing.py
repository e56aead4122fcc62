"""Schedules in words: when they are due, and how they run."""

from __future__ import annotations

import pytest

from bartos.describing import policies, when
from bartos.schedules import Definition, load_schedules


def definition(text: str) -> Definition:
    whole = f'[[schedule]]\nname = "parent"\nworkers = "*"\nat = "boot"\ncmds = ["true"]\n{text}'
    return load_schedules([("bartos.toml", whole)])[-1]


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        ('on_calendar = "*-*-* 02:00"\ntimezone = "Europe/Berlin"', "at 02:00 every day"),
        ('cron = "@hourly"', "every hour"),
        ('every = "15m"', "every 15 minutes"),
        ('every = "1h"\nanchor = "R"', "every hour"),
        ('at = "2027-01-01T06:00:00Z"', "2027-01-01"),
        ('at = "boot"', "once after each start of the host"),
        ('after = "parent"\nwhen = "failed"', "after each run of parent that failed"),
    ],
)
def test_when_it_is_due(trigger: str, words: str) -> None:
    one = definition(f'[[schedule]]\nname = "x"\nworkers = "*"\n{trigger}\ncmds = ["true"]')
    assert words in when(one)
    assert ("Europe/Berlin" in when(one)) == ("Berlin" in trigger)


def test_how_it_runs() -> None:
    plain = definition('[[schedule]]\nname = "x"\nworkers = "*"\nevery = "1h"\ncmds = ["true"]')
    assert policies(plain).startswith("Each worker starts it by its own clock; ")
    full = definition(
        '[[schedule]]\nname = "x"\nworkers = "*"\nevery = "1h"\ncmds = ["true"]\npick = "one"\n'
        'timeout = "2h"\nretries = 3\nrerun_interrupted = true\ncontinue_on_error = true\n'
        'run_as = "web"\noverlap = "queue"\nmissed = "none"\noutput_max = "1MiB"'
    )
    assert policies(full) == (
        "The server gives each start to one worker; a start waits while a run goes on; what was "
        "missed stays so; a run is stopped after 2h; what fails is tried up to 3 times more, 30s "
        "later at first; what was interrupted is run again; a step that fails does not keep the "
        "next one from starting; its commands run as web; 1MiB of output are kept of a run."
    )
    once = definition(
        '[[schedule]]\nname = "x"\nworkers = "*"\nevery = "1h"\ncmds = ["true"]\nretries = 1'
    )
    assert "tried once more" in policies(once)
