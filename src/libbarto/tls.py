"""TLS without openssl and without a domain: who is the server, and how does a worker know?

The server makes a small certificate authority (CA) of its own, once, and with it a certificate
for the names and addresses of its host, again and again. Workers are given the CA's fingerprint
when they join, and from then on trust that CA and no other (DESIGN section 10).

All keys are ECDSA on P-256. Time and serial numbers are arguments; keys are random, by nature.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libbarto.clock import SECOND, Instant
from libbarto.errors import ConfigError

CA_DAYS: Final = 3_653
"""Ten years."""

SERVER_DAYS: Final = 397
"""A little over a year; some TLS clients refuse longer ones."""

RENEW_DAYS: Final = 132
"""A certificate with fewer days than this left (a third of its life) is due for renewal."""

_BACKDATED = datetime.timedelta(days=1)
"""Certificates begin a day early, for peers whose clocks are behind."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, both PEM; the key is not encrypted."""

    pem: bytes
    key: bytes = field(repr=False)


def new_serial() -> int:
    """A random serial number of 159 bits, positive (RFC 5280 section 4.1.2.2)."""
    return x509.random_serial_number()


def create_ca(name: str, *, now: Instant, serial: int, days: int = CA_DAYS) -> Certificate:
    """A self-signed CA called `name`, valid for `days` from `now`.

    It can sign certificates of hosts only, no further authorities. The name is cut to 64
    characters (RFC 5280 appendix A.1, ub-common-name).
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), key.public_key(), now, serial, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _certificate(certificate, key)


def issue_server_certificate(
    ca: Certificate,
    names: Iterable[str],
    addresses: Iterable[str],
    *,
    now: Instant,
    serial: int,
    days: int = SERVER_DAYS,
) -> Certificate:
    """A certificate with a new key for a server that is reached by `names` and `addresses`.

    Names are DNS names, `*.` as the first label allowed; addresses are IPv4 or IPv6. It never
    outlives its CA. Raises `ConfigError` where there is neither name nor address, or one of them
    cannot be read.
    """
    subjects = _subjects(names, addresses)
    if not subjects:
        raise ConfigError("a server's certificate needs at least one name or address")
    first = subjects[0].value
    alternatives = x509.SubjectAlternativeName(subjects)
    return _issue(ca, str(first), ExtendedKeyUsageOID.SERVER_AUTH, now, serial, days, alternatives)


def issue_client_certificate(
    ca: Certificate, name: str, *, now: Instant, serial: int, days: int = SERVER_DAYS
) -> Certificate:
    """A certificate with a new key by which a client shows a server that it is `name` (mTLS)."""
    return _issue(ca, name, ExtendedKeyUsageOID.CLIENT_AUTH, now, serial, days, None)


def why_renew(
    pem: bytes,
    ca_pem: bytes,
    names: Iterable[str],
    addresses: Iterable[str],
    *,
    now: Instant,
    days: int = RENEW_DAYS,
) -> str | None:
    """Why a server's certificate should be issued anew, or None while it is good.

    It should when fewer than `days` are left, when it lacks one of the names and addresses of
    the host, and when it is not of this CA.
    """
    certificate, ca = _parse(pem), _parse(ca_pem)
    left = certificate.not_valid_after_utc - _datetime(now)
    # What ends with its CA gains nothing by being issued again.
    endures = ca.not_valid_after_utc > certificate.not_valid_after_utc
    if endures and left < datetime.timedelta(days=days):
        return f"{max(0, left.days)} days are left"
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError):
        return "it is of another certificate authority"
    try:
        held = set(
            certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        )
    except x509.ExtensionNotFound:
        held = set()
    missing = [str(it.value) for it in _subjects(names, addresses) if it not in held]
    return f"it lacks {', '.join(missing)}" if missing else None


def expires(pem: bytes) -> Instant:
    """The last instant at which the certificate is valid."""
    return round(_parse(pem).not_valid_after_utc.timestamp()) * SECOND


def fingerprint(pem: bytes) -> bytes:
    """The SHA-256 of a certificate's DER form, 32 bytes: what join codes carry of the CA.

    Raises `ConfigError` where `pem` is no certificate.
    """
    return hashlib.sha256(_parse(pem).public_bytes(serialization.Encoding.DER)).digest()


def server_context(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """What a server listens with: its certificate, and TLS 1.2 or newer.

    With `client_ca`, clients must show a certificate of that CA (mTLS). After a renewal, call
    `load_cert_chain(cert, key)` on the same context: new connections get the new certificate,
    and no connection is closed. Raises `ConfigError` where a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_pair(context, cert, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cafile=client_ca)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(f"the CA for clients, {client_ca},", error) from error
    return context


