"""Server certificates and which of them serves a name; knows nothing of policies or clients.

A name's certificates of several key types serve together (ECDSA for those who can, RSA for the others); a name is covered by its exact
certificates, else by a wildcard for one label, else by the first certificate loaded.
Source: Tyk documentation, "TLS and SSL"; mTLS reference, section 3; field reports B18, B19.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto

from tlsgate.errors import PkiError, Problem, WireError
from tlsgate.pki.der import open_certificate
from tlsgate.pki.pem import key_matches
from tlsgate.tls.reasons import describe_error
from tlsgate.wire.names import normalise_dns_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tlsgate.pki.pem import PemBundle, PrivateKey

__all__ = [
    "CertificateSet",
    "CertificateSource",
    "CertificateTable",
    "ServerCertificate",
    "build_certificate_table",
    "build_server_certificate",
    "use_certificates",
]

_DAY_S = 86400.0


class ServerCertificate(NamedTuple):
    """One certificate with its key and chain, ready for OpenSSL."""

    fingerprint: str
    """Lower-case hex SHA-256 of the leaf's DER."""
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    """Issuers in the order TLS wants: each certifies the one before it."""
    key: PrivateKey
    names: tuple[str, ...]
    """Normalised; ``*.rest`` for wildcards."""
    not_before: float
    not_after: float
    key_type: str
    """``ecdsa``, ``rsa`` or ``eddsa``."""


class CertificateSet(NamedTuple):
    """The certificates that serve one name, at most one of each key type."""

    key: str
    """Content hash: equal sets make equal contexts."""
    certificates: tuple[ServerCertificate, ...]


class CertificateSource(NamedTuple):
    """What the configuration says of one certificate."""

    bundle: PemBundle | None
    """None: the reference could not be resolved (already reported); the entry is skipped."""
    file: str = ""
    """For problems: the configuration file."""
    path: str = ""
    """For problems: where in the file."""
    value: str = ""
    """For problems: the reference, shortened."""
    domain_name: str = ""
    """``http_server_options.certificates[].domain_name``: one more name."""
    common_name: bool = False
    """The common name counts beside SANs (API-level ``certificates``), not only in their absence."""


class CertificateTable:
    """Finds certificates by name; immutable."""

    __slots__ = ("_default", "_exact", "_wildcards", "certificates")

    def __init__(self, certificates: tuple[ServerCertificate, ...], now: float) -> None:
        self.certificates = certificates
        """All usable ones, in the order loaded."""
        exact: dict[str, list[ServerCertificate]] = {}
        wildcards: dict[str, list[ServerCertificate]] = {}
        for certificate in certificates:
            for name in certificate.names:
                if name.startswith("*."):
                    wildcards.setdefault(name[2:], []).append(certificate)
                else:
                    exact.setdefault(name, []).append(certificate)
        sets: dict[str, CertificateSet] = {}
        self._exact = {name: _build_set(found, now, sets) for name, found in exact.items()}
        self._wildcards = {name: _build_set(found, now, sets) for name, found in wildcards.items()}
        self._default: CertificateSet | None = None
        if certificates:
            first = certificates[0]
            partners = [other for other in certificates[1:] if other.key_type != first.key_type and set(first.names) <= set(other.names)]
            self._default = _build_set([first, *partners], now, sets)

    def find(self, name: str | None) -> CertificateSet | None:
        """Return what serves a name: exact, else wildcard for one label, else the first loaded.

        :param name: normalised, None without SNI.
        :returns: None only when there is no certificate at all.
        """
        if name is not None:
            found = self._exact.get(name)
            if found is not None:
                return found
            found = self._wildcards.get(name.partition(".")[2])
            if found is not None:
                return found
        return self._default

    def sets(self) -> tuple[CertificateSet, ...]:
        """Return every distinct set, for building contexts ahead of traffic."""
        found = {entry.key: entry for entry in (*self._exact.values(), *self._wildcards.values())}
        if self._default is not None:
            found.setdefault(self._default.key, self._default)
        return tuple(found.values())


def build_certificate_table(
    sources: Sequence[CertificateSource], now: float, *, warning_days: int = 30
) -> tuple[CertificateTable, list[Problem]]:
    """Return the table and what is wrong with its certificates.

    An entry that cannot serve (no key, key of another certificate, too weak for OpenSSL) is an error and left out; the others serve.

    :param sources: in the order of the configuration; the first usable one is the default.
    :param now: epoch seconds; of several certificates for one name and key type a valid one goes before an expired one.
    :param warning_days: certificates that end within so many days are reported.
    :returns: table and problems (severity ``warning`` for expiry, a missing name, a usage that clients may refuse).
    """
    problems: list[Problem] = []
    usable: list[ServerCertificate] = []
    for source in sources:
        if source.bundle is None:
            continue
        try:
            certificate = build_server_certificate(source.bundle, domain_name=source.domain_name, common_name=source.common_name)
        except PkiError as problem:
            problems.append(Problem(source.file, source.path, source.value, str(problem), "give certificate, chain and key in one file"))
            continue
        usable.append(certificate)
        problems.extend(_warnings(certificate, source, now, warning_days))
    return CertificateTable(tuple(usable), now), problems


