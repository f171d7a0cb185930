"""Dynamic mTLS: the key is found by the client certificate whose private key was proven in this connection; knows no allow list.

A fingerprint, or an id made from one, is public: nothing that a client sends in a request stands for a certificate. Chosen by
``auth.token`` for an API with ``use_certificate``. Source: mTLS reference, section 7; token reference, section 3; decisions 3.2, 3.3, 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlsgate.auth.base import store_away
from tlsgate.auth.certificate_keys import bears_certificate
from tlsgate.auth.identity import Identity
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.auth.token import NAME, strip_bearer
from tlsgate.errors import Refusal, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.auth.base import AuthTools, Step
    from tlsgate.auth.sessions import KeyReader, KeyView
    from tlsgate.config.model import GatewayConfig
    from tlsgate.model.api import ApiDefinition
    from tlsgate.model.exchange import Exchange
    from tlsgate.model.tls import PeerIdentity

__all__ = ["CertificateAuth", "UnsafeCertificateAuth", "build", "build_recheck"]

_MAX_VERDICTS = 64
_NEVER_CACHED = float("inf")


class _Leaf(NamedTuple):
    """What a connection's leaf is to the keys of one organisation."""

    id: str
    """In the certificate store."""
    key: bytes
    """The same, as look-ups take it."""
    not_before: float
    not_after: float
    fault: str
    """Why it cannot stand for a key, whatever the store says; empty for nothing."""


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API."""
    kind = UnsafeCertificateAuth if config.security.allow_unsafe_dynamic_mtls_token else CertificateAuth
    return kind(api, tools)


def build_recheck(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Callable[[Exchange], Awaitable[None]] | None:
    """Return what judges the certificate of a request that goes on (:meth:`CertificateAuth.judge_again`); None where none counts."""
    return None if api.keyless or not api.use_certificate else CertificateAuth(api, tools).judge_again


class CertificateAuth:
    """The step. With a cached key it costs three look-ups and no wait.

    With a certificate nothing else is looked at. Without one, over plain HTTP as well, a token passes whose key has nothing to do with
    certificates.
    """

    __slots__ = ("_by_certificate", "_by_token", "_identity", "_kept_as", "_now", "_org", "_presence", "_source", "_usage")

    _tokens = "without_certificate"

    def __init__(self, api: ApiDefinition, tools: AuthTools) -> None:
        if tools.certificate_presence is None:
            raise ValueError("dynamic mTLS needs the certificate store")
        self._org = api.org_id
        self._usage = api.require_client_usage
        # One text per organisation: APIs and generations share what a connection has worked out.
        self._kept_as = f"dynamic mTLS of {api.org_id}" + ("" if self._usage else ", any usage")
        self._source = SourceReader(find_source(api, "authToken"))
        self._by_certificate = tools.sessions.reader(api.org_id, "certificate")
        self._by_token = tools.sessions.reader(api.org_id, self._tokens)
        self._identity = Identity(api, NAME, tools.notify)
        self._now = tools.clock.now
        self._presence = tools.certificate_presence

    def try_now(self, exchange: Exchange) -> bool:
        """Authenticate by a cached key.

        :raises Refusal: ``auth.cert_expired``, ``auth.cert_mismatch``, ``auth.cert_required``, ``auth.malformed_header``;
            ``auth.key_not_found`` when the key's policies fail.
        """
        if exchange.ignored:
            return True
        leaf = self._find_leaf(exchange)
        if leaf is None:
            view = self._by_token.peek(self._read_token(exchange), exchange.entered_at)
        else:
            exchange.credential = leaf.key
            view = self._by_certificate.peek(leaf.key, exchange.entered_at)
            if view is not None and not self._presence.knows(leaf.id, exchange.entered_at):
                return False
        if view is None:
            return False
        self._identity.accept(exchange, view)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Authenticate by asking the store.

        :raises Refusal: ``auth.cert_mismatch``: no key has the certificate; ``auth.cert_not_found``: it was removed from the store;
            ``auth.cert_required``: no certificate, and no token that needs none; ``store.unavailable``.
        """
        leaf = self._find_leaf(exchange)
        try:
            if leaf is not None:
                view = await self._find_key(exchange, leaf, exchange.entered_at)
            else:
                found = await self._by_token.find(exchange.credential)
                if found is None:
                    raise self._identity.fail(exchange, "no certificate, and no token that needs none", "auth.cert_required")
                view = found
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        self._identity.accept(exchange, view)

    async def judge_again(self, exchange: Exchange) -> None:
        """Look whether the certificate that opened a request still stands for its key; a store that is away decides nothing.

        :raises Refusal: it does not.
        """
        leaf = self._find_leaf(exchange)
        if leaf is None or not any(
            bears_certificate(view.session, view.id, leaf.id[-64:]) for view in (exchange.key, *exchange.others) if view is not None
        ):
            return
        try:
            await self._find_key(exchange, leaf, _NEVER_CACHED)
        except StoreUnavailable:
            return

    async def _find_key(self, exchange: Exchange, leaf: _Leaf, now: float) -> KeyView:
        view = await _find(self._by_certificate, leaf.key, now)
        if view is None:
            raise Refusal("auth.cert_mismatch", f"no key has the certificate {leaf.id[-64:]}")
        await self._require_stored(exchange, leaf.id, now)
        return view

    async def _require_stored(self, exchange: Exchange, id: str, now: float) -> None:
        if not self._presence.knows(id, now) and not await self._presence.find(id):
            raise self._identity.fail(exchange, f"certificate {id[-64:]} is not in the store", "auth.cert_not_found")

    def _read_token(self, exchange: Exchange) -> bytes:
        presented = self._source.read(exchange)
        if not presented:
            raise Refusal("auth.cert_required", "neither certificate nor token")
        exchange.credential = presented = strip_bearer(presented)
        return presented

    def _find_leaf(self, exchange: Exchange) -> _Leaf | None:
        """Return the leaf whose key was proven, None without one; time is judged on each request.

        :raises Refusal: ``auth.cert_expired``, ``auth.cert_mismatch``.
        """
        tls = exchange.connection.tls
        peer = tls.peer if tls is not None else None
        if peer is None:
            return None
        verdicts = exchange.connection.verdicts
        leaf: _Leaf | None = verdicts.get(self._kept_as)
        if leaf is None:
            if len(verdicts) >= _MAX_VERDICTS:
                verdicts.clear()
            leaf = verdicts[self._kept_as] = self._examine(peer)
        now = self._now()
        if now > leaf.not_after:
            raise Refusal("auth.cert_expired", f"certificate {peer.fingerprint} has expired")
        if now < leaf.not_before:
            raise Refusal("auth.cert_expired", f"certificate {peer.fingerprint} is not valid yet")
        if leaf.fault:
            raise Refusal("auth.cert_mismatch", f"certificate {peer.fingerprint}: {leaf.fault}")
        return leaf

    def _examine(self, peer: PeerIdentity) -> _Leaf:
        id = self._org + peer.fingerprint
        if not peer.readable:
            return _Leaf(id, id.encode(), 0.0, float("inf"), "cannot be read")
        fault = f"too weak: {peer.weakness}" if peer.weakness else ""
        if self._usage and not peer.client_usage:
            fault = "not for client authentication"
        return _Leaf(id, id.encode(), peer.not_before, peer.not_after, fault)


