"""What OpenSSL's verification callback answers while a client's certificate is checked; knows nothing of names, routes or requests.

OpenSSL is given no trust anchor at all. It builds a path from what the client sent and calls back for each member of it; as soon as the
whole path is known, ``AllowList.judge`` decides, the same function that judges every request later. So handshake and request can not
disagree, several anchors of one name need no luck, and 100,000 pinned leaves cost what ten do.

Order of OpenSSL's calls, measured with OpenSSL 4.0 and the same for TLS 1.2 and 1.3 (tests/unit/tls/test_verify.py keeps it):

1. error 66 at depth 0: the leaf's key is too small for security level 2;
2. errors 18, 19, 20 (or 22, then 20, for a long path) at the depth of the last member of the path: no anchor found;
3. error 26 at depth 0: purpose, 24, 25, 67, 68 and others at any depth;
4. error 3 at each depth from 0 on, except for a self-signed last member: no revocation list. The store's CRL flags are set for these calls
   only: they show each member before any signature is checked, and refusing here sends ``unknown_ca``;
5. error 21 at depth 0 for a leaf sent alone; error 7 (signature), 9 and 10 (time) at any depth, from the last member to the leaf;
6. no error at depth 0.

The alert is the one OpenSSL keeps for the error of the call that is refused, so a refusal waits for the call with the fitting error.

Of several sent certificates with one name OpenSSL shows the one that it looks up first, and no other. So where its path leads nowhere and
the client has sent more than this path, the callback lets the handshake go on, and whoever finishes it judges with everything that was
sent (``HandshakeState.undecided``); if that refuses too, the client gets no alert.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from OpenSSL import SSL, crypto
from twisted.logger import Logger

from tlsgate.pki.identity import build_identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.clock import Clock
    from tlsgate.model.tls import PeerIdentity
    from tlsgate.pki.acl import Verdict

__all__ = ["MAX_PATH", "ClientList", "HandshakeState", "RequireVerifier", "accept_any", "watch_path"]

_log = Logger()

MAX_PATH = 8
"""Certificates after the leaf that OpenSSL may chain; a longer path is cut there."""

_NO_ERROR = 0
_WRONG_PURPOSE = 26
_KEY_TOO_SMALL = 66
# The path ends here: 2 and 20 no issuer, 18 self-signed leaf, 19 self-signed last member, 22 too long.
_PATH_ENDS = frozenset({2, 18, 19, 20, 22})
# Refusing a call with one of these errors sends the alert of the name.
_UNKNOWN_CA = _PATH_ENDS | {3, 21}
_CERTIFICATE_EXPIRED = frozenset({10})
_BAD_CERTIFICATE = frozenset({9})
_UNSUPPORTED_CERTIFICATE = frozenset({_WRONG_PURPOSE})


class ClientList(Protocol):
    """What a handshake asks of an allow list, or of several joined."""

    @property
    def key(self) -> str:
        """Content key that policies name."""

    @property
    def pins(self) -> frozenset[str]:
        """Fingerprints of pinned leaves."""

    @property
    def names(self) -> tuple[bytes, ...]:
        """DER of the names to announce."""

    @property
    def require_client_usage(self) -> bool:
        """Leaves must be for client authentication."""

    def judge(self, peer: PeerIdentity, now: float) -> Verdict:
        """Decide on a peer."""


class HandshakeState:
    """What one server handshake learned about the client; the application data of its ``SSL.Connection`` until the handshake is over."""

    __slots__ = ("called", "identity", "path", "received", "refusal", "top", "undecided", "verdict", "waits_for")

    def __init__(self) -> None:
        self.called = False
        """OpenSSL verified a certificate, hence a full handshake; False for a resumed one, or when no certificate was sent."""
        self.path: dict[int, crypto.X509] = {}
        self.top = -1
        self.identity: PeerIdentity | None = None
        """The leaf with the path that OpenSSL built from what was sent (not everything that was sent)."""
        self.verdict: Verdict | None = None
        """The allow list's verdict under a REQUIRE policy, None before it and where it is still open."""
        self.received = 0
        """Bytes that the client has sent after its ClientHello."""
        self.undecided = False
        """OpenSSL's path leads nowhere, but the client sent more: the verdict needs everything that was sent."""
        self.refusal = ""
        """Why the callback refused, for the log: fingerprint, subject and rule."""
        self.waits_for: frozenset[int] = _UNKNOWN_CA


