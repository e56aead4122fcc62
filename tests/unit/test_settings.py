"""Tables of text become typed settings, and each fault is told where it stands."""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from libbarto.settings import (
    Count,
    Duration,
    Fault,
    InvalidConfig,
    Keys,
    OneOrMore,
    Port,
    Reading,
    Schema,
    Size,
    Texts,
    Value,
    build,
    dotted,
    found,
    leaves,
    merge,
    nearest,
    read_environment,
    read_flags,
    read_table,
    table_of,
    type_name,
)
from libbarto.toml_lines import read
from libbarto.toml_text import toml_key, toml_text


class Link(Keys):
    """A table that may be absent."""

    url: str = "here"
    weight: float = 1.0


class Tank(Keys):
    """A table within."""

    limit: Size = 10
    keep: Duration = 60.0


class Model(Keys):
    """Some of everything."""

    name: str
    port: Port = 1
    count: Count = 0
    on: bool = False
    mode: Literal["fast", "slow"] = "fast"
    secret: SecretStr | None = None
    words: Texts = ()
    lines: OneOrMore = ()
    labels: dict[str, str] = Field(default={})
    tank: Tank = Tank()
    link: Link | None = None
    nick: Annotated[str, Field(min_length=1)] | None = None


SCHEMA = Schema(
    Model,
    wrong={"title": 'it is written name = "…"', "tank.size": "it is written limit"},
    later={"speed": (), "retries": (0,), "quick": (False,), "tank.depth": ()},
    renamed={
        "old.name": "name",
        "old.tls.name": "name",
        "old.gone": None,
        "bare": None,
        "old.port": "port",
    },
    elsewhere=frozenset({"schedule"}),
)


def read_model(text: str) -> Reading:
    document = read("x.toml", text)
    return read_table(SCHEMA, document.data, document)


def settings(text: str) -> Model:
    reading = read_model(text)
    assert reading.faults == []
    built = build(Model, reading.values)
    assert built.faults == ()
    assert built.settings is not None
    return built.settings


def faults(text: str) -> list[str]:
    reading = read_model(text)
    built = build(Model, reading.values)
    return sorted(str(fault) for fault in [*reading.faults, *built.faults])


FULL = """\
name = "a"
port = 80
on = true
mode = "slow"
secret = "007"
words = ["x", "y"]
lines = "one"
labels = { role = "web" }
[tank]
limit = "10MiB"
keep = "1h"
[link]
"""


def test_a_full_table_is_read() -> None:
    model = settings(FULL)
    assert (model.name, model.port, model.on, model.mode) == ("a", 80, True, "slow")
    assert model.secret is not None
    assert model.secret.get_secret_value() == "007"
    assert (model.words, model.lines, model.labels) == (("x", "y"), ("one",), {"role": "web"})
    assert model.tank == Tank(limit=10 * 1024**2, keep=3600.0)
    assert model.link == Link()


def test_numbers_are_bytes_and_seconds() -> None:
    assert settings('name = "a"\ntank = { limit = 5, keep = 1.5 }').tank == Tank(limit=5, keep=1.5)


