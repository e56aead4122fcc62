"""What more than one of the programs of barto 1.x puts on the wire: times, kinds, and hosts.

Every fact here is from protocol-v1.md, sections 2 and 3.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from typing import Annotated, Final

import msgspec

from libbarto.codec import Mapped, Struct

_EPOCH: Final = dt.date(1970, 1, 1).toordinal()
_DAY_US: Final = 86_400_000_000
_RFC3339: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)


class TimeText(msgspec.Struct, frozen=True, gc=False):
    """An instant as barto 1.x writes it: RFC 3339 with 0 to 9 digits of a second's fraction.

    The text is kept as it came, for a `datetime` would lose digits. So two texts of one instant
    differ. Raises `ValueError` for a text that is no instant.
    """

    text: str

    def __post_init__(self) -> None:
        self.to_us()

    @classmethod
    def from_us(cls, instant: int) -> TimeText:
        """The text of an instant in microseconds since 1970: UTC, written `Z`, no idle zeros.

        >>> TimeText.from_us(1_760_026_350_500_000).text
        '2025-10-09T16:12:30.5Z'
        """
        days, of_day = divmod(instant, _DAY_US)
        seconds, fraction = divmod(of_day, 1_000_000)
        try:
            date = dt.date.fromordinal(_EPOCH + days)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{instant} µs since 1970 is outside the years 1 to 9999") from error
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        digits = f".{fraction:06}".rstrip("0") if fraction else ""
        return cls(f"{date.isoformat()}T{clock}{digits}Z")

    def to_us(self) -> int:
        """The instant in microseconds since 1970; what is finer is cut off.

        A leap second counts as the last microsecond before it, for no clock of ours has one.

        >>> TimeText("2025-10-09T18:12:30.123456789+02:00").to_us()
        1760026350123456
        """
        match = _RFC3339.fullmatch(self.text)
        if match is None:
            raise ValueError("the text is no instant of RFC 3339")
        year, month, day, hour, minute, second = map(int, match.groups()[:6])
        fraction = int((match[7] or "").ljust(6, "0")[:6])
        if second == 60:
            second, fraction = 59, 999_999
        offset = int(match[9] or 0) * 60 + int(match[10] or 0)
        if hour > 23 or minute > 59 or second > 59 or int(match[10] or 0) > 59 or offset >= 1440:
            raise ValueError("the text has a clock time that does not exist")
        days = dt.date(year, month, day).toordinal() - _EPOCH
        minutes = hour * 60 + minute + (offset if match[8] == "-" else -offset)
        return days * _DAY_US + (minutes * 60 + second) * 1_000_000 + fraction


def _text(time: TimeText) -> str:
    return time.text


OffsetDateTime = Annotated[TimeText, Mapped(str, TimeText, _text)]
"""The `OffsetDataTimeWrapper` (sic) of barto 1.x: an instant that travels as a string."""


class UpdateKind(enum.IntEnum):
    """Whose output `updates` is to read; the same numbers tag the answer."""

    GARUDA = 0
    PACMAN = 1
    CACHYOS = 2
    APT = 3


class OutputKind(enum.IntEnum):
    """Which stream a line came from; one raw byte on the wire."""

    STDOUT = 0
    STDERR = 1


class BartocInfo(Struct):
    """What a worker's host is: `name` is that of its operating system, not the worker's."""

    name: str
    hostname: str
    os_version: str
    kernel_version: str
    version: str