def accept_any(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Accept whatever certificate a client shows: REQUEST policies judge it per request.

    The proof that the client owns the leaf's key is OpenSSL's and is not skipped.
    """
    state = connection.get_app_data()
    if state is not None:
        state.called = True
    return True


class RequireVerifier:
    """The callback of a REQUIRE policy.

    :param allow_list: the policy's list; an empty one refuses everybody.
    :param clock: says when "now" is for validity.
    :param identify: builds the identity from leaf and path (DER); a cache may stand in here.
    """

    __slots__ = ("_allow_list", "_clock", "_identify")

    def __init__(
        self,
        allow_list: ClientList,
        clock: Clock,
        identify: Callable[[bytes, tuple[bytes, ...]], PeerIdentity] = build_identity,
    ) -> None:
        self._allow_list = allow_list
        self._clock = clock
        self._identify = identify

    def __call__(self, connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
        """Answer one call of OpenSSL: True goes on, False ends the handshake with the alert of ``error``.

        Never raises: what goes wrong in here refuses.
        """
        state = connection.get_app_data()
        if state is None:
            state = HandshakeState()
            connection.set_app_data(state)
        state.called = True
        try:
            return self._answer(state, certificate, error, depth)
        except Exception:
            _log.failure("verification of a client certificate failed", event="tls.verify_error")
            state.refusal = "error while the certificate was judged"
            return False

    def _answer(self, state: HandshakeState, certificate: crypto.X509, error: int, depth: int) -> bool:
        verdict = state.verdict
        if verdict is None:
            if state.undecided:
                return True
            if error == _KEY_TOO_SMALL and depth == 0:
                return self._refuse(state, certificate, "key is below security level 2")
            state.path[depth] = certificate
            if error in _PATH_ENDS:
                state.top = max(depth, state.top)
            if len(state.path) <= state.top or state.top < 0:
                # Not the whole path yet. OpenSSL has shown every member before it reports success; if not, nothing is allowed.
                if error == _NO_ERROR and depth == 0:
                    state.refusal = "path of the client certificate is incomplete"
                    return False
                if error == _WRONG_PURPOSE and depth == 0 and self._allow_list.require_client_usage:
                    # Here the alert can say so; with the rest of the path it would be unknown_ca.
                    return self._refuse(state, certificate, "not for client authentication", unless_for_clients=True)
                return True
            verdict = self._judge(state, error)
            if state.undecided:
                return True
        if verdict.refusal is None:
            return True
        # No error at depth 0 is the last call: the one that would send the fitting alert never came.
        return not (error in state.waits_for or (error == _NO_ERROR and depth == 0))

    def _judge(self, state: HandshakeState, error: int) -> Verdict:
        path = tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, state.path[depth]) for depth in range(state.top + 1))
        leaf = state.path[0]
        state.path.clear()
        now = self._clock.now()
        identity = self._identify(path[0], path[1:])
        verdict = self._allow_list.judge(identity, now)
        state.identity = identity
        state.verdict = verdict
        if verdict.refusal is not None:
            state.refusal = f"client certificate {identity.fingerprint} ({identity.subject}): {verdict.rule}"
            state.waits_for = self._find_alert(identity, now, usage_follows=state.top == 0 or error == _WRONG_PURPOSE)
            if state.waits_for is _UNKNOWN_CA and _sent_more(state.received, path, leaf):
                state.undecided = True
                state.verdict = None
        return verdict

    def _find_alert(self, identity: PeerIdentity, now: float, *, usage_follows: bool) -> frozenset[int]:
        """Return the errors to refuse at, so that the client gets the alert that fits."""
        if not identity.readable:
            return _UNKNOWN_CA
        if identity.not_after < now:
            return _CERTIFICATE_EXPIRED
        if usage_follows and not identity.client_usage and self._allow_list.require_client_usage:
            return _UNSUPPORTED_CERTIFICATE
        if identity.not_before > now and identity.fingerprint in self._allow_list.pins:
            return _BAD_CERTIFICATE
        return _UNKNOWN_CA

    def _refuse(self, state: HandshakeState, certificate: crypto.X509, rule: str, *, unless_for_clients: bool = False) -> bool:
        """Note a refusal of the leaf and return False; True for one that is for clients all the same, where that matters."""
        identity = self._identify(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate), ())
        if unless_for_clients and (identity.client_usage or not identity.readable):
            return True
        state.identity = identity
        state.refusal = f"client certificate {identity.fingerprint} ({identity.subject}): {rule}"
        return False


def _sent_more(received: int, path: tuple[bytes, ...], leaf: crypto.X509) -> bool:
    """Tell whether a client's flight is too large for a path and what goes with it: then further certificates are in it.

    Wrong answers are harmless: a client of an unknown CA gets no alert, or an odd chain is not looked through.
    """
    key = leaf.get_pubkey()
    octets = (key.bits() + 7) // 8
    signature = octets if key.type() == crypto.TYPE_RSA else 2 * octets + 9
    # Message heads, key exchange, Finished, change of cipher and records of either version, at most.
    return received > sum(len(der) + 5 for der in path) + signature + 240


def watch_path(context: SSL.Context) -> None:
    """Make OpenSSL show each member of a path to the callback before signatures are checked (see the module's text, step 4)."""
    store = context.get_cert_store()
    assert store is not None
    store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL)
    context.set_verify_depth(MAX_PATH)
