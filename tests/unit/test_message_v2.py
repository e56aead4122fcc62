"""Every message of the second protocol: there and back, and understood by older and newer peers."""

from __future__ import annotations

import inspect
import typing
from types import ModuleType
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libbarto.codec import V2, Extensible, Unknown, Variants, codec
from libbarto.errors import CodecError
from libbarto.message.v2 import cli, link, record, schedule, segment, server, worker
from tests.strategies import values_of

MODULES: tuple[ModuleType, ...] = (cli, link, record, schedule, server, worker)
STRUCTS = sorted(
    {
        kind
        for module in MODULES
        for kind in vars(module).values()
        if inspect.isclass(kind) and issubclass(kind, Extensible) and kind is not Extensible
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)
UNIONS = {
    "FromWorker": worker.FromWorker,
    "ToWorker": server.ToWorker,
    "StateRecord": record.StateRecord,
    "OutputRecord": record.OutputRecord,
    "CliRequest": cli.CliRequest,
    "CliAnswer": cli.CliAnswer,
    "Value": cli.Value,
}


def newer(kind: type[Extensible]) -> type[Extensible]:
    """The same message as a newer minor version has it: with two fields more."""
    return type(
        kind.__name__,
        (kind,),
        {
            "__annotations__": {"added": str, "added_too": bytes},
            "added": "new",
            "added_too": b"\x00\xff",
            "__module__": kind.__module__,
        },
    )


def test_there_is_something_to_test() -> None:
    assert len(STRUCTS) > 40


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_a_message_of_a_newer_minor_version_is_understood(kind: type[Extensible]) -> None:
    later = newer(kind)
    old, new = codec(kind, V2), codec(later, V2)

    @given(values_of(kind))
    @settings(max_examples=10)
    def check(value: Extensible) -> None:
        assert old.decode(old.encode(value)) == value
        fields = {name: getattr(value, name) for name in kind.__struct_fields__}
        written = new.encode(later(**fields))
        assert old.decode(written) == value

    check()


class Novelty(Extensible):
    """A variant that only newer peers know."""

    text: str = "something new"


@pytest.mark.parametrize("name", UNIONS)
def test_a_variant_of_a_newer_minor_version_is_passed_over(name: str) -> None:
    union, variants = typing.get_args(UNIONS[name])[:2]
    known = typing.get_args(union)
    wider: Any = Annotated[union | Novelty, variants]
    written = codec(wider, V2).encode(Novelty())
    read = codec(UNIONS[name], V2).decode(written)
    assert isinstance(read, Unknown)
    assert read.tag == len(known)


@pytest.mark.parametrize("name", UNIONS)
def test_anything_else_is_one_error(name: str) -> None:
    union = codec(UNIONS[name], V2)

    @given(st.binary(max_size=200))
    @settings(max_examples=100)
    def check(data: bytes) -> None:
        try:
            value = union.decode(data)
        except CodecError:
            return
        if not isinstance(value, Unknown):
            union.decode(union.encode(value))

    check()


@given(st.lists(st.builds(segment.Segment, stream=st.integers(1, 3), length=st.integers(0, 9))))
def test_segments_read_back(segments: list[segment.Segment]) -> None:
    assert segment.unpack(segment.pack(segments)) == segments


def test_the_variants_keep_their_numbers() -> None:
    """A number once given stays: these are what is on the wire and in journals."""
    assert isinstance(Variants(extensible=True), Variants)
    numbers = {
        name: [kind.__name__ for kind in typing.get_args(typing.get_args(UNIONS[name])[0])]
        for name in ("StateRecord", "OutputRecord")
    }
    assert numbers == {
        "StateRecord": [
            "SetApplied",
            "Claimed",
            "Started",
            "Status",
            "Ended",
            "Decided",
            "ClockBack",
            "Waiting",
            "OfferRefused",
            "Notice",
        ],
        "OutputRecord": ["Output", "Cut"],
    }
