"""The codec: how does a typed value become bytes, and how do bytes become a value one can trust?

The annotations of a message are its wire format, in the rules of bincode 2 "standard"
(protocol-v1.md section 2): little-endian, lengths and numbers as varints, fields in order without
names. `codec(type)` compiles them once; what it returns encodes and decodes.

    class Greeting(Struct):
        name: str
        age: U8
        mail: str | None = None

    greetings = codec(Greeting)
    greetings.encode(Greeting(name="Ada", age=36))      # b"\\x03Ada\\x24\\x00"
    greetings.decode(b"\\x03Ada\\x24\\x00")             # Greeting(name="Ada", age=36, mail=None)

How it works. Each kind of type is one `_Wire`, which knows its format in two ways: plainly, field
by field (`write`, `read`: the reference, which knows where it is and says what is wrong), and as
a writer of source code (`emit_write`, `emit_read`). The source of a whole message is straight-line
code, compiled once; it takes no notes, and raises at whatever it does not like. Then, and only
then, the plain way is walked over the same value, and the error it finds is the one that is raised.

Bytes come from strangers. A decoder never reads beyond the size limit, holds every length and
count against the bytes that are left before it makes anything, bounds recursion, checks every tag,
bool, enum and text, and raises nothing but `CodecError`. A slice of bytes cannot exceed its source
in Python, so the straight-line code slices first and compares its position with the end after.
"""

from __future__ import annotations

import abc
import enum
import functools
import itertools
import operator
import re
import reprlib
import struct
import types
import typing
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, overload

import msgspec

from libbarto.errors import CodecError

T = TypeVar("T")

LIMIT: Final = 65_536
"""The size of a message in bytes unless `codec` is told otherwise: one frame (DESIGN section 6)."""
DEPTH: Final = 32
"""How deep a recursive type may nest unless `codec` is told otherwise."""


# -- how a type is told its format ------------------------------------------------------------


class Number(msgspec.Struct, frozen=True):
    """The width of an int or float: `u8` ... `u64`, `i8` ... `i64`, `f32`, `f64`."""

    name: str


class FixedInt(msgspec.Struct, frozen=True):
    """An unsigned int as `size` raw bytes (1, 2, 4 or 8), little-endian."""

    size: int


class Fixed(msgspec.Struct, frozen=True):
    """Bytes of exactly `size`, without a length; or a `uuid.UUID` as its 16 bytes."""

    size: int


class Tag(msgspec.Struct, frozen=True):
    """How wide an enum's number is: `u32` (a varint) or `u8` (one raw byte)."""

    width: Literal["u8", "u32"]


class Framed:
    """The value carries its length in bytes, so that a reader can skip it or keep it raw."""


class Mapped(msgspec.Struct, frozen=True):
    """A type of Python's that travels as another one.

    `decode` makes the value from what was read and raises `ValueError` if it cannot; `encode` makes
    what is written.
    """

    wire: Any
    decode: Callable[[Any], Any]
    encode: Callable[[Any], Any]


class Variants:
    """A union of structs: a tag, then the variant's fields.

    `tag` is the tag's width, `u32` (a varint) or `u8` (one raw byte). Tags count from 0 in the
    order of the union unless `tags` gives each variant its own. In an `extensible` union the length
    of the fields follows the tag, so that a tag nobody knows is read as `Unknown`; an `Extensible`
    variant does not repeat its length there.

    Compared by identity: to Python `A | B` and `B | A` are equal, to the wire they are not, and no
    cache may take one for the other.
    """

    def __init__(
        self,
        *,
        tag: Literal["u8", "u32"] = "u32",
        extensible: bool = False,
        tags: Mapping[type[Struct], int] | None = None,
    ) -> None:
        self.tag = tag
        self.extensible = extensible
        self.tags = tags


U8 = Annotated[int, Number("u8")]
U16 = Annotated[int, Number("u16")]
U32 = Annotated[int, Number("u32")]
U64 = Annotated[int, Number("u64")]
I8 = Annotated[int, Number("i8")]
I16 = Annotated[int, Number("i16")]
I32 = Annotated[int, Number("i32")]
I64 = Annotated[int, Number("i64")]
F32 = Annotated[float, Number("f32")]
F64 = Annotated[float, Number("f64")]
FixedU8 = Annotated[int, FixedInt(1)]
FixedU16 = Annotated[int, FixedInt(2)]
FixedU32 = Annotated[int, FixedInt(4)]
FixedU64 = Annotated[int, FixedInt(8)]
Id = Annotated[bytes, Fixed(16)]
RawUuid = Annotated[uuid.UUID, Fixed(16)]

_UUID_TEXT: Final = re.compile(
    r"(?:urn:uuid:)?(DASHED)|\{(DASHED)\}|([0-9a-f]{32})".replace(
        "DASHED", "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    ),
    re.ASCII | re.IGNORECASE,
)


def _uuid_of_text(text: str) -> uuid.UUID:
    """Reads the forms that barto 1.x reads: hyphenated, simple, in braces, as a URN."""
    match = _UUID_TEXT.fullmatch(text)
    if match is None:
        raise ValueError("the text is no UUID")
    return uuid.UUID(hex=match[match.lastindex or 0])


UuidText = Annotated[uuid.UUID, Mapped(str, _uuid_of_text, str)]
"""A UUID as text of 36 characters, the `UuidWrapper` of barto 1.x (protocol-v1.md section 2)."""


class Dialect(msgspec.Struct, frozen=True):
    """How strict a protocol is: strictness belongs to it, not to the codec.

    `canonical`: only the shortest varint, and maps only with ascending keys, are read. `trailing`:
    bytes after a value are ignored.
    """

    canonical: bool
    trailing: bool


V1: Final = Dialect(canonical=False, trailing=True)
V2: Final = Dialect(canonical=True, trailing=False)


class _StructMeta(msgspec.StructMeta):
    """Lets a field without a default follow one with: the wire's order is nobody else's business.

    msgspec allows that in keyword-only structs alone, which cost three times as much to make in
    Python 3.11 once there is a metaclass. So the fields are laid out in an order that msgspec
    likes, and `__wire_order__` keeps the one that was written.
    """

    def __new__(
        mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any
    ) -> Any:
        order = dict(namespace.get("__annotations__", {}))
        namespace["__annotations__"] = dict(sorted(order.items(), key=lambda f: f[0] in namespace))
        namespace["__wire_order__"] = tuple(order)
        return super().__new__(mcls, name, bases, namespace, **config)


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,)
)
class Struct(msgspec.Struct, metaclass=_StructMeta, frozen=True, gc=False):
    """The base of every message: a frozen value, made with keywords; its fields never change."""


class Extensible(Struct):
    """A struct that carries its length, so that it can grow.

    A reader takes the fields it knows, skips what follows them, and uses the defaults of those that
    are not there. So new fields come last, and have a default.
    """


class Unknown(Struct):
    """A variant of an extensible union that this reader does not know: its tag, its raw fields."""

    tag: U32
    data: bytes


