"""Single values that more than one part of the configuration uses: TLS versions, suites, networks, host names, patterns, status codes.

Knows their syntax; must not know fields. Each function raises ``ValueError`` with the reason.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime

import re2

from tlsgate.errors import WireError
from tlsgate.wire.names import normalise_host

__all__ = [
    "CIPHER_SUITES",
    "compile_pattern",
    "parse_expiry",
    "parse_host",
    "parse_network",
    "parse_suite",
]

_EXPIRY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}\Z")
_PATTERN_OPTIONS = re2.Options()
_PATTERN_OPTIONS.log_errors = False
_PATTERN_OPTIONS.max_mem = 8 << 20

CIPHER_SUITES: frozenset[str] = frozenset(
    {
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    }
)
"""Names of Go's ``crypto/tls``, which Tyk uses (mTLS reference, section 3), without RC4 and 3DES, which no OpenSSL of today has."""
_SUITE_ALIASES = {
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}


def parse_suite(text: str) -> str:
    """Return the full name of a cipher suite; names are taken without regard to case.

    :raises ValueError: no such suite.
    """
    name = text.strip().upper()
    name = _SUITE_ALIASES.get(name, name)
    if name not in CIPHER_SUITES:
        raise ValueError("no such cipher suite")
    return name


def parse_network(text: str) -> str:
    """Return an address or a network in CIDR form in its short spelling.

    :raises ValueError: neither; zone ids are refused.
    """
    if "%" in text:
        raise ValueError("zone ids have no place here")
    if "/" in text:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    return str(ipaddress.ip_address(text.strip()))


def parse_host(text: str) -> str:
    """Return the normal form of a host name.

    :raises ValueError: no host can be spelled like this.
    """
    try:
        return normalise_host(text)
    except WireError as error:
        raise ValueError(error.reason) from None


def parse_expiry(text: str) -> float | None:
    """Return the moment at which something expires.

    Source: reference, section 2.3: ``YYYY-MM-DD HH:MM`` in UTC; "" and "-1" are never.

    :returns: epoch seconds, None for never.
    :raises ValueError: not a date: Tyk takes such a text for expired already.
    """
    if text in ("", "-1"):
        return None
    if _EXPIRY.match(text) is None:
        raise ValueError("not a date in the form YYYY-MM-DD HH:MM")
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()


def compile_pattern(pattern: str) -> re2._Regexp:
    """Compile a regular expression that matches in linear time.

    :raises ValueError: re2 does not take it.
    """
    try:
        return re2.compile(pattern, _PATTERN_OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression of RE2 ({text})") from None
