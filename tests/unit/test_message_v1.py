"""The wire of barto 1.x: the worked examples of protocol-v1.md section 6, both ways, and strangers.

The examples come from a script written from the rules, so they are a second opinion.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libbarto.codec import V1, Codec, codec
from libbarto.errors import CodecError
from libbarto.message.v1 import (
    BARTO_CLI,
    BARTOC,
    BARTOS_TO_BARTO_CLI,
    BARTOS_TO_BARTOC,
    Bartoc,
    BartoCli,
    BartosToBartoc,
    BartosToBartoCli,
    cli,
    client,
    server,
)
from libbarto.message.v1.shared import BartocInfo, OutputKind, TimeText, UpdateKind
from tests.strategies import FIRST_US, LAST_US, mutated, values_of

U1 = uuid.UUID("00000000-0000-4000-8000-000000000001")
U2 = uuid.UUID("00000000-0000-4000-8000-000000000002")
T = TimeText("2025-10-09T16:12:30.5Z")
ALL = [
    (BartoCli, BARTO_CLI),
    (Bartoc, BARTOC),
    (BartosToBartoc, BARTOS_TO_BARTOC),
    (BartosToBartoCli, BARTOS_TO_BARTO_CLI),
]


def ended(exit_code: int | None, success: bool) -> client.Record:
    status = client.Status(cmd_uuid=U2, timestamp=T, exit_code=exit_code, success=success)
    return client.Record(data=status)


ECHO = server.Schedule(name="echo", on_calendar="minutely", cmds=["date", "uptime"])
LINE = server.ListOutput(
    timestamp=TimeText("2025-10-09T16:12:30Z"), data="hi", exit_code=0, success=1
)
FAILED = server.FailedOutput(
    timestamp=None, bartoc_name=None, cmd_name=None, data=None, exit_code=255, success=0
)
EXAMPLES: list[tuple[Codec[object], object, str]] = [
    (BARTO_CLI, cli.Info(json=False), "0000"),
    (BARTO_CLI, cli.Info(json=True), "0001"),
    (BARTO_CLI, cli.Updates(name="web1", kind=UpdateKind.CACHYOS), "01047765623102"),
    (BARTO_CLI, cli.Cleanup(), "02"),
    (BARTO_CLI, cli.Clients(), "03"),
    (BARTO_CLI, cli.Query(query="SELECT 1"), "040853454c4543542031"),
    (BARTO_CLI, cli.List(name="web1", cmd_name="echo"), "050477656231046563686f"),
    (BARTO_CLI, cli.ListCommands(name="web1"), "060477656231"),
    (BARTO_CLI, cli.Failed(), "07"),
    (BARTO_CLI, cli.Cmd(cmd_name="echo"), "08046563686f"),
    (BARTO_CLI, cli.ClientVersions(), "09"),
    (
        BARTOS_TO_BARTOC,
        server.Initialize(id=U1, schedules=server.Schedules(schedules=[ECHO])),
        "002430303030303030302d303030302d343030302d383030302d30303030303030303030303101046563686f"
        "086d696e7574656c7902046461746506757074696d65",
    ),
    (
        BARTOS_TO_BARTOC,
        server.Initialize(id=U1, schedules=server.Schedules(schedules=[])),
        "002430303030303030302d303030302d343030302d383030302d30303030303030303030303100",
    ),
    (BARTOS_TO_BARTOC, server.Cleanup(), "01"),
    (
        BARTOC,
        client.ClientInfo(
            info=BartocInfo(
                name="Arch Linux",
                hostname="web1",
                os_version="rolling",
                kernel_version="6.12.1",
                version="1.5.12",
            )
        ),
        "010a41726368204c696e7578047765623107726f6c6c696e6706362e31322e3106312e352e3132",
    ),
    (
        BARTOC,
        client.Record(
            data=client.Output(
                bartoc_uuid=U1,
                bartoc_name="web1",
                timestamp=T,
                cmd_uuid=U2,
                cmd_name="echo",
                kind=OutputKind.STDOUT,
                data="hi",
            )
        ),
        "00002430303030303030302d303030302d343030302d383030302d3030303030303030303030310477656231"
        "16323032352d31302d30395431363a31323a33302e355a2430303030303030302d303030302d343030302d38"
        "3030302d303030303030303030303032046563686f00026869",
    ),
    (
        BARTOC,
        ended(0, True),
        "00012430303030303030302d303030302d343030302d383030302d3030303030303030303030321632303235"
        "2d31302d30395431363a31323a33302e355a010001",
    ),
    (
        BARTOC,
        ended(127, False),
        "00012430303030303030302d303030302d343030302d383030302d3030303030303030303030321632303235"
        "2d31302d30395431363a31323a33302e355a01fbfe0000",
    ),
    (
        BARTOC,
        ended(None, False),
        "00012430303030303030302d303030302d343030302d383030302d3030303030303030303030321632303235"
        "2d31302d30395431363a31323a33302e355a0000",
    ),
    (BARTOS_TO_BARTO_CLI, server.InfoJsonReply(json="{}"), "01027b7d"),
    (
        BARTOS_TO_BARTO_CLI,
        server.UpdatesReply(
            updates=server.PacmanUpdates(
                updates=server.Pacman(
                    update_count=2,
                    packages=["a-1", "b-2"],
                    install_size=10.5,
                    net_size=0.25,
                    download_size=3.0,
                )
            )
        ),
        "0201020203612d3103622d320000000000002540000000000000d03f0000000000000840",
    ),
    (
        BARTOS_TO_BARTO_CLI,
        server.UpdatesReply(updates=server.AptUpdates(packages=["curl"])),
        "020301046375726c",
    ),
    (
        BARTOS_TO_BARTO_CLI,
        server.UpdatesReply(
            updates=server.GarudaUpdates(
                updates=[
                    server.Garuda(
                        channel="core",
                        package="linux",
                        old_version="6.1-1",
                        new_version="6.2-1",
                        size_change="0.10 MiB",
                        download_size="130.00 MiB",
                    )
                ]
            )
        ),
        "02000104636f7265056c696e757805362e312d3105362e322d3108302e3130204d69420a3133302e3030204d"
        "6942",
    ),
    (BARTOS_TO_BARTO_CLI, server.CleanupReply(counts=(300, 2, 1)), "03fb2c010201"),
    (
        BARTOS_TO_BARTO_CLI,
        server.ClientsReply(
            clients={U1: server.ClientData(name="web1", ip="10.0.0.7", bartoc_info=None)}
        ),
        "04012430303030303030302d303030302d343030302d383030302d3030303030303030303030310477656231"
        "0831302e302e302e3700",
    ),
    (
        BARTOS_TO_BARTO_CLI,
        server.QueryReply(rows={0: {"id": "1", "kind": "stdout"}}),
        "050100020269640131046b696e64067374646f7574",
    ),
    (
        BARTOS_TO_BARTO_CLI,
        server.ListReply(lines=[LINE]),
        "06010114323032352d31302d30395431363a31323a33305a010268690001",
    ),
    (BARTOS_TO_BARTO_CLI, server.FailedReply(lines=[FAILED]), "070100000000ff00"),
    (BARTOS_TO_BARTO_CLI, server.ListCommandsReply(names=["echo"]), "0801046563686f"),
    (BARTOS_TO_BARTO_CLI, server.CmdReply(lines={"web1": []}), "0901047765623100"),
    (
        BARTOS_TO_BARTO_CLI,
        server.ClientVersionsReply(versions={"web1": "1.5.12"}),
        "0a01047765623106312e352e3132",
    ),
    (
        BARTOS_TO_BARTO_CLI,
        server.InfoReply(info=server.PrettyExt(vars=[("build", "Timestamp", "x")])),
        "0001056275696c640954696d657374616d7001780000",
    ),
]


@pytest.mark.parametrize(("codec_", "message", "wire"), EXAMPLES)
def test_messages_are_written_and_read_as_in_the_worked_examples(
    codec_: Codec[object], message: object, wire: str
) -> None:
    assert codec_.encode(message).hex() == wire
    assert codec_.decode(bytes.fromhex(wire)) == message


@pytest.mark.parametrize(("codec_", "message", "wire"), EXAMPLES)
def test_bytes_after_a_message_are_ignored(
    codec_: Codec[object], message: object, wire: str
) -> None:
    assert codec_.decode(bytes.fromhex(wire) + b"\xff\x00") == message


@pytest.mark.parametrize(("codec_", "message", "wire"), EXAMPLES)
def test_a_message_cut_short_is_refused(codec_: Codec[object], message: object, wire: str) -> None:
    for size in range(len(wire) // 2):
        with pytest.raises(CodecError):
            codec_.decode(bytes.fromhex(wire)[:size])


@pytest.mark.parametrize(("type_", "codec_"), ALL)
def test_messages_read_back(type_: Any, codec_: Codec[object]) -> None:
    @given(values_of(type_))
    def holds(message: object) -> None:
        wire = codec_.encode(message)
        assert wire == codec_.encode_plainly(message)
        assert codec_.decode(wire) == message

    holds()


@pytest.mark.parametrize(("type_", "codec_"), ALL)
def test_strangers_bytes_raise_nothing_but_codec_error(type_: Any, codec_: Codec[object]) -> None:
    @given(st.binary(max_size=120) | values_of(type_).map(codec_.encode).flatmap(mutated))
    def holds(data: bytes) -> None:
        assert outcome(codec_.decode, data) == outcome(codec_.decode_plainly, data)

    holds()


def outcome(decode: Any, data: bytes) -> str:
    try:
        return repr(decode(data))
    except CodecError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("tag", ["0a", "fb0a00", "ff", "fd0a00000000000000"])
def test_variants_that_nobody_knows_are_refused(tag: str) -> None:
    with pytest.raises(CodecError):
        BARTO_CLI.decode(bytes.fromhex(tag))


def test_a_long_form_of_a_small_number_is_accepted() -> None:
    assert BARTO_CLI.decode(bytes.fromhex("fb0200")) == cli.Cleanup()
    assert BARTO_CLI.decode(bytes.fromhex("fc02000000")) == cli.Cleanup()


def test_map_keys_come_in_any_order_and_the_last_of_a_repeated_one_wins() -> None:
    wire = "0a03" + "0162" + "0131" + "0161" + "0132" + "0162" + "0133"
    read = BARTOS_TO_BARTO_CLI.decode(bytes.fromhex(wire))
    assert read == server.ClientVersionsReply(versions={"b": "3", "a": "2"})
    assert BARTOS_TO_BARTO_CLI.encode(read).hex() == "0a02" + "0161" + "0132" + "0162" + "0133"


def test_a_prefix_of_unknown_layout_is_refused() -> None:
    with pytest.raises(CodecError, match=r"InfoReply\.info\.prefix: .*nobody knows \(byte 2\)"):
        BARTOS_TO_BARTO_CLI.decode(bytes.fromhex("0000010000"))


def test_a_hostile_count_makes_nothing() -> None:
    with pytest.raises(CodecError, match=r"names: 18446744073709551615 items are announced"):
        BARTOS_TO_BARTO_CLI.decode(b"\x08\xfd" + b"\xff" * 8)


@pytest.mark.parametrize(
    "text",
    [
        "00000000-0000-4000-8000-00000000000A",
        "0000000000004000800000000000000a",
        "{00000000-0000-4000-8000-00000000000a}",
        "urn:uuid:00000000-0000-4000-8000-00000000000a",
    ],
)
def test_uuids_are_read_in_every_form_of_text(text: str) -> None:
    read = BARTOS_TO_BARTOC.decode(b"\x00" + bytes([len(text)]) + text.encode() + b"\x00")
    assert isinstance(read, server.Initialize)
    assert read.id == uuid.UUID("00000000-0000-4000-8000-00000000000a")
    assert BARTOS_TO_BARTOC.encode(read)[2:38] == b"00000000-0000-4000-8000-00000000000a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00000000-0000-4000-8000-00000000000",
        "00000000000040008000-00000000000a",
        "{0000000000004000800000000000000a}",
        "00000000-0000-4000-8000-00000000000g",
        "0000000-00000-4000-8000-00000000000a",
        "{00000000-0000-4000-8000-00000000000a",
    ],
)
def test_other_text_is_no_uuid(text: str) -> None:
    with pytest.raises(CodecError, match=r"Initialize\.id: the text is no UUID \(byte 1\)"):
        BARTOS_TO_BARTOC.decode(b"\x00" + bytes([len(text)]) + text.encode() + b"\x00")


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2025-10-09T16:12:30Z", 1_760_026_350_000_000),
        ("2025-10-09T16:12:30.5Z", 1_760_026_350_500_000),
        ("2025-10-09t16:12:30.123456z", 1_760_026_350_123_456),
        ("2025-10-09T16:12:30.123456789Z", 1_760_026_350_123_456),
        ("2025-10-09T18:12:30+02:00", 1_760_026_350_000_000),
        ("2025-10-09T06:42:30-09:30", 1_760_026_350_000_000),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("2016-12-31T23:59:60Z", 1_483_228_799_999_999),
        ("0001-01-01T00:00:00Z", FIRST_US),
        ("9999-12-31T23:59:59.999999Z", LAST_US),
    ],
)
def test_times_of_any_precision_are_instants_and_keep_their_text(text: str, us: int) -> None:
    time = TimeText(text)
    assert time.to_us() == us
    line = server.ListOutput(timestamp=time, data=None, exit_code=0, success=1)
    wire = BARTOS_TO_BARTO_CLI.encode(server.ListReply(lines=[line]))
    assert text.encode() in wire
    assert BARTOS_TO_BARTO_CLI.decode(wire) == server.ListReply(lines=[line])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2025-10-09",
        "2025-10-09T16:12:30",
        "2025-10-09 16:12:30Z",
        "2025-10-09T16:12:30.Z",
        "2025-10-09T16:12:30.1234567890Z",
        "2025-13-09T16:12:30Z",
        "2025-02-29T16:12:30Z",
        "2025-10-09T24:00:00Z",
        "2025-10-09T16:60:00Z",
        "2025-10-09T16:12:61Z",
        "2025-10-09T16:12:30+24:00",
        "2025-10-09T16:12:30+01:60",
        "２025-10-09T16:12:30Z",
        "2025-10-09T16:12:30Z\n",
    ],
)
def test_other_text_is_no_time(text: str) -> None:
    raw = text.encode()
    wire = b"\x06\x01\x01" + bytes([len(raw)]) + raw + b"\x00\x00\x01"
    with pytest.raises(CodecError, match=r"ListReply\.lines\[0\]\.timestamp: .*\(byte 3\)"):
        BARTOS_TO_BARTO_CLI.decode(wire)


@given(st.integers(FIRST_US, LAST_US))
def test_instants_read_back_from_their_text(us: int) -> None:
    time = TimeText.from_us(us)
    assert time.to_us() == us
    assert time.text.endswith("Z")
    assert not time.text.endswith("0Z") or "." not in time.text


@pytest.mark.parametrize("us", [FIRST_US - 1, LAST_US + 1, 10**30])
def test_an_instant_that_has_no_text_is_refused(us: int) -> None:
    with pytest.raises(ValueError, match="outside the years 1 to 9999"):
        TimeText.from_us(us)


def test_a_message_for_the_server_is_at_most_a_mebibyte() -> None:
    request = cli.Query(query="x" * (1 << 20))
    with pytest.raises(CodecError, match="1048576 are allowed"):
        BARTO_CLI.encode(request)
    with pytest.raises(CodecError, match="1048576 are allowed"):
        BARTO_CLI.decode(codec(BartoCli, V1, limit=1 << 24).encode(request))
