"""From a request that is over to the record of what was decided about it; knows what may be shown, and keeps no reference to a request.

No credential, cookie, query or body is looked at: of what a client sent the record has method, host, path (as logs show it) and the names
of header fields. Texts are cut, so that a record has a largest size.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tlsgate.auth.shown import show_key, show_path
from tlsgate.errors import CATALOGUE
from tlsgate.gateway.stages import find_outcomes
from tlsgate.ids import request_id
from tlsgate.model.tls import ClientAuth
from tlsgate.pki.identity import format_issuer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsgate.gateway.request import GateRequest
    from tlsgate.gateway.stages import Stage
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.exchange import Connection, Exchange
    from tlsgate.model.tls import PeerIdentity, TlsFacts

__all__ = ["describe_handshake", "describe_raw", "describe_request", "describe_unreadable"]

Tree = dict[str, Any]

_TEXT = 400
_NAME = 64
_MOST = 30
"""Entries of a list: header fields, policies."""
_CUT = "..."
_PLACEHOLDER = re.compile(r"\{\w+\}")
_VERSIONS = {771: "TLS 1.2", 772: "TLS 1.3"}
_DEMANDS = {ClientAuth.NONE: "not asked for", ClientAuth.REQUEST: "asked for", ClientAuth.REQUIRE: "demanded"}


def describe_request(request: GateRequest, stages: Sequence[Stage], *, now: float, elapsed_s: float, whole_keys: bool) -> Tree:
    """Return the record of a request that has been served or refused.

    :param stages: of its API; empty for a request that has none.
    :param now: epoch seconds.
    :param whole_keys: show keys as they are (``enable_key_logging``).
    """
    connection = request.connection
    return {
        "id": request_id(connection.id, request.number),
        "kind": "request",
        "at": round(now, 6),
        "outcome": _outcome(request),
        "status": request.status,
        **_verdict(request.refusal, request.detail, request.flag, connection),
        "request": {
            "method": _cut(request.method.decode("latin-1"), _NAME),
            "host": _cut(request.host),
            "path": _cut(show_path(request.path, request.canonical, whole=whole_keys)),
            "has_query": request.query is not None,
            "http": "1.0" if request.version == 10 else "1.1",
            "fields": _field_names(request),
        },
        "connection": _connection(connection, request.client_address),
        "tls": _tls(connection.tls, now),
        "route": _route(request),
        "steps": _steps(request, stages),
        "session": _session(request, whole_keys=whole_keys),
        "limits": _limits(request),
        "upstream": _cut(request.upstream),
        "elapsed_ms": round(elapsed_s * 1000, 2),
        "bytes": request.response_bytes,
    }


def describe_unreadable(
    connection: Connection, number: int, method: bytes, target: bytes, refusal: str, detail: str, status: int, now: float
) -> Tree:
    """Return the record of a request whose head or framing cannot be read.

    :param method: as far as it was read; so ``target``, of which the query is left out.
    """
    return {
        "id": request_id(connection.id, number),
        "kind": "request",
        "at": round(now, 6),
        "outcome": "refused",
        "status": status,
        **_verdict(refusal, detail, "", connection),
        "request": {
            "method": _cut(method.decode("latin-1"), _NAME),
            "path": _cut(show_path(path := target.partition(b"?")[0], path)),
            "has_query": b"?" in target,
        },
        "connection": _connection(connection, connection.peer_address),
        "tls": _tls(connection.tls, now),
        "steps": [{"name": "read", "outcome": "refused"}],
    }


def describe_handshake(connection: Connection, server_name: str | None, shown: PeerIdentity | None, reason: str, now: float) -> Tree:
    """Return the record of a handshake that was refused: the client has seen a TLS alert at most, and no id.

    :param shown: the certificate that the client sent; whether it has its key is not known.
    """
    tls: Tree = {"server_name": server_name}
    if shown is not None:
        tls["certificate"] = _certificate(shown, now, proven=False)
    return {
        "id": connection.id,
        "kind": "handshake",
        "at": round(now, 6),
        "outcome": "refused",
        "status": 0,
        **_verdict("tls.handshake", reason, "", connection),
        "connection": _connection(connection, connection.peer_address),
        "tls": tls,
        "steps": [{"name": "handshake", "outcome": "refused"}],
    }


def describe_raw(connection: Connection, api: ApiDefinition | None, reason: str, now: float) -> Tree:
    """Return the record of a connection that a raw service turned away; without an answer too.

    :param api: None where no service has the name.
    """
    return {
        "id": connection.id,
        "kind": "connection",
        "at": round(now, 6),
        "outcome": "refused",
        "status": 0,
        **_verdict("raw.refused", reason, "", connection),
        "connection": _connection(connection, connection.peer_address),
        "tls": _tls(connection.tls, now),
        "route": _api(api) if api is not None else None,
        "steps": [{"name": "service", "outcome": "refused"}],
    }


def _outcome(request: Exchange) -> str:
    if request.refusal == "client.gone":
        return "client gone"
    if request.refusal.startswith("upstream.") or request.refusal == "internal":
        return "failed"
    if request.refusal:
        return "refused"
    return "answered by the gateway" if request.stopped is not None else "passed"


def _verdict(refusal: str, detail: str, flag: str, connection: Connection) -> Tree:
    entry = CATALOGUE.get(refusal)
    message = entry.message.strip() if entry is not None else ""
    peer = connection.tls.peer if connection.tls is not None else None
    if peer is not None:
        message = message.replace("{fingerprint}", peer.fingerprint)
    return {
        "refusal": refusal,
        "message": _PLACEHOLDER.sub(_CUT, message),
        "flag": flag or (entry.flag if entry is not None else ""),
        "rule": _cut(detail),
    }


def _field_names(request: Exchange) -> list[str]:
    names = [_cut(name.decode("latin-1"), _NAME) for name, _ in zip(request.index, range(_MOST + 1), strict=False)]
    return names if len(names) <= _MOST else [*names[:_MOST], _CUT]


def _connection(connection: Connection, client: str) -> Tree:
    return {
        "id": connection.id,
        "peer": connection.peer_address,
        "peer_port": connection.peer_port,
        "client": client,
        "port": connection.listener_port,
        "tls": connection.is_tls,
    }


def _tls(facts: TlsFacts | None, now: float) -> Tree | None:
    if facts is None:
        return None
    return {
        "version": _VERSIONS.get(facts.version, str(facts.version)),
        "cipher": facts.cipher,
        "server_name": facts.server_name,
        # Told by the certificate that nobody had to verify again: without one it is not known.
        "resumed": facts.resumed if facts.peer is not None else None,
        "client_certificate": _DEMANDS[facts.policy.client_auth],
        "certificate": _certificate(facts.peer, now, proven=True) if facts.peer is not None else None,
    }


def _certificate(peer: PeerIdentity, now: float, *, proven: bool) -> Tree:
    return {
        "subject": _cut(peer.subject),
        "issuer": _issuer(peer.der),
        "serial": _cut(peer.serial, _NAME),
        "fingerprint": peer.fingerprint,
        "not_before": peer.not_before,
        "not_after": peer.not_after,
        "valid_now": peer.not_before <= now <= peer.not_after,
        "proven": proven,
        "client_usage": peer.client_usage,
        "weakness": peer.weakness,
        "readable": peer.readable,
    }


@lru_cache(maxsize=256)
def _issuer(der: bytes) -> str:
    """Return the issuer's name, escaped and cut; empty where the certificate cannot be read."""
    return format_issuer(der, _TEXT)


def _route(request: Exchange) -> Tree | None:
    api = request.api
    if api is None:
        return None
    return {
        **_api(api),
        "by_id": request.alias,
        "version": _cut(request.version_name),
        "ignored": request.ignored,
        "keyless": api.keyless,
        "credentials_from": _places(api),
    }


def _api(api: ApiDefinition) -> Tree:
    return {
        "api_id": _cut(api.api_id),
        "name": _cut(api.name),
        "org_id": _cut(api.org_id),
        "listen_path": _cut(api.proxy.listen_path),
        "domain": _cut(api.domain),
    }


def _places(api: ApiDefinition) -> list[str]:
    """Return where the API's methods read credentials."""
    if api.keyless:
        return []
    places: dict[str, None] = {}
    for source in api.auth_sources.values() or (api.auth_default,):
        header = (source.header_name if source is not None else "") or "Authorization"
        if source is None or not source.disable_header:
            places[f"header {header}"] = None
        if source is not None and source.use_param:
            places[f"query parameter {source.param_name or header}"] = None
        if source is not None and source.use_cookie:
            places[f"cookie {source.cookie_name or header}"] = None
    return [_cut(place, 2 * _NAME) for place in places][:_MOST]


def _steps(request: Exchange, stages: Sequence[Stage]) -> list[Tree]:
    ended = _outcome(request)
    if request.api is None or not stages:
        is_control = request.api is None and request.refusal == "control.forbidden"
        return [{"name": "control" if is_control else "route", "outcome": ended}]
    how = "answered" if ended.startswith("answered") else ended
    steps: list[Tree] = [{"name": "route", "outcome": "passed"}]
    for name, outcome in find_outcomes(stages, request.stopped, how, ignored=request.ignored):
        step = {"name": name, "outcome": outcome}
        rule = _cut(request.detail) if outcome == how else _welcome(request) if name == "certificate" and outcome == "passed" else ""
        steps.append({**step, "rule": rule} if rule else step)
    return steps


def _welcome(request: Exchange) -> str:
    """Return the rule of the allow list that let the certificate in."""
    allow_list = getattr(request.route, "allow_list", None)
    verdict = request.connection.verdicts.get(allow_list.key) if allow_list is not None else None
    return _cut(verdict.rule) if verdict is not None else ""


def _session(request: Exchange, *, whole_keys: bool) -> Tree | None:
    session = request.session
    if session is None:
        return None
    policies = session.apply_policies or ((session.apply_policy_id,) if session.apply_policy_id else ())
    return {
        "key": _cut(show_key(request.session_id, whole=whole_keys)),
        "alias": _cut(session.alias),
        "org_id": _cut(session.org_id),
        "origin": session.origin,
        "policies": [_cut(policy, _NAME) for policy in policies[:_MOST]],
        "expires": session.expires,
        "inactive": session.is_inactive,
        "others": [_cut(show_key(view.id, whole=whole_keys)) for view in request.others[:_MOST]],
    }


def _limits(request: Exchange) -> Tree:
    """Return what the steps know of the limits that apply, by step: nothing is counted for it."""
    found: Tree = {}
    route = request.route
    for step in getattr(route, "steps", ()):
        tell = getattr(step, "tell", None)
        if tell is not None:
            told = tell(request)
            if told:
                found.update(told)
    if request.refusal == "limit.quota" and "quota" in found:
        found["quota"]["remaining"] = 0
    elif request.refusal in ("limit.rate", "limit.api_rate"):
        name = "rate" if request.refusal == "limit.rate" else "api_rate"
        if name in found:
            found[name]["remaining"] = 0
    return found


def _cut(text: str, most: int = _TEXT) -> str:
    return text if len(text) <= most else text[: most - len(_CUT)] + _CUT
