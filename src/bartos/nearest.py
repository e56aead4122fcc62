"""Which known name may a mistyped one be meant to be?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` is most likely meant to be, if any is near.

    >>> nearest("wbe1", ["web1", "db1"])
    'web1'
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """There is no `what` of that name; which one may have been meant.

    >>> no_such("worker", "wbe1", ["web1", "db1"])
    'no worker is called "wbe1"; did you mean "web1"?'
    """
    near = nearest(name, known)
    hint = f'; did you mean "{near}"?' if near else ""
    return f'no {what} is called "{name}"{hint}'