class UnsafeCertificateAuth(CertificateAuth):
    """Tyk's old rule, for ``security.allow_unsafe_dynamic_mtls_token``: the certificate is optional, and a token sent along decides.

    An id made from a certificate, which is public, then opens the API without the certificate.
    """

    __slots__ = ()

    _tokens = "old_rule"

    def try_now(self, exchange: Exchange) -> bool:
        """Leave everything to :meth:`finish`."""
        return exchange.ignored

    async def finish(self, exchange: Exchange) -> None:
        """Authenticate by certificate, token, or both.

        :raises Refusal: as of :meth:`CertificateAuth.finish`; ``auth.key_not_found``: an unknown token, or over plain HTTP none;
            ``auth.key_inactive``: over TLS neither certificate nor token.
        """
        leaf = self._find_leaf(exchange)
        presented = strip_bearer(self._source.read(exchange))
        exchange.credential = presented or (leaf.key if leaf is not None else b"")
        try:
            view = await self._find_key(exchange, leaf, exchange.entered_at) if leaf is not None else None
            if presented:
                view = await _find(self._by_token, presented, exchange.entered_at)
                if view is None:
                    raise self._identity.fail(exchange, "unknown key")
                if leaf is None and view.session.certificate:
                    await self._require_stored(exchange, view.session.certificate, exchange.entered_at)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        if view is None:
            over_tls = exchange.connection.tls is not None
            raise Refusal("auth.key_inactive" if over_tls else "auth.key_not_found", "neither certificate nor token")
        self._identity.accept(exchange, view)


async def _find(reader: KeyReader, presented: bytes, now: float) -> KeyView | None:
    view = reader.peek(presented, now)
    return view if view is not None else await reader.find(presented)
