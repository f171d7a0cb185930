"""Tokens that are good only for whoever holds a key: that of a client certificate, or one that signs each request (DPoP).

Judges what a token or an introspection says in ``cnf`` against the connection and the request; knows nothing of how either was verified.
A confirmation that cannot be checked here refuses the token: without the check it would be good for everybody who has seen it.
Source: RFC 7800 section 3.1; RFC 8705 sections 3.1 and 3.2; RFC 9449 sections 6 and 7.
"""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any, NamedTuple

from tlsgate.auth.base import AuthTools
from tlsgate.auth.claims import ClaimFault
from tlsgate.auth.dpop import ProofCheck, ProofFault, Proved
from tlsgate.auth.identity import Identity
from tlsgate.auth.token import strip_bearer
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.model.tokens import BindingRules

__all__ = ["FREE", "Binding", "BoundTokens", "check_certificate", "find_binding"]

_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}")
"""32 bytes."""
_CERTIFICATE = "x5t#S256"
_PROOF_KEY = "jkt"
_SCHEME = b"dpop "
_BEARER = b"Bearer "


class Binding(NamedTuple):
    """Whose token it is; empty texts ask for nothing."""

    certificate: str = ""
    """Fingerprint, in hexadecimal, that the client's certificate must have."""
    proof_key: str = ""
    """Thumbprint (RFC 7638), in base64url, of the key that signs proofs."""


FREE = Binding()
"""Of a token that anybody may use."""


class BoundTokens:
    """Judges the tokens that one method of one API reads.

    ``strip`` what was presented; ``find`` once for each token, and keep the result with whatever remembers the token; ``check`` on every
    request, and await ``settle`` where that says False. Without a binding a check costs a comparison.

    :param identity: of the method; tells of what is refused.
    """

    __slots__ = ("_identity", "_proofs", "_rules")

    def __init__(self, api: ApiDefinition, config: GatewayConfig, tools: AuthTools, identity: Identity) -> None:
        self._rules = api.binding
        self._identity = identity
        self._proofs = ProofCheck(api.binding.proofs, config, tools)

    def strip(self, exchange: Exchange, presented: bytes) -> bytes:
        """Return a token without the scheme before it, and note in the request which one it was: ``DPoP``, ``Bearer`` or none."""
        if presented[:7] == _BEARER:
            exchange.by_proof = False
            return presented[7:]
        exchange.by_proof = presented[:5].lower() == _SCHEME
        return presented[5:] if exchange.by_proof else strip_bearer(presented)

    def missing(self, refusal: str) -> Refusal:
        """Return the answer to a request without a token.

        :param refusal: id of the catalogue where proofs are not required.
        """
        if not self._rules.proofs.required:
            return Refusal(refusal)
        return Refusal("jwt.proof", "no token", fields={"reason": "no token"}, headers=self._proofs.challenge())

    def find(self, exchange: Exchange, claims: dict[str, Any]) -> Binding:
        """Return what a token is bound to.

        :param claims: of a verified token, or the members of an introspection's answer.
        :raises Refusal: ``jwt.binding``: to something that cannot be checked, or not to what the API requires.
        """
        try:
            return find_binding(claims, self._rules)
        except ClaimFault as fault:
            raise self._refuse(exchange, "jwt.binding", str(fault), "invalid_token") from fault

    def check(self, exchange: Exchange, binding: Binding, token: bytes) -> bool:
        """Let a request pass whose client may use its token.

        :param token: as presented, without the scheme.
        :returns: False where the store has to be asked (:meth:`settle`); nothing was noted then.
        :raises Refusal: ``jwt.binding``, ``jwt.proof``.
        """
        if binding is FREE and not exchange.by_proof:
            return True
        proved = self._judge(exchange, binding, token)
        try:
            return proved is None or self._proofs.note(exchange, proved)
        except ProofFault as fault:
            raise self._refuse(exchange, "jwt.proof", str(fault), fault.error) from fault

    async def settle(self, exchange: Exchange, binding: Binding, token: bytes) -> None:
        """Let a request pass whose client may use its token, asking the store whether its proof was used before.

        :raises Refusal: ``jwt.binding``, ``jwt.proof``, ``store.unavailable``.
        """
        if binding is FREE and not exchange.by_proof:
            return
        proved = self._judge(exchange, binding, token)
        if proved is not None:
            try:
                await self._proofs.note_anywhere(exchange, proved)
            except ProofFault as fault:
                raise self._refuse(exchange, "jwt.proof", str(fault), fault.error) from fault

    def _judge(self, exchange: Exchange, binding: Binding, token: bytes) -> Proved | None:
        """Return a proof that holds and has yet to be noted, None where there is nothing to note."""
        try:
            check_certificate(exchange, binding.certificate)
        except ClaimFault as fault:
            raise self._refuse(exchange, "jwt.binding", str(fault), "invalid_token") from fault
        if not binding.proof_key and not exchange.by_proof:
            return None
        if not binding.proof_key:
            raise self._refuse(exchange, "jwt.binding", "the token is not bound to a proof key", "invalid_token")
        if not exchange.by_proof:
            raise self._refuse(exchange, "jwt.proof", "the token is bound to a proof key and came without the DPoP scheme", "invalid_token")
        try:
            return self._proofs.judge(exchange, binding.proof_key, token)
        except ProofFault as fault:
            if fault.error == "use_dpop_nonce":
                raise self._proofs.ask_for_nonce(fault) from fault
            raise self._refuse(exchange, "jwt.proof", str(fault), fault.error) from fault

    def _refuse(self, exchange: Exchange, refusal: str, reason: str, error: str) -> Refusal:
        made = self._identity.fail_with(exchange, refusal, reason)
        wants_proof = exchange.by_proof or refusal == "jwt.proof" or self._rules.proofs.required
        made.headers = self._proofs.challenge(error, reason) if wants_proof else _challenge_bearer(error, reason)
        return made


