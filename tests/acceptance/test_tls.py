"""TLS: a worker that knows the CA trusts the server that has its certificate, and nobody else.

Real handshakes over loopback, with the contexts that the programs use.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from websockets.asyncio.server import ServerConnection, serve

from libbarto.clock import SECOND, Instant, SystemClock
from libbarto.errors import ConfigError, ConnectionClosed
from libbarto.tls import (
    Certificate,
    client_context,
    create_ca,
    expires,
    fingerprint,
    issue_client_certificate,
    issue_server_certificate,
    new_serial,
    server_context,
    why_renew,
    write_private,
)
from libbarto.websocket import WebSocketConnector

DAY = 86_400 * SECOND
NOW: Instant = SystemClock().now()
NAMES, ADDRESSES = ("localhost", "barto.example"), ("127.0.0.1", "::1")


@pytest.fixture(scope="module")
def ca() -> Certificate:
    return create_ca("barto of host1", now=NOW, serial=1)


@pytest.fixture(scope="module")
def issued(ca: Certificate) -> Certificate:
    return issue_server_certificate(ca, NAMES, ADDRESSES, now=NOW, serial=2)


def saved(directory: Path, certificate: Certificate, name: str = "server") -> tuple[Path, Path]:
    cert, key = directory / f"{name}.pem", directory / f"{name}.key"
    write_private(cert, certificate.pem)
    write_private(key, certificate.key)
    return cert, key


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that says hello and closes; its port."""

    async def hello(connection: ServerConnection) -> None:
        await connection.send(b"hello")

    async with serve(hello, "127.0.0.1", 0, ssl=context, close_timeout=1) as server:
        yield server.sockets[0].getsockname()[1]


async def greeting(port: int, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> bytes:
    connector = WebSocketConnector(
        f"wss://{host}:{port}/", ssl_context=context, close_timeout=1, open_timeout=10
    )
    transport = await connector.connect()
    frame = await transport.receive()
    await transport.close()
    return frame


@pytest.mark.real_loop
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_client_that_pins_the_ca_reads_the_server(
    ca: Certificate, issued: Certificate, tmp_path: Path, host: str
) -> None:
    async with serving(server_context(*saved(tmp_path, issued))) as port:
        assert await greeting(port, client_context(ca.pem), host) == b"hello"


@pytest.mark.real_loop
async def test_our_certificates_pass_the_strictest_check(
    ca: Certificate, issued: Certificate, tmp_path: Path
) -> None:
    context = client_context(ca.pem)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    async with serving(server_context(*saved(tmp_path, issued))) as port:
        assert await greeting(port, context) == b"hello"


@pytest.mark.real_loop
async def test_a_server_with_another_ca_is_not_trusted_even_under_the_same_name(
    issued: Certificate, tmp_path: Path
) -> None:
    other = create_ca("barto of host1", now=NOW, serial=1)
    async with serving(server_context(*saved(tmp_path, issued))) as port:
        with pytest.raises(ConnectionClosed, match="not to be trusted") as caught:
            await greeting(port, client_context(other.pem))
    assert caught.value.code == 1015


@pytest.mark.real_loop
async def test_without_a_pinned_ca_only_the_authorities_of_the_system_are_trusted(
    issued: Certificate, tmp_path: Path
) -> None:
    async with serving(server_context(*saved(tmp_path, issued))) as port:
        for context in (None, client_context()):
            with pytest.raises(ConnectionClosed, match="not to be trusted"):
                await greeting(port, context)


def test_a_pinned_ca_is_the_only_one(ca: Certificate) -> None:
    (trusted,) = client_context(ca.pem).get_ca_certs(binary_form=True)
    assert hashlib.sha256(trusted).digest() == fingerprint(ca.pem)


@pytest.mark.real_loop
async def test_a_certificate_for_another_host_is_not_trusted(
    ca: Certificate, tmp_path: Path
) -> None:
    issued = issue_server_certificate(ca, ["elsewhere.example"], [], now=NOW, serial=3)
    async with serving(server_context(*saved(tmp_path, issued))) as port:
        with pytest.raises(ConnectionClosed, match=r"127\.0\.0\.1"):
            await greeting(port, client_context(ca.pem))


@pytest.mark.real_loop
async def test_a_certificate_that_has_expired_is_not_trusted(
    ca: Certificate, tmp_path: Path
) -> None:
    old = issue_server_certificate(ca, NAMES, ADDRESSES, now=NOW - 398 * DAY, serial=3)
    async with serving(server_context(*saved(tmp_path, old))) as port:
        with pytest.raises(ConnectionClosed, match="expired"):
            await greeting(port, client_context(ca.pem))


@pytest.mark.real_loop
async def test_a_clients_certificate_does_not_serve(ca: Certificate, tmp_path: Path) -> None:
    client = issue_client_certificate(ca, "127.0.0.1", now=NOW, serial=3)
    async with serving(server_context(*saved(tmp_path, client))) as port:
        with pytest.raises(ConnectionClosed, match="not to be trusted"):
            await greeting(port, client_context(ca.pem))


@pytest.mark.real_loop
async def test_a_renewed_certificate_is_shown_without_a_restart(
    ca: Certificate, issued: Certificate, tmp_path: Path
) -> None:
    context = server_context(*saved(tmp_path, issued))
    async with serving(context) as port:
        for serial in (2, 4):
            trusted = client_context(ca.pem)
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusted)
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert x509.load_der_x509_certificate(shown).serial_number == serial
            writer.close()
            renewed = issue_server_certificate(ca, NAMES, ADDRESSES, now=NOW, serial=4)
            context.load_cert_chain(*saved(tmp_path, renewed))


