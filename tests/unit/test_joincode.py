"""A join code is one word that reads back, and a slip of the hand in it is found."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.errors import UserError
from libbarto.joincode import JoinCode, decode, encode

CODE = JoinCode(b"sixteen secret b", hashlib.sha256(b"the CA").digest(), "web1")

CODES = st.builds(
    JoinCode,
    st.binary(min_size=1, max_size=48),
    st.binary(min_size=32, max_size=32),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
)


@given(CODES)
def test_a_code_reads_back(code: JoinCode) -> None:
    assert decode(encode(code)) == code


@given(CODES)
def test_a_code_is_one_word_that_no_shell_or_url_changes(code: JoinCode) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", encode(code))


def test_a_code_is_the_same_for_ever() -> None:
    assert encode(CODE) == ("barto1-EHNpeHRlZW4gc2VjcmV0IGJW1mxJgs7nybgBAtpP2lBGd2ViMbk-OhE")


def test_blanks_around_a_code_do_not_count() -> None:
    assert decode(f"  {encode(CODE)}\n") == CODE


def test_a_code_knows_its_ca() -> None:
    assert CODE.fits(hashlib.sha256(b"the CA").digest())
    assert not CODE.fits(hashlib.sha256(b"another").digest())
    assert not CODE.fits(CODE.fingerprint)


def test_a_secret_is_not_shown() -> None:
    assert "secret" not in repr(CODE)


@given(st.data())
def test_a_changed_character_is_found(data: st.DataObject) -> None:
    text = encode(CODE)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(min_codepoint=33, max_codepoint=126))
    if other != text[at]:
        with pytest.raises(UserError):
            decode(text[:at] + other + text[at + 1 :])


@given(st.integers(0, len(encode(CODE)) - 1))
def test_a_code_cut_short_is_found(length: int) -> None:
    with pytest.raises(UserError):
        decode(encode(CODE)[:length])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no join code: one begins with"),
        ("hello", "is no join code: one begins with"),
        ("barto1-a b", "' ' is not part of one"),
        ("barto1-" + "a" * 2000, "it is too long"),
        ("barto1-aaaaa", "a part of it is missing"),
        ("barto1-", "checksum is wrong"),
        ("barto1-aaaa", "checksum is wrong"),
        ("barto1-aaaaaaaaaaaaaaaa", "checksum is wrong"),
    ],
)
def test_what_is_no_code_is_told_why(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        decode(text)


def test_a_code_with_a_right_checksum_around_nonsense_is_refused() -> None:
    from libbarto import joincode

    for body in (b"\x01sf", b"\x01s" + bytes(16) + b"\xff", b"\x00" + bytes(16) + b"name"):
        word = joincode._encode_body(body)
        with pytest.raises(UserError, match="make another one"):
            decode(word)


@pytest.mark.parametrize(
    ("secret", "fingerprint", "name"),
    [
        (b"", bytes(32), "web1"),
        (bytes(256), bytes(32), "web1"),
        (b"s", bytes(20), "web1"),
        (b"s", bytes(32), ""),
        (b"s", bytes(32), "é" * 128),
    ],
)
def test_what_no_code_can_carry_is_refused(secret: bytes, fingerprint: bytes, name: str) -> None:
    with pytest.raises(UserError):
        JoinCode(secret, fingerprint, name)