# -- the codec --------------------------------------------------------------------------------


class Codec(Generic[T]):
    """Encodes and decodes one type; made by `codec`.

    `encode(value)` returns the bytes, `decode(data)` the value; both raise `CodecError`, and
    nothing else, whatever they are given. Errors name the field, those of `decode` also the byte.
    """

    __slots__ = ("_depth", "_dialect", "_limit", "_wire", "decode", "encode")

    encode: Callable[[T], bytes]
    decode: Callable[[bytes | bytearray | memoryview], T]

    def __init__(self, wire: _Wire, dialect: Dialect, limit: int, depth: int) -> None:
        self._wire = wire
        self._dialect = dialect
        self._limit = limit
        self._depth = depth
        self.encode = self._encode_first
        self.decode = self._decode_first

    def compile(self) -> str:
        """Compile now rather than at the first use; returns the code that does the work.

        A program knows many messages and, as a rule, uses few; what compiling costs (a millisecond
        or two for a large union) is paid for those alone.
        """
        source, self.encode, self.decode = _compile(
            self._wire,
            self._dialect,
            limit=self._limit,
            depth=self._depth,
            encode_plainly=self.encode_plainly,
            decode_plainly=self.decode_plainly,
        )
        return source

    def _encode_first(self, value: T) -> bytes:
        self.compile()
        return self.encode(value)

    def _decode_first(self, data: bytes | bytearray | memoryview) -> T:
        self.compile()
        return self.decode(data)

    def encode_plainly(self, value: T) -> bytes:
        """As `encode`, field by field: slower, and the reference of what is right."""
        sink = _Sink(self._depth)
        self._wire.write(value, sink)
        if len(sink.data) > self._limit:
            raise sink.fail(f"is {len(sink.data)} bytes long, {self._limit} are allowed")
        return bytes(sink.data)

    def decode_plainly(self, data: bytes | bytearray | memoryview) -> T:
        """As `decode`, field by field: slower, and the reference of what is right."""
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):
                raise CodecError(f"only bytes can be decoded, got {type(data).__name__}")
            return self.decode(bytes(data))
        source = _Source(data, self._dialect, self._depth)
        if len(data) > self._limit:
            raise source.fail(f"is {len(data)} bytes long, {self._limit} are allowed")
        value: T = self._wire.read(source)
        if source.left and not self._dialect.trailing:
            raise source.fail(f"{source.left} bytes follow the value")
        return value


@overload
def codec(
    type_: type[T], dialect: Dialect = V2, *, limit: int = LIMIT, depth: int = DEPTH
) -> Codec[T]: ...
@overload
def codec(
    type_: object, dialect: Dialect = V2, *, limit: int = LIMIT, depth: int = DEPTH
) -> Codec[Any]: ...
def codec(
    type_: Any, dialect: Dialect = V2, *, limit: int = LIMIT, depth: int = DEPTH
) -> Codec[Any]:
    """The codec of a type, compiled when it is first asked for.

    `limit` bounds a value's bytes, both ways; `depth` bounds how deep a recursive type may nest.
    Raises `TypeError` for a type that has no wire format.
    """
    return _codec(type_, dialect, limit, depth)


@functools.cache
def _codec(type_: Any, dialect: Dialect, limit: int, depth: int) -> Codec[Any]:
    return Codec(_wire_of(type_, {}), dialect, limit, depth)


class _Sink:
    """Where the plain way writes: the bytes so far, and the path of the field being written."""

    def __init__(self, depth: int) -> None:
        self.data = bytearray()
        self.path: list[str] = []
        self.depth = depth

    def fail(self, message: str) -> CodecError:
        return CodecError(f"{_path(self.path)}: {message}")


class _Source:
    """What the plain way reads from: the bytes, a position, and the path of the field being read.

    `end` is where the innermost value that carries its length ends.
    """

    def __init__(self, data: bytes, dialect: Dialect, depth: int) -> None:
        self.data = data
        self.pos = 0
        self.end = len(data)
        self.path: list[str] = []
        self.dialect = dialect
        self.depth = depth

    @property
    def left(self) -> int:
        return self.end - self.pos

    def fail(self, message: str, at: int | None = None) -> CodecError:
        return CodecError(f"{_path(self.path)}: {message} (byte {self.pos if at is None else at})")

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise self.fail(f"{size} bytes are announced, {self.left} are left")
        start, self.pos = self.pos, self.pos + size
        return self.data[start : self.pos]

    def varint(self, bits: int) -> int:
        at = self.pos
        first = self.take(1)[0]
        if first <= 250:
            return first
        form = _FORMS[bits].get(first)
        if form is None:
            raise self.fail(f"{first:#04x} begins no number of {bits} bits", at)
        value = int.from_bytes(self.take(form.packer.size), "little")
        if self.dialect.canonical and value < form.least:
            raise self.fail(f"the number {value} is not in its shortest form", at)
        return value


def _path(path: Sequence[str]) -> str:
    text = "".join(path).removeprefix(".")
    return text if text and text[0] != "[" else f"value{text}"


class _Fault(ValueError):
    """What compiled code raises at anything it does not like; never seen outside."""


class _Form(typing.NamedTuple):
    """A varint's long form: its first byte, what follows, and the least value that needs it."""

    mark: int
    packer: struct.Struct
    least: int


_LONG: Final = (
    _Form(251, struct.Struct("<H"), 251),
    _Form(252, struct.Struct("<I"), 1 << 16),
    _Form(253, struct.Struct("<Q"), 1 << 32),
)
_FORMS: Final = {
    bits: {form.mark: form for form in _LONG if form.packer.size * 8 <= bits}
    for bits in (16, 32, 64)
}


def _varint(value: int) -> bytes:
    """The shortest varint of a value from 0 to 2**64 - 1."""
    if value <= 250:
        return bytes((value,))
    form = _LONG[(value >= 1 << 16) + (value >= 1 << 32)]
    return bytes((form.mark,)) + form.packer.pack(value)


# -- the kinds of types -----------------------------------------------------------------------


class _Wire(abc.ABC):
    """One kind of type, and all that is known of its format."""

    ordered = False
    """Whether values can be a map's keys: they can be put in order."""

    def least(self) -> int:
        """The fewest bytes that a value takes."""
        return 1

    @abc.abstractmethod
    def write(self, value: Any, sink: _Sink) -> None:
        """Append the value's bytes; raises `CodecError`."""

    @abc.abstractmethod
    def read(self, source: _Source) -> Any:
        """Take a value from the source; raises `CodecError`."""

    @abc.abstractmethod
    def emit_write(self, code: _Code, value: str) -> _Parts:
        """Put statements that prepare the bytes of `value`, an expression; return the pieces."""

    @abc.abstractmethod
    def emit_read(self, code: _Code, end: str) -> str:
        """Put statements that read at `p`; return an expression of the value.

        They may read beyond `end`, for whoever confines them compares `p` with it afterwards.
        """


