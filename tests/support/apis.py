"""Builders of definitions, exchanges and clocks for tests of routing, gates and transforms."""

from __future__ import annotations

from typing import Any

from tlsgate.config.model import GatewayConfig, HttpServerOptions
from tlsgate.gates.base import GateTools
from tlsgate.model.api import ApiDefinition, ProxySettings, VersionSettings
from tlsgate.model.exchange import Connection, Exchange
from tlsgate.model.tls import ClientAuth, PeerIdentity, TlsFacts, TlsPolicy
from tlsgate.routing.paths import remaining_path
from tlsgate.wire.target import canonicalise


class FixedClock:
    """A clock that stands where the test puts it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def make_api(api_id: str = "api", *, listen_path: str = "/test/", version: VersionSettings | None = None, **fields: Any) -> ApiDefinition:
    """A keyless API."""
    fields.setdefault("keyless", True)
    return ApiDefinition(
        api_id=api_id,
        raw={},
        proxy=ProxySettings(listen_path=listen_path, target_url="http://up.test/"),
        version=version or VersionSettings(),
        **fields,
    )


def make_config(**fields: Any) -> GatewayConfig:
    """A configuration; fields of ``http_server_options`` go into ``http`` (a dict or a record)."""
    http = fields.pop("http", {})
    if isinstance(http, dict):
        http = HttpServerOptions(**http)
    return GatewayConfig(http=http, **fields)


def make_tools(now: float = 1_000_000.0, allow_list: Any = None) -> GateTools:
    """Tools with a clock that stands."""
    return GateTools(FixedClock(now), allow_list)


def make_peer(fingerprint: str = "ab" * 32, **fields: Any) -> PeerIdentity:
    """A client's leaf."""
    values: dict[str, Any] = {
        "der": b"",
        "subject": "CN=client",
        "not_before": 0.0,
        "not_after": 2e9,
        "is_ca": False,
        "client_usage": True,
    }
    return PeerIdentity(fingerprint=fingerprint, **{**values, **fields})


def make_tls(
    peer: PeerIdentity | None = None, *, server_name: str | None = None, policy: TlsPolicy | None = None, resumed: bool = False
) -> TlsFacts:
    """What a finished handshake proved."""
    policy = policy or TlsPolicy(client_auth=ClientAuth.REQUEST)
    return TlsFacts(version=772, cipher="TLS_AES_128_GCM_SHA256", server_name=server_name, policy=policy, resumed=resumed, peer=peer)


def make_connection(*, tls: TlsFacts | None = None, peer_address: str = "192.0.2.1", port: int = 8080) -> Connection:
    """A client's connection, plain without ``tls``."""
    connection = Connection("c0ffee-1", peer_address, 40000, port, tls is not None)
    connection.tls = tls
    return connection


def make_exchange(
    method: str = "GET",
    path: str = "/test/",
    *,
    matched: str = "/test/",
    query: str | None = None,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    connection: Connection | None = None,
    host: str = "api.test",
) -> Exchange:
    """A request as it is after ``wire.framing`` and routing."""
    lines = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    raw = [(name.encode(), value.encode()) for name, value in lines]
    target = path.encode() + (b"?" + query.encode() if query is not None else b"")
    exchange = Exchange(connection or make_connection(), 1, method.encode(), target, raw)
    for name, value in raw:
        known = exchange.index.get(name.lower())
        exchange.index[name.lower()] = value if known is None else known + b", " + value
    exchange.host = host
    exchange.path = path.encode()
    exchange.canonical = canonicalise(exchange.path)
    exchange.query = None if query is None else query.encode()
    exchange.matched = matched.encode()
    exchange.remaining_path = remaining_path(exchange.canonical, exchange.matched)
    return exchange