def test_an_absent_table_is_absent() -> None:
    assert settings('name = "a"').link is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\nprot = 3', 'x.toml:2: prot: no such key; did you mean "port"?'),
        ('name = "a"\nNAME = 3', 'x.toml:2: NAME: no such key; did you mean "name"?'),
        ('name = "a"\nqqqq = 3', "x.toml:2: qqqq: no such key"),
        ('name = "a"\nscheduel = 3', 'x.toml:2: scheduel: no such key; did you mean "schedule"?'),
        ('name = "a"\nreties = 3', 'x.toml:2: reties: no such key; did you mean "retries"?'),
        (
            'name = "a"\n[tank]\nlimt = 3',
            'x.toml:3: tank.limt: no such key; did you mean "limit"?',
        ),
        ('name = "a"\n[old]\ngne = 3', 'x.toml:3: old.gne: no such key; did you mean "gone"?'),
        ('name = "a"\n[strange]\nx = 3', "x.toml:2: strange: no such key"),
        ('name = "a"\ntitle = 3', 'x.toml:2: title: it is written name = "…"'),
        ('name = "a"\ntank.size = 3', "x.toml:2: tank.size: it is written limit"),
        ('name = "a"\nspeed = 3', "x.toml:2: speed: not available yet"),
        ('name = "a"\ntank.depth = 3', "x.toml:2: tank.depth: not available yet"),
        (
            'name = "a"\nretries = 3',
            "x.toml:2: retries: not available yet (today it is always 0)",
        ),
        (
            'name = "a"\nretries = false',
            "x.toml:2: retries: not available yet (today it is always 0)",
        ),
        (
            'name = "a"\nquick = 0',
            "x.toml:2: quick: not available yet (today it is always false)",
        ),
        ('name = "a"\ntank = 3', "x.toml:2: tank: expected a table, found the number 3"),
        ("name = 3", "x.toml:1: name: expected a text in quotes, found a number"),
        (
            'name = "a"\nport = "x"',
            'x.toml:2: port: expected a whole number, found the text "x"',
        ),
        ('name = "a"\nport = 1.5', "x.toml:2: port: expected a whole number, found the number 1.5"),
        ('name = "a"\nport = true', "x.toml:2: port: expected a whole number, found true"),
        ('name = "a"\nport = -1', "x.toml:2: port: expected at least 0, found the number -1"),
        (
            'name = "a"\nport = 65536',
            "x.toml:2: port: expected at most 65535, found the number 65536",
        ),
        ('name = "a"\non = "no"', 'x.toml:2: on: expected true or false, found the text "no"'),
        (
            'name = "a"\nmode = "slo"',
            'x.toml:2: mode: expected "fast" or "slow", found the text "slo"; did you mean "slow"?',
        ),
        ('name = "a"\nmode = 3', 'x.toml:2: mode: expected "fast" or "slow", found the number 3'),
        ('name = "a"\nwords = "x"', 'x.toml:2: words: expected a list, found the text "x"'),
        (
            'name = "a"\nwords = [\n"x",\n3]',
            "x.toml:4: words[2]: expected a text in quotes, found a number",
        ),
        ('name = "a"\nlines = 3', "x.toml:2: lines: expected a list, found the number 3"),
        ('name = "a"\nlabels = []', "x.toml:2: labels: expected a table, found a list"),
        (
            'name = "a"\n[labels]\nx = 3',
            "x.toml:3: labels.x: expected a text in quotes, found a number",
        ),
        (
            'name = "a"\n[tank]\nkeep = "1x"',
            'x.toml:3: tank.keep: "1x": a duration has no unit "x"; w, d, h, m, s, ms and us are',
        ),
        (
            'name = "a"\ntank.keep = true',
            'x.toml:2: tank.keep: expected a duration such as "90s", "1h30m" or "7d", found true',
        ),
        (
            'name = "a"\ntank.keep = -1',
            "x.toml:2: tank.keep: expected 0 to 1000 years, found -1 seconds",
        ),
        (
            'name = "a"\ntank.keep = nan',
            "x.toml:2: tank.keep: expected 0 to 1000 years, found nan seconds",
        ),
        (
            'name = "a"\ntank.limit = 1.5',
            'x.toml:2: tank.limit: expected a size such as "512KiB", "10MiB" or "1GB", '
            "found the number 1.5",
        ),
        (
            'name = "a"\ntank.limit = -1',
            "x.toml:2: tank.limit: expected 0 to 1152921504606846976 bytes, found -1",
        ),
        (
            'name = "a"\nlink.weight = "x"',
            'x.toml:2: link.weight: expected a number, found the text "x"',
        ),
        ('name = "a"\nnick = ""', "x.toml:2: nick: string should have at least 1 character"),
        ("port = 1", "configuration: name: is left out, and has no default"),
    ],
)
def test_a_fault_names_place_key_and_what_is_right(text: str, message: str) -> None:
    assert faults(text) == [message]