def _challenge_bearer(error: str, reason: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return what RFC 8705 section 3 asks for."""
    return ((b"WWW-Authenticate", f'Bearer error="{error}", error_description="{reason}"'.encode()),)


def find_binding(claims: dict[str, Any], rules: BindingRules = BindingRules()) -> Binding:  # noqa: B008 - frozen
    """Return what a token is bound to, :data:`FREE` itself where that is nothing.

    :param claims: of a token, or the members of an introspection's answer.
    :param rules: what it has to be bound to.
    :raises ClaimFault: to something else, to nothing readable, or not to what it has to.
    """
    if "cnf" not in claims:
        if not rules.required:
            return FREE
        confirmation: Any = {}
    else:
        confirmation = claims["cnf"]
        if not isinstance(confirmation, dict) or not confirmation or not {_CERTIFICATE, _PROOF_KEY}.issuperset(confirmation):
            raise ClaimFault("the token is bound to a proof that is not supported")
    certificate, proof_key = "", ""
    if _CERTIFICATE in confirmation:
        text = confirmation[_CERTIFICATE]
        # The example of RFC 8705 has bits that are left over: of a hash that is compared they say nothing.
        if not isinstance(text, str) or _BASE64URL.fullmatch(text) is None:
            raise ClaimFault("the token is bound to a certificate that it does not name well")
        certificate = base64.urlsafe_b64decode(text + "=").hex()
    if _PROOF_KEY in confirmation:
        proof_key = confirmation[_PROOF_KEY]
        if not isinstance(proof_key, str) or _BASE64URL.fullmatch(proof_key) is None:
            raise ClaimFault("the token is bound to a proof key that it does not name well")
    if rules.require_certificate and not certificate:
        raise ClaimFault("the token is not bound to a certificate")
    if rules.proofs.required and not proof_key:
        raise ClaimFault("the token is not bound to a proof key")
    return Binding(certificate, proof_key)


def check_certificate(exchange: Exchange, fingerprint: str) -> None:
    """Let a request pass whose client has proved the key of the certificate that its token is bound to, in this connection.

    :param fingerprint: ``Binding.certificate``; empty asks for nothing.
    :raises ClaimFault: it has not.
    """
    if not fingerprint:
        return
    tls = exchange.connection.tls
    if tls is None or tls.peer is None:
        raise ClaimFault("the token needs its client certificate")
    if not hmac.compare_digest(tls.peer.fingerprint.encode(), fingerprint.encode()):
        raise ClaimFault("the token is bound to another client certificate")
