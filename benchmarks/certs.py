"""Key material of a run: one CA, a server, a client, a foreign client, and long lists of allowed certificates; knows nothing of proxies.

All keys are P-256. Everything is written below the run's own folder and vanishes with it.
"""

from __future__ import annotations

import base64
import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Material", "build_allowed_certificates", "write_material"]

_LIFETIME = datetime.timedelta(days=7)
_ECDSA_WITH_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
"""AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758, section 3.2)."""


class Material(NamedTuple):
    """Paths of the PEM files."""

    ca: Path
    """The CA that every proxy trusts for clients."""
    server: Path
    """Server certificate and key in one file."""
    server_certificate: Path
    server_key: Path
    client: Path
    """Client certificate and key in one file."""
    foreign: Path
    """A client of another CA with the same names, which every proxy must refuse."""


class _Authority(NamedTuple):
    """A CA that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def write_material(folder: Path) -> Material:
    """Make new keys and certificates and write them as PEM.

    :param folder: an existing folder.
    :returns: the paths.
    """
    authority = _build_authority("bench CA")
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    server, server_key = _build_leaf(authority, "localhost", ExtendedKeyUsageOID.SERVER_AUTH, names)
    client, client_key = _build_leaf(authority, "bench client", ExtendedKeyUsageOID.CLIENT_AUTH, None)
    foreign, foreign_key = _build_leaf(_build_authority("bench CA"), "bench client", ExtendedKeyUsageOID.CLIENT_AUTH, None)
    contents = {
        "ca.pem": _certificate_pem(authority.certificate),
        "server.pem": _certificate_pem(server) + _key_pem(server_key),
        "server.crt": _certificate_pem(server),
        "server.key": _key_pem(server_key),
        "client.pem": _certificate_pem(client) + _key_pem(client_key),
        "foreign.pem": _certificate_pem(foreign) + _key_pem(foreign_key),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return Material(*(folder / name for name in contents))


def build_allowed_certificates(count: int) -> list[str]:
    """Make many different client certificates of one issuer, as a list of allowed leaves holds them.

    They share one key, and serial and name are patched into an encoded template before signing: much quicker than the builder.

    :param count: how many, at most 99,999,999.
    :returns: PEM texts.
    """
    authority = _build_authority("bench fleet CA")
    serial, name = b"\x5e" * 16, "fleet-00000000"
    template, _ = _build_leaf(authority, name, ExtendedKeyUsageOID.CLIENT_AUTH, None, serial=int.from_bytes(serial, "big"))
    head, _, rest = template.tbs_certificate_bytes.partition(serial)
    middle, _, tail = rest.partition(name.encode())
    if not middle or not tail:
        raise ValueError("the template has no place for serial and name")
    return [_patched_pem(authority.key, head, middle, tail, number) for number in range(count)]


def _patched_pem(key: ec.EllipticCurvePrivateKey, head: bytes, middle: bytes, tail: bytes, number: int) -> str:
    """Sign one certificate made from the pieces of the template."""
    body = head + b"\x5e" * 8 + number.to_bytes(8, "big") + middle + f"fleet-{number:08d}".encode() + tail
    signature = key.sign(body, ec.ECDSA(hashes.SHA256()))
    encoded = _element(0x30, body + _ECDSA_WITH_SHA256 + _element(0x03, b"\0" + signature))
    return "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(encoded).decode("ascii") + "-----END CERTIFICATE-----\n"


def _element(tag: int, content: bytes) -> bytes:
    """Encode one DER element."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def _build_authority(name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    builder = _builder(name, name, key.public_key(), x509.random_serial_number())
    certificate = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key)


def _build_leaf(
    authority: _Authority, name: str, purpose: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None, *, serial: int = 0
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = (
        _builder(name, str(issuer), key.public_key(), serial or x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, hashes.SHA256()), key


def _builder(name: str, issuer: str, key: ec.EllipticCurvePublicKey, serial: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
