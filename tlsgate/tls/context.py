"""A TLS policy and a set of certificates as an OpenSSL context, and the bounded cache of contexts; knows nothing of names or APIs.

Each policy has contexts of its own, built complete and never changed: verify mode, announced names, ticket keys and the session cache
belong to the context, so none of them can leak from one policy into another (decisions 1.6). Cost: about 0.3 ms and 25 KiB each.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from tlsgate.errors import PkiError
from tlsgate.model.tls import ClientAuth, TlsPolicy
from tlsgate.pki.identity import build_identity
from tlsgate.tls.announce import ANNOUNCE_LIMIT_BYTES, announce_names, fits_announcement
from tlsgate.tls.certificates import use_certificates
from tlsgate.tls.ciphers import parse_ciphers
from tlsgate.tls.reasons import describe_error
from tlsgate.tls.verify import ClientList, RequireVerifier, accept_any, watch_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsgate.clock import Clock
    from tlsgate.model.tls import PeerIdentity
    from tlsgate.tls.certificates import CertificateSet

__all__ = ["ContextCache", "ContextSettings", "NoCommonProtocol", "apply_ciphers", "build_server_context"]

_log = Logger()

# Documented numbers of ssl.h that pyOpenSSL takes but does not name.
_MODE_NO_AUTO_CHAIN = 0x8  # never search our own store for issuers of our certificate: one path search less per handshake
_OP_PRIORITIZE_CHACHA = 0x200000  # a client without AES hardware puts ChaCha20 first: follow it

_OPTIONS = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_CIPHER_SERVER_PREFERENCE | _OP_PRIORITIZE_CHACHA
_LIFETIME_S = 86400.0


class NoCommonProtocol(SSL.Error):
    """The client's ALPN list has nothing that we speak; OpenSSL sends ``no_application_protocol``."""


class ContextSettings(NamedTuple):
    """What contexts need beside policy and certificates."""

    clock: Clock
    session_lifetime_s: int = 7200
    """How long tickets and session ids are good; identity and validity are judged per request all the same."""
    identify: Callable[[bytes, tuple[bytes, ...]], PeerIdentity] = build_identity
    """Builds a peer's identity from leaf and path; a cache may stand in. It is called before the peer has proved its key: what it keeps
    must not become a fact about the leaf (its chain, say), or a stranger who sends somebody's certificate decides about it."""


