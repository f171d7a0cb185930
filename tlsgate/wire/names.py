"""Host names as one normal form: certificates, TLS policies and routes all compare what this module returns.

Knows the syntax of names and of ``host:port``; must not know which names anybody serves.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import idna

from tlsgate.errors import WireError

__all__ = ["host_matches_wildcard", "is_ip_literal", "normalise_dns_name", "normalise_host", "split_host_port"]

_MAX_NAME = 253
_MAX_AUTHORITY = _MAX_NAME + 1 + len(":65535")  # the longest name, its final dot, a port

_LABELS = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")
_HOST_PORT = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([1-9][0-9]{0,4}))?\Z")


def normalise_host(text: str) -> str:
    """Return the normal form of a host that may carry a port, brackets, upper case or a final dot.

    Underscores and labels with ``--`` pass, although IDNA forbids them: names like these exist in DNS and in certificates.
    Source: decisions 1 (one normaliser for all), field report B21.

    :param text: ``Host``, ``host:port``, ``[v6]``, ``[v6]:port`` or a bare IPv6 address; Unicode names become A-labels.
    :returns: lower case, no port, no final dot; IPv6 in its short form without brackets.
    :raises WireError: no host can be spelled like this.
    """
    host = text
    if text.count(":") > 1 and not text.startswith("["):
        return _short_ipv6(text)
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not _is_port(port[1:], port[0])):
            raise WireError("unbalanced brackets or bad port in host")
        return _short_ipv6(host)
    host, colon, port = text.partition(":")
    if colon and not _is_port(port, colon):
        raise WireError("bad port in host")
    return normalise_dns_name(host)


def normalise_dns_name(text: str) -> str:
    """Return the normal form of a bare name: no port, no brackets; IPv4 addresses pass as names.

    :param text: the name, Unicode allowed, one final dot allowed.
    :returns: lower case A-labels without final dot.
    :raises WireError: empty, too long (253, 63 a label), an empty label, or a character outside letters, digits, ``-`` and ``_``.
    """
    name = text.lower() if text.isascii() else _to_ascii(text)
    if name.endswith("."):
        name = name[:-1]
    if len(name) > _MAX_NAME or _LABELS.match(name) is None:
        raise WireError("not a host name")
    return name


def split_host_port(value: bytes) -> tuple[str, int | None]:
    """Return host and port of a Host field or of an authority, read strictly.

    Refused, though RFC 3986 could spell them: user information, percent escapes, an empty port, port 0, leading zeros, zone ids.
    Source: RFC 9112 section 3.2, RFC 9110 section 7.2.

    :param value: the bytes as sent, without blanks around them.
    :returns: (normal form as of :func:`normalise_host`, port or None).
    :raises WireError: anything else.
    """
    if len(value) > _MAX_AUTHORITY:
        raise WireError("host too long")
    return _split(value)


def host_matches_wildcard(pattern: str, host: str) -> bool:
    """Tell whether ``*.rest`` covers the host, for exactly one label.

    :param pattern: normal form with a leading ``*.``; any other pattern covers nothing.
    :param host: normal form.
    """
    if not pattern.startswith("*."):
        return False
    label, _, rest = host.partition(".")
    return bool(label) and bool(rest) and rest == pattern[2:]


def is_ip_literal(host: str) -> bool:
    """Tell whether a normal form is an IP address and not a name.

    :param host: as returned by :func:`normalise_host`.
    """
    if ":" in host:
        return True
    # The last label of a name is never all digits, so this look spares nearly all names the parser.
    return host[-1:].isdigit() and _is_ipv4(host)


@lru_cache(maxsize=2048)
def _split(value: bytes) -> tuple[str, int | None]:
    # Cached because it is asked for each request with the same few values; the key is bounded in length by the caller.
    found = _HOST_PORT.match(value)
    if found is None:
        raise WireError("malformed host")
    host, digits = found.groups()
    port = None
    if digits is not None:
        port = int(digits)
        if port > 65535:
            raise WireError("port out of range")
    text = host.decode("ascii")
    if text[0] == "[":
        return _short_ipv6(text[1:-1]), port
    return normalise_dns_name(text), port


def _to_ascii(text: str) -> str:
    # Label by label: idna refuses underscores and `--` in the labels that are ASCII already.
    try:
        mapped = idna.uts46_remap(text, std3_rules=False, transitional=False)
        return ".".join(label.lower() if label.isascii() else idna.alabel(label).decode("ascii") for label in mapped.split("."))
    except (idna.IDNAError, UnicodeError) as error:
        raise WireError("not an internationalised host name") from error


def _short_ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise WireError("not an IPv6 address") from error
    if address.scope_id is not None:
        raise WireError("zone id in host")
    return str(address)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_port(digits: str, colon: str) -> bool:
    return colon == ":" and digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65535
