"""How long the codec takes for a typical message, out and in, and how much is won by compiling.

Run `python bench/codec.py`. Four ways do the same work on the same message, a short report
of a command's end: the compiled codec; the codec's own field-by-field reference, which keeps the
path of every field for its errors; a lean reader and writer with a method for each kind of field,
as one would write it by hand; and plain dictionaries through JSON. Rounds of all ways are
interleaved, so that a busy machine slows them alike, and the median of the rounds is printed.
"""

from __future__ import annotations

import json
import statistics
import struct
import time
from collections.abc import Callable
from typing import Any

from libbarto.codec import I32, I64, U16, U64, Id, Struct, codec

ROUNDS = 31
CALLS = 2000


class Report(Struct):
    """The typical message: an id, small numbers, an instant, a text, a flag, an option."""

    run_id: Id
    attempt: U16
    step: U16
    schedule: str
    at: I64
    bytes_: U64
    success: bool
    exit_code: I32 | None = None


MESSAGE = Report(
    run_id=bytes(range(16)),
    attempt=1,
    step=2,
    schedule="backup",
    at=1_790_000_000_000_000,
    bytes_=1500,
    success=True,
    exit_code=0,
)


class Writer:
    """A field at a time, appended to a buffer."""

    def __init__(self) -> None:
        self.data = bytearray()

    def unsigned(self, value: int, bits: int) -> None:
        if not 0 <= value < 1 << bits:
            raise ValueError(value)
        if value <= 250:
            self.data.append(value)
        elif value < 1 << 16:
            self.data += struct.pack("<BH", 251, value)
        elif value < 1 << 32:
            self.data += struct.pack("<BI", 252, value)
        else:
            self.data += struct.pack("<BQ", 253, value)

    def signed(self, value: int, bits: int) -> None:
        self.unsigned(value << 1 if value >= 0 else ~(value << 1), bits)

    def text(self, value: str) -> None:
        raw = value.encode()
        self.unsigned(len(raw), 64)
        self.data += raw

    def flag(self, value: bool) -> None:
        self.data.append(value)

    def raw(self, value: bytes) -> None:
        self.data += value


class Reader:
    """A field at a time, from a position that moves."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def raw(self, size: int) -> bytes:
        end = self.pos + size
        if end > len(self.data):
            raise ValueError(size)
        piece = self.data[self.pos : end]
        self.pos = end
        return piece

    def unsigned(self, bits: int) -> int:
        value = self.raw(1)[0]
        if value <= 250:
            return value
        size = {251: 2, 252: 4, 253: 8}[value]
        if size * 8 > bits:
            raise ValueError(value)
        value = int.from_bytes(self.raw(size), "little")
        if value < {2: 251, 4: 1 << 16, 8: 1 << 32}[size]:
            raise ValueError(value)
        return value

    def signed(self, bits: int) -> int:
        value = self.unsigned(bits)
        return (value >> 1) ^ -(value & 1)

    def text(self) -> str:
        return self.raw(self.unsigned(64)).decode()

    def flag(self) -> bool:
        value = self.raw(1)[0]
        if value > 1:
            raise ValueError(value)
        return value == 1


def write_by_field(message: Report) -> bytes:
    """The lean way out."""
    writer = Writer()
    writer.raw(message.run_id)
    writer.unsigned(message.attempt, 16)
    writer.unsigned(message.step, 16)
    writer.text(message.schedule)
    writer.signed(message.at, 64)
    writer.unsigned(message.bytes_, 64)
    writer.flag(message.success)
    writer.flag(message.exit_code is not None)
    if message.exit_code is not None:
        writer.signed(message.exit_code, 32)
    return bytes(writer.data)


def read_by_field(data: bytes) -> Report:
    """The lean way in."""
    reader = Reader(data)
    message = Report(
        run_id=reader.raw(16),
        attempt=reader.unsigned(16),
        step=reader.unsigned(16),
        schedule=reader.text(),
        at=reader.signed(64),
        bytes_=reader.unsigned(64),
        success=reader.flag(),
        exit_code=reader.signed(32) if reader.flag() else None,
    )
    if reader.pos != len(data):
        raise ValueError(reader.pos)
    return message


PLAIN = {name: getattr(MESSAGE, name) for name in Report.__struct_fields__}
PLAIN["run_id"] = MESSAGE.run_id.hex()
JSON = json.dumps(PLAIN).encode()


def write_json(fields: dict[str, Any]) -> bytes:
    """The naive way out: a dictionary, no types, no checks."""
    return json.dumps(fields).encode()


def read_json(data: bytes) -> Any:
    """The naive way in: a dictionary, no types, no checks."""
    return json.loads(data)


def microseconds(call: Callable[[Any], object], argument: object) -> float:
    """The time of one call, over a round of them."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call(argument)
    return (time.perf_counter() - start) / CALLS * 1e6


def main() -> None:
    """Measure, and print a table."""
    compiled = codec(Report)
    wire = compiled.encode(MESSAGE)
    assert wire == write_by_field(MESSAGE) == compiled.encode_plainly(MESSAGE)
    assert MESSAGE == compiled.decode(wire) == read_by_field(wire)
    ways: dict[str, tuple[Callable[[Any], object], object, Callable[[Any], object], object]] = {
        "compiled": (compiled.encode, MESSAGE, compiled.decode, wire),
        "field by field": (write_by_field, MESSAGE, read_by_field, wire),
        "the reference": (compiled.encode_plainly, MESSAGE, compiled.decode_plainly, wire),
        "dict and JSON": (write_json, PLAIN, read_json, JSON),
    }
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    for _ in range(ROUNDS):
        for name, (encode, value, decode, data) in ways.items():
            times[name][0].append(microseconds(encode, value))
            times[name][1].append(microseconds(decode, data))
    base = [statistics.median(spans) for spans in times["compiled"]]
    print(f"a message of {len(wire)} bytes, 8 fields; median of {ROUNDS} interleaved rounds")
    print(f"{'':16}{'µs out':>10}{'µs in':>10}{'times the compiled codec':>28}")
    for name, spans in times.items():
        out, in_ = (statistics.median(span) for span in spans)
        print(f"{name:16}{out:10.2f}{in_:10.2f}{out / base[0]:18.1f}{in_ / base[1]:10.1f}")


if __name__ == "__main__":
    main()