def _named(value: object) -> str:
    return type(value).__name__


class _Varint(_Wire):
    ordered = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.bits = int(name[1:])
        self.signed = name[0] == "i"
        self.instant = name == "i64"  # in microseconds as a rule: the longest form is the usual one
        self.low = -(1 << (self.bits - 1)) if self.signed else 0
        self.high = (1 << (self.bits - self.signed)) - 1

    def write(self, value: Any, sink: _Sink) -> None:
        if not isinstance(value, int):
            raise sink.fail(f"an int is wanted, got {_named(value)}")
        if not self.low <= value <= self.high:
            raise sink.fail(f"{value} does not fit {self.name}")
        sink.data += _varint(
            (value << 1 if value >= 0 else ~(value << 1)) if self.signed else value
        )

    def read(self, source: _Source) -> int:
        value = source.varint(self.bits)
        return (value >> 1) ^ -(value & 1) if self.signed else value

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        if self.signed:
            value = code.hold(f"{value} << 1 if {value} >= 0 else ~({value} << 1)")
        usual = f"pack64(253, {value}) if {value} > 0xFFFFFFFF else " if self.instant else ""
        return [f"(SHORT[{value}] if 0 <= {value} < 1024 else {usual}wide{self.bits}({value}))"]

    def emit_read(self, code: _Code, end: str) -> str:
        value = code.hold("data[p]")
        code.put("p += 1")
        bits = 64 if self.instant else 16
        usual = _FORMS[bits][253 if self.instant else 251]
        with code.block(f"if {value} > 250:"):
            with code.block(f"if {value} == {usual.mark}:"):
                code.put(f"{value}, = unpack{bits}(data, p)", f"p += {usual.packer.size}")
                if code.dialect.canonical:
                    code.put(f"if {value} < {usual.least}: raise Fault")
            code.put(f"else: {value}, p = long{self.bits}(data, p, {value})")
        if self.signed:
            return code.hold(f"~({value} >> 1) if {value} & 1 else {value} >> 1")
        return value


class _Packed(_Wire):
    """Numbers of a fixed size, as `struct` has them."""

    def __init__(self, form: str, name: str, kinds: tuple[type, ...]) -> None:
        self.form = form
        self.name = name
        self.kinds = kinds
        self.ordered = kinds == (int,)
        self.packer = struct.Struct(f"<{form}")

    def least(self) -> int:
        return self.packer.size

    def write(self, value: Any, sink: _Sink) -> None:
        if not isinstance(value, self.kinds):
            raise sink.fail(f"{self.kinds[0].__name__} is wanted, got {_named(value)}")
        try:
            sink.data += self.packer.pack(value)
        except (struct.error, OverflowError) as error:
            raise sink.fail(f"{value} does not fit {self.name}") from error

    def read(self, source: _Source) -> Any:
        return self.packer.unpack(source.take(self.packer.size))[0]

    def emit_write(self, code: _Code, value: str) -> _Parts:
        if self.form == "B":
            value = code.hold(value)
            return [f"(BYTE[{value}] if {value} >= 0 else fault())"]
        return [f"{code.bind(self.packer.pack)}({value})"]

    def emit_read(self, code: _Code, end: str) -> str:
        if self.form == "B":
            value = code.hold("data[p]")
        else:
            value = code.hold(f"{code.bind(self.packer.unpack_from)}(data, p)[0]")
        code.put(f"p += {self.packer.size}")
        return value


class _Bool(_Wire):
    def write(self, value: Any, sink: _Sink) -> None:
        if not isinstance(value, bool):
            raise sink.fail(f"a bool is wanted, got {_named(value)}")
        sink.data.append(value)

    def read(self, source: _Source) -> bool:
        at = source.pos
        byte = source.take(1)[0]
        if byte > 1:
            raise source.fail(f"{byte:#04x} is no bool", at)
        return byte == 1

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        return [f"(ONE if {value} is True else ZERO if {value} is False else fault())"]

    def emit_read(self, code: _Code, end: str) -> str:
        value = code.hold("BOOLS[data[p]]")
        code.put("p += 1")
        return value


class _Text(_Wire):
    ordered = True

    def write(self, value: Any, sink: _Sink) -> None:
        if not isinstance(value, str):
            raise sink.fail(f"a str is wanted, got {_named(value)}")
        try:
            raw = value.encode()
        except UnicodeEncodeError as error:
            raise sink.fail("a lone surrogate cannot be written as UTF-8") from error
        sink.data += _varint(len(raw))
        sink.data += raw

    def read(self, source: _Source) -> str:
        size = source.varint(64)
        at = source.pos
        try:
            return source.take(size).decode()
        except UnicodeDecodeError as error:
            raise source.fail("the text is not UTF-8", at + error.start) from error

    def emit_write(self, code: _Code, value: str) -> _Parts:
        raw = code.hold(f"{value}.encode()")
        return [code.length(raw), raw]

    def emit_read(self, code: _Code, end: str) -> str:
        code.put(f"q = p + {code.read_length()}")
        value = code.hold("data[p:q].decode()")
        code.put("p = q")
        return value


class _Blob(_Wire):
    ordered = True

    def write(self, value: Any, sink: _Sink) -> None:
        if type(value) is not bytes:
            raise sink.fail(f"bytes are wanted, got {_named(value)}")
        sink.data += _varint(len(value))
        sink.data += value

    def read(self, source: _Source) -> bytes:
        return source.take(source.varint(64))

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not bytes: raise Fault")
        return [code.length(value), value]

    def emit_read(self, code: _Code, end: str) -> str:
        code.put(f"q = p + {code.read_length()}")
        value = code.hold("data[p:q]")
        code.put("p = q")
        return value


class _FixedBlob(_Wire):
    ordered = True

    def __init__(self, size: int) -> None:
        self.size = size

    def least(self) -> int:
        return self.size

    def write(self, value: Any, sink: _Sink) -> None:
        if type(value) is not bytes:
            raise sink.fail(f"bytes are wanted, got {_named(value)}")
        if len(value) != self.size:
            raise sink.fail(f"{self.size} bytes are wanted, got {len(value)}")
        sink.data += value

    def read(self, source: _Source) -> bytes:
        return source.take(self.size)

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not bytes or len({value}) != {self.size}: raise Fault")
        return [value]

    def emit_read(self, code: _Code, end: str) -> str:
        code.put(f"q = p + {self.size}")
        value = code.hold("data[p:q]")
        code.put("p = q")
        return value