def test_what_happens_anyway_may_be_said() -> None:
    assert settings('name = "a"\nretries = 0\nquick = false').name == "a"


def test_all_faults_are_found_at_once() -> None:
    assert len(faults("name = 3\nprot = 1\nport = true\n[tank]\nkeep = []\nlimt = 1")) == 5


def test_a_secret_of_the_wrong_type_is_not_shown() -> None:
    assert faults('name = "a"\nsecret = 1234') == [
        "x.toml:2: secret: expected a text in quotes, found a number"
    ]


def test_keys_of_the_old_version_mean_those_of_today() -> None:
    model = settings('[old]\nname = "plain"\nport = 3\n[old.tls]\nname = "tls"')
    assert (model.name, model.port) == ("tls", 3)


def test_a_key_of_today_beats_an_old_one() -> None:
    assert settings('name = "new"\n[old]\nname = "plain"').name == "new"


def test_a_fault_of_an_old_key_names_it_as_it_is_written() -> None:
    assert faults('name = "a"\n[old]\nport = "x"') == [
        'x.toml:3: old.port: expected a whole number, found the text "x"'
    ]


def test_old_keys_without_effect_are_noted() -> None:
    reading = read_model('name = "a"\nbare = 1\n[old]\ngone = 1')
    assert [str(note) for note in reading.notes] == [
        "x.toml:4: old.gone: of barto 1.x, has no effect",
        "x.toml:2: bare: of barto 1.x, has no effect",
    ]


def test_keys_that_somebody_else_reads_are_left_alone() -> None:
    assert settings('name = "a"\nschedule = 3').name == "a"


# -- one of many tables ---------------------------------------------------------------------------


def test_a_fault_in_one_of_many_tables_says_in_which() -> None:
    document = read("x.toml", '[[item]]\nname = "a"\n[[item]]\nport = "x"\nprot = 1')
    item = document.data["item"]
    assert isinstance(item, list)
    at = ("item", 1)
    reading = read_table(SCHEMA, item[1], document, at, subject='item "b": ')
    built = build(Model, reading.values, missing=Value(None, at, document), subject='item "b": ')
    assert sorted(str(fault) for fault in [*reading.faults, *built.faults]) == [
        'x.toml:3: item "b": name: is left out, and has no default',
        'x.toml:4: item "b": port: expected a whole number, found the text "x"',
        'x.toml:5: item "b": prot: no such key; did you mean "port"?',
    ]


def test_values_that_are_right_by_construction_are_given() -> None:
    assert build(Model, {}, given={"name": "a"}).settings == Model(name="a")


def test_one_text_for_a_list_has_no_number() -> None:
    class Numbers(Keys):
        some: OneOrMore = ()
        few: Annotated[tuple[Literal["x"], ...], *OneOrMore.__metadata__] = ()

    document = read("x.toml", 'few = "y"')
    reading = read_table(Schema(Numbers), document.data, document)
    built = build(Numbers, reading.values)
    assert [str(fault) for fault in built.faults] == [
        'x.toml:1: few: expected "x", found the text "y"'
    ]


def test_the_message_of_an_invalid_configuration_is_sorted_by_line() -> None:
    error = InvalidConfig([Fault("b:9", "y", "b", 9), Fault("b:2", "x", "b", 2), Fault("ENV", "z")])
    assert str(error) == "ENV: z\nb:2: x\nb:9: y"
    assert [fault.message for fault in error.faults] == ["z", "x", "y"]


# -- environment and flags ------------------------------------------------------------------------


def environment(variables: dict[str, str], shared: frozenset[str] = frozenset()) -> Reading:
    return read_environment(SCHEMA, variables, "BARTOS_", shared_keys=shared)