@pytest.mark.real_loop
async def test_with_mtls_only_certificates_of_the_clients_ca_come_in(
    ca: Certificate, issued: Certificate, tmp_path: Path
) -> None:
    clients = create_ca("clients", now=NOW, serial=1)
    clients_ca, _ = saved(tmp_path, clients, "clients")
    good = saved(tmp_path, issue_client_certificate(clients, "vader", now=NOW, serial=2), "good")
    bad = saved(tmp_path, issue_client_certificate(ca, "vader", now=NOW, serial=2), "bad")
    async with serving(server_context(*saved(tmp_path, issued), client_ca=clients_ca)) as port:
        trusting = client_context(ca.pem, cert=good[0], key=good[1])
        assert await greeting(port, trusting) == b"hello"
        for context in (
            client_context(ca.pem),
            client_context(ca.pem, cert=bad[0], key=bad[1]),
        ):
            with pytest.raises(ConnectionClosed):
                await greeting(port, context)


@pytest.mark.real_loop
async def test_tls_before_1_2_is_refused(
    ca: Certificate, issued: Certificate, tmp_path: Path
) -> None:
    old = client_context(ca.pem)
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    async with serving(server_context(*saved(tmp_path, issued))) as port:
        with pytest.raises(ConnectionClosed):
            await greeting(port, old)
    for context in (client_context(), client_context(ca.pem)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_ca_lasts_ten_years_and_signs_no_further_authority(ca: Certificate) -> None:
    assert expires(ca.pem) - NOW > 3_652 * DAY
    certificate = x509.load_pem_x509_certificate(ca.pem)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)


def test_a_servers_certificate_lasts_397_days_but_never_longer_than_its_ca(
    ca: Certificate,
) -> None:
    now = NOW // SECOND * SECOND
    issued = issue_server_certificate(ca, NAMES, ADDRESSES, now=now, serial=2)
    assert expires(issued.pem) == now + 397 * DAY
    late = issue_server_certificate(ca, NAMES, ADDRESSES, now=now + 3_600 * DAY, serial=2)
    assert expires(late.pem) == expires(ca.pem)


def test_the_fingerprint_is_the_sha_256_of_the_der_form(ca: Certificate) -> None:
    der = x509.load_pem_x509_certificate(ca.pem).public_bytes(Encoding.DER)
    assert fingerprint(ca.pem) == hashlib.sha256(der).digest()


def test_serial_numbers_are_positive_and_differ() -> None:
    serials = {new_serial() for _ in range(100)}
    assert len(serials) == 100
    assert all(0 < serial < 2**159 for serial in serials)


