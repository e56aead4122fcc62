"""A selector means the workers that it says, and shows where it cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import SelectorError
from libbarto.selector import All, Any, Expression, Labelled, Named, Not, Selector

DEBIAN = {"os": "debian", "role": "web", "arch": "x86_64"}


def means(text: str, name: str = "web1", words: dict[str, str] = DEBIAN) -> bool:
    return Selector.parse(text).matches(name, words)


@pytest.mark.parametrize(
    "text",
    [
        "web1",
        '"web1"',
        "web*",
        "web?",
        "*",
        "db1 or web1",
        "os=debian",
        "os = debian",
        "os!=arch",
        "os=deb*",
        "name=web1",
        "name!=web2",
        "role=*",
        "not db1",
        "not not web1",
        "os=debian and not role=canary",
        "role!=canary and site!=hamburg",
        "os=arch or os=debian and role=web",
        "(os=arch or os=debian) and role=web",
        "not (os=arch or role=db)",
        "not os=arch and web1",
    ],
)
def test_a_worker_is_meant(text: str) -> None:
    assert means(text)


@pytest.mark.parametrize(
    "text",
    [
        "web2",
        "WEB1",
        "web",
        "os=arch",
        "os=Debian",
        "os!=debian",
        "site=hamburg",
        "site=*",
        'site=""',
        "db1 or db2",
        "web1 and os=arch",
        "(os=arch or os=debian) and role=db",
        "os=arch and role=web or db1",
        "not web1",
        "not (web1 or db1)",
        "[w]eb1",
    ],
)
def test_a_worker_is_not_meant(text: str) -> None:
    assert not means(text)


def test_brackets_stand_for_themselves() -> None:
    assert means("rack[1]", "rack[1]")
    assert not means("rack[1]", "rack1")


def test_words_of_the_grammar_are_names_when_quoted() -> None:
    assert means('"or"', "or")
    assert means('role="a b" and "not"', "not", {"role": "a b"})


def test_parentheses_that_change_nothing_leave_no_trace() -> None:
    assert str(Selector.parse("a or (b or (c)) and (d and e)")) == "a or (b or c) and d and e"
    assert Selector.parse("a or (b or c)") == Selector.parse("a or b or c")


def test_one_name_is_known_as_such() -> None:
    assert Selector.parse(" web1 ").name == "web1"
    for text in ("web*", "web?", "os=debian", "web1 or web2"):
        assert Selector.parse(text).name is None


@pytest.mark.parametrize(
    ("text", "message", "start", "end"),
    [
        ("", "a selector is empty", 0, 1),
        ("  ", "a selector is empty", 2, 3),
        ('""', "a name is empty", 0, 2),
        ("web1, web2", "a comma is not part", 4, 5),
        ("web1 && web2", '"&" is written "and"', 5, 6),
        ("web1 | web2", '"|" is written "or"', 5, 6),
        ("!web1", '"!" is written "not"', 0, 1),
        ('os="debian', "has no second", 3, 4),
        ("name~web", "patterns are written with =", 4, 5),
        ("a<b", '"<" is not part of a selector', 1, 2),
        ("os==debian", "with one", 3, 4),
        ("os=", "expected the value of os", 3, 4),
        ("os=)", "expected the value of os", 3, 4),
        ("=debian", "expected a name", 0, 1),
        ("web1 or", "expected a name", 7, 8),
        ("not", "expected a name", 3, 4),
        ("and web1", "expected a name", 0, 3),
        ("(web1", 'expected ")"', 5, 6),
        ("web1)", "the end", 4, 5),
        ("web1 web2", 'expected "and", "or"', 5, 9),
        ("web1 OR web2", '"OR" is written "or"', 5, 7),
        ('web1 "OR"', "the end", 5, 9),
        ("not " * 40 + "web1", "more than 32 levels", 132, 135),
    ],
)
def test_a_fault_is_shown_where_it_is(text: str, message: str, start: int, end: int) -> None:
    with pytest.raises(SelectorError) as caught:
        Selector.parse(text)
    assert message in caught.value.message
    assert (caught.value.start, caught.value.end) == (start, end)


GLOBS = st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1, max_size=8)
KEYS = st.sampled_from(["os", "role", "name", "and", "a b"]) | GLOBS


def flat(kind: type[All] | type[Any], parts: list[Expression]) -> Expression:
    """As the parser builds it: no part is of the same kind as the whole."""
    inner = [p for part in parts for p in (part.parts if isinstance(part, kind) else (part,))]
    return kind(tuple(inner))


EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    GLOBS.map(Named) | st.builds(Labelled, KEYS, GLOBS | st.just(""), st.booleans()),
    lambda inner: (
        inner.map(Not)
        | st.lists(inner, min_size=2, max_size=4).map(lambda parts: flat(All, parts))
        | st.lists(inner, min_size=2, max_size=4).map(lambda parts: flat(Any, parts))
    ),
    max_leaves=8,
)


@given(EXPRESSIONS)
def test_a_selector_reads_back(expression: Expression) -> None:
    selector = Selector(expression)
    assert Selector.parse(str(selector)) == selector


@given(st.text(max_size=30) | st.text('abc*?="()! \t,&andort', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except SelectorError as error:
        assert 0 <= error.start < error.end <= len(text) + 1
    else:
        assert Selector.parse(str(selector)) == selector


@given(EXPRESSIONS, st.sampled_from(["web1", "db"]), st.dictionaries(KEYS, GLOBS, max_size=3))
def test_not_means_the_others(expression: Expression, name: str, words: dict[str, str]) -> None:
    assert Not(expression).matches(name, words) is not expression.matches(name, words)
