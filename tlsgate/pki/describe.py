"""What the control API tells of a stored certificate, in Go's form; never the certificate or the key itself. Knows no store.

Source: mTLS reference, section 2.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from tlsgate.errors import PkiError
from tlsgate.pki.der import open_certificate, read_slices
from tlsgate.pki.distinguished import parse_der_name
from tlsgate.pki.pem import PemBundle

__all__ = ["common_name", "describe_basic", "describe_full", "describe_unreadable"]

_ZERO = "0001-01-01T00:00:00Z"
_COMMON_NAME = (2, 5, 4, 3)
_SERIAL = (2, 5, 4, 5)
_LISTS = {
    (2, 5, 4, 6): "Country",
    (2, 5, 4, 10): "Organization",
    (2, 5, 4, 11): "OrganizationalUnit",
    (2, 5, 4, 7): "Locality",
    (2, 5, 4, 8): "Province",
    (2, 5, 4, 9): "StreetAddress",
    (2, 5, 4, 17): "PostalCode",
}


def describe_full(id: str, bundle: PemBundle) -> dict[str, Any]:
    """Return the meta object of ``GET /tyk/certs/<id>``.

    :raises PkiError: the certificate cannot be read.
    """
    private = _has_private(bundle)
    leaf = bundle.leaf
    if leaf is None:
        return _meta(id, "", private, _name(()), _public_key_name(bundle), (_ZERO, _ZERO), None, False)
    opened = open_certificate(leaf)
    slices = read_slices(leaf)
    told = _meta(
        id,
        hashlib.sha256(leaf).hexdigest(),
        private,
        _name(parse_der_name(slices.issuer)),
        _name(parse_der_name(slices.subject)),
        _validity(opened),
        _dns_names(opened),
        _is_ca(opened),
    )
    return told | ({"error": bundle.key_fault} if bundle.key_fault else {})


def describe_basic(id: str, bundle: PemBundle) -> dict[str, Any]:
    """Return the object of a detailed list.

    :raises PkiError: the certificate cannot be read.
    """
    full = describe_full(id, bundle)
    told = {
        "id": id,
        "issuer_cn": full["issuer"]["CommonName"],
        "subject_cn": full["subject"]["CommonName"],
        **{name: full[name] for name in ("dns_names", "has_private", "not_before", "not_after", "is_ca", "has_private_key")},
    }
    return told | ({"error": bundle.key_fault} if bundle.key_fault else {})


def describe_unreadable(id: str, reason: str, *, full: bool = False) -> dict[str, Any]:
    """Return what is said of an entry that cannot be read: the others are listed all the same.

    :param full: as a meta object, not as a member of a detailed list.
    """
    if full:
        return {**_meta(id, "", False, _name(()), _name(()), (_ZERO, _ZERO), None, False), "error": reason}
    return {
        "id": id,
        "issuer_cn": "",
        "subject_cn": "",
        "dns_names": None,
        "has_private": False,
        "not_before": _ZERO,
        "not_after": _ZERO,
        "is_ca": False,
        "has_private_key": False,
        "error": reason,
    }


def common_name(der: bytes) -> str:
    """Return the common name of a certificate's subject, empty when there is none."""
    try:
        pairs = parse_der_name(read_slices(der).subject)
    except PkiError:
        return ""
    return next((text for kind, text in reversed(pairs) if kind == _COMMON_NAME), "")


def _meta(
    id: str,
    fingerprint: str,
    private: bool,
    issuer: dict[str, Any],
    subject: dict[str, Any],
    validity: tuple[str, str],
    dns_names: list[str] | None,
    is_ca: bool,
) -> dict[str, Any]:
    return {
        "id": id,
        "fingerprint": fingerprint,
        "has_private": private,
        "issuer": issuer,
        "subject": subject,
        "not_before": validity[0],
        "not_after": validity[1],
        "dns_names": dns_names,
        "is_ca": is_ca,
        "has_private_key": private,
    }


def _has_private(bundle: PemBundle) -> bool:
    return bundle.private_key is not None or bool(bundle.key_fault)


def _public_key_name(bundle: PemBundle) -> dict[str, Any]:
    digest = hashlib.sha256(bundle.public_keys[0]).hexdigest() if bundle.public_keys else ""
    return {**_name(()), "CommonName": f"Public Key: {digest}"}


def _name(pairs: Any) -> dict[str, Any]:
    """Return Go's ``pkix.Name``."""
    lists: dict[str, list[str]] = {}
    serial = name = ""
    for kind, text in pairs:
        if kind in _LISTS:
            lists.setdefault(_LISTS[kind], []).append(text)
        elif kind == _COMMON_NAME:
            name = text
        elif kind == _SERIAL:
            serial = text
    return {
        **{field: lists.get(field) for field in _LISTS.values()},
        "SerialNumber": serial,
        "CommonName": name,
        "Names": [{"Type": list(kind), "Value": text} for kind, text in pairs] or None,
        "ExtraNames": None,
    }


def _validity(opened: x509.Certificate) -> tuple[str, str]:
    try:
        return _time(opened.not_valid_before_utc), _time(opened.not_valid_after_utc)
    except (ValueError, OverflowError) as error:
        raise PkiError(f"validity cannot be read: {error}") from error


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _dns_names(opened: x509.Certificate) -> list[str] | None:
    try:
        names = opened.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    return names.get_values_for_type(x509.DNSName) or None


def _is_ca(opened: x509.Certificate) -> bool:
    try:
        return opened.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