class _Mapped(_Wire):
    def __init__(self, kind: type, mark: Mapped, inner: _Wire) -> None:
        self.kind = kind
        self.mark = mark
        self.inner = inner
        self.ordered = inner.ordered

    def least(self) -> int:
        return self.inner.least()

    def write(self, value: Any, sink: _Sink) -> None:
        if not isinstance(value, self.kind):
            raise sink.fail(f"{self.kind.__name__} is wanted, got {_named(value)}")
        self.inner.write(self.mark.encode(value), sink)

    def read(self, source: _Source) -> Any:
        at = source.pos
        value = self.inner.read(source)
        try:
            return self.mark.decode(value)
        except ValueError as error:
            raise source.fail(str(error), at) from error

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if not isinstance({value}, {code.bind(self.kind)}): raise Fault")
        return self.inner.emit_write(code, code.hold(f"{code.bind(self.mark.encode)}({value})"))

    def emit_read(self, code: _Code, end: str) -> str:
        value = self.inner.emit_read(code, end)
        return code.hold(f"{code.bind(self.mark.decode)}({value})")


class _Enum(_Wire):
    """An `IntEnum` by its values, another `Enum` by the positions of its members."""

    def __init__(self, kind: type[enum.Enum], number: _Wire) -> None:
        self.kind = kind
        self.number = number
        self.ordered = issubclass(kind, enum.IntEnum)
        self.members = {
            int(member.value) if issubclass(kind, enum.IntEnum) else position: member
            for position, member in enumerate(kind)
        }
        self.numbers = {member: number for number, member in self.members.items()}
        _check_numbers(kind, number, self.members)

    def write(self, value: Any, sink: _Sink) -> None:
        if type(value) is not self.kind:
            raise sink.fail(f"{self.kind.__name__} is wanted, got {_named(value)}")
        self.number.write(self.numbers[value], sink)

    def read(self, source: _Source) -> enum.Enum:
        at = source.pos
        number = self.number.read(source)
        if number not in self.members:
            raise source.fail(f"{number} is no {self.kind.__name__}", at)
        return self.members[number]

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not {code.bind(self.kind)}: raise Fault")
        raw = {member: _plain_bytes(self.number, n) for n, member in self.members.items()}
        return [f"{code.bind(raw)}[{value}]"]

    def emit_read(self, code: _Code, end: str) -> str:
        number = self.number.emit_read(code, end)
        return code.hold(f"{code.bind(self.members)}[{number}]")


class _Optional(_Wire):
    def __init__(self, inner: _Wire) -> None:
        self.inner = inner

    def write(self, value: Any, sink: _Sink) -> None:
        sink.data.append(value is not None)
        if value is not None:
            self.inner.write(value, sink)

    def read(self, source: _Source) -> Any:
        at = source.pos
        byte = source.take(1)[0]
        if byte > 1:
            raise source.fail(f"{byte:#04x} tells neither of a value nor of none", at)
        return self.inner.read(source) if byte else None

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        piece = code.fresh()
        code.put(f"if {value} is None: {piece} = ZERO")
        with code.block("else:"):
            code.put(f"{piece} = {_joined([ONE, *self.inner.emit_write(code, value)])}")
        return [piece]

    def emit_read(self, code: _Code, end: str) -> str:
        value = code.hold("data[p]")
        code.put("p += 1")
        with code.block(f"if {value} == 1:"):
            code.put(f"{value} = {self.inner.emit_read(code, end)}")
        code.put(f"elif {value}: raise Fault", f"else: {value} = None")
        return value


def _count(source: _Source, least: int) -> int:
    """How many items follow; each takes at least `least` bytes, so their number is bounded."""
    at = source.pos
    count = source.varint(64)
    if count * least > source.left:
        raise source.fail(f"{count} items are announced, {source.left} bytes are left", at)
    return count


class _List(_Wire):
    def __init__(self, kind: Any, item: _Wire) -> None:
        self.kind = kind
        self.item = item

    @functools.cached_property
    def item_least(self) -> int:
        return self.item.least()

    def write(self, value: Any, sink: _Sink) -> None:
        if type(value) is not self.kind:
            raise sink.fail(f"a {self.kind.__name__} is wanted, got {_named(value)}")
        sink.data += _varint(len(value))
        for index, item in enumerate(value):
            sink.path.append(f"[{index}]")
            self.item.write(item, sink)
            sink.path.pop()

    def read(self, source: _Source) -> Any:
        items = []
        for index in range(_count(source, self.item_least)):
            source.path.append(f"[{index}]")
            items.append(self.item.read(source))
            source.path.pop()
        return self.kind(items)

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not {self.kind.__name__}: raise Fault")
        pieces = code.hold("[]")
        item = code.fresh()
        with code.block(f"for {item} in {value}:"):
            code.put(f"{pieces} += ({', '.join(_merged(self.item.emit_write(code, item)))},)")
        return [code.length(value), f"*{pieces}"]

    def emit_read(self, code: _Code, end: str) -> str:
        count = code.hold(code.read_length())
        code.put(f"if {count} * {self.item_least} > {end} - p: raise Fault")
        items = code.hold("[]")
        with code.block(f"for _ in range({count}):"):
            code.put(f"{items}.append({self.item.emit_read(code, end)})")
        return f"tuple({items})" if self.kind is tuple else items


class _Tuple(_Wire):
    def __init__(self, items: Sequence[_Wire]) -> None:
        self.items = items

    def least(self) -> int:
        return sum(item.least() for item in self.items)

    def write(self, value: Any, sink: _Sink) -> None:
        if type(value) is not tuple or len(value) != len(self.items):
            raise sink.fail(f"a tuple of {len(self.items)} is wanted")
        for index, (item, part) in enumerate(zip(self.items, value, strict=True)):
            sink.path.append(f"[{index}]")
            item.write(part, sink)
            sink.path.pop()

    def read(self, source: _Source) -> tuple[Any, ...]:
        parts = []
        for index, item in enumerate(self.items):
            source.path.append(f"[{index}]")
            parts.append(item.read(source))
            source.path.pop()
        return tuple(parts)

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not tuple or len({value}) != {len(self.items)}: raise Fault")
        return _emit_write_all(code, self.items, [f"{value}[{n}]" for n in range(len(self.items))])

    def emit_read(self, code: _Code, end: str) -> str:
        values = _emit_read_all(code, self.items, end)
        return code.hold(f"({''.join(f'{value}, ' for value in values)})")


