"""From tables of text to typed settings: what does a configuration say, and what is wrong with it?

A model (pydantic) states keys, types, defaults and descriptions once; this module reads TOML
documents, environment variables and flags against it, and says of every fault where it stands,
what was found, what was expected and what was probably meant. All faults are found at once.
"""

from __future__ import annotations

import datetime
import difflib
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from libbarto.errors import ConfigError, UserError
from libbarto.quantity import (
    DURATION_EXAMPLES,
    DURATION_LIMIT,
    SIZE_EXAMPLES,
    SIZE_LIMIT,
    parse_duration,
    parse_size,
)
from libbarto.toml_lines import Document, Path
from libbarto.toml_text import toml_text


class Keys(BaseModel):
    """A table of settings: frozen, strict about types, closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """How the documentation names a type that Python spells otherwise."""

    name: str


def _to_duration(value: object) -> object:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"expected a duration such as {DURATION_EXAMPLES}, found {found(value)}")
    if not 0 <= value <= DURATION_LIMIT:
        raise UserError(f"expected 0 to 1000 years, found {value} seconds")
    return float(value)


def _to_size(value: object) -> object:
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UserError(f"expected a size such as {SIZE_EXAMPLES}, found {found(value)}")
    if not 0 <= value <= SIZE_LIMIT:
        raise UserError(f"expected 0 to {SIZE_LIMIT} bytes, found {value}")
    return value


def _to_texts(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _to_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Duration: TypeAlias = Annotated[float, BeforeValidator(_to_duration), Shown("duration")]
"""Seconds; written as `"1h30m"`, or as a number of seconds."""
Size: TypeAlias = Annotated[int, BeforeValidator(_to_size), Shown("size")]
"""Bytes; written as `"10MiB"`, or as a number of bytes."""
OneOrMore: TypeAlias = Annotated[
    tuple[str, ...], BeforeValidator(_to_texts), Shown("text, or a list of texts")
]
"""A text or a list of texts."""
Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_to_tuple), Shown("list of texts")]
"""A list of texts."""
Port: TypeAlias = Annotated[int, Field(ge=0, le=65535), Shown("port")]
"""A TCP port; 0 lets the system choose a free one."""
Count: TypeAlias = Annotated[int, Field(ge=0, le=255)]
"""A small whole number, as barto 1.x counts `-v` and `-q`."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A model, and the keys outside it that people write all the same. Keys are dotted paths.

    * `wrong`: keys of other tools; the text says what is right here.
    * `later`: keys that are specified and not there yet, with the values that say what happens
      today anyway and are therefore accepted.
    * `renamed`: keys of barto 1.x, with today's key, or None where they have no effect any more.
      Where several mean one key, the last in order counts.
    * `elsewhere`: top-level keys that somebody else reads.
    """

    model: type[Keys]
    wrong: Mapping[str, str] = field(default_factory=dict)
    later: Mapping[str, Sequence[object]] = field(default_factory=dict)
    renamed: Mapping[str, str | None] = field(default_factory=dict)
    elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: `place` is `file:line`, a variable, or a flag."""

    place: str
    message: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class InvalidConfig(ConfigError):
    """A configuration with faults; `faults` has them all, in order of file and line."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.file, fault.line)))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it was written, and where: in a document at `path`, or by `name` outside."""

    value: object
    path: Path
    document: Document | None = None
    name: str = ""

    @property
    def place(self) -> str:
        """`file:line`, a variable, or a flag."""
        return self.document.place(self.path) if self.document else self.name

    def fault(self, message: str, below: Path = (), *, subject: str = "") -> Fault:
        """What is wrong with it, or with what it holds at the path `below` it.

        `subject` stands before the key: which of many tables this is.
        """
        path = (*self.path, *below)
        text = f"{subject}{dotted(path)}: {message}"
        if self.document is None:
            return Fault(self.name, text)
        line = self.document.line(path)
        return Fault(f"{self.document.file}:{line}", text, self.document.file, line)


Values: TypeAlias = dict[Path, Value]
"""Values by the path of the key that they are for, which may be another than they stand at."""


@dataclass(slots=True)
class Reading:
    """What was read from one place, and what is to be said about it."""

    values: Values = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)
    """What was accepted and has no effect."""


def read_table(
    schema: Schema,
    table: Mapping[str, object],
    document: Document,
    at: Path = (),
    *,
    subject: str = "",
) -> Reading:
    """Read a table of `document` that stands at `at`. Paths of the values are relative to it."""
    reading = Reading()
    reader = _TableReader(schema, document, at, subject, reading)
    reader.read(schema.model, table, ())
    ranks = {old: rank for rank, old in enumerate(schema.renamed)}
    for old, value in sorted(reader.old.items(), key=lambda item: ranks[dotted(item[0])]):
        new = schema.renamed[dotted(old)]
        if new is None:
            reading.notes.append(value.fault("of barto 1.x, has no effect", subject=subject))
        elif (path := tuple(new.split("."))) not in reader.own:
            reading.values[path] = value
    return reading


