"""One certificate read once into the facts that every judgement needs; knows nothing of trust, lists or time."""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from tlsgate.errors import PkiError
from tlsgate.pki.der import open_certificate, read_slices

__all__ = ["MAX_RSA_BITS", "MIN_RSA_BITS", "Certificate", "Roles", "read_certificate", "read_roles"]

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 8192
"""Bounds the work of one signature check; the limit of Go's TLS as well."""
_MAX_RSA_EXPONENT = 2**32
_MIN_EC_BITS = 224
_WEAK_DIGESTS = frozenset({"md5", "sha1"})
# Edwards curves and ML-DSA: one size each, none weak. Everything else that is neither RSA nor ECDSA cannot sign for us.
_FIXED_KEYS = frozenset({"1.3.101.112", "1.3.101.113", "2.16.840.1.101.3.4.3.17", "2.16.840.1.101.3.4.3.18", "2.16.840.1.101.3.4.3.19"})
_UNDERSTOOD = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.NAME_CONSTRAINTS,
        # No policy is ever demanded, so the policy tree decides nothing; policyConstraints could demand one and is not here.
        ExtensionOID.CERTIFICATE_POLICIES,
        ExtensionOID.INHIBIT_ANY_POLICY,
    }
)


class Roles(NamedTuple):
    """What basicConstraints, keyUsage and extendedKeyUsage say."""

    is_ca: bool
    """CA:TRUE with keyCertSign: may sign certificates."""
    unmarked_ca: bool
    """CA:TRUE without keyUsage, what plain ``openssl req -x509`` makes."""
    path_length: int | None
    client_usage: bool
    """EKU has clientAuth or anyExtendedKeyUsage, or there is none."""
    may_sign_handshake: bool
    """keyUsage has digitalSignature or keyAgreement, or there is none."""


class Certificate(NamedTuple):
    """Facts of one certificate."""

    der: bytes
    opened: x509.Certificate
    serial: bytes
    issuer: bytes
    """DER of the name, as encoded."""
    subject: bytes
    spki: bytes
    not_before: float
    """Epoch seconds, UTC."""
    not_after: float
    roles: Roles
    constraints: x509.NameConstraints | None
    alternative_names: x509.SubjectAlternativeName | None
    unknown_critical: str
    """OID of a critical extension that we do not process, empty for none."""
    weak_key: str
    """Why the key is too weak (or absurdly large), empty when it is fine."""
    weak_signature: str
    """Why the signature on this certificate proves nothing, empty when it is fine."""
    key_id: bytes | None
    """subjectKeyIdentifier: a hint for ordering candidates, nothing more."""
    issuer_key_id: bytes | None

    @property
    def self_issued(self) -> bool:
        """Issuer and subject are the same name."""
        return self.issuer == self.subject


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate; about 25 us.

    :param der: one certificate.
    :returns: its facts.
    :raises PkiError: it cannot be decoded.
    Source: RFC 5280 section 4.
    """
    slices = read_slices(der)
    opened = open_certificate(der)
    constraints: x509.NameConstraints | None = None
    names: x509.SubjectAlternativeName | None = None
    key_id: bytes | None = None
    issuer_key_id: bytes | None = None
    unknown_critical = ""
    for extension in opened.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            names = value
        elif isinstance(value, x509.NameConstraints):
            constraints = value
        elif isinstance(value, x509.SubjectKeyIdentifier):
            key_id = value.digest
        elif isinstance(value, x509.AuthorityKeyIdentifier):
            issuer_key_id = value.key_identifier
        if extension.critical and extension.oid not in _UNDERSTOOD:
            unknown_critical = extension.oid.dotted_string
    try:
        not_before = opened.not_valid_before_utc.timestamp()
        not_after = opened.not_valid_after_utc.timestamp()
    except (ValueError, OverflowError) as error:
        raise PkiError(f"validity cannot be read: {error}") from error
    return Certificate(
        der=der,
        opened=opened,
        serial=slices.serial,
        issuer=slices.issuer,
        subject=slices.subject,
        spki=slices.spki,
        not_before=not_before,
        not_after=not_after,
        roles=read_roles(opened),
        constraints=constraints,
        alternative_names=names,
        unknown_critical=unknown_critical,
        weak_key=_weak_key(opened),
        weak_signature=_weak_signature(opened),
        key_id=key_id,
        issuer_key_id=issuer_key_id,
    )


def read_roles(opened: x509.Certificate) -> Roles:
    """Read what a certificate may be used for and nothing else of it; about 4 us.

    :param opened: from :func:`tlsgate.pki.der.open_certificate`.
    """
    basic: x509.BasicConstraints | None = None
    usage: x509.KeyUsage | None = None
    extended: x509.ExtendedKeyUsage | None = None
    for extension in opened.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            basic = value
        elif isinstance(value, x509.KeyUsage):
            usage = value
        elif isinstance(value, x509.ExtendedKeyUsage):
            extended = value
    ca = basic is not None and basic.ca
    return Roles(
        is_ca=ca and usage is not None and usage.key_cert_sign,
        unmarked_ca=ca and usage is None,
        path_length=basic.path_length if basic is not None and ca else None,
        client_usage=extended is None or _serves_clients(extended),
        may_sign_handshake=usage is None or usage.digital_signature or usage.key_agreement,
    )


def _serves_clients(extended: x509.ExtendedKeyUsage) -> bool:
    return any(oid in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE) for oid in extended)


def _weak_key(opened: x509.Certificate) -> str:
    try:
        key = opened.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "public key of an unknown kind"
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return f"RSA key of {key.key_size} bits"
        exponent = key.public_numbers().e
        if exponent < 3 or not exponent & 1 or exponent > _MAX_RSA_EXPONENT:
            return "RSA key with an unusual exponent"
        return ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "" if key.curve.key_size >= _MIN_EC_BITS else f"elliptic curve key of {key.curve.key_size} bits"
    oid = opened.public_key_algorithm_oid
    return "" if oid.dotted_string in _FIXED_KEYS else f"public key of kind {oid.dotted_string}"


def _weak_signature(opened: x509.Certificate) -> str:
    try:
        digest = opened.signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return f"signature of unknown kind {opened.signature_algorithm_oid.dotted_string}"
    if digest is not None and digest.name in _WEAK_DIGESTS:
        return f"signature over {digest.name}"
    return ""