def build_server_context(
    policy: TlsPolicy, certificates: CertificateSet, allow_list: ClientList | None, settings: ContextSettings
) -> SSL.Context:
    """Return the complete context of a policy.

    ALPN: the first of the policy's protocols that the client offers; a client that offers ALPN without any of them is refused with
    ``no_application_protocol`` (RFC 7301 section 3.2, as nginx does: an answer in a protocol that was not offered opens cross-protocol
    attacks); a client without ALPN goes on. A policy without protocols does not answer ALPN.

    Groups are OpenSSL's default list, which begins with X25519MLKEM768 and X25519 (pyOpenSSL cannot set another one).

    :param policy: what the handshake demands.
    :param certificates: what serves the name.
    :param allow_list: the list that REQUIRE enforces and that REQUEST may announce; None refuses everybody under REQUIRE.
    :param settings: clock and session lifetime.
    :returns: a context that is only handed to ``SSL.Connection``.
    :raises PkiError: certificate, key, version range or suites that OpenSSL does not take.
    :raises ValueError: REQUIRE without an allow list.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _MODE_NO_AUTO_CHAIN)
    context.set_options(_OPTIONS)
    try:
        apply_ciphers(context, policy.ciphers, policy.versions.lowest, policy.versions.highest)
        use_certificates(context, certificates.certificates)
    except (SSL.Error, crypto.Error, ValueError) as problem:
        raise PkiError(f"no TLS context can be built: {describe_error(problem)}") from problem
    context.set_session_id(_session_id_context(policy, certificates))
    context.set_timeout(settings.session_lifetime_s)
    context.set_tlsext_servername_callback(_keep_name)
    if policy.alpn:
        context.set_alpn_select_callback(_AlpnSelector(tuple(protocol.encode() for protocol in policy.alpn)))
    if policy.client_auth is ClientAuth.REQUIRE:
        if allow_list is None:
            raise ValueError("a REQUIRE policy needs its allow list")
        watch_path(context)
        verifier = RequireVerifier(allow_list, settings.clock, settings.identify)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verifier)
    elif policy.client_auth is ClientAuth.REQUEST:
        context.set_verify(SSL.VERIFY_PEER, accept_any)
        # Depth 0: OpenSSL checks at most one signature of what was sent. A stranger's hundred certificates would cost 10 ms otherwise.
        context.set_verify_depth(0)
        # Sessions of clients that nobody judged yet are kept by the client (tickets), not by us: a cached one holds the whole chain
        # that was sent, up to 100 KiB, and OpenSSL keeps 20,480 of them.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    else:
        context.set_verify(SSL.VERIFY_NONE)
    if policy.client_auth is not ClientAuth.NONE and policy.announce and allow_list is not None:
        if fits_announcement(allow_list.names):
            announce_names(context, allow_list.names)
        else:
            _log.warn(
                "{count} names of allowed client certificates exceed {limit} bytes: no CA names are announced",
                event="tls.announcement_dropped",
                count=len(allow_list.names),
                limit=ANNOUNCE_LIMIT_BYTES,
            )
    return context


def apply_ciphers(context: SSL.Context, names: tuple[str, ...], lowest: int, highest: int) -> None:
    """Set versions, suites and security level 2 on a context, server or client.

    :param names: Tyk's suite names, empty for the default.
    :param lowest: wire number, raised to 771 (TLS 1.2) where lower.
    :param highest: wire number, lowered to 772 (TLS 1.3) where higher.
    :raises ValueError: unknown suites, no version in the range, or no suite for the versions.
    """
    lowest, highest = max(lowest, SSL.TLS1_2_VERSION), min(highest, SSL.TLS1_3_VERSION)
    if lowest > highest:
        raise ValueError("no TLS version lies between the lowest and the highest allowed")
    choice = parse_ciphers(names)
    if not choice.tls12:
        lowest = SSL.TLS1_3_VERSION
        if highest < lowest:
            raise ValueError("none of the cipher suites works with TLS 1.2, and TLS 1.3 is not allowed")
    context.set_min_proto_version(lowest)
    context.set_max_proto_version(highest)
    suites = ":".join(choice.tls12) if choice.tls12 else "ECDHE+AESGCM"
    context.set_cipher_list(f"{suites}:@SECLEVEL=2".encode())
    context.set_tls13_ciphersuites(":".join(choice.tls13).encode())


class ContextCache:
    """Contexts by (policy, certificate set), built on first use; bounded, oldest use out first, renewed within 24 hours.

    A renewed context has new ticket keys: sessions from the old one end in a full handshake. Connections keep the context they began with.

    :param settings: for the contexts.
    :param capacity: contexts kept.
    :param lifetime_s: age at which a context is built anew.
    """

    def __init__(self, settings: ContextSettings, *, capacity: int = 4096, lifetime_s: float = _LIFETIME_S) -> None:
        if capacity < 1:
            raise ValueError("capacity below 1")
        self._settings = settings
        self._capacity = capacity
        self._lifetime_s = lifetime_s
        self._entries: OrderedDict[tuple[TlsPolicy, str], tuple[float, SSL.Context]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, policy: TlsPolicy, certificates: CertificateSet, allow_list: ClientList | None) -> SSL.Context:
        """Return the context; once per connection, 2 us when it exists.

        :param allow_list: the list whose key the policy names.
        :raises PkiError: it cannot be built (nothing is cached then).
        :raises ValueError: the list is another one than the policy's.
        """
        key = (policy, certificates.key)
        now = self._settings.clock.monotonic()
        entry = self._entries.get(key)
        if entry is not None and now - entry[0] < self._lifetime_s:
            self._entries.move_to_end(key)
            return entry[1]
        if policy.allow_list and (allow_list is None or allow_list.key != policy.allow_list):
            raise ValueError("allow list and policy do not belong together")
        context = build_server_context(policy, certificates, allow_list, self._settings)
        self._entries[key] = (now, context)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
        return context


class _AlpnSelector:
    __slots__ = ("_protocols",)

    def __init__(self, protocols: tuple[bytes, ...]) -> None:
        self._protocols = protocols

    def __call__(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        for protocol in self._protocols:
            if protocol in offered:
                return protocol
        raise NoCommonProtocol([("SSL routines", "", "no application protocol")])


def _keep_name(connection: SSL.Connection) -> None:
    """Do nothing: with a callback set, OpenSSL accepts the name and reports it after the handshake."""


def _session_id_context(policy: TlsPolicy, certificates: CertificateSet) -> bytes:
    return hashlib.sha256(msgspec.json.encode(policy) + certificates.key.encode()).digest()
