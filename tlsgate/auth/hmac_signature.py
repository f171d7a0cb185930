"""Signed requests, draft-cavage: a key's secret or RSA key proves who sent which parts of a request; knows nothing of what the key may do.

With a cached key it costs one hash and no wait; a body is read only where its ``Digest`` is signed, and after the signature has matched.
Source: token reference, section 7; decisions 2.2, 3.3, 3.5; docs/design/0018. Differs from Tyk: no algorithm by default, the date is signed
where it is looked at, ``Digest`` is compared with the body, ``host`` and repeated headers are signed as they are.
"""

from __future__ import annotations

import hashlib
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.cavage import (
    ALGORITHMS,
    AUX_DATE,
    RSA_SHA256,
    build_signing_string,
    find_targets,
    is_same_signature,
    read_rsa_signature,
    sign_hmac,
    verify_rsa,
)
from tlsgate.auth.identity import Identity
from tlsgate.auth.public_keys import FoundKey, PublicKeys
from tlsgate.auth.signature_header import SignatureValue, parse_signature
from tlsgate.auth.signed_names import DATE, DIGEST, SignedNames, read_names
from tlsgate.auth.sources import SourceReader, find_source
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.proxy.held_body import has_body, hold_body
from tlsgate.wire.dates import parse_signed_date
from tlsgate.wire.digests import DigestCheck, parse_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.auth.sessions import KeyView
    from tlsgate.model.session import Session

__all__ = ["NAME", "HmacAuth", "build", "enabled_for", "find_signing_secret"]

NAME = "hmac"
_KIND = "hmac"
_REFUSED = "hmac.refused"
_HOST = b"host"
_KNOWN = frozenset(name.encode() for name in ALGORITHMS)
_MAX_LISTS = 256
_SEEN = "hmac-seen-"


def enabled_for(api: ApiDefinition) -> bool:
    """Tell whether an API takes signed requests."""
    return not api.keyless and NAME in api.auth_methods


