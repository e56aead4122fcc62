"""Sealing: the worked examples of protocol-v1.md section 5 and 6, and what must be refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.envelope import (
    KeyInvalid,
    PublicKey,
    ReplayWindow,
    SealBroken,
    SigningKey,
    seal,
    sign,
    unseal,
    verify,
)
from libbarto.identity import netstrings
from libbarto.message.v1 import BARTOS_TO_BARTOC
from libbarto.message.v1.server import Cleanup

HMAC_KEY = b"test-shared-secret"
TIME = 1_760_026_350
NONCE = 0x0102030405060708
KEY = SigningKey.from_base64("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
PAYLOAD = b"\x01"
MAC_ONLY = bytes.fromhex(
    "0000000068e7deee0102030405060708cf192a293ca2713fa522987e2e25b73c56a422665ef5cdffb97ffb2c24ac4c41"
    "01"
)
SIGNED_ONLY = bytes.fromhex(
    "b5f2ec1d267c8e8311e48406329d84c8d8d350ebba78ae0480c457e5b8d97c8901228c982cd600fd46a35456628cdae6"
    "7064617063ad7b87f899151eab1cb10f01"
)
BOTH = bytes.fromhex(
    "02305a6965cfa6f70bee7efe6799e494e0dab94025e3e49a80f21b58414a39d93fb2346c08808e16d1eee226122f7f24"
    "dbdf3fb00b01512ad8f10d959dfd7f0d0000000068e7deee0102030405060708cf192a293ca2713fa522987e2e25b73c"
    "56a422665ef5cdffb97ffb2c24ac4c4101"
)
SEALED = [
    (None, None, PAYLOAD),
    (HMAC_KEY, None, MAC_ONLY),
    (None, KEY, SIGNED_ONLY),
    (HMAC_KEY, KEY, BOTH),
]


def opened(
    data: bytes,
    *,
    hmac_key: bytes | None = HMAC_KEY,
    public_key: PublicKey | None = KEY.public,
    now_s: int = TIME,
    window: ReplayWindow | None = None,
) -> bytes:
    return unseal(
        data,
        hmac_key=hmac_key,
        public_key=public_key,
        now_s=now_s,
        window=window or ReplayWindow(),
    )


@pytest.mark.parametrize(("hmac_key", "key", "sealed"), SEALED)
def test_sealing_gives_the_worked_examples(
    hmac_key: bytes | None, key: SigningKey | None, sealed: bytes
) -> None:
    payload = BARTOS_TO_BARTOC.encode(Cleanup())
    made = seal(payload, hmac_key=hmac_key, signing_key=key, timestamp_s=TIME, nonce=NONCE)
    assert made == sealed
    opening = opened(sealed, hmac_key=hmac_key, public_key=key.public if key else None)
    assert BARTOS_TO_BARTOC.decode(opening) == Cleanup()


def test_the_key_and_its_fingerprint_are_the_worked_examples() -> None:
    assert KEY.public.to_base64() == "iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w="
    assert KEY.public.fingerprint == "34750f98bd59fcfc"
    assert PublicKey.from_base64(KEY.public.to_base64()) == KEY.public
    assert len({KEY.public, PublicKey(KEY.public.raw)}) == 1
    assert KEY.public != KEY.public.raw


def test_a_signing_key_does_not_show_its_seed() -> None:
    assert repr(KEY) == "SigningKey(34750f98bd59fcfc)"
    assert repr(KEY.public) == "PublicKey(34750f98bd59fcfc)"


@pytest.mark.parametrize("bit", range(0, len(BOTH) * 8, 7))
def test_no_bit_can_change(bit: int) -> None:
    altered = bytearray(BOTH)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        opened(bytes(altered))


@pytest.mark.parametrize("bit", range(0, len(MAC_ONLY) * 8, 5))
def test_no_bit_can_change_under_the_mac_alone(bit: int) -> None:
    altered = bytearray(MAC_ONLY)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken):
        opened(bytes(altered), public_key=None)


@given(st.binary(max_size=200))
def test_bytes_of_strangers_are_refused(data: bytes) -> None:
    with pytest.raises(SealBroken):
        opened(data)
    with pytest.raises(SealBroken):
        opened(data, public_key=None)


@pytest.mark.parametrize("size", [0, 63, 64, 64 + 47])
def test_a_frame_too_short_for_its_envelopes_is_refused(size: int) -> None:
    with pytest.raises(SealBroken):
        opened(BOTH[:size])
    signed = seal(bytes(47), hmac_key=None, signing_key=KEY, timestamp_s=0, nonce=0)
    with pytest.raises(SealBroken, match="too short to have a MAC"):
        opened(signed)


def test_another_key_is_refused() -> None:
    with pytest.raises(SealBroken, match="not signed with the key"):
        opened(BOTH, public_key=SigningKey(bytes(32)).public)
    with pytest.raises(SealBroken, match="MAC"):
        opened(BOTH, hmac_key=b"another")


@given(st.binary(max_size=200), st.binary(max_size=100), st.integers(0, 2**64 - 1))
def test_what_is_sealed_can_be_unsealed(payload: bytes, key: bytes, nonce: int) -> None:
    made = seal(payload, hmac_key=key, signing_key=KEY, timestamp_s=TIME, nonce=nonce)
    assert opened(made, hmac_key=key) == payload


@pytest.mark.parametrize("off", [-60, -59, 0, 60])
def test_a_time_within_the_window_passes(off: int) -> None:
    assert opened(BOTH, now_s=TIME + off) == PAYLOAD


@pytest.mark.parametrize("off", [-61, 61, 10**6])
def test_a_time_outside_the_window_is_refused(off: int) -> None:
    with pytest.raises(SealBroken, match=f"the time is {abs(off)} s off"):
        opened(BOTH, now_s=TIME + off)


def test_a_nonce_passes_once_whatever_its_time() -> None:
    window = ReplayWindow()
    window.check(TIME, NONCE, TIME)
    with pytest.raises(SealBroken, match="received before"):
        window.check(TIME, NONCE, TIME)
    with pytest.raises(SealBroken, match="received before"):
        window.check(TIME + 5, NONCE, TIME + 5)


def test_a_replayed_frame_is_refused_on_the_same_connection() -> None:
    window = ReplayWindow()
    assert opened(BOTH, window=window) == PAYLOAD
    with pytest.raises(SealBroken, match="received before"):
        opened(BOTH, window=window, now_s=TIME + 60)


def test_a_refused_frame_does_not_use_up_its_nonce() -> None:
    window = ReplayWindow()
    with pytest.raises(SealBroken):
        opened(MAC_ONLY[:-1] + b"\x00", public_key=None, window=window)
    assert opened(MAC_ONLY, public_key=None, window=window) == PAYLOAD


def test_nonces_are_forgotten_when_their_time_refuses_them() -> None:
    window = ReplayWindow(10)
    for second in range(100):
        window.check(TIME + second, second, TIME + second)
    assert window.held == 11


@pytest.mark.parametrize(
    "text",
    [
        "",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",  # no padding
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=",  # idle bits set
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
        " AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE==",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE-AQE=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",  # 29 bytes
        "ÄQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    ],
)
def test_a_key_is_read_strictly_and_never_repeated(text: str) -> None:
    for kind in (SigningKey, PublicKey):
        with pytest.raises(KeyInvalid) as caught:
            kind.from_base64(text)
        assert not text or text not in str(caught.value)


def test_a_public_key_must_be_a_point() -> None:
    accepted = 0
    for first in range(64):
        raw = bytes([first]) + bytes(31)
        try:
            accepted += PublicKey.from_base64(base64.b64encode(raw).decode()).raw == raw
        except KeyInvalid:
            continue
    assert 16 < accepted < 48  # half of all y have an x
    with pytest.raises(KeyInvalid):
        PublicKey(b"\x02" + bytes(31))  # y = 2 has none
    with pytest.raises(KeyInvalid):
        PublicKey(bytes(31))
    with pytest.raises(KeyInvalid):
        SigningKey(bytes(33))


@given(st.lists(st.binary(max_size=20), max_size=4), st.lists(st.binary(max_size=20), max_size=4))
def test_a_signature_holds_for_its_parts_alone(parts: list[bytes], others: list[bytes]) -> None:
    signature = sign(KEY, *parts)
    verify(KEY.public, signature, *parts)
    assert signature == KEY.sign(netstrings(*parts))
    if others != parts:
        with pytest.raises(SealBroken):
            verify(KEY.public, signature, *others)


def test_a_byte_cannot_move_from_one_part_to_the_next() -> None:
    with pytest.raises(SealBroken):
        verify(KEY.public, sign(KEY, b"ab", b"c"), b"a", b"bc")
