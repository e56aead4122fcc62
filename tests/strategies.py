"""Values of any wire type, for property tests: which values may this annotation have?

`values_of(type)` reads the same annotations that the codec reads, by its own lights, so that a
message needs no strategy written for it.
"""

from __future__ import annotations

import enum
import functools
import types
import typing
import uuid
from typing import Annotated, Any

from hypothesis import strategies as st

from libbarto.codec import (
    Fixed,
    FixedInt,
    Framed,
    Mapped,
    Number,
    Struct,
    Tag,
    Unknown,
    Variants,
)
from libbarto.message.v1.shared import TimeText

FIRST_US = -62_135_596_800_000_000
"""0001-01-01T00:00:00Z, in microseconds since 1970."""
LAST_US = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z."""

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    types.NoneType: st.none(),
    bool: st.booleans(),
    str: TEXT,
    bytes: st.binary(max_size=40),
    uuid.UUID: st.uuids(),
    TimeText: st.integers(FIRST_US, LAST_US).map(TimeText.from_us),
}


DEEPEST = 2
"""How often a struct may contain itself, so that recursive values stay small."""


@functools.cache
def values_of(
    type_: Any, *, unknown: bool = True, within: tuple[type, ...] = ()
) -> st.SearchStrategy[Any]:
    """Values that the codec can write for `type_`; with `unknown` also variants nobody knows.

    `within` are the structs around it.
    """
    of = functools.partial(values_of, unknown=unknown, within=within)
    if typing.get_origin(type_) is Annotated:
        base, *marks = typing.get_args(type_)
        for mark in marks:
            match mark:
                case Number() | FixedInt():
                    return _numbers(mark)
                case Fixed(size) if base is bytes:
                    return st.binary(min_size=size, max_size=size)
                case Variants():
                    return _variants(base, mark, unknown=unknown, within=within)
                case Mapped() | Fixed() | Framed() | Tag():
                    return of(base)
        return of(base)
    if type_ in SIMPLE:
        return SIMPLE[type_]
    if isinstance(type_, type) and issubclass(type_, Struct):
        return _structs(type_, unknown=unknown, within=within)
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return st.sampled_from(list(type_))
    parts = typing.get_args(type_)
    match typing.get_origin(type_):
        case types.UnionType | typing.Union:
            inner = next(part for part in parts if part is not type(None))
            return st.none() | of(inner)
        case kind if kind is list:
            return _lists(of(parts[0]))
        case kind if kind is tuple and parts[1:] == (...,):
            return _lists(of(parts[0])).map(tuple)
        case kind if kind is tuple:
            return st.tuples(*(of(part) for part in parts))
        case kind if kind is dict:
            key, value = (of(part) for part in parts)
            return st.dictionaries(key, value, max_size=4)
    raise TypeError(f"no strategy for {type_}")


def _numbers(mark: Number | FixedInt) -> st.SearchStrategy[Any]:
    name = mark.name if isinstance(mark, Number) else f"u{mark.size * 8}"
    bits = int(name[1:])
    if name[0] == "f":
        return st.floats(width=32 if bits == 32 else 64, allow_nan=False)
    low = -(1 << (bits - 1)) if name[0] == "i" else 0
    high = low + (1 << bits) - 1
    near = [low, high, *(n for n in (-126, -1, 0, 1, 125, 126, 250, 251, 1023, 1024) if n >= low)]
    edges = [*near, *((1 << e) + d for e in (16, 31, 32) for d in (-1, 0, 1))]
    return st.sampled_from([n for n in edges if n <= high]) | st.integers(low, high)


def _lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.just([]) if items.is_empty else st.lists(items, max_size=4)


def _structs(
    kind: type[Struct], *, unknown: bool, within: tuple[type, ...]
) -> st.SearchStrategy[Any]:
    if within.count(kind) > DEEPEST:
        return st.nothing()
    of = functools.partial(values_of, unknown=unknown, within=(*within, kind))
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {name: of(hints[name]) for name in kind.__struct_fields__}
    return st.builds(kind, **fields)


def _variants(
    base: Any, mark: Variants, *, unknown: bool, within: tuple[type, ...]
) -> st.SearchStrategy[Any]:
    union = typing.get_origin(base) in (types.UnionType, typing.Union)
    kinds = typing.get_args(base) if union else (base,)
    known = st.one_of([values_of(kind, unknown=unknown, within=within) for kind in kinds])
    if not (mark.extensible and unknown):
        return known
    first = max(mark.tags.values() if mark.tags else range(len(kinds))) + 1
    high = 255 if mark.tag == "u8" else (1 << 32) - 1
    return known | st.builds(Unknown, tag=st.integers(first, high), data=st.binary(max_size=20))


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    """`data` with a piece of it overwritten, cut out, repeated, or cut off."""

    def change(start: int, length: int, piece: bytes) -> bytes:
        return data[:start] + piece + data[start + length :]

    near = st.integers(0, max(0, len(data) - 1))
    piece = st.binary(max_size=9) | st.sampled_from(
        [b"\xfb\x00\x00", b"\xfc\xff\xff\xff\xff", b"\xfd" + b"\xff" * 8, b"\xff", b"\x00", b"\x02"]
    )
    return st.builds(change, near, st.integers(0, 4), piece)
