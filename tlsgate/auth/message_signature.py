"""HTTP message signatures (RFC 9421): a key's secret or key pair proves who sent which parts of a request; beside draft-cavage.

Stands before the step of draft-cavage and takes the requests that have ``Signature-Input``. Knows nothing of what the key may do. A body is
read only after the signature has matched, and the upstream sees nothing of it before its ``Content-Digest`` has too.
Source: RFC 9421; RFC 9530; docs/design/0019.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from tlsgate.auth.base import AuthTools, Step, store_away
from tlsgate.auth.hmac_signature import NAME, find_signing_secret
from tlsgate.auth.identity import Identity
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.signature_keys import NamedKey, SignatureKeys
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.api import ApiDefinition
from tlsgate.model.credentials import SIGNATURE_ALGORITHMS
from tlsgate.model.exchange import Exchange
from tlsgate.proxy.held_body import has_body, hold_body
from tlsgate.wire.content_digest import parse_content_digest
from tlsgate.wire.digests import DigestCheck
from tlsgate.wire.message_signatures import Presented, PublicKey, algorithms_of, build_message, find_uncovered, parse_signatures, verify

__all__ = ["MessageSignatureAuth", "wrap"]

_REFUSED = "hmac.refused"
_SEEN = "signature-seen-"
_SECRET_ALGORITHM = "hmac-sha256"  # noqa: S105 (the name of an algorithm)


def wrap(api: ApiDefinition, config: GatewayConfig, tools: AuthTools, inner: Step) -> Step:
    """Return the step of an API that takes HTTP message signatures, else ``inner`` itself.

    :param inner: judges requests without ``Signature-Input``.
    """
    return MessageSignatureAuth(api, config, tools, inner) if api.message_signatures.enabled else inner


class _Proof(NamedTuple):
    """What the keys of a session are, compiled once per key."""

    secret: bytes
    """Empty: no HMAC of this session is right."""
    reference: str
    """Of its public key; empty: it has none."""
    found: NamedKey | None
    """None before it was looked up."""


class MessageSignatureAuth:
    """The step."""

    __slots__ = (
        "_algorithms",
        "_identity",
        "_inner",
        "_keys",
        "_monotonic",
        "_now",
        "_org",
        "_reactor",
        "_reader",
        "_rules",
        "_store",
    )

    def __init__(self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools, inner: Step) -> None:
        self._rules = api.message_signatures
        self._algorithms = frozenset(self._rules.algorithms or SIGNATURE_ALGORITHMS)
        self._inner = inner
        self._org = api.org_id
        self._reader = tools.sessions.reader(api.org_id, "token")
        self._identity = Identity(api, NAME, tools.notify)
        self._keys = SignatureKeys(config, tools)
        self._monotonic = tools.clock.monotonic
        self._now = tools.clock.now
        self._reactor = tools.reactor
        self._store = tools.store

    def try_now(self, exchange: Exchange) -> bool:
        """Verify by a cached key.

        :raises Refusal: ``hmac.refused``, ``hmac.no_certificate``; what the other step refuses with.
        """
        if exchange.ignored:
            return True
        if b"signature-input" not in exchange.index:
            return self._pass_on(exchange).try_now(exchange)
        presented, digest = self._read(exchange)
        if self._rules.refuse_replays or (digest is not None and has_body(exchange)):
            return False
        view = self._reader.peek(exchange.credential, exchange.entered_at)
        if view is None:
            return False
        proof = self._proof(exchange, view)
        if proof is None:
            return False
        self._verify(exchange, presented, proof)
        if digest is not None and not digest.matches():
            raise self._refuse(exchange, "the content digest is not that of no body")
        self._identity.accept(exchange, view, presented.text("keyid"))
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Verify, asking the store for the key and reading the body where they are needed.

        :raises Refusal: as :meth:`try_now`; ``size.too_large``; ``store.unavailable`` when the store does not answer.
        """
        if b"signature-input" not in exchange.index:
            await self._pass_on(exchange).finish(exchange)
            return
        presented, digest = self._read(exchange)
        try:
            view, signed = await self._find_and_verify(exchange, presented)
            if digest is not None:
                if has_body(exchange):
                    await hold_body(exchange, self._rules.max_digest_body, self._reactor, "the digest of a signature", digest.update)
                if not digest.matches():
                    raise self._refuse(exchange, "the content digest is not that of the body")
                if self._reader.peek(exchange.credential, self._monotonic()) is not view:
                    # A body may take minutes, and the key be another one since.
                    view, signed = await self._find_and_verify(exchange, presented)
            if self._rules.refuse_replays:
                await self._use_once(exchange, view, presented, signed)
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        self._identity.accept(exchange, view, presented.text("keyid"))

    def _pass_on(self, exchange: Exchange) -> Step:
        if self._rules.only:
            raise self._refuse(exchange, "no HTTP message signature")
        return self._inner

    def _read(self, exchange: Exchange) -> tuple[Presented, DigestCheck | None]:
        """Return the signature that counts, and the check of the body where its digest is covered."""
        index = exchange.index
        try:
            presented = self._choose(parse_signatures(index[b"signature-input"], index.get(b"signature", b"")))
            digest = parse_content_digest(index.get(b"content-digest", b"")) if "content-digest" in presented.components else None
        except ValueError as error:
            raise self._refuse(exchange, str(error)) from None
        required = self._rules.components
        missing = find_uncovered(required, presented.components, has_query=b"?" in exchange.target)
        if not missing and digest is None and self._rules.content_digest and has_body(exchange):
            missing = "content-digest"
        if missing:
            raise self._refuse(exchange, f"{missing} is not covered")
        self._check_times(exchange, presented)
        algorithm = presented.text("alg")
        if algorithm and algorithm not in self._algorithms:
            raise self._refuse(exchange, "the algorithm is unknown or not allowed")
        key_id = presented.text("keyid")
        if not key_id:
            raise self._refuse(exchange, "no keyid")
        exchange.credential = key_id.encode()
        return presented, digest

    def _choose(self, found: list[Presented]) -> Presented:
        """Return the one signature that counts: of several, none is taken at a guess."""
        rules = self._rules
        if rules.label:
            found = [one for one in found if one.label == rules.label]
        if rules.tag:
            found = [one for one in found if one.text("tag") == rules.tag]
        if len(found) != 1:
            raise ValueError("several signatures may count" if found else "no signature has the label and tag that are asked for")
        return found[0]

    def _check_times(self, exchange: Exchange, presented: Presented) -> None:
        rules, now = self._rules, self._now()
        created, expires = presented.parameters.get("created"), presented.parameters.get("expires")
        if created is None:
            raise self._refuse(exchange, "no time of creation")
        if created > now + rules.clock_skew_s:
            raise self._refuse(exchange, "created in the future")
        if created + rules.max_age_s < now:
            raise self._refuse(exchange, "too old")
        if expires is not None and expires + rules.clock_skew_s < now:
            raise self._refuse(exchange, "expired")

    async def _find_and_verify(self, exchange: Exchange, presented: Presented) -> tuple[KeyView, str]:
        view = self._reader.peek(exchange.credential, self._monotonic()) or await self._reader.find(exchange.credential)
        if view is None:
            raise self._refuse(exchange, "unknown key")
        proof = self._proof(exchange, view)
        if proof is None:
            session = view.session
            found = await self._keys.find_any(session.rsa_certificate_id, session.org_id or self._org)
            proof = _Proof(find_signing_secret(session), session.rsa_certificate_id, found)
            view.remember(self, proof)
        return view, self._verify(exchange, presented, proof)

    def _proof(self, exchange: Exchange, view: KeyView) -> _Proof | None:
        """Return the keys of a session, None when its public key has to be looked up."""
        if view.fault:
            raise self._refuse(exchange, view.fault)
        proof: _Proof | None = view.memo.get(self)
        if proof is None:
            session = view.session
            proof = _Proof(
                find_signing_secret(session), session.rsa_certificate_id if session.enable_http_signature_validation else "", None
            )
            view.remember(self, proof)
        if not proof.reference or (proof.found is not None and self._keys.is_current(proof.found, self._monotonic())):
            return proof
        return None

    def _verify(self, exchange: Exchange, presented: Presented, proof: _Proof) -> str:
        """Return what is signed, once the signature has matched."""
        algorithm, key = self._find_key(exchange, presented.text("alg"), proof)
        scheme = "https" if exchange.connection.is_tls else "http"
        try:
            message = build_message(exchange.method, scheme, exchange.index.get(b"host", b""), exchange.target, exchange.headers)
            return verify(presented, message, algorithm, key)
        except ValueError as error:
            raise self._refuse(exchange, str(error)) from None

    def _find_key(self, exchange: Exchange, wanted: str, proof: _Proof) -> tuple[str, PublicKey | bytes]:
        """Return algorithm and key; the key says which algorithms may be, never the request alone (RFC 9421, section 3.2)."""
        keys: list[PublicKey | bytes] = [proof.secret] if proof.secret else []
        found = proof.found
        if found is not None and found.key is not None:
            keys.append(found.key)
        fitting = [(name, key) for key in keys for name in algorithms_of(key) if name in self._algorithms and wanted in ("", name)]
        if len(fitting) != 1:
            if found is not None and found.key is None and wanted != _SECRET_ALGORITHM:
                raise Refusal("hmac.no_certificate", "rsa_certificate_id of the key")
            reason = "the algorithm is not said, and the key may be used with several" if fitting else "the key has none for this algorithm"
            raise self._refuse(exchange, reason)
        algorithm, key = fitting[0]
        if found is not None and key is found.key and not found.not_before <= self._now() <= found.not_after:
            raise self._refuse(exchange, "the certificate of the key is not valid now")
        return algorithm, key

    async def _use_once(self, exchange: Exchange, view: KeyView, presented: Presented, signed: str) -> None:
        """Note what was signed as used, for as long as it may be sent: not the signature, which some algorithms let anybody change."""
        if self._store is None:
            raise StoreUnavailable("there is no store to note signatures in")
        name = _SEEN + hashlib.sha256(f"{view.id}\n{signed}".encode()).hexdigest()
        left = int(presented.parameters["created"] + self._rules.max_age_s - self._now()) + 2
        if not await self._store.put(name, b"1", ttl_s=left, only_if="absent"):
            raise self._refuse(exchange, "the signature has been used")

    def _refuse(self, exchange: Exchange, reason: str) -> Refusal:
        return self._identity.fail(exchange, reason, _REFUSED)
