"""Cost of the wire layer per call, in memory: one JSON line of microseconds; knows no sockets and no other proxy.

Run with ``python -m benchmarks.micro_wire``. Each figure is the best of several rounds, so that neighbours on the machine count little.
"""

from __future__ import annotations

import json
import platform
import ssl
import timeit
from collections.abc import Callable

from tlsgate import __version__
from tlsgate.model.exchange import Connection, Exchange, HeaderList
from tlsgate.wire.clienthello import ClientHelloReader
from tlsgate.wire.forwarding import build_request_headers, filter_response_headers, validate_headers
from tlsgate.wire.framing import FramingLimits, examine
from tlsgate.wire.names import split_host_port
from tlsgate.wire.target import closing_readings, needs_cleaning, parse_target

__all__ = ["main"]

_SIX: HeaderList = [
    (b"Host", b"api.example.test"),
    (b"User-Agent", b"bench/1.0"),
    (b"Accept", b"*/*"),
    (b"Authorization", b"Bearer abcdefghijklmnopqrstuvwxyz0123456789"),
    (b"Content-Type", b"application/json"),
    (b"Accept-Encoding", b"gzip, br"),
]
_EIGHT: HeaderList = [*_SIX, (b"Connection", b"keep-alive"), (b"Cookie", b"session=0123456789abcdef0123456789abcdef; theme=dark")]
_TARGET = b"/v1/orders/12345?expand=items"


def main() -> None:
    """Measure and print."""
    connection = Connection("c", "192.0.2.7", 1024, 443, True)
    limits = FramingLimits()
    figures: dict[str, float] = {}
    for count, headers in ((6, _SIX), (8, _EIGHT)):
        exchange = Exchange(connection, 1, b"GET", _TARGET, headers)
        examine(exchange, limits, "1.1", underscore="drop")
        figures[f"examine_{count}_fields"] = _measure(lambda e=exchange: examine(e, limits, "1.1", underscore="drop"))
        figures[f"build_request_headers_{count}_fields"] = _measure(
            lambda e=exchange: build_request_headers(
                e, host=b"up:80", peer="192.0.2.7", protected=frozenset(), keep_client_certificate_headers=False, remove_xff=False
            )
        )
        figures[f"filter_response_headers_{count}_fields"] = _measure(lambda h=headers: filter_response_headers(h))
        figures[f"validate_headers_{count}_fields"] = _measure(lambda h=headers: validate_headers(h))
    figures["split_host_port"] = _measure(lambda: split_host_port(b"api.example.test"))
    figures["parse_target_plain"] = _measure(lambda: parse_target(b"GET", _TARGET, max_bytes=8192))
    figures["parse_target_escaped"] = _measure(lambda: parse_target(b"GET", b"/v1/a%20b/x?q=%20", max_bytes=8192))
    figures["needs_cleaning_plain"] = _measure(lambda: needs_cleaning(b"/v1/orders/12345"))
    figures["closing_readings_plain"] = _measure(lambda: closing_readings(b"/v1/orders/12345"))
    hello = _hello()
    figures["client_hello"] = _measure(lambda: ClientHelloReader().feed(hello))
    print(json.dumps({"tlsgate": __version__, "python": platform.python_version(), "unit": "us", **figures}))


def _measure(call: Callable[[], object]) -> float:
    number = 5000
    return round(min(timeit.repeat(call, number=number, repeat=15)) / number * 1e6, 2)


def _hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2", "http/1.1"])
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="api.example.test")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


if __name__ == "__main__":
    main()
