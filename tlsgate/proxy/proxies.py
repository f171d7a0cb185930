"""Which forward proxy leads to an upstream: one that a definition names, or those of the environment; knows nothing of connections.

Source: API definitions reference, section 10.7; the environment is read as Go's ``httpproxy`` reads it, since operators bring theirs along.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from tlsgate.errors import WireError
from tlsgate.wire.names import normalise_host

__all__ = ["ProxyAddress", "ProxyEnvironment", "parse_proxy_url"]

_PORTS = {"http": 80, "https": 443}
_VARIABLES = {"http": "HTTP_PROXY", "ws": "HTTP_PROXY", "https": "HTTPS_PROXY", "wss": "HTTPS_PROXY"}


class ProxyAddress(NamedTuple):
    """Where a proxy is and how it is asked."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    """Normalised; IPv6 without brackets."""
    port: int
    authorization: bytes = b""
    """Value of ``Proxy-Authorization``; empty sends none."""


def parse_proxy_url(url: str) -> ProxyAddress:
    """Take the address of a proxy apart.

    :param url: ``http://`` or ``https://``, with user name and password where the proxy wants them (percent-encoded).
    :raises ValueError: not usable; the text never shows a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = normalise_host(f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "")
    except (ValueError, WireError):
        raise ValueError("host or port of the proxy cannot be read") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError("a proxy is reached over http:// or https://")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    authorization = b""
    if parts.username is not None:
        login = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        authorization = b"Basic " + base64.b64encode(login)
    return ProxyAddress(scheme, host, port or _PORTS[scheme], authorization)


class ProxyEnvironment:
    """``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` of one moment.

    :param environ: the process environment of the moment of loading.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._urls = {name: environ.get(name) or environ.get(name.lower(), "") for name in ("HTTP_PROXY", "HTTPS_PROXY")}
        self._exceptions = [
            exception
            for text in (environ.get("NO_PROXY") or environ.get("no_proxy", "")).split(",")
            if (exception := _parse_exception(text))
        ]

    def find(self, scheme: str, host: str, port: int) -> ProxyAddress | None:
        """Return the proxy for a target, None to go straight there.

        :param scheme: of the target; only HTTP ones have proxies in the environment.
        :param host: normalised.
        :raises ValueError: there is one and it cannot be used: going around it is not what was asked for.
        """
        name = _VARIABLES.get(scheme, "")
        url = self._urls.get(name, "")
        if not url or self._is_excepted(host, port):
            return None
        try:
            return parse_proxy_url(url if "://" in url else f"http://{url}")
        except ValueError as problem:
            raise ValueError(f"{name} in the environment: {problem}") from None

    def _is_excepted(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(exception.covers(host, port, address) for exception in self._exceptions)


class _Exception(NamedTuple):
    """One entry of ``NO_PROXY``: a network, or the end of names, or everything."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    suffix: str = ""
    """With a leading dot."""
    itself: bool = False
    """The name without the dot counts too."""
    port: int = 0
    """0 is any."""

    def covers(self, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        if self.port and self.port != port:
            return False
        if self.network is not None:
            return address is not None and address in self.network
        return not self.suffix or host.endswith(self.suffix) or (self.itself and host == self.suffix[1:])


def _parse_exception(text: str) -> _Exception | None:
    entry = text.strip().lower()
    if entry == "*":
        return _Exception()
    host, port = entry, 0
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        port = _port(rest[1:])
    elif entry.count(":") == 1:
        host, _, rest = entry.partition(":")
        port = _port(rest)
    try:
        return _Exception(network=ipaddress.ip_network(host, strict=False), port=port)
    except ValueError:
        pass
    name = host.removeprefix("*").rstrip(".")
    if not name.strip("."):
        return None
    if name.startswith("."):
        return _Exception(suffix=name, port=port)
    try:
        return _Exception(suffix=f".{normalise_host(name)}", itself=True, port=port)
    except WireError:
        return None


def _port(digits: str) -> int:
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
