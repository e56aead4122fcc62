"""Every key of a TOML text is found on its line, however the text is spelt."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.toml_lines import Path, TomlError, read

SPELT = '''\
# a comment
a = 1
"b c" = "x # no comment"
'd"e' = 'y'
f.g."h\\u0041" = 3 # f.g.hA

[table]
long = """
one "quoted" \\""" two
x = 1
"""
five = """a"b""c"""
raw = \'\'\'
it's
\'\'\'
list = [
  1, # one
  [ 2,
    3 ],
  { k = "v", m.n = [ 4 ] },
]
empty = []
none = {}
when = 2026-11-24T08:00:00Z
last = true

[[many]]
name = "first"
[many.sub]
x = 1
[[many.deep]]
y = 1
[[many.deep]]
y = 2
[[many]]
name = "second"
[many . "sub"]
x = 2
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 2),
        (("b c",), 3),
        (('d"e',), 4),
        (("f",), 5),
        (("f", "g", "hA"), 5),
        (("table",), 7),
        (("table", "long"), 8),
        (("table", "five"), 12),
        (("table", "raw"), 13),
        (("table", "list"), 16),
        (("table", "list", 0), 17),
        (("table", "list", 1), 18),
        (("table", "list", 1, 1), 19),
        (("table", "list", 2), 20),
        (("table", "list", 2, "k"), 20),
        (("table", "list", 2, "m", "n", 0), 20),
        (("table", "empty"), 22),
        (("table", "none"), 23),
        (("table", "when"), 24),
        (("table", "last"), 25),
        (("many", 0), 27),
        (("many", 0, "name"), 28),
        (("many", 0, "sub", "x"), 30),
        (("many", 0, "deep", 0), 31),
        (("many", 0, "deep", 1, "y"), 34),
        (("many", 1), 35),
        (("many", 1, "sub"), 37),
        (("many", 1, "sub", "x"), 38),
    ],
)
def test_a_key_is_found_on_its_line(path: Path, line: int) -> None:
    document = read("x.toml", SPELT)
    assert document.line(path) == line
    assert document.place(path) == f"x.toml:{line}"


def test_every_value_has_a_line_and_nothing_else_has() -> None:
    assert set(read("x.toml", SPELT).lines) == set(paths(tomllib.loads(SPELT)))


def test_lines_are_the_same_with_the_line_ends_of_windows() -> None:
    assert read("x.toml", SPELT.replace("\n", "\r\n")).lines == read("x.toml", SPELT).lines


def test_a_path_that_is_not_there_has_the_line_of_what_would_hold_it() -> None:
    document = read("x.toml", SPELT)
    assert document.line(("table", "list", 0, "nothing")) == 17
    assert document.line(("nothing",)) == 1
    assert document.line(()) == 1


def test_a_document_does_not_show_its_values() -> None:
    assert "secret" not in repr(read("x.toml", 'api_key = "secret"'))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a = 1\nb = \n", 2, "not TOML: invalid value\n    b = \n        ^"),
        ("a = 1\na = 2", 2, "not TOML: cannot overwrite a value"),
        ("a = [1,\n2", 2, "not TOML: unclosed array\n    2\n     ^"),
        ("a = [1,\n2\n\n", 2, "not TOML: unclosed array"),
        ("\ta = =", 1, "    \n"),
        ('a = "x\r\n"', 1, "not TOML: illegal character"),
        ('[schedules.web1] = [ { name = "x" } ]', 1, "schedules.web1 = [ {"),
        ('[schedules."web 1"] = []', 1, '[schedules."web 1"]\n'),
    ],
)
def test_what_is_not_toml_is_shown(text: str, line: int, words: str) -> None:
    with pytest.raises(TomlError) as caught:
        read("x.toml", text)
    assert (caught.value.file, caught.value.line) == ("x.toml", line)
    if not words.isspace():
        assert words in caught.value.message
    assert str(caught.value).startswith(f"x.toml:{line}: not TOML: ")


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "{a=" * 100_000, "[" * 100_000])
def test_brackets_without_end_are_refused(text: str) -> None:
    with pytest.raises(TomlError, match="not TOML") as caught:
        read("x.toml", text)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("at", [0, 3_000, 99_999])
def test_of_a_long_line_what_is_around_the_fault_is_shown(at: int) -> None:
    line = "".join("=" if column == at else "a" for column in range(100_000))
    with pytest.raises(TomlError) as caught:
        read("x.toml", f"b = [{line}")
    _, shown, mark = caught.value.message.split("\n")
    assert len(shown) < 130
    assert len(mark) <= len(shown) + 1
    assert shown[mark.index("^")] in "a="