class _TableReader:
    def __init__(
        self, schema: Schema, document: Document, at: Path, subject: str, reading: Reading
    ) -> None:
        self._schema = schema
        self._document = document
        self._at = at
        self._subject = subject
        self._reading = reading
        self.old: dict[Path, Value] = {}
        self.own: set[Path] = set()

    def read(self, model: type[Keys] | None, table: Mapping[str, object], path: Path) -> None:
        fields = {} if model is None else fields_of(model)
        for key, value in table.items():
            here = (*path, key)
            if not path and key in self._schema.elsewhere:
                continue
            if key in fields:
                inner = table_of(fields[key].annotation)
                if inner is None:
                    self._reading.values[here] = self._value(here, value)
                    self.own.add(here)
                    continue
                if isinstance(value, Mapping):
                    # An empty table counts, where its mere presence says something.
                    self._reading.values.setdefault(here, self._value(here, {}))
                    self.read(inner, value, here)
                else:
                    self._fault(here, f"expected a table, found {found(value)}")
            else:
                self._other(here, value, fields)

    def _other(self, here: Path, value: object, fields: Mapping[str, FieldInfo]) -> None:
        name = dotted(here)
        if name in self._schema.renamed:
            self.old[here] = self._value(here, value)
        elif name in self._schema.later:
            allowed = self._schema.later[name]
            # Python takes 0 for False; a configuration does not.
            if not any(type(value) is type(one) and value == one for one in allowed):
                self._fault(here, _not_yet(allowed))
        elif name in self._schema.wrong:
            self._fault(here, self._schema.wrong[name])
        elif isinstance(value, Mapping) and self._is_old_table(name):
            self.read(None, value, here)
        else:
            self._fault(here, self._unknown(here, fields))

    def _unknown(self, here: Path, fields: Mapping[str, FieldInfo]) -> str:
        before = f"{dotted(here[:-1])}." if len(here) > 1 else ""
        siblings = {*fields, *(self._schema.elsewhere if not before else ())}
        for known in (*self._schema.renamed, *self._schema.later):
            if known.startswith(before) and "." not in known[len(before) :]:
                siblings.add(known[len(before) :])
        return f"no such key{nearest(str(here[-1]), sorted(siblings))}"

    def _is_old_table(self, name: str) -> bool:
        return any(old.startswith(f"{name}.") for old in self._schema.renamed)

    def _value(self, here: Path, value: object) -> Value:
        return Value(value, (*self._at, *here), self._document)

    def _fault(self, here: Path, message: str) -> None:
        value = self._value(here, None)
        line = self._document.line(value.path)
        text = f"{self._subject}{dotted(here)}: {message}"
        place = f"{self._document.file}:{line}"
        self._reading.faults.append(Fault(place, text, self._document.file, line))


def _not_yet(allowed: Sequence[object]) -> str:
    today = f" (today it is always {toml_text(allowed[0])})" if allowed else ""
    return f"not available yet{today}"


def read_environment(
    schema: Schema,
    environment: Mapping[str, str],
    prefix: str,
    *,
    shared: str = "BARTO_",
    shared_keys: frozenset[str] = frozenset(),
    others: Sequence[str] = ("BARTOS_", "BARTOC_", "BARTO_CLI_"),
) -> Reading:
    """Read variables that begin with `prefix`, or with `shared` for the keys that programs share.

    `__` stands between a table and its key. `prefix` beats `shared`. A text stays a text where the
    key is one, whatever it looks like. A name that means nothing is noted, not refused: others may
    have put it there; one that has `_` for `__` is refused, as it would be lost in silence.
    """
    reading = Reading()
    infos = leaves(schema.model)
    own = {_variable(path): path for path in infos}
    old: dict[str, Path | None] = {
        _variable(tuple(name.split("."))): None if new is None else tuple(new.split("."))
        for name, new in schema.renamed.items()
    }
    # Names of barto 1.x first, in their order, so that what comes later may stand above them.
    ranks = {name: rank for rank, name in enumerate(old)}
    for kind in (shared, prefix):
        named = [
            (variable.upper()[len(kind) :], variable, text)
            for variable, text in sorted(environment.items())
            if variable.upper().startswith(kind)
            and (kind == prefix or not variable.upper().startswith(tuple(others)))
        ]
        for rest, variable, text in sorted(named, key=lambda item: ranks.get(item[0], len(ranks))):
            path = own.get(rest, old.get(rest))
            place = f"environment {variable}"
            if path is not None and (kind == prefix or path[0] in shared_keys):
                try:
                    reading.values[path] = Value(_typed(infos[path], text), path, None, place)
                except UserError as error:
                    reading.faults.append(Value(text, path, None, place).fault(str(error)))
            elif kind == prefix and rest in old:
                reading.notes.append(Fault(place, "of barto 1.x, has no effect"))
            elif kind == prefix:
                _unknown_variable(reading, prefix, variable, own)
    return reading


