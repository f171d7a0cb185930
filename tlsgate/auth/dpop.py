"""Proofs of possession: a key that signs each request shows that a token is its client's own; knows nothing of how a token was verified.

A proof is judged after its token, and its signature after its key is known to be the token's: strangers cost no public-key operation.
Differs from the RFC's minimum: ``exp`` and ``nbf`` of a proof count where they are there. Source: RFC 9449 sections 4.3, 7, 8, 9 and 11.1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Any, NamedTuple

from tlsgate.auth.base import AuthTools, store_away
from tlsgate.auth.claims import ClaimFault, check_times, read_time
from tlsgate.auth.nonces import Nonces
from tlsgate.auth.replays import UsedProofs
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, StoreUnavailable, TlsgateError, WireError
from tlsgate.jose.compact import TokenFault
from tlsgate.jose.proof import Proof, ProofReader
from tlsgate.model.exchange import Exchange
from tlsgate.model.tokens import ClaimRules, ProofRules
from tlsgate.wire.uris import parse_address

__all__ = ["ProofCheck", "ProofFault", "Proved"]

_HEADER = b"dpop"
_SEEN = "dpop-seen-"
_MAX_JTI = 1024


class ProofFault(TlsgateError):
    """A proof that is not accepted.

    :param message: for the client.
    :param error: of RFC 9449 section 7.1.
    """

    def __init__(self, message: str, error: str = "invalid_dpop_proof") -> None:
        super().__init__(message)
        self.error = error


class Proved(NamedTuple):
    """A proof that holds, if it was not used before."""

    digest: bytes
    """Of what makes it unique."""
    end: float
    """Epoch seconds from which on it is refused anyway."""
    memo: tuple[bytes, bytes, str]
    """``Exchange.proved``."""
    nonce: str
    """That the client should use from now on; empty for the one that it has."""


class ProofCheck:
    """Judges the proofs of one API."""

    __slots__ = ("_algorithms", "_nonces", "_now", "_reader", "_rules", "_store", "_times", "_used")

    def __init__(self, rules: ProofRules, config: GatewayConfig, tools: AuthTools) -> None:
        self._rules = rules
        self._reader = ProofReader(frozenset(rules.algorithms))
        self._now = tools.clock.now
        self._store = tools.store
        self._used = UsedProofs() if tools.used_proofs is None else tools.used_proofs
        secret = config.security.encoding_secret or config.control.secret or secrets.token_hex()
        self._nonces = Nonces(secret.encode(), rules.nonce_age_s, self._now) if rules.nonces else None
        self._times = ClaimRules(issued_at_skew_s=rules.clock_skew_s, not_before_skew_s=rules.clock_skew_s)
        self._algorithms = " ".join(rules.algorithms)

    def challenge(self, error: str = "", reason: str = "") -> tuple[tuple[bytes, bytes], ...]:
        """Return the header that asks for a proof.

        :param error: of RFC 9449 section 7.1; empty where nothing was presented.
        :param reason: without quotes and backslashes.
        """
        parts = [f'error="{error}"', f'error_description="{reason}"'] if error else []
        return ((b"WWW-Authenticate", ("DPoP " + ", ".join([*parts, f'algs="{self._algorithms}"'])).encode()), *self._nonce_line())

    def ask_for_nonce(self, fault: ProofFault) -> Refusal:
        """Return the answer to a proof without a good nonce: no failure, the client tries again with the one that it gets here."""
        return Refusal("jwt.proof", str(fault), fields={"reason": str(fault)}, headers=self.challenge(fault.error, str(fault)))

    def judge(self, exchange: Exchange, thumbprint: str, token: bytes) -> Proved | None:
        """Return the proof of a request, None where it was judged and noted for the same token already.

        :param thumbprint: of the key that the token is bound to.
        :param token: as presented, without the scheme.
        :raises ProofFault: there is none, or it does not hold.
        """
        text = exchange.index.get(_HEADER)
        if not text:
            raise ProofFault("the request has no DPoP proof")
        if b"," in text:
            raise ProofFault("the request has several DPoP proofs")
        memo = text, token, thumbprint
        if exchange.proved == memo:
            return None
        try:
            proof = self._reader.read(text)
        except TokenFault as fault:
            raise ProofFault(f"the DPoP proof is not one: {fault}") from fault
        if not hmac.compare_digest(proof.thumbprint, thumbprint):
            raise ProofFault("the DPoP proof is of another key than the one that the token is bound to", "invalid_token")
        if not proof.verify():
            raise ProofFault("the signature of the DPoP proof is wrong")
        nonce = self._check(exchange, proof, token)
        issued = read_time(proof.claims, "iat")
        end = (0.0 if issued is None else issued) + self._rules.max_age_s
        digest = hashlib.sha256(f"{thumbprint}\n{proof.claims['jti']}".encode("utf-8", "surrogatepass")).digest()
        return Proved(digest, end, memo, nonce)

    def note(self, exchange: Exchange, proved: Proved) -> bool:
        """Take a proof for good; False where the store has to be asked (:meth:`note_anywhere`).

        :raises ProofFault: it was used before.
        """
        if self._rules.share_replays:
            return False
        if not self._used.use(proved.digest, proved.end, self._now()):
            raise ProofFault("the DPoP proof has been used")
        self._take(exchange, proved)
        return True

    async def note_anywhere(self, exchange: Exchange, proved: Proved) -> None:
        """Take a proof for good, wherever proofs are noted.

        :raises ProofFault: it was used before.
        :raises Refusal: ``store.unavailable``.
        """
        if self.note(exchange, proved):
            return
        if self._store is None:
            raise store_away("there is no store to note proofs in")
        kept_s = int(proved.end - self._now()) + 2
        try:
            first = await self._store.put(_SEEN + proved.digest.hex(), b"1", ttl_s=kept_s, only_if="absent")
        except StoreUnavailable as error:
            raise store_away(str(error)) from error
        if not first:
            raise ProofFault("the DPoP proof has been used")
        self._take(exchange, proved)

    def _take(self, exchange: Exchange, proved: Proved) -> None:
        exchange.proved = proved.memo
        if proved.nonce:
            exchange.response_headers.append((b"DPoP-Nonce", proved.nonce.encode()))

    def _check(self, exchange: Exchange, proof: Proof, token: bytes) -> str:
        """Judge what a proof says of its request.

        :returns: ``Proved.nonce``.
        """
        claims = proof.claims
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI:
            raise ProofFault("the DPoP proof has no jti")
        method = claims.get("htm")
        if not isinstance(method, str) or method.encode("utf-8", "replace") != exchange.method:
            raise ProofFault("the DPoP proof is for another method (htm)")
        if not self._is_for(exchange, claims.get("htu")):
            raise ProofFault("the DPoP proof is for another address (htu)")
        hashed = base64.urlsafe_b64encode(hashlib.sha256(token).digest()).rstrip(b"=").decode()
        if claims.get("ath") != hashed:
            raise ProofFault("the DPoP proof is for another token (ath)")
        nonce = ""
        if self._nonces is not None:
            found = self._nonces.judge(claims.get("nonce"))
            if found is None:
                raise ProofFault("the DPoP proof needs a nonce of this server", "use_dpop_nonce")
            nonce = found
        self._check_times(claims)
        return nonce

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._now()
        try:
            issued = read_time(claims, "iat")
            check_times(claims, self._times, now)
        except (ValueError, ClaimFault):
            raise ProofFault("the DPoP proof is not good now (iat, exp, nbf)") from None
        if issued is None:
            raise ProofFault("the DPoP proof has no iat")
        if issued + self._rules.max_age_s <= now:
            raise ProofFault("the DPoP proof is too old")

    def _is_for(self, exchange: Exchange, uri: object) -> bool:
        """Tell whether ``htu`` is the address of a request, without its query (RFC 9449 section 4.3, RFC 3986 sections 6.2.2 and 6.2.3)."""
        if not isinstance(uri, str):
            return False
        scheme = "https" if exchange.connection.is_tls else "http"
        host = exchange.index.get(b"host", b"").decode("latin-1")
        own = f"{scheme}://{host}{exchange.target.partition(b'?')[0].decode('latin-1')}"
        origins = self._rules.origins
        if uri == own and not origins:
            return True
        try:
            meant, is_at = parse_address(uri), parse_address(own)
        except WireError:
            return False
        # Named ones stand in the place of Host: where an API answers to any name, Host is whatever its sender likes.
        return meant.path == is_at.path and meant.origin in (origins or (is_at.origin,))

    def _nonce_line(self) -> tuple[tuple[bytes, bytes], ...]:
        return () if self._nonces is None else ((b"DPoP-Nonce", self._nonces.current().encode()),)
