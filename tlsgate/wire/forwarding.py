"""What of a message may pass to the other side: hop-by-hop fields, identity headers, forwarding headers, trailers.

Knows names and lists of addresses; must not know upstreams, APIs or certificates. Removal happens at ingress, before the gateway adds
anything of its own, so that no ``Connection: X-Injected`` of a client can delete what the gateway added.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from tlsgate import __version__
from tlsgate.errors import WireError
from tlsgate.model.exchange import Exchange, HeaderList

__all__ = [
    "AddressSet",
    "build_address_set",
    "build_request_headers",
    "client_address",
    "filter_response_headers",
    "filter_trailers",
    "validate_header",
    "validate_headers",
]

_USER_AGENT = (b"User-Agent", b"Tyk/" + __version__.encode("ascii"))

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)
# The gateway's own word on limits is the only one (keys reference, section 8).
_NOT_FROM_UPSTREAM = _HOP_BY_HOP | {b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}
# `Expect` is met by the gateway itself, `HTTP2-Settings` belongs to an upgrade that is never taken, the last two are written anew.
_REQUEST_DROPPED = _HOP_BY_HOP | {b"expect", b"http2-settings", b"host", b"x-forwarded-for"}

_IDENTITY = frozenset({b"x-forwarded-client-cert", b"client-cert", b"client-cert-chain", b"x-client-cert", b"x-arr-clientcert"})
_IDENTITY_PREFIXES = (
    b"x-ssl-client",
    b"ssl-client-",
    b"x-forwarded-tls-client-cert",  # Traefik
    b"x-amzn-mtls-clientcert",  # AWS load balancers
)
_CONTROL_PREFIX = b"x-tyk-"

# RFC 9110 section 6.5.1 and decisions 2.7: framing, routing, credentials, identity, and how content is to be understood.
_TRAILER_DROPPED = (
    _HOP_BY_HOP
    | _IDENTITY
    | {
        b"age",
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-range",
        b"content-type",
        b"cookie",
        b"date",
        b"expect",
        b"expires",
        b"forwarded",
        b"host",
        b"http2-settings",
        b"location",
        b"max-forwards",
        b"pragma",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        b"x-api-key",
        b"x-http-method",
        b"x-http-method-override",
        b"x-method-override",
        b"x-original-url",
        b"x-real-ip",
        b"x-rewrite-url",
    }
)
_TRAILER_PREFIXES = (*_IDENTITY_PREFIXES, _CONTROL_PREFIX, b"x-forwarded-", b"if-", b"sec-", b"proxy-")

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_NAME_BYTES = b"!#$%&'*+.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-"
_VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


def build_request_headers(
    exchange: Exchange,
    *,
    host: bytes,
    peer: str,
    protected: frozenset[bytes],
    keep_client_certificate_headers: bool,
    remove_xff: bool,
) -> HeaderList:
    """Return the header lines for the upstream, in the client's order, without body framing.

    Host comes first, ``X-Forwarded-For`` last: all earlier members plus the peer, in one line. ``Expect`` is dropped, since the
    gateway meets it itself. Costs about 1.6 us for 6 to 8 fields (``benchmarks/micro_wire.py``).

    Source: RFC 9110 section 7.6.1; API definitions reference, sections 9.3 to 9.5; decisions 2.10; field report B34.

    :param exchange: after ``wire.framing.examine``.
    :param host: value of the Host line.
    :param peer: textual address of the client's connection.
    :param protected: lower-case names that stay although ``Connection`` lists them; their spellings with ``_`` are dropped.
    :param keep_client_certificate_headers: pass ``X-Forwarded-Client-Cert`` and its kind through.
    :param remove_xff: send no ``X-Forwarded-For`` at all.
    :returns: a new list.
    """
    index = exchange.index
    headers: HeaderList = [(b"Host", host)]
    dropped: frozenset[bytes] = _REQUEST_DROPPED
    connection = index.get(b"connection")
    if connection is not None and connection not in _USUAL_OPTIONS:
        dropped = _with_listed(connection, protected)
    names = b"\n".join(index)
    if b"_" in names or b"x-tyk-" in names or (b"client" in names and not keep_client_certificate_headers):
        headers += [
            line for line in exchange.headers if not _is_unwanted(line[0].lower(), dropped, protected, keep_client_certificate_headers)
        ]
    else:
        headers += [line for line in exchange.headers if line[0].lower() not in dropped]
    if index.get(b"te") == b"trailers":
        headers.append((b"Te", b"trailers"))
    if b"user-agent" not in index:
        headers.append(_USER_AGENT)
    if not remove_xff:
        previous = index.get(b"x-forwarded-for")
        address = peer.encode("ascii")
        headers.append((b"X-Forwarded-For", address if previous is None else b", ".join([*_members(previous), address])))
    return headers


def filter_response_headers(headers: HeaderList) -> HeaderList:
    """Return the lines of an upstream's answer that may pass, in order, without body framing.

    Source: RFC 9110 section 7.6.1; API definitions reference, section 9.4.

    :param headers: as parsed; ``Content-Length`` and ``Transfer-Encoding`` are to be read before.
    :returns: a new list.
    """
    kept: HeaderList = []
    listed: bytes | None = None
    for line in headers:
        name = line[0].lower()
        if name not in _NOT_FROM_UPSTREAM:
            kept.append(line)
        elif name == b"connection":
            listed = line[1] if listed is None else listed + b"," + line[1]
    if listed is None or listed.lower() in _USUAL_OPTIONS:
        return kept
    options = _split_options(listed)
    return [line for line in kept if line[0].lower() not in options]


def filter_trailers(trailers: HeaderList, protected: frozenset[bytes] = frozenset()) -> HeaderList:
    """Return the trailers that may pass: none that a server could take for credentials, identity, framing or routing.

    Source: decisions 2.7 and 2.10; RFC 9110 section 6.5.1.

    :param trailers: as parsed.
    :param protected: further lower-case names to drop (those that the API sets or reads credentials from).
    :returns: a new list.
    """
    kept: HeaderList = []
    for line in trailers:
        name = line[0].lower().replace(b"_", b"-")
        if name not in _TRAILER_DROPPED and name not in protected and not name.startswith(_TRAILER_PREFIXES):
            kept.append(line)
    return kept


def client_address(index: Mapping[bytes, bytes], peer: str, xff_depth: int, trusted: AddressSet) -> str:
    """Return the address that IP lists and logs speak of.

    Forwarding headers count only when the peer is a trusted proxy (in Tyk anybody passes an IP list by sending ``X-Real-IP``).
    Source: API definitions reference, section 9.5; field report B34.

    :param index: as of ``Exchange.index``.
    :param peer: textual address of the client's connection.
    :param xff_depth: 0 takes the leftmost member of ``X-Forwarded-For``, N the Nth from the right.
    :param trusted: networks of trusted proxies.
    :returns: a textual address, or empty when the list has fewer than ``xff_depth`` members.
    """
    if not trusted or peer not in trusted:
        return peer
    real = index.get(b"x-real-ip")
    if real is not None:
        address = _textual_address(real)
        if address is not None:
            return address
    members = _members(index.get(b"x-forwarded-for", b""))
    if not members:
        return peer
    if xff_depth > len(members):
        return ""
    return _textual_address(members[-xff_depth] if xff_depth > 0 else members[0]) or peer


class AddressSet:
    """A set of networks; an IPv4-mapped IPv6 address is the IPv4 address.

    A look-up costs one dict access for an address seen before, else one per distinct prefix length.
    """

    __slots__ = ("_known", "_networks")

    _MAX_KNOWN = 4096

    def __init__(self, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> None:
        grouped: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            grouped.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        self._networks = tuple((version, shift, frozenset(prefixes)) for (version, shift), prefixes in sorted(grouped.items()))
        self._known: dict[str, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: str) -> bool:
        """Tell whether one of the networks holds the address; text that is no address is in none.

        :param address: textual address.
        """
        known = self._known.get(address)
        if known is None:
            known = self._look_up(address)
            if len(self._known) >= self._MAX_KNOWN:
                self._known.clear()
            self._known[address] = known
        return known

    def _look_up(self, text: str) -> bool:
        try:
            address = _unmapped(ipaddress.ip_address(text))
        except ValueError:
            return False
        number = int(address)
        return any(version == address.version and number >> shift in prefixes for version, shift, prefixes in self._networks)


def build_address_set(texts: Iterable[str]) -> AddressSet:
    """Return the set of the given networks.

    :param texts: addresses or CIDR notation; host bits are ignored (``10.1.2.3/8`` is ``10.0.0.0/8``), as in Tyk.
    :raises ValueError: naming the text that is neither.
    """
    return AddressSet([_parse_network(text) for text in texts])


def validate_header(name: bytes, value: bytes) -> None:
    """Check a line again where it is written: whatever a step did to it, it stays one line.

    Source: RFC 9110 sections 5.1 and 5.5; reliability reference 2b (injection at the writer).

    :param name: field name.
    :param value: field value.
    :raises WireError: the name is no token, or the value holds a control byte other than the tab.
    """
    if _NAME.match(name) is None:
        raise WireError("bad header name")
    if value.translate(None, _VALUE_BYTES):
        raise WireError("control byte in a header value")


def validate_headers(headers: HeaderList) -> None:
    """Check all lines as :func:`validate_header` does, at about 1 us for ten.

    :param headers: lines about to be written.
    :raises WireError: one of them is bad.
    """
    if not headers:
        return
    names, values = zip(*headers)  # noqa: B905 - pairs by type
    if b"".join(values).translate(None, _VALUE_BYTES):
        raise WireError("control byte in a header value")
    if b"" in names or b"".join(names).translate(None, _NAME_BYTES):
        raise WireError("bad header name")


_USUAL_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"Keep-Alive", b"Upgrade"})


def _with_listed(connection: bytes, protected: frozenset[bytes]) -> frozenset[bytes]:
    if connection.lower() in _USUAL_OPTIONS:
        return _REQUEST_DROPPED
    return _REQUEST_DROPPED | (_split_options(connection) - protected)


def _split_options(connection: bytes) -> frozenset[bytes]:
    return frozenset(option.strip(b" \t") for option in connection.lower().split(b","))


def _is_unwanted(name: bytes, dropped: frozenset[bytes], protected: frozenset[bytes], keep_identity: bool) -> bool:
    if name in dropped:
        return True
    plain = name.replace(b"_", b"-")
    if plain != name and (plain in dropped or plain in protected):
        return True
    if plain.startswith(_CONTROL_PREFIX):
        return True
    return not keep_identity and (plain in _IDENTITY or plain.startswith(_IDENTITY_PREFIXES))


def _members(value: bytes) -> list[bytes]:
    return [member for part in value.split(b",") if (member := part.strip(b" \t"))]


def _textual_address(raw: bytes) -> str | None:
    try:
        return str(_unmapped(ipaddress.ip_address(_scopeless(raw.decode("ascii")))))
    except ValueError:  # UnicodeDecodeError is one
        return None


def _scopeless(text: str) -> str:
    if "%" in text:
        raise ValueError("zone id in an address")
    return text


def _unmapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    address, slash, length = text.strip().partition("/")
    if slash and not (length.isascii() and length.isdigit()):  # ipaddress would take a netmask
        raise ValueError(f"not a network: {text!r}")
    network = ipaddress.ip_network(f"{address}{slash}{length}", strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
        return ipaddress.IPv4Network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network
