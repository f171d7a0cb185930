"""A development CA with the certificates of the demonstration; knows nothing of the gateway, and is no tool for production.

The CA carries name constraints, so that somebody who trusts it in a browser trusts it for the development names only.
Source: RFC 5280 sections 4.2.1.3 (key usage), 4.2.1.9 (basic constraints), 4.2.1.10 (name constraints), 4.2.1.12 (extended key usage).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = [
    "DEFAULT_HOSTS",
    "CertificateFile",
    "build_development_certificates",
    "find_reason_to_renew",
    "write_certificates",
]

# Clients differ on `*.localhost` (OpenSSL wants two dots in a wildcard), hence the sample hosts by name beside it.
DEFAULT_HOSTS = ("localhost", "*.localhost", "mtls.localhost", "open.localhost", "127.0.0.1", "::1")
"""Names of the server certificate."""

_SPARE_DAYS = 7
"""A set is renewed when one of its certificates has less than this to live."""
_BACKDATED = datetime.timedelta(hours=1)
"""Clocks of virtual machines and containers differ."""
_CERTIFICATES = ("ca.pem", "server.pem", "alice.pem", "bob.pem", "foreign-ca.pem", "mallory.pem")
_KEYS = ("ca.key", "alice.key", "bob.key", "mallory.key")


class CertificateFile(NamedTuple):
    """One file of the set."""

    name: str
    data: bytes
    private: bool
    """Holds a private key: mode 0600."""


class _Authority(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def build_development_certificates(*, now: float, days: int = 365, hosts: Sequence[str] = DEFAULT_HOSTS) -> tuple[CertificateFile, ...]:
    """Make a complete set with fresh keys (P-256).

    ``alice`` and ``bob`` are clients of the development CA, ``mallory`` is a client of a foreign one. ``server.pem`` holds certificate
    and key, as ``http_server_options.ssl_certificates`` wants them.

    :param now: wall time in seconds since the epoch.
    :param days: life of all certificates, 1 to 825.
    :param hosts: names and addresses of the server certificate.
    :returns: the files, keys first.
    :raises ValueError: for a host that is neither a DNS name in ASCII nor an IP address, for no hosts, or for days out of range.
    """
    if not 1 <= days <= 825:
        raise ValueError("days must be from 1 to 825")
    if not hosts:
        raise ValueError("at least one host is needed")
    names = [_general_name(host) for host in hosts]
    start = datetime.datetime.fromtimestamp(int(now), datetime.UTC) - _BACKDATED
    end = start + _BACKDATED + datetime.timedelta(days=days)

    authority = _build_authority("tlsgate development CA", start, end, _constraints(names))
    foreign = _build_authority("foreign CA", start, end, None)
    server, server_key = _build_leaf(authority, "tlsgate development server", start, end, ExtendedKeyUsageOID.SERVER_AUTH, names)
    files = [
        CertificateFile("ca.key", _key_pem(authority.key), True),
        CertificateFile("server.pem", _certificate_pem(server) + _key_pem(server_key), True),
    ]
    for name, issuer in (("alice", authority), ("bob", authority), ("mallory", foreign)):
        certificate, key = _build_leaf(issuer, name, start, end, ExtendedKeyUsageOID.CLIENT_AUTH, [])
        files.append(CertificateFile(f"{name}.key", _key_pem(key), True))
        files.append(CertificateFile(f"{name}.pem", _certificate_pem(certificate), False))
    files.append(CertificateFile("ca.pem", _certificate_pem(authority.certificate), False))
    files.append(CertificateFile("foreign-ca.pem", _certificate_pem(foreign.certificate), False))
    return tuple(sorted(files, key=lambda file: (not file.private, file.name)))


def find_reason_to_renew(directory: Path, *, now: float, hosts: Sequence[str] = DEFAULT_HOSTS) -> str | None:
    """Tell why the set in a directory cannot be used any longer.

    :param directory: where the set is, or is not.
    :param now: wall time in seconds since the epoch.
    :param hosts: names that the server certificate has to carry.
    :returns: the reason, None when the set is complete, has a week to live and carries the names.
    """
    limit = datetime.datetime.fromtimestamp(now, datetime.UTC) + datetime.timedelta(days=_SPARE_DAYS)
    for name in (*_KEYS, *_CERTIFICATES):
        if not (directory / name).is_file():
            return f"{name} is missing"
    for name in _CERTIFICATES:
        try:
            certificate = x509.load_pem_x509_certificate((directory / name).read_bytes())
        except (OSError, ValueError):
            return f"{name} is unreadable"
        if certificate.not_valid_after_utc < limit:
            return f"{name} ends in less than {_SPARE_DAYS} days"
        if name == "server.pem":
            present = _names_of(certificate)
            missing = [host for host in hosts if _general_name(host) not in present]
            if missing:
                return f"server.pem lacks {', '.join(missing)}"
    return None


def write_certificates(directory: Path, files: Sequence[CertificateFile]) -> None:
    """Write a set; each file appears whole or not at all, and keys are never readable by others, not even for a moment.

    :param directory: made when it is missing.
    :param files: what to write.
    :raises OSError: when the directory or a file cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        temporary = directory / f".{file.name}.{secrets.token_hex(4)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if file.private else 0o644)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(file.data)
            os.replace(temporary, directory / file.name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _general_name(host: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not host or not host.isascii() or not all(label.replace("-", "").replace("_", "").isalnum() for label in _labels(host)):
        raise ValueError(f"neither a DNS name in ASCII nor an IP address: {host!r}")
    return x509.DNSName(host)


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return []


def _labels(host: str) -> list[str]:
    return host.removeprefix("*.").split(".")


def _constraints(names: Sequence[x509.DNSName | x509.IPAddress]) -> x509.NameConstraints:
    networks: set[ipaddress.IPv4Network | ipaddress.IPv6Network] = set()
    domains: set[str] = set()
    for name in names:
        if isinstance(name, x509.DNSName):
            domains.add(name.value.removeprefix("*."))
        else:
            networks.add(ipaddress.ip_network(str(name.value)))
    # A name constraint covers all names below it: `localhost` makes `mtls.localhost` superfluous.
    domains = {domain for domain in domains if not any(domain.endswith("." + other) for other in domains)}
    permitted: list[x509.GeneralName] = [x509.DNSName(domain) for domain in sorted(domains)]
    permitted += [x509.IPAddress(network) for network in sorted(networks, key=str)]
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)


def _build_authority(name: str, start: datetime.datetime, end: datetime.datetime, constraints: x509.NameConstraints | None) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(authority=True), critical=True)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return _Authority(builder.sign(key, hashes.SHA256()), key)


def _build_leaf(
    authority: _Authority,
    name: str,
    start: datetime.datetime,
    end: datetime.datetime,
    usage: x509.ObjectIdentifier,
    names: Sequence[x509.GeneralName],
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    builder = _builder(name, str(issuer), key.public_key(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.key, hashes.SHA256()), key


def _builder(
    subject: str, issuer: str, key: ec.EllipticCurvePublicKey, start: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "development only"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
