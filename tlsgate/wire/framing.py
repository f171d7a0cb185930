"""What llhttp lets through and a gateway must not: lengths, Host, names, versions, Upgrade; one look per request.

Fills the request parts of the exchange. Knows HTTP/1.1; must not know routes, APIs or transports. Whatever is ambiguous is refused,
and the connection closes after each refusal, because nobody can tell where the next request would start.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tlsgate.errors import WireError
from tlsgate.model.exchange import Exchange, HeaderList
from tlsgate.wire.names import split_host_port
from tlsgate.wire.target import Target, parse_target

__all__ = ["Framing", "FramingLimits", "examine"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_PROTOCOL = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?\Z")
_NAME_BYTES = b"!#$%&'*+.^`|~0123456789abcdefghijklmnopqrstuvwxyz-"  # RFC 9110 section 5.6.2 in lower case, without "_"
_VALUE_BYTES = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_BLANKS = b" \t"

_USUAL_METHODS = frozenset({b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH"})
# 18 digits stay below 2^63, and far below the 4,300 digits that Python refuses to convert.
_MAX_LENGTH_DIGITS = 18
_NEVER_TAKEN = frozenset({b"h2c", b"h2", b"tls"})  # answered as plain requests, after which the connection closes
_SINGLE_LINE = frozenset({b"host", b"content-length", b"transfer-encoding"})

_KEEP_ALIVE = frozenset({b"keep-alive", b"Keep-Alive"})

_new = tuple.__new__


class FramingLimits(NamedTuple):
    """Bounds on a request head; its size in bytes is counted by the channel."""

    max_target_bytes: int = 8192
    max_fields: int = 100


class Framing(NamedTuple):
    """How the body of a request is delimited."""

    content_length: int | None
    """Bytes; 0 is no body, None is chunked."""
    expect_continue: bool
    """The client waits for ``100 Continue`` before it sends a body."""
    host_port: int | None
    """Port of the Host field, None when it names none."""


def examine(exchange: Exchange, limits: FramingLimits, http_version: str, *, underscore: str) -> Framing:
    """Check the head of a request and fill the exchange from it.

    Sets ``index``, ``host``, ``path``, ``canonical``, ``query``, ``version``, ``keep_alive``, ``upgrade``; rewrites ``target`` to the
    origin form and takes dropped lines out of ``headers``. Costs about 3 us for 6 fields, 3.5 for 8 (``benchmarks/micro_wire.py``):
    properties of all fields are checked on their joined bytes, and the rare cases are told apart by one look at the index.

    Source: RFC 9112 sections 2.3, 3.2, 6; RFC 9110 sections 7.2, 7.8, 10.1.1; reliability reference, sections 2b, 5c, 5c'; decisions 2.

    :param exchange: method, target and headers as the parser gave them; nothing else is set yet.
    :param limits: bounds.
    :param http_version: ``1.0`` or ``1.1`` (as ``httptools`` reports it).
    :param underscore: what happens to names with an underscore: ``drop``, ``refuse`` or ``allow``.
    :returns: the framing of the body.
    :raises WireError: with the status of the answer as ``status_hint``; the connection must close after it.
    """
    if http_version == "1.1":
        version = 11
    elif http_version == "1.0":
        version = 10
    else:
        raise WireError("unsupported HTTP version", 505)
    method = exchange.method
    if method not in _USUAL_METHODS:
        _check_method(method)
    if len(exchange.headers) > limits.max_fields:
        raise WireError("too many header fields", 431)
    exchange.index = index = _index_fields(exchange, underscore)

    target = parse_target(method, exchange.target, max_bytes=limits.max_target_bytes)
    exchange.path, exchange.canonical, exchange.query, authority = target
    exchange.version = version
    raw_host = index.get(b"host")
    if raw_host is not None:
        exchange.host, port = split_host_port(raw_host)
    elif version == 11:
        raise WireError("no Host field")
    else:
        port = None
    if authority is not None:
        port = _settle_authority(exchange, target, port, raw_host is not None)

    length: int | None = 0
    if b"content-length" in index or b"transfer-encoding" in index:
        length = _body_length(index, version)
    connection = index.get(b"connection")
    if connection is None:
        exchange.keep_alive = version == 11
    elif connection in _KEEP_ALIVE:
        exchange.keep_alive = True
    else:
        _settle_connection(exchange, connection, version, length)
    expect_continue = b"expect" in index and _expects_continue(index[b"expect"], version, length)
    return _new(Framing, (length, expect_continue, port))


def _index_fields(exchange: Exchange, underscore: str) -> dict[bytes, bytes]:
    headers = exchange.headers
    if not headers:
        return {}
    names, values = zip(*headers)  # noqa: B905 - pairs by type, and the keyword costs 0.1 us here
    joined_names = b"\n".join(names).lower()
    joined_values = b"\n".join(values)
    separators = len(headers) - 1
    # Deleting all allowed bytes must leave exactly the separators; whatever else is left is a byte that may not be there.
    if len(joined_values.translate(None, _VALUE_BYTES)) != separators:
        raise WireError("control byte in a header value")
    if len(joined_names.translate(None, _NAME_BYTES)) == separators and not (
        b"\t" in joined_values or b" \n" in joined_values or joined_values.endswith(b" ")
    ):
        index = dict(zip(joined_names.split(b"\n"), values))  # noqa: B905 - as above
        if len(index) > separators and b"" not in index:
            return index
    return _index_odd_fields(exchange, underscore)


def _index_odd_fields(exchange: Exchange, underscore: str) -> dict[bytes, bytes]:
    # Tabs, blanks after a value (llhttp leaves them there), underscores, repeated names, bad names.
    index: dict[bytes, bytes] = {}
    kept: HeaderList = []
    for name, value in exchange.headers:
        if _TOKEN.match(name) is None:
            raise WireError("bad header name")
        if b"_" in name and underscore != "allow":
            if underscore == "refuse":
                raise WireError("underscore in a header name")
            continue
        lowered = name.lower()
        stripped = value.strip(_BLANKS)
        kept.append((name, stripped))
        earlier = index.get(lowered)
        if earlier is None:
            index[lowered] = stripped
        elif lowered in _SINGLE_LINE:
            raise WireError("repeated field that may come once only")
        else:
            index[lowered] = earlier + b", " + stripped
    exchange.headers = kept
    return index


def _check_method(method: bytes) -> None:
    if _TOKEN.match(method) is None:
        raise WireError("malformed method")
    if method.upper() == b"CONNECT":
        raise WireError("CONNECT", 405)


def _settle_authority(exchange: Exchange, target: Target, port: int | None, host_sent: bool) -> int | None:
    authority = target.authority
    assert authority is not None
    host, authority_port = split_host_port(authority)
    if host_sent:
        usual = 443 if exchange.target[:5].lower() == b"https" else 80
        if host != exchange.host or (authority_port or usual) != (port or usual):
            raise WireError("absolute target and Host disagree")
    exchange.host = host
    exchange.target = target.path if target.query is None else target.path + b"?" + target.query
    return authority_port


def _body_length(index: dict[bytes, bytes], version: int) -> int | None:
    digits = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    if coding is None:
        assert digits is not None
        if not digits.isdigit() or len(digits) > _MAX_LENGTH_DIGITS or (digits[0] == 0x30 and len(digits) > 1):
            raise WireError("malformed Content-Length")
        return int(digits)
    if digits is not None:
        raise WireError("both Content-Length and Transfer-Encoding")
    if version == 10:
        raise WireError("Transfer-Encoding on HTTP/1.0")
    if coding.lower() != b"chunked":
        raise WireError("transfer coding other than chunked")
    return None


def _expects_continue(value: bytes, version: int, length: int | None) -> bool:
    if value.lower() != b"100-continue":
        raise WireError("unknown expectation", 417)
    return version == 11 and length != 0  # RFC 9110 section 10.1.1: ignored on HTTP/1.0


def _settle_connection(exchange: Exchange, connection: bytes, version: int, length: int | None) -> None:
    options = [option.strip(_BLANKS) for option in connection.lower().split(b",")]
    exchange.keep_alive = b"close" not in options and (version == 11 or b"keep-alive" in options)
    upgrade = exchange.index.get(b"upgrade")
    if upgrade is None or b"upgrade" not in options:
        return
    # llhttp stops here and leaves the rest of its buffer to us: that rest is never parsed as a request (decisions 2.3).
    exchange.keep_alive = False
    if length != 0:
        raise WireError("Upgrade with a body")
    protocol = upgrade.lower()
    if _PROTOCOL.match(protocol) is None:
        raise WireError("malformed Upgrade, or several protocols")
    if version == 11 and protocol.partition(b"/")[0] not in _NEVER_TAKEN:
        exchange.upgrade = protocol
