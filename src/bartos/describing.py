"""What does a schedule do, in words? When it is due, and under which policies it runs: a sentence
for people, out of the keys.
"""

from __future__ import annotations

from bartos.schedules import Definition
from libbarto.quantity import format_duration, format_size
from libbarto.realtime.interval import RANDOM_ANCHOR
from libbarto.realtime.words import describe_trigger

_MISSED = {
    "latest": "of those that were missed, the latest is caught up within {}",
    "all": "those that were missed are caught up within {}",
    "none": "what was missed stays so",
}
_OVERLAP = {
    "skip": "a start is skipped while a run goes on",
    "queue": "a start waits while a run goes on",
    "replace": "a start takes the place of a run that goes on",
    "allow": "a start runs beside one that goes on",
}


def when(one: Definition) -> str:
    """When a schedule is due.

    >>> when(Definition(name="tick", workers="*", on_calendar="*-*-* 02:00", cmds=["true"]))
    'at 02:00 every day (UTC)'
    """
    text = describe_trigger(
        one.calendars,
        every_us=None if one.every is None else round(one.every * 1_000_000),
        anchor_us=one.anchor_us,
        drawn=one.anchor == RANDOM_ANCHOR,
        at=one.instants,
        on_boot=one.on_boot,
        after=one.after,
        when=one.when,
    )
    return f"{text} ({one.timezone})" if one.calendars else text


def policies(one: Definition) -> str:
    """How a schedule runs, in one sentence.

    >>> policies(Definition(name="tick", workers="*", on_calendar="hourly", cmds=["true"]))
    'Each worker starts it by its own clock; a start is skipped while a run goes on; of those that \
were missed, the latest is caught up within 1h; no time limit; no further attempts; 10MiB of \
output are kept of a run.'
    """
    said = [
        "The server gives each start to one worker"
        if one.floating
        else "Each worker starts it by its own clock",
        _OVERLAP[one.overlap],
        _MISSED[one.missed].format(format_duration(one.catch_up)),
        "no time limit"
        if one.timeout is None
        else f"a run is stopped after {format_duration(one.timeout)}",
        _attempts(one),
    ]
    if one.rerun_interrupted:
        said.append("what was interrupted is run again")
    if one.continue_on_error:
        said.append("a step that fails does not keep the next one from starting")
    if one.run_as is not None:
        said.append(f"its commands run as {one.run_as}")
    said.append(f"{format_size(one.output_max)} of output are kept of a run")
    return "; ".join(said) + "."


def _attempts(one: Definition) -> str:
    if not one.retries:
        return "no further attempts"
    times = "once" if one.retries == 1 else f"up to {one.retries} times"
    return f"what fails is tried {times} more, {format_duration(one.retry_delay)} later at first"