class _Map(_Wire):
    def __init__(self, key: _Wire, value: _Wire) -> None:
        self.key = key
        self.value = value

    @functools.cached_property
    def item_least(self) -> int:
        return self.key.least() + self.value.least()

    def write(self, value: Any, sink: _Sink) -> None:
        if type(value) is not dict:
            raise sink.fail(f"a dict is wanted, got {_named(value)}")
        try:
            pairs = sorted(value.items(), key=operator.itemgetter(0))
        except TypeError as error:
            raise sink.fail("the keys cannot be put in order") from error
        sink.data += _varint(len(pairs))
        for key, item in pairs:
            sink.path.append(f"[{reprlib.repr(key)}]")
            self.key.write(key, sink)
            self.value.write(item, sink)
            sink.path.pop()

    def read(self, source: _Source) -> dict[Any, Any]:
        items: dict[Any, Any] = {}
        last: Any = None
        for index in range(_count(source, self.item_least)):
            at = source.pos
            source.path.append(f"[{index}]")
            key = self.key.read(source)
            if source.dialect.canonical and items and not last < key:
                raise source.fail("the keys do not ascend", at)
            source.path[-1] = f"[{reprlib.repr(key)}]"
            items[key] = self.value.read(source)
            source.path.pop()
            last = key
        return items

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not dict: raise Fault")
        pieces = code.hold("[]")
        key, item = code.fresh(), code.fresh()
        with code.block(f"for {key}, {item} in sorted({value}.items(), key=first):"):
            pair = self.key.emit_write(code, key) + self.value.emit_write(code, item)
            code.put(f"{pieces} += ({', '.join(_merged(pair))},)")
        return [code.length(value), f"*{pieces}"]

    def emit_read(self, code: _Code, end: str) -> str:
        count = code.hold(code.read_length())
        code.put(f"if {count} * {self.item_least} > {end} - p: raise Fault")
        items, last = code.hold("{}"), code.hold("(None)")
        with code.block(f"for _ in range({count}):"):
            key = code.hold(self.key.emit_read(code, end))
            if code.dialect.canonical:
                code.put(f"if {items} and not {last} < {key}: raise Fault", f"{last} = {key}")
            code.put(f"{items}[{key}] = {self.value.emit_read(code, end)}")
        return items


class _Framed(_Wire):
    def __init__(self, inner: _Wire) -> None:
        self.inner = inner

    def write(self, value: Any, sink: _Sink) -> None:
        _write_framed(sink, functools.partial(self.inner.write, value, sink))

    def read(self, source: _Source) -> Any:
        with _frame(source):
            value = self.inner.read(source)
            if source.left and not source.dialect.trailing:
                raise source.fail(f"{source.left} bytes follow the value")
        return value

    def emit_write(self, code: _Code, value: str) -> _Parts:
        return code.framed(self.inner.emit_write(code, value))

    def emit_read(self, code: _Code, end: str) -> str:
        with code.confined(end, exactly=not code.dialect.trailing) as inner_end:
            return code.hold(self.inner.emit_read(code, inner_end))


def _write_framed(sink: _Sink, write: Callable[[], None]) -> None:
    """What `write` writes, preceded by its length."""
    outer, sink.data = sink.data, bytearray()
    write()
    inner, sink.data = sink.data, outer
    sink.data += _varint(len(inner))
    sink.data += inner


@contextmanager
def _frame(source: _Source) -> Iterator[None]:
    """Reads a length, and confines reading to that many bytes; what is not read is skipped."""
    size = source.varint(64)
    if size > source.left:
        raise source.fail(f"{size} bytes are announced, {source.left} are left")
    outer, source.end = source.end, source.pos + size
    yield
    source.pos, source.end = source.end, outer


class _Record(_Wire):
    """A struct. Its fields are filled in after it is made, for it may be among them."""

    def __init__(self, kind: type[Struct]) -> None:
        self.kind = kind
        self.fields: dict[str, _Wire] = {}
        self.extensible = issubclass(kind, Extensible)
        self.recursive = False
        self.measurable = False

    def least(self) -> int:
        if self.extensible:
            return 1
        if not self.measurable:
            return _ENDLESS
        self.measurable = False
        size = sum(wire.least() for wire in self.fields.values())
        self.measurable = True
        return size

    def write(self, value: Any, sink: _Sink) -> None:
        if self.extensible:
            _write_framed(sink, functools.partial(self.write_fields, value, sink))
        else:
            self.write_fields(value, sink)

    def write_fields(self, value: Any, sink: _Sink) -> None:
        self.name(sink.path)
        if type(value) is not self.kind:
            raise sink.fail(f"{self.kind.__name__} is wanted, got {_named(value)}")
        with self.deeper(sink):
            for name, wire in self.fields.items():
                sink.path.append(f".{name}")
                wire.write(getattr(value, name), sink)
                sink.path.pop()

    def read(self, source: _Source) -> Any:
        if not self.extensible:
            return self.read_fields(source)
        with _frame(source):
            return self.read_fields(source)

    def read_fields(self, source: _Source) -> Any:
        self.name(source.path)
        values = {}
        with self.deeper(source):
            for name, wire in self.fields.items():
                source.path.append(f".{name}")
                if source.left or not self.extensible:
                    values[name] = wire.read(source)
                elif name not in self.defaults:
                    raise source.fail("the field is missing")
                source.path.pop()
        try:
            return self.kind(**values)
        except (TypeError, ValueError) as error:  # of a check of the struct's own
            raise source.fail(str(error)) from error

    @functools.cached_property
    def defaults(self) -> frozenset[str]:
        return frozenset(f.name for f in msgspec.structs.fields(self.kind) if not f.required)

    def name(self, path: list[str]) -> None:
        if not path:
            path.append(self.kind.__name__)

    @contextmanager
    def deeper(self, where: _Sink | _Source) -> Iterator[None]:
        where.depth -= self.recursive
        if where.depth < 0:
            raise where.fail("the value nests too deep")
        yield
        where.depth += self.recursive

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        code.put(f"if type({value}) is not {code.bind(self.kind)}: raise Fault")
        parts = self.emit_write_fields(code, value)
        return code.framed(parts) if self.extensible else parts

    def emit_write_fields(self, code: _Code, value: str) -> _Parts:
        if self.is_function(code):
            return [f"{code.function(self, _write_function)}({value}, depth)"]
        return self.emit_write_inline(code, value)

    def emit_write_inline(self, code: _Code, value: str) -> _Parts:
        with code.nested():
            fields = [f"{value}.{name}" for name in self.fields]
            return _emit_write_all(code, list(self.fields.values()), fields)

    def emit_read(self, code: _Code, end: str) -> str:
        if not self.extensible:
            return self.emit_read_fields(code, end)
        with code.confined(end, exactly=False) as inner_end:
            return self.emit_read_fields(code, inner_end)

    def emit_read_fields(self, code: _Code, end: str) -> str:
        """All fields, also those that an `Extensible` may lack: then `p` exceeds `end` after."""
        if self.is_function(code):
            value = code.fresh()
            function = code.function(self, _read_function)
            code.put(f"{value}, p = {function}(data, p, {end}, depth)")
            return value
        return self.emit_read_inline(code, end)

    def emit_read_inline(self, code: _Code, end: str) -> str:
        with code.nested():
            values = _emit_read_all(code, list(self.fields.values()), end)
        by_name = dict(zip(self.fields, values, strict=True))
        positional = [by_name.pop(name) for name in self.kind.__match_args__]
        keywords = [f"{name}={value}" for name, value in by_name.items()]
        return code.hold(f"{code.bind(self.kind)}({', '.join(positional + keywords)})")

    def is_function(self, code: _Code) -> bool:
        """Whether the fields are handled by a function of their own rather than in line."""
        return self.recursive or code.nesting >= INLINE_DEPTH


_ENDLESS: Final = 1 << 62