# -- any document ---------------------------------------------------------------------------------


def paths(value: object, before: Path = ()) -> Iterator[Path]:
    """Every path of a parsed document."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        yield (*before, key)
        yield from paths(inner, (*before, key))


PLAIN = st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"])
TEXTS = st.text(PLAIN, max_size=12)
INSIDE = st.sampled_from(['"', "'", '""', "''", "\n", "#", "[", "]", "=", "{ x = 1 }", "a", "\\\\"])
BREAKS = st.sampled_from(["", " ", "\n", " # [not] = a key\n", "\n\n\t"])
BLANKS = st.sampled_from(["", " ", "\t "])


def basic(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def long_strings(draw: st.DrawFn) -> str:
    """A string in three quotation marks, with whatever could be taken for something else."""
    inside = "".join(draw(st.lists(INSIDE, max_size=8)))
    if draw(st.booleans()):
        while "'''" in inside:
            inside = inside.replace("'''", "''")
        return f"'''{inside}'''"
    while '"""' in inside:
        inside = inside.replace('"""', '""')
    return f'"""{inside}"""'


SCALARS = (
    st.integers(-99, 99).map(str)
    | st.sampled_from(
        ["true", "1.5", "inf", "0x1F", "2026-11-24", "2026-11-24 08:00:00", "08:00:00"]
    )
    | TEXTS.map(basic)
    | TEXTS.filter(lambda text: "'" not in text).map(lambda text: f"'{text}'")
    | long_strings()
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A TOML text in which every key is written once: `k1`, `k2` and so on."""
    counter = iter(range(1, 10_000))

    def key() -> str:
        name = f"k{next(counter)}"
        return draw(st.sampled_from([name, f'"{name}"', f"'{name}'", f'"\\u006b{name[1:]}"']))

    def keys() -> str:
        dot = draw(BLANKS) + "." + draw(BLANKS)
        return dot.join(key() for _ in range(draw(st.integers(1, 3))))

    def pair(depth: int) -> str:
        return f"{keys()}{draw(BLANKS)}={draw(BLANKS)}{value(depth)}"

    def value(depth: int) -> str:
        kind = draw(st.integers(0, 5)) if depth < 3 else 0
        if kind == 4:
            items = [draw(BREAKS) + value(depth + 1) + draw(BREAKS) for _ in range(draw(COUNTS))]
            more: bool = draw(st.booleans())
            comma = "," if items and more else ""
            return f"[{','.join(items)}{comma}{draw(BREAKS)}]"
        if kind == 5:
            pairs = [draw(BLANKS) + pair(depth + 1) + draw(BLANKS) for _ in range(draw(COUNTS))]
            return f"{{{','.join(pairs)}}}"
        return draw(SCALARS)

    lines: list[str] = []

    def body() -> None:
        for _ in range(draw(COUNTS)):
            lines.append(draw(BLANKS) + pair(0) + draw(st.sampled_from(["", " # k0 = 1"])))
            lines.extend([""] * draw(st.integers(0, 1)))

    body()
    for _ in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            lines.append(f"[{draw(BLANKS)}{keys()}{draw(BLANKS)}]")
            body()
            continue
        name = key()
        for _ in range(draw(st.integers(1, 3))):
            lines.append(f"[[ {name} ]]")
            body()
            if draw(st.booleans()):
                lines.append(f"[{name} . {keys()}]")
                body()
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


COUNTS = st.integers(0, 3)


@given(documents())
def test_a_document_has_a_line_for_each_path_that_it_has(text: str) -> None:
    document = read("x.toml", text)
    assert document.data == tomllib.loads(text)
    assert set(document.lines) == set(paths(document.data))


@given(documents())
def test_a_line_is_the_one_on_which_the_key_is_written(text: str) -> None:
    document = read("x.toml", text)
    lines = text.split("\n")
    for path, number in document.lines.items():
        name = path[-1]
        if isinstance(name, str):
            line = lines[number - 1]
            assert name in line or f"\\u006b{name[1:]}" in line


@given(st.text(max_size=60) | st.text("ab=[]{}\"'.#\n\\, 1", max_size=60))
def test_any_text_is_read_with_its_lines_or_refused(text: str) -> None:
    try:
        document = read("x.toml", text)
    except TomlError as error:
        assert error.line >= 1
    else:
        assert set(document.lines) == set(paths(document.data))