def from_environment(**variables: str) -> Model:
    reading = environment({"BARTOS_NAME": "a", **variables})
    assert reading.faults == []
    assert reading.notes == []
    built = build(Model, reading.values)
    assert built.faults == ()
    assert built.settings is not None
    return built.settings


def test_a_variable_has_the_type_of_its_key() -> None:
    model = from_environment(
        BARTOS_PORT=" 80 ",
        BARTOS_ON="Yes",
        BARTOS_MODE="slow",
        BARTOS_WORDS="x, y,",
        BARTOS_LINES='["one, two"]',
        BARTOS_LABELS='{ role = "web" }',
        BARTOS_TANK__LIMIT="10MiB",
        BARTOS_TANK__KEEP="1h",
    )
    assert (model.port, model.on, model.mode) == (80, True, "slow")
    assert (model.words, model.lines, model.labels) == (("x", "y"), ("one, two",), {"role": "web"})
    assert model.tank == Tank(limit=10 * 1024**2, keep=3600.0)
    assert from_environment(BARTOS_ON="off").on is False


def test_a_text_of_digits_stays_as_it_is() -> None:
    model = from_environment(BARTOS_SECRET="0012", BARTOS_NAME="1e3")
    assert model.secret is not None
    assert model.secret.get_secret_value() == "0012"
    assert model.name == "1e3"


def test_the_case_of_a_variable_does_not_count() -> None:
    assert from_environment(bartos_port="80").port == 80


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("BARTOS_PORT", "x", 'port: expected a whole number, found "x"'),
        ("BARTOS_ON", "maybe", 'on: expected true or false, found "maybe"'),
        ("BARTOS_LABELS", "x", 'labels: expected { key = "value" }, found "x"'),
        ("BARTOS_WORDS", "[x", 'words: expected ["a", "b"], found "[x"'),
        (
            "BARTOS_TANK_LIMIT",
            "1",
            "between a table and its key stand two underscores: write BARTOS_TANK__LIMIT",
        ),
    ],
)
def test_a_fault_in_a_variable_names_it(name: str, text: str, message: str) -> None:
    assert [str(fault) for fault in environment({name: text}).faults] == [
        f"environment {name}: {message}"
    ]


def test_a_fault_that_shows_only_later_names_the_variable_too() -> None:
    built = build(Model, environment({"BARTOS_NAME": "a", "BARTOS_PORT": "70000"}).values)
    assert [str(fault) for fault in built.faults] == [
        "environment BARTOS_PORT: port: expected at most 65535, found the number 70000"
    ]


def test_a_variable_that_means_nothing_is_noted() -> None:
    reading = environment({"BARTOS_PROT": "1", "BARTOS_QQ": "1", "PATH": "/bin"})
    assert [str(note) for note in reading.notes] == [
        'environment BARTOS_PROT: means nothing to this program; did you mean "BARTOS_PORT"?',
        "environment BARTOS_QQ: means nothing to this program",
    ]
    assert reading.faults == []


def test_variables_for_all_programs_set_what_is_shared_and_nothing_else() -> None:
    variables = {
        "BARTO_PORT": "1",
        "BARTO_NAME": "b",
        "BARTO_RUN": "x",
        "BARTOC_PORT": "3",
        "BARTO_CLI_PORT": "4",
    }
    reading = environment(variables, frozenset({"port"}))
    assert {path: value.value for path, value in reading.values.items()} == {("port",): 1}
    assert reading.notes == []


def test_a_variable_of_the_program_beats_one_for_all() -> None:
    variables = {"BARTOS_PORT": "2", "BARTO_PORT": "1"}
    assert environment(variables, frozenset({"port"})).values[("port",)].value == 2


def test_variables_of_the_old_version_are_read() -> None:
    reading = environment(
        {"BARTOS_OLD__TLS__NAME": "tls", "BARTOS_OLD__NAME": "plain", "BARTOS_OLD__GONE": "1"}
    )
    assert reading.values[("name",)].value == "tls"
    assert [str(note) for note in reading.notes] == [
        "environment BARTOS_OLD__GONE: of barto 1.x, has no effect"
    ]
    reading = environment({"BARTOS_OLD__NAME": "plain", "BARTOS_NAME": "new"})
    assert reading.values[("name",)].value == "new"


