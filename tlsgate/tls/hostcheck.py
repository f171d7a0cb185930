"""Whether a certificate names an upstream host; knows nothing of connections, trust or pins.

service-identity compares, one name at a time: a name that nobody could ask for does not spoil the others of a certificate. Only subject
alternative names count, whatever the common name says.
Source: RFC 9525 sections 6.3 and 6.4; field reports B21, B22.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import NameOID
from service_identity import VerificationError
from service_identity.exceptions import CertificateError
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern, verify_service_identity

from tlsgate.wire.names import is_ip_literal

if TYPE_CHECKING:
    from service_identity.hazmat import CertificatePattern, ServiceID

__all__ = ["find_common_name", "find_name_fault"]

_SHOWN_NAMES = 5


def find_name_fault(certificate: x509.Certificate, host: str) -> str | None:
    """Return why a certificate is not for a host, None when it is.

    A wildcard stands for exactly one whole label, an A-label (``xn--``) included, as in Go and in RFC 9525; underscores and ``--`` are
    ordinary characters. An IP address needs a subject alternative name of that type.

    :param certificate: the upstream's leaf.
    :param host: normalised; IPv6 without brackets.
    """
    names = _alternative_names(certificate)
    if names is None:
        return "certificate has no subject alternative name (the common name does not count)"
    try:
        service: ServiceID | None = IPAddress_ID(host) if is_ip_literal(host) else DNS_ID(host)
    except ValueError:
        service = None
    if service is None or host.startswith("."):
        return f"{host!r} cannot be the name of a certificate"
    for pattern in _patterns(names):
        try:
            verify_service_identity([pattern], [_without_a_label(service, pattern)], [])
        except VerificationError:
            continue
        return None
    return f"certificate is for {_describe(names)}, not for {host}"


def find_common_name(certificate: x509.Certificate) -> str | None:
    """Return the last common name of the subject, as Go reads it."""
    try:
        attributes = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    return str(attributes[-1].value) if attributes else None


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return None


def _patterns(names: x509.SubjectAlternativeName) -> list[CertificatePattern]:
    found: list[CertificatePattern] = []
    for name in names:
        if isinstance(name, x509.DNSName):
            try:
                found.append(DNSPattern.from_bytes(name.value.encode()))
            except CertificateError:
                continue
        elif isinstance(name, x509.IPAddress) and not hasattr(name.value, "netmask"):
            found.append(IPAddressPattern(name.value))
    return found


def _without_a_label(service: ServiceID, pattern: CertificatePattern) -> ServiceID:
    """Let ``*`` stand for an A-label too: service-identity never matches those, not even as a whole."""
    if isinstance(service, DNS_ID) and isinstance(pattern, DNSPattern) and pattern.pattern.startswith(b"*."):
        head, _, tail = service.hostname.partition(b".")
        if head.startswith(b"xn--") and tail:
            return DNS_ID("a-label." + tail.decode("ascii"))
    return service


def _describe(names: x509.SubjectAlternativeName) -> str:
    shown = [str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)]
    text = ", ".join(repr(name) for name in shown[:_SHOWN_NAMES]) or "no host"
    return f"{text} and {len(shown) - _SHOWN_NAMES} more" if len(shown) > _SHOWN_NAMES else text