class _Choice(_Wire):
    def __init__(self, mark: Variants, tag: _Wire, variants: dict[int, _Record]) -> None:
        self.extensible = mark.extensible
        self.tag = tag
        self.variants = variants
        self.tags = {record.kind: number for number, record in variants.items()}

    def least(self) -> int:
        if self.extensible:
            return 2
        return 1 + min(record.least() for record in self.variants.values())

    def write(self, value: Any, sink: _Sink) -> None:
        kind = type(value)
        if self.extensible and kind is Unknown:
            if value.tag in self.variants:
                raise sink.fail(f"tag {value.tag} is not unknown")
            self.tag.write(value.tag, sink)
            _SIMPLE[bytes].write(value.data, sink)
            return
        if kind not in self.tags:
            raise sink.fail(f"{kind.__name__} is none of the variants")
        number = self.tags[kind]
        record = self.variants[number]
        self.tag.write(number, sink)
        sink.path.append(f".{kind.__name__}")
        if self.extensible:
            _write_framed(sink, functools.partial(record.write_fields, value, sink))
        else:
            record.write(value, sink)
        sink.path.pop()

    def read(self, source: _Source) -> Any:
        at = source.pos
        number = self.tag.read(source)
        record = self.variants.get(number)
        if record is not None:
            source.path.append(f".{record.kind.__name__}")
        if self.extensible:
            with _frame(source):
                if record is None:
                    return Unknown(tag=number, data=source.take(source.left))
                value = record.read_fields(source)
                if source.left and not (record.extensible or source.dialect.trailing):
                    raise source.fail(f"{source.left} bytes follow the value")
        elif record is None:
            raise source.fail(f"{number} is the tag of no variant", at)
        else:
            value = record.read(source)
        source.path.pop()
        return value

    def emit_write(self, code: _Code, value: str) -> _Parts:
        value = code.hold(value)
        piece = code.fresh()
        kinds = {record.kind: n for n, record in enumerate(self.variants.values())}
        cases = [
            (n, functools.partial(self.emit_write_variant, code, value, piece, number))
            for n, number in enumerate(self.variants)
        ]
        if self.extensible:
            kinds[Unknown] = len(kinds)
            unknown = functools.partial(self.emit_write_unknown, code, value, piece)
            cases.append((len(cases), unknown))
        which = code.hold(f"{code.bind(kinds)}[type({value})]")
        code.choose(which, cases, functools.partial(code.put, "raise Fault"))
        return [piece]

    def emit_write_variant(self, code: _Code, value: str, piece: str, number: int) -> None:
        record = self.variants[number]
        tag = _plain_bytes(self.tag, number)
        parts = record.emit_write_fields(code, value)
        framed = self.extensible or record.extensible
        pieces = code.framed(parts, tag) if framed else [tag, *parts]
        code.put(f"{piece} = {_joined(pieces)}")

    def emit_write_unknown(self, code: _Code, value: str, piece: str) -> None:
        code.put(f"if {value}.tag in {code.bind(self.variants)}: raise Fault")
        tag = self.tag.emit_write(code, f"{value}.tag")
        data = _SIMPLE[bytes].emit_write(code, f"{value}.data")
        code.put(f"{piece} = {_joined(tag + data)}")

    def emit_read(self, code: _Code, end: str) -> str:
        number = code.hold(self.tag.emit_read(code, end))
        value = code.fresh()
        if not self.extensible:
            cases = [
                (n, functools.partial(code.read_into, value, record, end))
                for n, record in sorted(self.variants.items())
            ]
            code.choose(number, cases, functools.partial(code.put, "raise Fault"))
            return value
        with code.confined(end, exactly=False) as inner_end:
            cases = [
                (n, functools.partial(self.emit_read_variant, code, value, record, inner_end))
                for n, record in sorted(self.variants.items())
            ]
            unknown = f"{value} = Unknown(tag={number}, data=data[p:{inner_end}])"
            code.choose(number, cases, functools.partial(code.put, unknown))
        return value

    def emit_read_variant(self, code: _Code, value: str, record: _Record, end: str) -> None:
        code.put(f"{value} = {record.emit_read_fields(code, end)}")
        if not (record.extensible or code.dialect.trailing):
            code.put(f"if p != {end}: raise Fault")


# -- straight-line code ------------------------------------------------------------------------

_Parts = list[str | bytes]
"""The pieces of a value's bytes, in order: expressions, and bytes known beforehand."""

ONE: Final = b"\x01"
ZERO: Final = b"\x00"
INLINE_DEPTH: Final = 3
"""How deep structs are written in line; below that, each has a function of its own."""


class _Code:
    """Source code in the making: lines, names, and the objects that they refer to."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.lines: list[str] = []
        self.margin = 0
        self.nesting = 0
        self.names: dict[str, Any] = {}
        self.functions: dict[tuple[int, Any], str] = {}
        self.pending: list[tuple[str, _Record, Any]] = []

    def put(self, *lines: str) -> None:
        self.lines += [" " * self.margin + line for line in lines]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.put(head)
        self.margin += 1
        yield
        self.margin -= 1

    @contextmanager
    def nested(self) -> Iterator[None]:
        self.nesting += 1
        yield
        self.nesting -= 1

    def fresh(self) -> str:
        name = f"v{len(self.names)}"
        self.names[name] = None
        return name

    def hold(self, expression: str) -> str:
        """A variable with the value of the expression, itself if it is one."""
        if expression.isidentifier():
            return expression
        name = self.fresh()
        self.put(f"{name} = {expression}")
        return name

    def bind(self, value: Any) -> str:
        """A global name for an object."""
        name = f"{getattr(value, '__name__', 'table').strip('<>')}_{len(self.names)}"
        self.names[name] = value
        return name

    def length(self, value: str) -> str:
        """The piece that tells the length of a variable's value."""
        size = self.hold(f"len({value})")
        return f"(SHORT[{size}] if {size} < 1024 else wide64({size}))"

    def read_length(self) -> str:
        self.put("n = data[p]", "p += 1", "if n > 250: n, p = long64(data, p, n)")
        return "n"

    def framed(self, parts: _Parts, tag: bytes = b"") -> _Parts:
        """The pieces with their length before them, and a tag before that."""
        if all(isinstance(part, bytes) for part in parts):
            body = b"".join(part for part in parts if isinstance(part, bytes))
            return [tag + _varint(len(body)) + body]
        body_name = self.hold(_joined(parts))
        size = self.hold(f"len({body_name})")
        heads = self.bind(tuple(tag + _varint(length) for length in range(251)))
        return [f"({heads}[{size}] if {size} < 251 else {tag!r} + wide64({size}))", body_name]

    @contextmanager
    def confined(self, end: str, *, exactly: bool) -> Iterator[str]:
        """Reads a length; yields the name of the end of so many bytes; goes on there."""
        inner_end = self.hold(f"p + {self.read_length()}")
        self.put(f"if {inner_end} > {end}: raise Fault")
        yield inner_end
        self.put(f"if p {'!=' if exactly else '>'} {inner_end}: raise Fault", f"p = {inner_end}")

    def read_into(self, value: str, wire: _Wire, end: str) -> None:
        self.put(f"{value} = {wire.emit_read(self, end)}")

    def choose(
        self,
        name: str,
        cases: Sequence[tuple[int, Callable[[], None]]],
        otherwise: Callable[[], None],
    ) -> None:
        """A search among numbers that ascend: few comparisons, however many there are."""
        if len(cases) == 1:
            number, case = cases[0]
            with self.block(f"if {name} == {number}:"):
                case()
            with self.block("else:"):
                otherwise()
            return
        middle = len(cases) // 2
        with self.block(f"if {name} < {cases[middle][0]}:"):
            self.choose(name, cases[:middle], otherwise)
        with self.block("else:"):
            self.choose(name, cases[middle:], otherwise)

    def function(self, record: _Record, emit: Callable[[_Code, str, _Record], None]) -> str:
        """The name of the function that `emit` will put for a record's fields."""
        key = (id(record), emit)
        if key not in self.functions:
            name = self.functions[key] = f"f{len(self.functions)}_{record.kind.__name__}"
            self.pending.append((name, record, emit))
        return self.functions[key]

    def put_functions(self) -> None:
        while self.pending:
            name, record, emit = self.pending.pop()
            emit(self, name, record)