def build_server_certificate(bundle: PemBundle, *, domain_name: str = "", common_name: bool = False) -> ServerCertificate:
    """Return a certificate that OpenSSL will serve.

    The first certificate of the bundle is the leaf (as in Tyk), wherever the key stands; the others are put into issuing order.

    :param domain_name: one more name that it serves.
    :param common_name: the common name counts beside SANs; without SANs it always counts.
    :raises PkiError: no certificate, no key, a key that does not fit, or one that OpenSSL refuses (security level 2).
    """
    if not bundle.certificates:
        raise PkiError("no certificate")
    key = bundle.private_key
    if key is None:
        raise PkiError("no private key beside the certificate")
    if not key_matches(bundle.certificates[0], key):
        raise PkiError("private key does not match the first certificate")
    leaf, *others = (open_certificate(der) for der in bundle.certificates)
    chain = _order_chain(leaf, others)
    certificate = ServerCertificate(
        fingerprint=hashlib.sha256(bundle.certificates[0]).hexdigest(),
        certificate=leaf,
        chain=chain,
        key=key,
        names=_find_names(leaf, domain_name, common_name=common_name),
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        key_type=_key_type(key),
    )
    try:
        trial = SSL.Context(SSL.TLS_SERVER_METHOD)
        trial.set_cipher_list(b"ALL:@SECLEVEL=2")
        _use_with_chain(trial, certificate)
    except (SSL.Error, crypto.Error) as problem:
        raise PkiError(f"OpenSSL refuses the certificate: {describe_error(problem)}") from problem
    return certificate


def use_certificates(context: SSL.Context, certificates: Sequence[ServerCertificate]) -> None:
    """Give a context one certificate per key type, each with its own chain.

    ``add_extra_chain_cert`` adds to one chain that all key types share; of pyOpenSSL's functions only the one that reads a file sets the
    chain of a key type, so several chains go through a file in memory.

    :raises SSL.Error: OpenSSL takes one of them not.
    """
    if len({certificate.chain for certificate in certificates}) > 1:
        for certificate in certificates:
            _use_with_chain(context, certificate)
        return
    for certificate in certificates:
        context.use_certificate(certificate.certificate)
        context.use_privatekey(certificate.key)
    for issuer in certificates[0].chain:
        context.add_extra_chain_cert(issuer)


def _use_with_chain(context: SSL.Context, certificate: ServerCertificate) -> None:
    """Load a leaf and its issuers through a file in memory: certificates are public, the key never goes this way."""
    with os.fdopen(os.memfd_create("chain", os.MFD_CLOEXEC), "wb") as file:
        file.writelines(member.public_bytes(Encoding.PEM) for member in (certificate.certificate, *certificate.chain))
        file.flush()
        context.use_certificate_chain_file(f"/proc/self/fd/{file.fileno()}")
    context.use_privatekey(certificate.key)


def _order_chain(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Put issuers in order; what does not link (a second path, a stray) follows in the order given, as clients may need it."""
    left = [other for other in others if other != leaf]
    ordered: list[x509.Certificate] = []
    last = leaf
    while last.issuer != last.subject:
        found = next((other for other in left if other.subject == last.issuer), None)
        if found is None:
            break
        left.remove(found)
        ordered.append(found)
        last = found
    return (*ordered, *left)


def _find_names(leaf: x509.Certificate, domain_name: str, *, common_name: bool) -> tuple[str, ...]:
    names = _dns_names(leaf)
    if not names or common_name:
        names = [*names, *(str(attribute.value) for attribute in leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME))]
    if domain_name:
        names = [domain_name, *names]
    found: dict[str, None] = {}
    for name in names:
        wildcard, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
        try:
            found[wildcard + normalise_dns_name(rest)] = None
        except WireError:
            continue  # "My Company Ltd." as common name: serves as default only
    return tuple(found)


def _dns_names(leaf: x509.Certificate) -> list[str]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _key_type(key: PrivateKey) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return "ecdsa"
    if isinstance(key, rsa.RSAPrivateKey):
        return "rsa"
    assert isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return "eddsa"


def _build_set(found: Iterable[ServerCertificate], now: float, sets: dict[str, CertificateSet]) -> CertificateSet:
    chosen: dict[str, ServerCertificate] = {}
    for certificate in found:
        earlier = chosen.get(certificate.key_type)
        if earlier is None or (not _valid(earlier, now) and _valid(certificate, now)):
            chosen[certificate.key_type] = certificate
    certificates = tuple(chosen.values())
    digest = hashlib.sha256()
    for certificate in certificates:
        digest.update(certificate.fingerprint.encode())
        for issuer in certificate.chain:
            digest.update(issuer.public_bytes(Encoding.DER))
    key = digest.hexdigest()
    return sets.setdefault(key, CertificateSet(key, certificates))


def _valid(certificate: ServerCertificate, now: float) -> bool:
    return certificate.not_before <= now <= certificate.not_after


def _warnings(certificate: ServerCertificate, source: CertificateSource, now: float, warning_days: int) -> list[Problem]:
    texts: list[tuple[str, str]] = []
    left_s = certificate.not_after - now
    if left_s <= 0:
        texts.append(("certificate has expired", "renew it; clients refuse it"))
    elif left_s <= warning_days * _DAY_S:
        texts.append((f"certificate expires in {int(left_s // _DAY_S)} days", "renew it"))
    if certificate.not_before > now:
        texts.append(("certificate is not valid yet", "check its dates and this machine's clock"))
    if not certificate.names:
        texts.append(("certificate has no name that a client could ask for", "it serves only as the default"))
    if not _for_servers(certificate.certificate):
        texts.append(("certificate is not for servers (extended key usage lacks serverAuth)", "clients refuse it"))
    return [Problem(source.file, source.path, source.value, text, remedy, "warning") for text, remedy in texts]


def _for_servers(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError, x509.DuplicateExtension):
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage
