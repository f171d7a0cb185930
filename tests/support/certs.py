"""Builders of certificates for tests: authorities, leaves of every shape, certificates patched in their DER.

Everything is valid from 2020 to 2045 unless said otherwise, so that it works with real clocks as well as with :data:`NOW`.
Keys are made once per process and name (``key("rsa-2048")``): tests that need two different keys ask for two ``tag`` values.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import ipaddress
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

__all__ = [
    "CLIENT",
    "MD5_RSA",
    "NOW",
    "SERVER",
    "SHA1_ECDSA",
    "SHA1_RSA",
    "Authority",
    "Issued",
    "der_element",
    "der_parts",
    "distinguished_name",
    "key",
    "key_pem",
    "key_usage",
    "make_authority",
    "make_self_signed",
    "pem_of",
    "rekeyed",
    "resign",
    "sha1_signed",
    "swap_element",
    "with_algorithm",
    "with_serial",
]

NOW = 1_800_000_000.0
"""2027-01-15 08:00:00 UTC: the "now" of tests."""
CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)
_BEGINNING = 1_577_836_800.0
_END = 2_366_841_600.0
_serials = itertools.count(0x1000)

Key = Any
Name = x509.Name | str


@functools.cache
def key(kind: str = "p256", tag: object = 0) -> Key:
    """Return a private key.

    :param kind: ``p224 p256 p384 p521 secp192 ed25519 ed448 rsa-<bits>``.
    :param tag: different tags give different keys.
    """
    curves = {"p224": ec.SECP224R1(), "p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1(), "secp192": ec.SECP192R1()}
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "ed448":
        return ed448.Ed448PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa-")))


def key_pem(private_key: Key, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> str:
    """Write a private key without passphrase."""
    return private_key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def pem_of(der: bytes, label: str = "CERTIFICATE") -> str:
    """Write one PEM block."""
    text = base64.b64encode(der).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def distinguished_name(common_name: str | None = None, **parts: str) -> x509.Name:
    """Build a name from a common name and attributes by their ``NameOID`` name: ``organization_name="x"``."""
    attributes = [x509.NameAttribute(getattr(NameOID, part.upper()), value) for part, value in parts.items()]
    if common_name is not None:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def key_usage(*names: str) -> x509.KeyUsage:
    """Build a keyUsage extension: ``key_usage("digital_signature")``."""
    known = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in known})


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and the certificates above it, nearest first, without the root."""

    certificate: x509.Certificate
    key: Key
    chain: tuple[bytes, ...] = ()

    @functools.cached_property
    def der(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate alone."""
        return pem_of(self.der)

    @property
    def key_pem(self) -> str:
        """The key alone, PKCS#8."""
        return key_pem(self.key)

    @property
    def full_pem(self) -> str:
        """Certificate, chain and key."""
        return "".join((self.pem, *(pem_of(der) for der in self.chain), self.key_pem))

    @property
    def fingerprint(self) -> str:
        """Lower-case hex SHA-256."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def spki(self) -> bytes:
        """DER of the public key."""
        return self.certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass(frozen=True)
class Authority(Issued):
    """A CA that can issue."""

    is_root: bool = field(default=True)

    def issue(
        self,
        name: Name = "client",
        *,
        kind: str = "p256",
        private_key: Key | None = None,
        usages: Sequence[ObjectIdentifier] | None = CLIENT,
        names: Iterable[str] = (),
        alternative: Iterable[x509.GeneralName] = (),
        not_before: float = _BEGINNING,
        not_after: float = _END,
        serial: int | None = None,
        usage: x509.KeyUsage | None = None,
        ca: bool | None = None,
        path_length: int | None = None,
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        issuer: Name | None = None,
        key_ids: bool = True,
        digest: hashes.HashAlgorithm | None = None,
        pss: bool = False,
    ) -> Issued:
        """Issue a leaf.

        :param name: subject, a text is its common name.
        :param usages: extended key usages, None for no extension.
        :param names: DNS names and addresses of subjectAltName.
        :param alternative: further general names.
        :param usage: keyUsage, None for no extension.
        :param ca: basicConstraints, None for no extension.
        :param issuer: issuer name, this authority's own when None.
        :param key_ids: subject and authority key identifiers.
        :param digest: of the signature; None is the usual one of the key.
        :param pss: RSA-PSS signature.
        """
        subject_key = (
            private_key if private_key is not None else key(kind, ("leaf", next(_serials)) if not kind.startswith("rsa") else "leaf")
        )
        certificate = _build(
            subject=_name(name),
            public_key=subject_key.public_key(),
            issuer=_name(issuer) if issuer is not None else self.certificate.subject,
            signer=self.key,
            usages=usages,
            alternative=[*_general_names(names), *alternative],
            not_before=not_before,
            not_after=not_after,
            serial=serial,
            usage=usage,
            ca=ca,
            path_length=path_length,
            extensions=extensions,
            key_ids=key_ids,
            digest=digest,
            pss=pss,
        )
        chain = () if self.is_root else (self.der, *self.chain)
        return Issued(certificate, subject_key, chain)

    def subordinate(self, name: Name = "Intermediate", **options: Any) -> Authority:
        """Issue a CA; options as for :meth:`issue`."""
        options = {"usages": None, "ca": True, "usage": key_usage("key_cert_sign", "crl_sign"), **options}
        issued = self.issue(name, **options)
        return Authority(issued.certificate, issued.key, issued.chain, is_root=False)


def make_authority(name: Name = "Root", **options: Any) -> Authority:
    """Make a self-signed CA (CA:TRUE, keyCertSign); options as for :meth:`Authority.issue`."""
    return make_self_signed(name, **{"usages": None, "ca": True, "usage": key_usage("key_cert_sign", "crl_sign"), **options})


def make_self_signed(name: Name = "client", *, kind: str = "p256", private_key: Key | None = None, **options: Any) -> Authority:
    """Make a self-signed certificate; without further options a client certificate that is no CA."""
    own_key = private_key if private_key is not None else key(kind, ("self", next(_serials)) if not kind.startswith("rsa") else "self")
    subject = _name(name)
    names = options.pop("names", ())
    alternative = [*_general_names(names), *options.pop("alternative", ())]
    issuer = options.pop("issuer", None)
    settings: dict[str, Any] = {
        "usages": CLIENT,
        "not_before": _BEGINNING,
        "not_after": _END,
        "serial": None,
        "usage": None,
        "ca": None,
        "path_length": None,
        "extensions": (),
        "key_ids": True,
        "digest": None,
        "pss": False,
        **options,
    }
    certificate = _build(
        subject=subject,
        public_key=own_key.public_key(),
        issuer=_name(issuer) if issuer is not None else subject,
        signer=own_key,
        alternative=alternative,
        **settings,
    )
    return Authority(certificate, own_key)


def _build(
    *,
    subject: x509.Name,
    public_key: Any,
    issuer: x509.Name,
    signer: Key,
    usages: Sequence[ObjectIdentifier] | None,
    alternative: list[x509.GeneralName],
    not_before: float,
    not_after: float,
    serial: int | None,
    usage: x509.KeyUsage | None,
    ca: bool | None,
    path_length: int | None,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
    key_ids: bool,
    digest: hashes.HashAlgorithm | None,
    pss: bool,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(next(_serials) if serial is None else serial)
        .not_valid_before(_moment(not_before))
        .not_valid_after(_moment(not_after))
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, path_length), critical=True)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    if key_ids:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    edwards = isinstance(signer, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    chosen = None if edwards else digest or hashes.SHA256()
    if pss:
        assert chosen is not None
        scheme = padding.PSS(padding.MGF1(chosen), padding.PSS.DIGEST_LENGTH)
        return builder.sign(signer, chosen, rsa_padding=scheme)
    return builder.sign(signer, chosen)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _name(name: Name) -> x509.Name:
    return distinguished_name(name) if isinstance(name, str) else name


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


# Patching DER: for what the builder refuses to make.


def der_element(tag: int, content: bytes) -> bytes:
    """Encode one element."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def der_parts(content: bytes) -> list[bytes]:
    """Split the content of a constructed element into its elements."""
    parts = []
    at = 0
    while at < len(content):
        length = content[at + 1]
        start = at + 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(content[start : start + octets], "big")
            start += octets
        parts.append(content[at : start + length])
        at = start + length
    return parts


def _inside(element: bytes) -> bytes:
    first = element[1]
    return element[2 + (first & 0x7F if first & 0x80 else 0) :]


def resign(der: bytes, change: Callable[[list[bytes]], list[bytes]], signer: Key) -> bytes:
    """Change the elements of a certificate's signed part and sign it again with SHA-256.

    :param der: a certificate signed over SHA-256, or by an Edwards key.
    :param change: takes and returns the elements of TBSCertificate (0 version, 1 serial, 2 algorithm, 3 issuer, 4 validity,
        5 subject, 6 key, 7 extensions).
    :param signer: the issuer's key.
    """
    tbs, algorithm, _ = der_parts(_inside(der))
    tbs = der_element(0x30, b"".join(change(der_parts(_inside(tbs)))))
    return der_element(0x30, tbs + algorithm + der_element(0x03, b"\x00" + _sign(signer, tbs)))


def swap_element(number: int, element: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Make a change for :func:`resign`: element ``number`` becomes ``element``."""
    return lambda parts: [*parts[:number], element, *parts[number + 1 :]]


def with_serial(issued: Issued, signer: Key, content: bytes) -> bytes:
    """Give a certificate the serial whose INTEGER content is given, however odd; returns DER."""
    return resign(issued.der, swap_element(1, der_element(0x02, content)), signer)


def with_algorithm(issued: Issued, algorithm: bytes, signature: Callable[[bytes], bytes] = lambda _tbs: b"\x00" * 64) -> bytes:
    """Give a certificate another signature algorithm (a whole AlgorithmIdentifier), inside and outside; returns DER."""
    tbs, _, _ = der_parts(_inside(issued.der))
    parts = der_parts(_inside(tbs))
    parts[2] = algorithm
    tbs = der_element(0x30, b"".join(parts))
    return der_element(0x30, tbs + algorithm + der_element(0x03, b"\x00" + signature(tbs)))


def _sign(signer: Key, data: bytes) -> bytes:
    if isinstance(signer, rsa.RSAPrivateKey):
        return signer.sign(data, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(signer, ec.EllipticCurvePrivateKey):
        return signer.sign(data, ec.ECDSA(hashes.SHA256()))
    return signer.sign(data)


def rekeyed(issued: Issued, der: bytes) -> Issued:
    """Return the same key and chain with another certificate (a patched one that the library can still load)."""
    return replace(issued, certificate=x509.load_der_x509_certificate(der))


SHA1_RSA = bytes.fromhex("300d06092a864886f70d0101050500")
SHA1_ECDSA = bytes.fromhex("300906072a8648ce3d0401")
MD5_RSA = bytes.fromhex("300d06092a864886f70d0101040500")


def sha1_signed(issued: Issued, signer: Key) -> bytes:
    """Sign a certificate again over SHA-1, with an RSA or ECDSA key; returns DER."""
    if isinstance(signer, rsa.RSAPrivateKey):
        return with_algorithm(issued, SHA1_RSA, lambda tbs: signer.sign(tbs, padding.PKCS1v15(), hashes.SHA1()))
    return with_algorithm(issued, SHA1_ECDSA, lambda tbs: signer.sign(tbs, ec.ECDSA(hashes.SHA1())))