def _write_function(code: _Code, name: str, record: _Record) -> None:
    with code.block(f"def {name}(value, depth):"):
        if record.recursive:
            code.put("depth -= 1", "if depth < 0: raise Fault")
        code.put(f"return {_joined(record.emit_write_inline(code, 'value'))}")


def _read_function(code: _Code, name: str, record: _Record) -> None:
    with code.block(f"def {name}(data, p, end, depth):"):
        if record.recursive:
            code.put("depth -= 1", "if depth < 0: raise Fault")
        code.put(f"return {record.emit_read_inline(code, 'end')}, p")


def _merged(parts: _Parts) -> list[str]:
    """The pieces as expressions, bytes that are known beforehand in one."""
    merged: _Parts = []
    for part in parts:
        if isinstance(part, bytes) and merged and isinstance(merged[-1], bytes):
            merged[-1] += part
        else:
            merged.append(part)
    return [repr(part) if isinstance(part, bytes) else part for part in merged]


def _joined(parts: _Parts) -> str:
    """An expression of all pieces in a row."""
    merged = _merged(parts)
    if not merged:
        return 'b""'
    if len(merged) <= 2 and not any(part.startswith("*") for part in merged):
        return " + ".join(merged)
    return f'b"".join(({", ".join(merged)}))'


def _check_numbers(kind: Any, wire: _Wire, numbers: Iterable[int]) -> None:
    """Raises `TypeError` where the members of an enum or union have numbers that cannot be."""
    try:
        for number in numbers:
            wire.write(number, _Sink(0))
    except CodecError as error:
        raise TypeError(f"{kind}: {error}") from error


def _plain_bytes(wire: _Wire, value: Any) -> bytes:
    sink = _Sink(0)
    wire.write(value, sink)
    return bytes(sink.data)


def _emit_write_all(code: _Code, wires: Sequence[_Wire], values: Sequence[str]) -> _Parts:
    """The pieces of several values; neighbours of fixed size go into one call of `struct`."""
    parts: _Parts = []
    for packed, run in itertools.groupby(
        zip(wires, values, strict=True), key=lambda pair: isinstance(pair[0], _Packed)
    ):
        pairs = list(run)
        if packed and len(pairs) > 1:
            form = "".join(wire.form for wire, _ in pairs if isinstance(wire, _Packed))
            pack = code.bind(struct.Struct(f"<{form}").pack)
            parts.append(f"{pack}({', '.join(value for _, value in pairs)})")
        else:
            for wire, value in pairs:
                parts += wire.emit_write(code, value)
    return parts


def _emit_read_all(code: _Code, wires: Sequence[_Wire], end: str) -> list[str]:
    """Expressions of several values; neighbours of fixed size come out of one call of `struct`."""
    values: list[str] = []
    for fixed, run in itertools.groupby(wires, key=lambda w: _fixed_form(w) is not None):
        neighbours = list(run)
        forms = [form for form in map(_fixed_form, neighbours) if form is not None]
        if fixed and len(forms) > 1 and (len(forms) > 3 or set(forms) != {"B"}):
            packer = struct.Struct("<" + "".join(forms))
            names = [code.fresh() for _ in forms]
            code.put(f"{', '.join(names)} = {code.bind(packer.unpack_from)}(data, p)")
            code.put(f"p += {packer.size}")
            for wire, name in zip(neighbours, names, strict=True):
                values.append(f"BOOLS[{name}]" if isinstance(wire, _Bool) else name)
        else:
            values += [wire.emit_read(code, end) for wire in neighbours]
    return values


def _fixed_form(wire: _Wire) -> str | None:
    """How `struct` reads values of this kind, if it can."""
    match wire:
        case _Packed():
            return wire.form
        case _FixedBlob():
            return f"{wire.size}s"
        case _Bool():
            return "B"
    return None


def _fault() -> bytes:
    raise _Fault


def _wide(bits: int) -> Callable[[int], bytes]:
    """Writes what is not among the short varints, of `bits` at most."""
    high = (1 << bits) - 1
    pack16, pack32, pack64 = (struct.Struct(f"<B{code}").pack for code in "HIQ")

    def wide(value: int) -> bytes:
        if 0 <= value <= 0xFFFF:
            return pack16(251, value)
        if not 0 <= value <= high:
            raise _Fault
        return pack32(252, value) if value <= 0xFFFFFFFF else pack64(253, value)

    return wide


def _long(bits: int, canonical: bool) -> Callable[[bytes, int, int], tuple[int, int]]:
    """Reads at `p` what follows the first byte of a long varint; returns the value and its end."""
    unpack16, unpack32, unpack64 = (form.packer.unpack_from for form in _LONG)
    least16, least32, least64 = (form.least if canonical else 0 for form in _LONG)

    def long(data: bytes, p: int, mark: int) -> tuple[int, int]:
        if mark == 251:
            (value,) = unpack16(data, p)
            if value >= least16:
                return value, p + 2
        elif mark == 252 and bits >= 32:
            (value,) = unpack32(data, p)
            if value >= least32:
                return value, p + 4
        elif mark == 253 and bits == 64:
            (value,) = unpack64(data, p)
            if value >= least64:
                return value, p + 8
        raise _Fault

    return long