def _variable(path: Path) -> str:
    return "__".join(str(part) for part in path).upper()


def _unknown_variable(
    reading: Reading, prefix: str, variable: str, known: Mapping[str, Path]
) -> None:
    rest = variable.upper()[len(prefix) :]
    place = f"environment {variable}"
    for name in known:
        if "__" in name and name.replace("__", "_") == rest:
            message = f"between a table and its key stand two underscores: write {prefix}{name}"
            reading.faults.append(Fault(place, message))
            return
    meant = nearest(rest, sorted(known), before=prefix)
    reading.notes.append(Fault(place, f"means nothing to this program{meant}"))


def _typed(info: FieldInfo, text: str) -> object:
    """The value that a variable's text stands for, by the type of its key."""
    annotation = _plain(info.annotation)
    if annotation is bool:
        lowered = text.strip().lower()
        if lowered in {"true", "1", "yes", "on"}:
            return True
        if lowered in {"false", "0", "no", "off"}:
            return False
        raise UserError(f'expected true or false, found "{text}"')
    if annotation is int and not any(isinstance(m, BeforeValidator) for m in info.metadata):
        try:
            return int(text.strip(), 10)
        except ValueError:
            raise UserError(f'expected a whole number, found "{text}"') from None
    if annotation is dict or typing.get_origin(annotation) is dict:
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise UserError(f'expected {{ key = "value" }}, found "{text}"') from None
    if typing.get_origin(annotation) is tuple:
        if text.lstrip().startswith("["):
            try:
                return tomllib.loads(f"value = {text}")["value"]
            except tomllib.TOMLDecodeError:
                raise UserError(f'expected ["a", "b"], found "{text}"') from None
        return [part.strip() for part in text.split(",") if part.strip()]
    return text


def read_flags(schema: Schema, flags: Mapping[str, object]) -> Reading:
    """Values given on the command line, by dotted key; None is a flag that was not given."""
    reading = Reading()
    for key, value in flags.items():
        if value is not None:
            path: Path = tuple(key.split("."))
            name = f"--{str(path[-1]).replace('_', '-')}"
            reading.values[path] = Value(value, path, None, name)
    return reading


def merge(*layers: Values) -> Values:
    """One set of values; a later layer beats an earlier one."""
    merged: Values = {}
    for layer in layers:
        merged.update(layer)
    return merged


M = TypeVar("M", bound=Keys)


@dataclass(frozen=True, slots=True)
class Built(Generic[M]):
    """Typed settings, or None and what is wrong with them."""

    settings: M | None
    faults: tuple[Fault, ...] = ()


def build(
    model: type[M],
    values: Values,
    *,
    missing: Value | None = None,
    subject: str = "",
    given: Mapping[str, object] | None = None,
) -> Built[M]:
    """Validate merged values. `missing` is where a key that is left out would have stood.

    `given` are values that are right by construction.
    """
    tree: dict[str, object] = dict(given or {})
    for path, value in sorted(values.items(), key=lambda item: len(item[0])):
        table = tree
        for part in path[:-1]:
            inner = table.setdefault(str(part), {})
            assert isinstance(inner, dict)
            table = inner
        table[str(path[-1])] = dict(value.value) if isinstance(value.value, dict) else value.value
    try:
        return Built(model.model_validate(tree))
    except ValidationError as error:
        return Built(None, tuple(_faults(error, values, missing, subject)))


def _faults(
    error: ValidationError, values: Values, missing: Value | None, subject: str
) -> Iterator[Fault]:
    for detail in error.errors(include_url=False):
        location: Path = tuple(detail["loc"])
        message = _message(
            detail["type"], detail["msg"], detail.get("ctx", {}), detail["input"], location
        )
        for length in range(len(location), -1, -1):
            value = values.get(location[:length])
            if value is not None:
                yield _relative(value, location[:length], location[length:], message, subject)
                break
        else:
            place = missing or Value(None, (), None, "configuration")
            line = place.document.line(place.path) if place.document else 0
            file = place.document.file if place.document else ""
            key = f"{dotted(location)}: " if location else ""
            where = f"{file}:{line}" if file else place.name
            yield Fault(where, f"{subject}{key}{message}", file, line)


