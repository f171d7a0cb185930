"""Static mTLS per request: TLS, a certificate, the API's own list; and the right host for the connection. Knows nothing of handshakes.

The leaf is judged on every request, on resumed connections too; the judgement is kept on the connection while it stands.
"""

from __future__ import annotations

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal
from tlsgate.gates.base import Gate, GateTools, JudgingList
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Connection, Exchange
from tlsgate.model.tls import PeerIdentity
from tlsgate.routing.sni import PolicyTable, uses_certificates

__all__ = ["build", "build_host_check", "judge_certificate"]

_MAX_VERDICTS = 64


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the check of the client's certificate, None without static mTLS.

    A repeated check costs one look-up on the connection.
    Source: mTLS reference, section 5; decisions 1.8, 2.1.

    :param tools: ``allow_list`` None lets nobody in.
    :raises Refusal: (the gate) ``tls.not_enabled``, ``cert.missing``, ``cert.expired``, ``cert.not_allowed``.
    """
    if not api.use_mutual_tls:
        return None
    allow_list = tools.allow_list
    now = tools.clock.now
    key = allow_list.key if allow_list is not None else None

    def check_certificate(exchange: Exchange) -> None:
        if exchange.ignored:
            return
        connection, moment = exchange.connection, now()
        verdict = connection.verdicts.get(key)
        if verdict is None or moment >= verdict.valid_until or verdict.refusal is not None:
            judge_certificate(connection, allow_list, moment)

    return check_certificate


def judge_certificate(connection: Connection, allow_list: JudgingList | None, now: float) -> None:
    """Let a connection's client pass, or refuse it; a repeated judgement costs one look-up on the connection.

    :param allow_list: None lets nobody in.
    :param now: epoch seconds.
    :raises Refusal: as of :func:`build`.
    """
    tls = connection.tls
    if tls is None:
        raise Refusal("tls.not_enabled")
    peer = tls.peer
    if peer is None:
        raise Refusal("cert.missing")
    if allow_list is None:
        raise _refusal("cert.not_allowed", peer, "there is no allow list")
    # By content: a reload that changes nothing keeps the judgements, and old lists are not kept alive by old connections.
    verdict = connection.verdicts.get(allow_list.key)
    if verdict is None or now >= verdict.valid_until:
        verdict = allow_list.judge(peer, now)
        if len(connection.verdicts) >= _MAX_VERDICTS:
            connection.verdicts.clear()
        connection.verdicts[allow_list.key] = verdict
        if verdict.refusal is None and connection.on_accepted is not None:
            connection.on_accepted(peer)
            connection.on_accepted = None
    if verdict.refusal is not None:
        raise _refusal(verdict.refusal, peer, verdict.rule)


def build_host_check(api: ApiDefinition, policies: PolicyTable) -> Gate | None:
    """Return the comparison of Host and server name, None for an API that uses no client certificates.

    Source: decisions 1.5; RFC 9110 section 15.5.20.

    :raises Refusal: (the gate) ``wire.misdirected``.
    """
    if not uses_certificates(api):
        return None
    misdirected = policies.misdirected

    def check_host(exchange: Exchange) -> None:
        tls = exchange.connection.tls
        host = exchange.host
        # HTTP/1.0 without a Host names no other host: the certificate gate decides alone.
        if tls is None or tls.server_name is None or tls.server_name == host or not host:
            return
        if misdirected(exchange.connection.listener_port, tls.policy, host):
            raise Refusal("wire.misdirected", f"connection made for {tls.server_name}")

    return check_host


def _refusal(id: str, peer: PeerIdentity, rule: str) -> Refusal:
    detail = f"{rule}; subject {peer.subject}, fingerprint {peer.fingerprint}"
    return Refusal(id, detail, fields={"fingerprint": peer.fingerprint})