def build(api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> Step:
    """Return the step of an API."""
    return HmacAuth(api, config, tools)


class _Proof(NamedTuple):
    """What the keys of a session are, compiled once per key."""

    secret: bytes
    """Empty: no HMAC of this session is right."""
    certificate: str
    """A reference; empty: no RSA signature of this session is right."""
    found: FoundKey | None


class HmacAuth:
    """The step."""

    __slots__ = (
        "_algorithms",
        "_allowed",
        "_identity",
        "_keys",
        "_lists",
        "_monotonic",
        "_now",
        "_org",
        "_reactor",
        "_reader",
        "_required",
        "_rules",
        "_skew_s",
        "_source",
        "_store",
    )

    def __init__(self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools) -> None:
        settings = api.hmac
        self._rules = settings.rules
        self._allowed = frozenset(name.encode() for name in settings.algorithms)
        self._algorithms = {name.encode(): name for name in ALGORITHMS if not settings.algorithms or name in settings.algorithms}
        self._required = frozenset(name.encode() for name in settings.rules.required_headers)
        self._skew_s = settings.skew_ms / 1000
        self._org = api.org_id
        self._source = SourceReader(find_source(api, _KIND))
        self._reader = tools.sessions.reader(api.org_id, "token")
        self._identity = Identity(api, NAME, tools.notify)
        self._keys = PublicKeys(config, tools)
        self._monotonic = tools.clock.monotonic
        self._now = tools.clock.now
        self._reactor = tools.reactor
        self._store = tools.store
        self._lists: dict[bytes, SignedNames] = {}

    def try_now(self, exchange: Exchange) -> bool:
        """Verify by a cached key.

        :raises Refusal: ``hmac.refused``, ``hmac.no_certificate``, ``hmac.no_rsa_key``, ``auth.malformed_header``.
        """
        if exchange.ignored:
            return True
        value, algorithm, names = self._read(exchange)
        if self._rules.refuse_replays or (names.digest and self._rules.verify_digest and has_body(exchange)):
            return False
        view = self._reader.peek(value.key_id, exchange.entered_at)
        if view is None:
            return False
        proof = self._proof(exchange, view, algorithm)
        if proof is None:
            return False
        self._verify(exchange, value, algorithm, names, proof)
        self._check_date(exchange, names)
        digest = self._find_digest(exchange, names)
        if digest is not None and not digest.matches():
            raise self._refuse(exchange, "the digest is not that of no body")
        self._identity.accept(exchange, view, value.key_id.decode())
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Verify, asking the store for the key and reading the body where they are needed.

        :raises Refusal: as :meth:`try_now`; ``size.too_large``; ``store.unavailable`` when the store does not answer.
        """
        value, algorithm, names = self._read(exchange)
        try:
            view, signature = await self._find_and_verify(exchange, value, algorithm, names)
            moment = self._check_date(exchange, names)
            digest = self._find_digest(exchange, names)
            if digest is not None:
                await self._compare_body(exchange, digest)
                if self._reader.peek(value.key_id, self._monotonic()) is not view:
                    # A body may take minutes, and the key be another one since.
                    view, signature = await self._find_and_verify(exchange, value, algorithm, names)
            if self._rules.refuse_replays:
                await self._use_once(exchange, view, signature, moment)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        self._identity.accept(exchange, view, value.key_id.decode())

    def _read(self, exchange: Exchange) -> tuple[SignatureValue, str, SignedNames]:
        """Return what the client wrote, the algorithm that it means, and its list of names looked at."""
        text = self._source.read(exchange)
        if not text:
            raise self._refuse(exchange, "no signature")
        try:
            value = parse_signature(text)
        except ValueError as error:
            raise self._refuse(exchange, str(error)) from None
        exchange.credential = value.key_id
        algorithm = self._algorithms.get(value.algorithm) or self._guess_algorithm(value.algorithm)
        if not algorithm:
            raise self._refuse(exchange, "the algorithm is unknown or not allowed")
        try:
            names = self._lists.get(value.headers) or read_names(value.headers, self._required)
        except ValueError as error:
            raise self._refuse(exchange, str(error)) from None
        if DIGEST in self._required and not names.digest and has_body(exchange):
            raise self._refuse(exchange, "the body's digest is not signed")
        if DATE in self._required and not names.cover_date(exchange.index):
            raise self._refuse(exchange, "the date is not signed")
        return value, algorithm, names

    def _guess_algorithm(self, text: bytes) -> str:
        """Return what Tyk makes of an absent or unknown algorithm, where that is wanted; empty refuses."""
        if not self._rules.lenient_algorithm or (self._allowed and text not in self._allowed) or text in _KNOWN:
            return ""
        return RSA_SHA256 if text.startswith(b"rsa") else "hmac-sha1"

    async def _find_and_verify(
        self,
        exchange: Exchange,
        value: SignatureValue,
        algorithm: str,
        names: SignedNames,
    ) -> tuple[KeyView, bytes]:
        view = self._reader.peek(value.key_id, self._monotonic()) or await self._reader.find(value.key_id)
        if view is None:
            raise self._refuse(exchange, "unknown key")
        proof = self._proof(exchange, view, algorithm)
        if proof is None:
            reference = view.session.rsa_certificate_id
            found = await self._keys.find(reference, view.session.org_id or self._org)
            proof = _Proof(find_signing_secret(view.session), reference, found)
            view.remember(self, proof)
        return view, self._verify(exchange, value, algorithm, names, proof)

    def _proof(self, exchange: Exchange, view: KeyView, algorithm: str) -> _Proof | None:
        """Return the keys of a session, None when its RSA key has to be looked up."""
        if view.fault:
            raise self._refuse(exchange, view.fault)
        proof: _Proof | None = view.memo.get(self)
        if proof is None:
            session = view.session
            proof = _Proof(
                find_signing_secret(session), session.rsa_certificate_id if session.enable_http_signature_validation else "", None
            )
            view.remember(self, proof)
        if algorithm != RSA_SHA256 or not proof.certificate:
            return proof
        return proof if proof.found is not None and self._keys.is_current(proof.found, self._monotonic()) else None

    def _verify(self, exchange: Exchange, value: SignatureValue, algorithm: str, names: SignedNames, proof: _Proof) -> bytes:
        """Return the signature, decoded, once it has matched."""
        find: Callable[[bytes], bytes | None] = exchange.index.get
        if self._rules.empty_host:
            find = {**exchange.index, _HOST: b""}.get
        targets = find_targets(exchange.target, self._rules.request_target) if names.target else (b"",)
        if algorithm == RSA_SHA256:
            return self._verify_rsa(exchange, value, names, proof, targets, find)
        if not proof.secret:
            raise self._refuse(exchange, "the key has no secret for HMAC, or it is not enabled")
        for target in targets:
            signature = sign_hmac(algorithm, proof.secret, build_signing_string(names.names, exchange.method, target, find))
            if is_same_signature(signature, value.signature):
                if len(self._lists) < _MAX_LISTS:
                    # Only lists of those who can sign: nobody else fills the memory with others.
                    self._lists[value.headers] = names
                return signature
        raise self._refuse(exchange, "the signature is another one")

    def _verify_rsa(
        self,
        exchange: Exchange,
        value: SignatureValue,
        names: SignedNames,
        proof: _Proof,
        targets: tuple[bytes, ...],
        find: Callable[[bytes], bytes | None],
    ) -> bytes:
        found = proof.found
        if found is None:
            raise self._refuse(exchange, "the key has no certificate for RSA, or it is not enabled")
        if found.key is None:
            raise Refusal(found.refusal, "rsa_certificate_id of the key")
        signature = read_rsa_signature(value.signature)
        if signature is None:
            raise self._refuse(exchange, "the signature is not base64")
        if not found.not_before <= self._now() <= found.not_after:
            raise self._refuse(exchange, "the certificate of the key is not valid now")
        for target in targets:
            if verify_rsa(found.key, signature, build_signing_string(names.names, exchange.method, target, find)):
                return signature
        raise self._refuse(exchange, "the signature is another one")

    def _check_date(self, exchange: Exchange, names: SignedNames) -> float:
        """Return the date of a request in epoch seconds; it has to be one even where nobody compares it (Tyk)."""
        moment = parse_signed_date(exchange.index.get(AUX_DATE) or exchange.index.get(DATE) or b"")
        if moment is None:
            raise self._refuse(exchange, "no date, or none of the form Mon, 02 Jan 2006 15:04:05 GMT")
        if self._skew_s:
            if not names.cover_date(exchange.index):
                raise self._refuse(exchange, "the date is not signed")
            if abs(self._now() - moment) > self._skew_s:
                raise self._refuse(exchange, "the date is too far away")
        return moment

    def _find_digest(self, exchange: Exchange, names: SignedNames) -> DigestCheck | None:
        if not names.digest or not self._rules.verify_digest:
            return None
        try:
            return parse_digest(exchange.index.get(DIGEST, b""))
        except ValueError as error:
            raise self._refuse(exchange, str(error)) from None

    async def _compare_body(self, exchange: Exchange, digest: DigestCheck) -> None:
        if has_body(exchange):
            await hold_body(exchange, self._rules.max_digest_body, self._reactor, "the digest of a signature", digest.update)
        if not digest.matches():
            raise self._refuse(exchange, "the digest is not that of the body")

    async def _use_once(self, exchange: Exchange, view: KeyView, signature: bytes, moment: float) -> None:
        """Note a signature as used until its date is too far away; of several at once exactly one gets in."""
        if self._store is None:
            raise StoreUnavailable("there is no store to note signatures in")
        name = _SEEN + hashlib.sha256(b"%b\n%b" % (view.id.encode(), signature)).hexdigest()
        left = ceil(moment + self._skew_s - self._now()) + 1
        if not await self._store.put(name, b"1", ttl_s=max(1, left), only_if="absent"):
            raise self._refuse(exchange, "the signature has been used")

    def _refuse(self, exchange: Exchange, reason: str) -> Refusal:
        return self._identity.fail(exchange, reason, _REFUSED)


def find_signing_secret(session: Session) -> bytes:
    """Return the secret by which a session signs, empty when it has none, or signing is not on."""
    return session.hmac_string.encode() if session.hmac_enabled or session.enable_http_signature_validation else b""