def _relative(value: Value, key: Path, below: Path, message: str, subject: str) -> Fault:
    """A fault that names the key as it was written: without the path of the table it is in."""
    if not isinstance(value.value, list | Mapping):
        below = ()  # one text for a list of one: its item has no number
    whole = value.fault(message, below)
    written = value.path[len(value.path) - len(key) :] if subject else value.path
    name = dotted((*written, *below))
    return Fault(whole.place, f"{subject}{name}: {message}", whole.file, whole.line)


_EXPECTED: Final = {
    "string_type": "expected a text in quotes",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
    "bool_type": "expected true or false",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a table",
    "model_type": "expected a table",
}


def _message(
    kind: str, text: str, context: Mapping[str, object], value: object, location: Path
) -> str:
    if kind in _EXPECTED:
        # A text is never an answer to "a text was expected": no secret is shown here.
        return f"{_EXPECTED[kind]}, found {found(value, show=kind != 'string_type')}"
    if kind == "value_error":
        return str(context.get("error", text))
    if kind == "literal_error":
        choices = str(context.get("expected", "")).replace("'", '"')
        names = [part for part in choices.split('"')[1::2] if part]
        meant = nearest(value, names) if isinstance(value, str) else ""
        return f"expected {choices}, found {found(value)}{meant}"
    if kind == "missing":
        return "is left out, and has no default"
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = context.get("ge", context.get("le"))
        side = "at least" if "ge" in context else "at most"
        return f"expected {side} {bound}, found {found(value)}"
    return f"{text[:1].lower()}{text[1:]}"


def found(value: object, *, show: bool = True) -> str:
    """What stands there, in words.

    >>> found(True)
    'true'
    >>> found("x")
    'the text "x"'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            shown = "".join(c if c.isprintable() else "?" for c in value)
            return f'the text "{shown[:60]}{"..." if len(shown) > 60 else ""}"'
        case int() | float():
            return f"the number {value}" if show else "a number"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
        case datetime.date() | datetime.time():
            return "a date" if isinstance(value, datetime.date) else "a time"
        case _:
            return type(value).__name__


def nearest(wrong: str, known: Sequence[str], *, before: str = "") -> str:
    """`; did you mean "…"?` for the known name that is nearest to `wrong`, or nothing.

    >>> nearest("time_out", ["timeout", "cmds"])
    '; did you mean "timeout"?'
    """
    lowered = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wrong.lower(), lowered, n=1, cutoff=0.6)
    return f'; did you mean "{before}{lowered[close[0]]}"?' if close else ""


def dotted(path: Path) -> str:
    """A path as TOML writes it, with the index of a list's item in brackets, from 1.

    >>> dotted(("schedule", 0, "cmds", 1))
    'schedule[1].cmds[2]'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f"{'.' if text else ''}{part}"
    return text


# -- what a model says of itself ------------------------------------------------------------------


def fields_of(model: type[Keys]) -> dict[str, FieldInfo]:
    """The keys of a table."""
    return dict(model.model_fields)


def table_of(annotation: object) -> type[Keys] | None:
    """The model behind an annotation, if the key is a table with keys of its own."""
    plain = _plain(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, Keys) else None


def _plain(annotation: object) -> object:
    """An annotation without `Annotated` and `| None`."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _plain(typing.get_args(annotation)[0])
    if origin in {typing.Union, types.UnionType}:
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        return _plain(parts[0]) if len(parts) == 1 else annotation
    return annotation


def leaves(model: type[Keys], before: Path = ()) -> dict[Path, FieldInfo]:
    """Every key that holds a value, also those of tables within, in the order of the code."""
    found_: dict[Path, FieldInfo] = {}
    for name, info in model.model_fields.items():
        inner = table_of(info.annotation)
        if inner is None:
            found_[(*before, name)] = info
        else:
            found_ |= leaves(inner, (*before, name))
    return found_


def type_name(info: FieldInfo) -> str:
    """The type of a key, in the words of the documentation."""
    for part in (*info.metadata, *_metadata(info.annotation)):
        if isinstance(part, Shown):
            return part.name
    annotation = _plain(info.annotation)
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f'"{choice}"' for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) is dict:
        return "table of texts"
    names: dict[object, str] = {
        str: "text",
        SecretStr: "secret text",
        int: "whole number",
        bool: "true or false",
    }
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _metadata(annotation: object) -> Iterator[object]:
    """What `Annotated` says within `… | None`, where pydantic leaves it."""
    if typing.get_origin(annotation) is Annotated:
        yield from typing.get_args(annotation)[1:]
    elif typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        for part in typing.get_args(annotation):
            yield from _metadata(part)