def test_a_certificate_is_renewed_for_its_age_its_names_or_its_ca(
    ca: Certificate, issued: Certificate
) -> None:
    def why(
        names: Sequence[str] = NAMES,
        addresses: Sequence[str] = ADDRESSES,
        now: Instant = NOW,
        authority: Certificate = ca,
    ) -> str | None:
        return why_renew(issued.pem, authority.pem, names, addresses, now=now)

    assert why() is None
    assert why(names=["localhost"]) is None
    assert why(names=[*NAMES, "host1"]) == "it lacks host1"
    assert why(addresses=["10.0.0.7"]) == "it lacks 10.0.0.7"
    assert why(now=NOW + 264 * DAY) is None
    assert why(now=NOW + 300 * DAY) == "97 days are left"
    assert why(now=NOW + 500 * DAY) == "0 days are left"
    other = create_ca("barto of host1", now=NOW, serial=1)
    assert why(authority=other) == "it is of another certificate authority"


def test_a_certificate_that_ends_with_its_ca_is_not_renewed_over_and_over(
    ca: Certificate,
) -> None:
    late = issue_server_certificate(ca, NAMES, ADDRESSES, now=NOW + 3_600 * DAY, serial=2)
    assert why_renew(late.pem, ca.pem, NAMES, ADDRESSES, now=NOW + 3_601 * DAY) is None


def test_names_beyond_ascii_and_addresses_with_a_zone_are_taken(ca: Certificate) -> None:
    issued = issue_server_certificate(ca, ["bücher.example"], ["fe80::1%eth0"], now=NOW, serial=2)
    assert why_renew(issued.pem, ca.pem, ["bücher.example"], ["fe80::1"], now=NOW) is None


def test_a_private_key_is_not_shown(ca: Certificate) -> None:
    assert "PRIVATE" not in repr(ca)


@pytest.mark.parametrize(
    ("names", "addresses", "message"),
    [
        ([], [], "at least one name"),
        ([], ["10.0.0.256"], "no IP address"),
        (["ü" * 80], [], "no name for a certificate"),
    ],
)
def test_what_cannot_be_certified_is_named(
    ca: Certificate, names: list[str], addresses: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        issue_server_certificate(ca, names, addresses, now=NOW, serial=2)


def test_files_that_cannot_be_used_are_named(
    ca: Certificate, issued: Certificate, tmp_path: Path
) -> None:
    cert, key = saved(tmp_path, issued)
    _, others_key = saved(tmp_path, ca, "ca")
    with pytest.raises(ConfigError, match=r"server\.pem.*ca\.key"):
        server_context(cert, others_key)
    with pytest.raises(ConfigError, match=r"gone\.pem.*No such file"):
        server_context(tmp_path / "gone.pem", key)
    with pytest.raises(ConfigError, match=r"gone\.pem"):
        server_context(cert, key, client_ca=tmp_path / "gone.pem")
    with pytest.raises(ConfigError, match="both be given"):
        client_context(ca.pem, cert=cert)
    with pytest.raises(ConfigError, match="cannot be used"):
        client_context(b"nonsense")
    with pytest.raises(ConfigError, match="no certificate"):
        fingerprint(b"nonsense")
    with pytest.raises(ConfigError, match="CA's key cannot be read"):
        issue_client_certificate(Certificate(ca.pem, b"nonsense"), "x", now=NOW, serial=2)


@pytest.fixture(params=[0o000, 0o022, 0o277])
def umask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[int]:
    """A umask, with the test's directory made before: 0277 would leave nothing to write into."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_a_private_file_is_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "key"
    write_private(file, b"secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == b"secret"


def test_writing_over_a_file_that_all_could_read_makes_it_private(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"old")
    file.chmod(0o644)
    with file.open("rb") as reader:
        write_private(file, b"new")
        assert reader.read() == b"old"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    occupied = tmp_path / "key"
    (occupied / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="key"):
        write_private(occupied, b"new")
    assert list(tmp_path.iterdir()) == [occupied]
