"""Absolute http and https addresses in one normal form, to be compared; knows nothing of who is reached by them.

Source: RFC 3986 sections 6.2.2 and 6.2.3.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tlsgate.errors import WireError
from tlsgate.wire.names import split_host_port
from tlsgate.wire.target import canonicalise

__all__ = ["Address", "parse_address"]

_ABSOLUTE = re.compile(r"(https?)://([^/?#]+)(/[^?#]*)?(?:[?#].*)?", re.IGNORECASE | re.DOTALL)
_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """An address without query and fragment."""

    origin: str
    """Scheme, host in its normal form, and the port where it is not the scheme's own."""
    path: bytes
    """Canonical (``wire.target``); at least a slash."""


def parse_address(text: str) -> Address:
    """Return the normal form of an address; query and fragment do not count.

    :raises WireError: no absolute http or https address, or one with user information.
    """
    found = _ABSOLUTE.fullmatch(text)
    if found is None or not text.isascii():
        raise WireError("no absolute http or https address")
    scheme = found[1].lower()
    host, port = split_host_port(found[2].encode())
    if ":" in host:
        host = f"[{host}]"
    origin = f"{scheme}://{host}" if port in (None, _PORTS[scheme]) else f"{scheme}://{host}:{port}"
    return Address(origin, canonicalise((found[3] or "/").encode()))
