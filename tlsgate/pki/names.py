"""Name constraints of CA certificates, judged on the names of one certificate below; knows nothing of paths.

Fails closed: a constrained name that cannot be compared is refused. The work is bounded, since both lists come from certificates.
"""

from __future__ import annotations

import ipaddress
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from tlsgate.pki.certificate import Certificate

__all__ = ["MAX_COMPARISONS", "find_violation"]

MAX_COMPARISONS = 20000
"""Comparisons of a name with a subtree, for one certificate under one CA (about 20 ms)."""


def find_violation(constraints: x509.NameConstraints, certificate: Certificate) -> str | None:
    """Tell which name of a certificate lies outside what a CA above it may sign for.

    :param constraints: the extension of the CA; both its lists count, critical or not.
    :param certificate: a certificate below; with ``emailAddress`` attributes and, where it has no dNSName, common names that
        look like host names taken as names as well (OpenSSL does so, RFC 5280 asks for the first).
    :returns: a reason, None when every name is within bounds.
    Source: RFC 5280 section 4.2.1.10.
    """
    permitted = list(constraints.permitted_subtrees or ())
    excluded = list(constraints.excluded_subtrees or ())
    try:
        with warnings.catch_warnings():  # about lengths; rare enough to afford it
            warnings.simplefilter("ignore")
            names = list(_names(certificate))
    except (ValueError, TypeError):  # the library raises both on odd subjects
        return "a name of the certificate cannot be read"
    if len(names) * (len(permitted) + len(excluded)) > MAX_COMPARISONS:
        return "too many names and name constraints"
    for name in names:
        form = type(name)
        matches = _MATCHERS.get(form)
        allowed = [subtree for subtree in permitted if type(subtree) is form]
        refused = [subtree for subtree in excluded if type(subtree) is form]
        if not allowed and not refused:
            continue
        if matches is None:
            return f"constraints on names of kind {form.__name__} are not supported"
        try:
            if allowed and not any(matches(subtree.value, name.value, False) for subtree in allowed):
                return f"name {str(name.value)[:100]!r} is not permitted"
            if any(matches(subtree.value, name.value, True) for subtree in refused):
                return f"name {str(name.value)[:100]!r} is excluded"
        except ValueError:
            return f"name {str(name.value)[:100]!r} cannot be compared with a constraint"
    return None


def _names(certificate: Certificate) -> Iterator[x509.GeneralName]:
    has_dns = False
    for name in certificate.alternative_names or ():
        has_dns = has_dns or isinstance(name, x509.DNSName)
        yield name
    subject = certificate.opened.subject
    if not subject.rdns:
        return
    yield x509.DirectoryName(subject)
    for attribute in subject:
        value = attribute.value
        if attribute.oid == NameOID.EMAIL_ADDRESS:
            yield x509.RFC822Name._init_without_validation(str(value))
        elif attribute.oid == NameOID.COMMON_NAME and not has_dns and _looks_like_host(str(value)):
            yield x509.DNSName._init_without_validation(str(value))


def _looks_like_host(text: str) -> bool:
    return "." in text and text.replace(".", "").replace("-", "").replace("_", "").replace("*", "").isalnum()


def _host_within(host: str, constraint: str) -> bool:
    """``example.com`` holds itself and everything below; ``.example.com`` only what is below."""
    if not constraint:
        return True
    if constraint.startswith("."):
        return host.endswith(constraint) and host != constraint
    return host == constraint or host.endswith("." + constraint)


def _dns(constraint: str, name: str, excluding: bool) -> bool:
    host = _host(name)
    constraint = constraint.lower().rstrip(".")
    if excluding and host.startswith("*."):
        # A wildcard is excluded when any host that it stands for is.
        below = host[1:]
        return _host_within("x" + below, constraint) or constraint.lstrip(".").endswith(below) or "." + constraint.lstrip(".") == below
    return _host_within(host, constraint)


def _host(name: str) -> str:
    host = name.lower().rstrip(".")
    if not host or not host.isascii() or any(char <= " " for char in host):
        raise ValueError("not a host name")
    return host


def _mail(constraint: str, name: str, excluding: bool) -> bool:
    local, at, domain = name.rpartition("@")
    if not at or not local:
        raise ValueError("not a mail address")
    domain = _host(domain)
    constraint_local, at, constraint_domain = constraint.rpartition("@")
    constraint_domain = constraint_domain.lower()
    if at:
        # For exclusion the local part is compared without case: most mail systems do not tell Root from root.
        same = local.lower() == constraint_local.lower() if excluding else local == constraint_local
        return same and domain == constraint_domain
    if constraint_domain.startswith("."):
        return domain.endswith(constraint_domain)
    return domain == constraint_domain or not constraint_domain


def _uri(constraint: str, name: str, _excluding: bool) -> bool:
    host = urlsplit(name).hostname
    if not host or ":" in host or host.replace(".", "").isdigit():
        raise ValueError("no host name in the URI")
    host = _host(host)
    constraint = constraint.lower()
    if constraint.startswith("."):
        return host.endswith(constraint)
    return host == constraint or not constraint


def _address(constraint: Any, name: Any, _excluding: bool) -> bool:
    if isinstance(name, ipaddress.IPv4Network | ipaddress.IPv6Network):
        raise ValueError("a network is no address")
    return name in constraint


def _directory(constraint: x509.Name, name: x509.Name, _excluding: bool) -> bool:
    wanted = constraint.rdns
    return len(wanted) <= len(name.rdns) and all(_rdn(mine) == _rdn(theirs) for mine, theirs in zip(wanted, name.rdns, strict=False))


def _rdn(rdn: Iterable[x509.NameAttribute[Any]]) -> frozenset[tuple[str, str | bytes]]:
    return frozenset((attribute.oid.dotted_string, _folded(attribute.value)) for attribute in rdn)


def _folded(value: str | bytes) -> str | bytes:
    # RFC 5280 section 7.1: without case, inner white space as one blank.
    return value if isinstance(value, bytes) else " ".join(unicodedata.normalize("NFKC", value).casefold().split())


_MATCHERS: dict[type[x509.GeneralName], Callable[[Any, Any, bool], bool]] = {
    x509.DNSName: _dns,
    x509.RFC822Name: _mail,
    x509.UniformResourceIdentifier: _uri,
    x509.IPAddress: _address,
    x509.DirectoryName: _directory,
}
