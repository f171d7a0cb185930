"""What an authenticated key may do: its certificates, inactive, expiry, rights to APIs, versions and paths; not how it was authenticated.

Everything that a session says about paths is compiled once per key and API and kept with the key (``KeyView.memo``).
Source: keys reference, sections 2 and 5; decisions 2.11. Differs from Tyk: rules of paths are anchored by default and speak of the path
below the listen path; a session without rights opens nothing unless ``allow_master_keys`` says so; a key that is bound to certificates
is bound on every API, not only on those with static mTLS (mTLS reference, section 7).
"""

from __future__ import annotations

from typing import NamedTuple

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.identity import tell_of
from tlsgate.auth.purposes import is_virtual
from tlsgate.auth.sessions import KeyView
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.gates.base import other_readings
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import AccessRight, AllowedUrl, Session
from tlsgate.routing.paths import RuleSet, build_path_matcher

__all__ = ["AccessCheck", "build", "build_allowed_paths"]


class _Grant(NamedTuple):
    """What a key may do with one API."""

    expires: float
    """Epoch seconds; 0 is never."""
    refusal: str
    """Id of the catalogue that every request gets; empty for none."""
    versions: frozenset[str] | None
    """None when versions do not matter."""
    paths: RuleSet[bool] | None
    """None for all paths."""
    bindings: frozenset[str] | None = None
    """Ids of the certificates of which the client has to have one; None for any client."""


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API."""
    return AccessCheck(api, config, tools)


class AccessCheck:
    """The checks in their order; about 0.3 us for a key without path rules."""

    __slots__ = ("_api", "_config", "_notify", "_now", "_reader")

    def __init__(self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> None:
        self._api = api
        self._config = config
        self._now = tools.clock.now
        self._notify = tools.notify
        self._reader = tools.sessions.reader(api.org_id, "any")

    def try_now(self, exchange: Exchange) -> bool:
        """Let a request pass or refuse it; False where a key has changed since it was found: a body or a password may have taken long.

        :raises Refusal: as :meth:`look`.
        """
        view = exchange.key
        if view is not None and (view.stale or (exchange.others and any(other.stale for other in exchange.others))):
            return False
        self.look(exchange)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """The same by the keys as they are now.

        :raises Refusal: ``auth.key_not_found``: one is gone, or what it was proven by is another thing now; ``store.unavailable``.
        """
        if not exchange.ignored and exchange.key is not None:
            key, *others = [await self._find_again(view) for view in (exchange.key, *exchange.others)]
            exchange.key, exchange.others, exchange.session = key, tuple(others), key.session
        self.look(exchange)

    async def _find_again(self, view: KeyView) -> KeyView:
        if not view.stale:
            return view
        try:
            found = await self._reader.find_again(view)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        if not view.is_stored:
            if found is None:
                return view
        elif found is not None and _proof_of(found.session) != _proof_of(view.session):
            found = None
        if found is None or found.fault:
            raise Refusal("auth.key_not_found", "the key was changed or removed while the request was judged")
        if not is_virtual(found.session):
            return found
        if found.session.is_inactive:
            raise Refusal("auth.key_inactive")
        # What a token says of itself is written into its session by each request: the other one's rights are not this one's.
        return view

    def look(self, exchange: Exchange) -> None:
        """Let a request pass or refuse it; never waits. For requests that go on as well (``auth.recheck``).

        :raises Refusal: ``access.no_session``, ``auth.cert_required``, ``auth.cert_expired``, ``auth.cert_mismatch``,
            ``auth.key_inactive``, ``auth.key_expired``, ``access.api``, ``access.version``, ``access.endpoint``, ``route.ambiguous_path``.
        """
        if exchange.ignored:
            return
        view = exchange.key
        if view is None:
            raise Refusal("access.no_session")
        if exchange.others:
            self._check_others(exchange)
        grant = view.memo.get(self)
        if grant is None:
            grant = self._compile(view)
            view.remember(self, grant)
        if grant.bindings is not None:
            self._check_binding(exchange, grant.bindings)
        if grant.expires and self._now() > grant.expires and grant.refusal != "auth.key_inactive":
            self._notify("KeyExpired", exchange, {"message": "Attempted access from expired key."})
            raise Refusal("auth.key_expired")
        if grant.refusal:
            if grant.refusal == "auth.key_inactive":
                self._notify("KeyExpired", exchange, {"message": "Attempted access from inactive key."})
            raise Refusal(grant.refusal)
        if grant.versions is not None and not self._has_version(exchange, grant.versions):
            raise Refusal("access.version")
        if grant.paths is not None:
            _check_path(exchange, grant.paths)

    def _check_others(self, exchange: Exchange) -> None:
        """Refuse a request with an inactive or expired session of any method; Tyk looks at the one that counts only."""
        for view in exchange.others:
            bindings = _bindings(view.session)
            if bindings is not None:
                self._check_binding(exchange, bindings)
            if view.session.is_inactive:
                tell_of(self._notify, "KeyExpired", exchange, "Attempted access from inactive key.", view)
                raise Refusal("auth.key_inactive", "a session beside the one that counts")
            if 1 <= view.session.expires < self._now():
                tell_of(self._notify, "KeyExpired", exchange, "Attempted access from expired key.", view)
                raise Refusal("auth.key_expired", "a session beside the one that counts")

    def _check_binding(self, exchange: Exchange, bindings: frozenset[str]) -> None:
        """Refuse a client that does not hold one of the certificates that a key is bound to; only the proven leaf counts."""
        tls = exchange.connection.tls
        peer = tls.peer if tls is not None else None
        if peer is None:
            raise Refusal("auth.cert_required", "the key is bound to certificates")
        if peer.readable and not peer.not_before <= self._now() <= peer.not_after:
            raise Refusal("auth.cert_expired", f"certificate {peer.fingerprint} is not valid now, and the key is bound to certificates")
        if not peer.readable or peer.weakness or self._api.org_id + peer.fingerprint not in bindings:
            self._notify("AuthFailure", exchange, {"message": "Auth Failure"})
            raise Refusal("auth.cert_mismatch", f"the key is bound to other certificates than {peer.fingerprint}")

    def _compile(self, view: KeyView) -> _Grant:
        grant, bindings = self._compile_rights(view), _bindings(view.session)
        return grant if bindings is None else grant._replace(bindings=bindings)

    def _compile_rights(self, view: KeyView) -> _Grant:
        session = view.session
        expires = float(session.expires) if session.expires >= 1 else 0.0
        if session.is_inactive:
            return _Grant(expires, "auth.key_inactive", None, None)
        if not session.access_rights:
            return _Grant(expires, "" if self._config.keys.allow_master_keys else "access.api", None, None)
        right = session.access_rights.get(self._api.api_id)
        if right is None:
            return _Grant(expires, "access.api", None, None)
        return _Grant(expires, "", self._versions(right), build_allowed_paths(right.allowed_urls, self._api, self._config))

    def _versions(self, right: AccessRight) -> frozenset[str] | None:
        return frozenset(right.versions) if self._api.is_versioned else None

    def _has_version(self, exchange: Exchange, versions: frozenset[str]) -> bool:
        api = self._api
        return (exchange.version_name or api.default_version) in versions or (api.fallback_to_default and api.default_version in versions)


def _proof_of(session: Session) -> tuple[object, ...]:
    """Return what methods have proven a key by."""
    return (
        session.basic_auth_data,
        session.hmac_string,
        session.rsa_certificate_id,
        session.certificate,
        session.certificates,
        session.jwt_data,
    )


def _bindings(session: Session) -> frozenset[str] | None:
    bound = session.mtls_static_certificate_bindings
    return frozenset(id[:-64] + id[-64:].lower() for id in bound) if bound else None


def build_allowed_paths(allowed: tuple[AllowedUrl, ...], api: ApiDefinition, config: GatewayConfig) -> RuleSet[bool] | None:
    """Return ``allowed_urls`` compiled, None for all paths.

    An expression that does not compile never matches; neither does an entry without methods.
    """
    if not allowed:
        return None
    rules = []
    for entry in allowed:
        try:
            pattern = build_path_matcher(
                entry.url,
                prefix=config.http.enable_path_prefix_matching,
                suffix=config.http.enable_path_suffix_matching,
                ignore_case=False,
                listen_path=api.proxy.listen_path,
            )
        except ValueError:
            continue
        rules += [(pattern, method, True) for method in entry.methods if method]
    return RuleSet(rules)


def _check_path(exchange: Exchange, paths: RuleSet[bool]) -> None:
    method = exchange.method
    if paths.find(method, exchange.remaining_path, exchange.canonical) is None:
        raise Refusal("access.endpoint")
    readings = other_readings(exchange)
    if readings is None or any(paths.find(method, remaining, full) is None for remaining, full in readings):
        raise Refusal("route.ambiguous_path", "another reading of the path is not among the allowed ones")