def client_context(
    ca_pem: bytes | None = None, *, cert: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Whom a client trusts: that CA and no other; with None, the authorities of the system.

    The server's certificate must be for the host that is connected to, and TLS is 1.2 or newer.
    `cert` and `key`, both or none, are shown to a server that asks for them. Raises `ConfigError`
    where something cannot be used.
    """
    if ca_pem is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # with no authority in it yet
        try:
            context.load_verify_locations(cadata=ca_pem.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
            raise _unusable("the CA's certificate", error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if (cert is None) != (key is None):
        raise ConfigError("a client's certificate and its key must both be given, or neither")
    if cert is not None and key is not None:
        _load_pair(context, cert, key)
    return context


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read (0600), whatever the umask; durably and at once.

    A reader sees the old content or the new, also after a crash: it is written beside, synced,
    and renamed over.
    """
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _issue(
    ca: Certificate,
    subject: str,
    purpose: x509.ObjectIdentifier,
    now: Instant,
    serial: int,
    days: int,
    alternatives: x509.SubjectAlternativeName | None,
) -> Certificate:
    authority = _parse(ca.pem)
    signer = _signing_key(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.subject
    public, signing = key.public_key(), signer.public_key()
    end = authority.not_valid_after_utc
    builder = _builder(_name(subject), issuer, public, signing, now, serial, days, end)
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_usage(sign_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    if alternatives is not None:
        builder = builder.add_extension(alternatives, critical=False)
    return _certificate(builder.sign(signer, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signing: ec.EllipticCurvePublicKey,
    now: Instant,
    serial: int,
    days: int,
    latest: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    begin = _datetime(now)
    end = begin + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(begin - _BACKDATED)
        .not_valid_after(end if latest is None else min(end, latest))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subjects(names: Iterable[str], addresses: Iterable[str]) -> list[x509.GeneralName]:
    subjects: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            ascii_name = name if name.isascii() else name.encode("idna").decode("ascii")
            subjects.append(x509.DNSName(ascii_name))
        except ValueError as error:
            raise ConfigError(f"{name!r} is no name for a certificate: {error}") from error
    for address in dict.fromkeys(addresses):
        try:
            subjects.append(x509.IPAddress(ipaddress.ip_address(address.partition("%")[0])))
        except ValueError as error:
            raise ConfigError(f"{address!r} is no IP address") from error
    return subjects


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _datetime(now: Instant) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(now // SECOND, datetime.UTC)


def _certificate(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    return Certificate(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def _parse(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise ConfigError("this is no certificate in PEM form") from error


def _signing_key(ca: Certificate) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(ca.key, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError("the CA's key cannot be read: it must be PEM, not encrypted") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("the CA's key is not the ECDSA key that `bartos init` makes")
    return key


def _load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    try:
        # With no password, OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"certificate {cert} with key {key}", error) from error


def _unusable(what: str, error: Exception) -> ConfigError:
    words = (error.reason or "" if isinstance(error, ssl.SSLError) else "") or (
        error.strerror if isinstance(error, OSError) else None
    )
    return ConfigError(f"{what} cannot be used: {words or error}")