_FAULTS: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What straight-line code raises at bytes and values that are not right."""

_COMMON: Final[dict[str, Any]] = {
    "BOOLS": (False, True),
    "BYTE": tuple(bytes((value,)) for value in range(256)),
    "FAULTS": _FAULTS,
    "Fault": _Fault,
    "ONE": ONE,
    "SHORT": tuple(_varint(value) for value in range(1024)),
    "Unknown": Unknown,
    "ZERO": ZERO,
    "fault": _fault,
    "first": operator.itemgetter(0),
    "pack64": struct.Struct("<BQ").pack,
    **{
        f"unpack{bits}": _FORMS[bits][mark].packer.unpack_from
        for bits, mark in ((16, 251), (64, 253))
    },
    **{f"wide{bits}": _wide(bits) for bits in _FORMS},
}
"""What all compiled code refers to."""


def _compile(
    wire: _Wire,
    dialect: Dialect,
    *,
    limit: int,
    depth: int,
    encode_plainly: Callable[[Any], bytes],
    decode_plainly: Callable[[Any], Any],
) -> tuple[str, Callable[[Any], bytes], Callable[[Any], Any]]:
    """Straight-line code that falls back on the plain way: its source, how it writes and reads."""
    code = _Code(dialect)
    with code.block("def encode(value):"), code.block("try:"):
        code.put(f"depth = {depth}")
        code.put(f"out = {_joined(wire.emit_write(code, 'value'))}")
        code.put(f"if len(out) <= {limit}: return out")
    code.put(" except FAULTS: pass", " return encode_plainly(value)")
    with code.block("def decode(data):"):
        with code.block(f"if type(data) is bytes and len(data) <= {limit}:"):
            with code.block("try:"):
                code.put("end = len(data)", "p = 0", f"depth = {depth}")
                code.put(f"value = {wire.emit_read(code, 'end')}")
                code.put(f"if p {'<=' if dialect.trailing else '=='} end: return value")
            code.put("except FAULTS: pass")
        code.put("return decode_plainly(data)")
    code.put_functions()
    source = "\n".join(code.lines) + "\n"
    names = {
        **_COMMON,
        **{name: value for name, value in code.names.items() if value is not None},
        **{f"long{bits}": _long(bits, dialect.canonical) for bits in _FORMS},
        "encode_plainly": encode_plainly,
        "decode_plainly": decode_plainly,
    }
    exec(compile(source, "<codec>", "exec"), names)  # noqa: S102 - made above, of types alone
    return source, names["encode"], names["decode"]


# -- from a type to its kind ------------------------------------------------------------------


def _wire_of(type_: Any, known: dict[Any, _Record]) -> _Wire:
    if typing.get_origin(type_) is Annotated:
        base, *marks = typing.get_args(type_)
        for mark in marks:
            wire = _wire_of_marked(base, mark, known)
            if wire is not None:
                return wire
        return _wire_of(base, known)
    if isinstance(type_, type) and issubclass(type_, Struct):
        return _record_of(type_, known)
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return _Enum(type_, _Varint("u32"))
    if type_ in _SIMPLE:
        return _SIMPLE[type_]
    arguments = typing.get_args(type_)
    match typing.get_origin(type_):
        case types.UnionType | typing.Union if len(arguments) == 2 and type(None) in arguments:
            inner = next(a for a in arguments if a is not type(None))
            return _Optional(_wire_of(inner, known))
        case kind if kind is list or (kind is tuple and arguments[1:] == (...,)):
            item = _wire_of(arguments[0], known)
            if not item.least():
                raise TypeError(f"{type_}: items that take no bytes cannot be counted")
            return _List(kind, item)
        case kind if kind is tuple:
            return _Tuple([_wire_of(a, known) for a in arguments])
        case kind if kind is dict:
            key, value = (_wire_of(a, known) for a in arguments)
            if not key.ordered:
                raise TypeError(f"{type_}: keys of this type have no order")
            return _Map(key, value)
    raise TypeError(f"{type_} has no wire format; say how wide numbers are, and mark unions")


def _wire_of_marked(base: Any, mark: Any, known: dict[Any, _Record]) -> _Wire | None:
    match mark:
        case Number(name) if (base, name) in _NUMBERS:
            return _NUMBERS[base, name]
        case FixedInt(size) if base is int and size in _FIXED_FORMS:
            return _Packed(_FIXED_FORMS[size], f"{size} bytes", (int,))
        case Fixed(size) if base is bytes:
            return _FixedBlob(size)
        case Fixed(16) if base is uuid.UUID:
            as_bytes = Mapped(bytes, lambda raw: uuid.UUID(bytes=raw), operator.attrgetter("bytes"))
            return _Mapped(uuid.UUID, as_bytes, _FixedBlob(16))
        case Tag(width) if issubclass(base, enum.Enum):
            return _Enum(base, _NUMBERS[int, width])
        case Framed():
            return _Framed(_wire_of(base, known))
        case Mapped():
            return _Mapped(base, mark, _wire_of(mark.wire, known))
        case Variants():
            return _choice_of(base, mark, known)
        case Number() | FixedInt() | Fixed() | Tag():
            raise TypeError(f"{mark} does not fit {base}")
    return None


def _record_of(kind: type[Struct], known: dict[Any, _Record]) -> _Record:
    if kind in known:
        known[kind].recursive |= not known[kind].measurable
        return known[kind]
    record = known[kind] = _Record(kind)
    hints = typing.get_type_hints(kind, include_extras=True)
    for base in reversed(kind.__mro__):
        for name in base.__dict__.get("__wire_order__", ()):
            if name in kind.__struct_fields__:
                record.fields[name] = _wire_of(hints[name], known)
    record.measurable = True
    if record.least() >= _ENDLESS:
        raise TypeError(f"{kind.__name__} contains itself without end")
    return record


def _choice_of(base: Any, mark: Variants, known: dict[Any, _Record]) -> _Choice:
    union = typing.get_origin(base) in (types.UnionType, typing.Union)
    kinds = typing.get_args(base) if union else (base,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Struct)):
            raise TypeError(f"a variant is a Struct, {kind} is none")
    numbers: Iterable[int] = range(len(kinds))
    if mark.tags is not None:
        if set(mark.tags) != set(kinds):
            raise TypeError(f"{base}: tags are given for other variants than these")
        numbers = [mark.tags[kind] for kind in kinds]
    variants = {
        number: _record_of(kind, known) for number, kind in zip(numbers, kinds, strict=True)
    }
    if len(variants) < len(kinds):
        raise TypeError(f"{base}: two variants have one tag")
    tag = _NUMBERS[int, mark.tag]
    _check_numbers(base, tag, variants)
    return _Choice(mark, tag, variants)


_SIMPLE: Final[dict[Any, _Wire]] = {bool: _Bool(), str: _Text(), bytes: _Blob()}
_FIXED_FORMS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
_NUMBERS: Final[dict[tuple[Any, str], _Wire]] = {
    (int, "u8"): _Packed("B", "u8", (int,)),
    (int, "i8"): _Packed("b", "i8", (int,)),
    (float, "f32"): _Packed("f", "f32", (float, int)),
    (float, "f64"): _Packed("d", "f64", (float, int)),
    **{(int, name): _Varint(name) for name in ("u16", "u32", "u64", "i16", "i32", "i64")},
}