def test_a_flag_that_was_not_given_is_no_value() -> None:
    reading = read_flags(SCHEMA, {"port": None, "tank.keep": "1h", "tank.limit": 3})
    assert {value.place for value in reading.values.values()} == {"--keep", "--limit"}


def test_a_later_layer_beats_an_earlier_one() -> None:
    document = read("x.toml", 'name = "file"\nport = 1\ncount = 1')
    file = read_table(SCHEMA, document.data, document).values
    variables = environment({"BARTOS_PORT": "2", "BARTOS_COUNT": "2"}).values
    flags = read_flags(SCHEMA, {"count": 3}).values
    values = merge(file, variables, flags)
    assert [values[(key,)].place for key in ("name", "port", "count")] == [
        "x.toml:1",
        "environment BARTOS_PORT",
        "--count",
    ]
    assert build(Model, values).settings == Model(name="file", port=2, count=3)


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (False, "false"),
        ("a\nb", 'the text "a?b"'),
        ("x" * 61, f'the text "{"x" * 60}..."'),
        ([], "a list"),
        ({}, "a table"),
        (tomllib.loads("d = 2026-01-01")["d"], "a date"),
        (tomllib.loads("d = 2026-01-01T00:00:00")["d"], "a date"),
        (tomllib.loads("d = 00:00:00")["d"], "a time"),
        (None, "NoneType"),
    ],
)
def test_what_was_found_is_said_in_words(value: object, words: str) -> None:
    assert found(value) == words


def test_a_path_is_written_with_dots() -> None:
    assert dotted(()) == ""
    assert dotted(("a", 1, "b")) == "a[2].b"


def test_the_nearest_name_is_found() -> None:
    assert nearest("tiemout", ["timeout", "name"]) == '; did you mean "timeout"?'
    assert nearest("x", ["timeout"]) == ""


PLAIN: st.SearchStrategy[object] = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(PLAIN)
def test_a_plain_value_reads_back(value: object) -> None:
    assert tomllib.loads(f"value = {toml_text(value)}") == {"value": value}


@given(st.text(st.characters(codec="utf-8"), max_size=8))
def test_a_key_reads_back(key: str) -> None:
    assert tomllib.loads(f"{toml_key(key)} = 1") == {key: 1}


def test_what_is_not_plain_has_no_text() -> None:
    with pytest.raises(TypeError):
        toml_text(None)


# -- what a model says of itself ------------------------------------------------------------------


def test_every_key_of_a_model_is_listed() -> None:
    listed = [dotted(path) for path in leaves(Model)]
    assert listed[0] == "name"
    assert "tank.keep" in listed
    assert "link.url" in listed
    assert "tank" not in listed


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("name", "text"),
        ("port", "port"),
        ("count", "whole number"),
        ("on", "true or false"),
        ("mode", '"fast", "slow"'),
        ("secret", "secret text"),
        ("words", "list of texts"),
        ("lines", "text, or a list of texts"),
        ("labels", "table of texts"),
        ("tank.limit", "size"),
        ("tank.keep", "duration"),
        ("link.weight", "float"),
        ("nick", "text"),
    ],
)
def test_a_type_has_a_name_for_people(key: str, name: str) -> None:
    assert type_name(leaves(Model)[tuple(key.split("."))]) == name


def test_a_type_within_one_that_may_be_absent_has_its_name() -> None:
    class Maybe(Keys):
        keep: Duration | None = None
        either: int | str = 0

    assert type_name(Maybe.model_fields["keep"]) == "duration"
    assert type_name(Maybe.model_fields["either"]) == "int | str"
    assert table_of(int | str) is None
    assert table_of(Annotated[Tank | None, "x"]) is Tank
