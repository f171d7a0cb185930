"""The targets of one API and how paths are joined to them; knows nothing of connections.

Source: API definitions reference, sections 9.1 to 9.3 and 10.6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from tlsgate.wire.names import normalise_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.proxy.pool import Destination

__all__ = ["ParsedTarget", "ProxiedTarget", "UpstreamPlan", "UpstreamTarget", "parse_target_url"]

_PORTS = {"http": 80, "ws": 80, "tcp": 0, "https": 443, "wss": 443, "tls": 0}
_TLS = ("https", "wss", "tls")


class ParsedTarget(NamedTuple):
    """The parts of a target URL."""

    scheme: str
    host: str
    """Normalised; IPv6 without brackets."""
    port: int
    host_header: bytes
    path: bytes
    query: bytes

    @property
    def uses_tls(self) -> bool:
        """Whether the upstream speaks TLS."""
        return self.scheme in _TLS


def parse_target_url(url: str, *, default_scheme: str = "http") -> ParsedTarget:
    """Take a target URL apart; user name and password in it are not used.

    :param url: a missing scheme is ``default_scheme``.
    :raises ValueError: not usable as an address.
    """
    if "://" not in url:
        url = f"{default_scheme}://{url}"
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"scheme {scheme!r} is none of {', '.join(_PORTS)}")
    if not parts.hostname:
        raise ValueError("no host name")
    port = parts.port if parts.port is not None else _PORTS[scheme]
    if not port:
        raise ValueError("no port")
    host = normalise_host(f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname)
    netloc = parts.netloc.rpartition("@")[2]
    if not netloc.isascii():
        # A name in letters of any language goes out as what it is looked up by.
        netloc = host if parts.port is None else f"{host}:{port}"
    path = parts.path.encode("utf-8")
    query = parts.query.encode("utf-8")
    for piece in (path, query, netloc.encode("utf-8")):
        if any(byte <= 0x20 or byte >= 0x7F for byte in piece):
            raise ValueError("a blank, control or non-ASCII character")
    return ParsedTarget(scheme, host, port, netloc.removesuffix(":").encode("ascii"), path, query)


class UpstreamTarget:
    """One target.

    :param destination: returns where to connect and as whom (called per request, so that a renewed context is used).
    """

    __slots__ = (
        "_base",
        "_keep_slash",
        "_raw_path",
        "address",
        "destination",
        "for_upgrade",
        "host_header",
        "prefix_length",
        "proxy_authorization",
        "query",
        "scheme",
    )

    def __init__(self, parsed: ParsedTarget, destination: Callable[[], Destination], *, disable_strip_slash: bool) -> None:
        self.destination = destination
        self.host_header = parsed.host_header
        self.query = parsed.query
        self.scheme = "https" if parsed.uses_tls else "http"
        self.prefix_length = 0
        """Bytes of a joined path that stand before its origin form."""
        self.address = f"[{parsed.host}]:{parsed.port}" if ":" in parsed.host else f"{parsed.host}:{parsed.port}"
        self.proxy_authorization = b""
        """For requests that themselves go to a forward proxy."""
        self.for_upgrade: UpstreamTarget = self
        """The target for requests that change the protocol."""
        self._raw_path = parsed.path
        self._base = parsed.path.rstrip(b"/")
        self._keep_slash = disable_strip_slash

    def join(self, path: bytes) -> bytes:
        """Join a request path to the target's (reference, table 9.1).

        :param path: with a leading slash.
        :returns: never empty, with a leading slash.
        """
        base = self._base
        if not base and not self._keep_slash:
            if path[:2] != b"//":
                return path
            return b"/" + path.lstrip(b"/")
        rest = path.lstrip(b"/")
        if not rest:
            return (self._raw_path if self._keep_slash else base) or b"/"
        return base + b"/" + rest


class ProxiedTarget(UpstreamTarget):
    """A target whose requests go to a forward proxy in absolute-form (RFC 9112 section 3.2.2).

    :param tunnelled: the same target through ``CONNECT``: a proxy passes no upgrade on.
    """

    __slots__ = ("_prefix",)

    def __init__(
        self,
        parsed: ParsedTarget,
        destination: Callable[[], Destination],
        *,
        disable_strip_slash: bool,
        authorization: bytes,
        tunnelled: UpstreamTarget,
    ) -> None:
        super().__init__(parsed, destination, disable_strip_slash=disable_strip_slash)
        self._prefix = b"http://" + parsed.host_header
        self.prefix_length = len(self._prefix)
        self.proxy_authorization = authorization
        self.for_upgrade = tunnelled

    def join(self, path: bytes) -> bytes:
        """Join a request path to the target's, after the target's authority."""
        return self._prefix + super().join(path)


class UpstreamPlan:
    """The targets of an API, taken in turn."""

    __slots__ = ("_next", "_targets", "keep_alive", "preserve_host")

    def __init__(self, targets: tuple[UpstreamTarget, ...], *, preserve_host: bool, keep_alive: bool) -> None:
        self._targets = targets
        self._next = 0
        self.preserve_host = preserve_host
        self.keep_alive = keep_alive

    def next_target(self) -> UpstreamTarget:
        """Return the target whose turn it is (round robin)."""
        targets = self._targets
        if len(targets) == 1:
            return targets[0]
        number = self._next
        self._next = (number + 1) % len(targets)
        return targets[number]
