"""Contexts for connections to upstreams, and whether the one who answered is the upstream; knows nothing of HTTP, hosts files or pools.

The chain is verified within the handshake, so that an upstream that fails never sees our client certificate (TLS 1.3) and gets an alert;
name, common name and pins are checked when it is over and before our last flight leaves.
Source: mTLS reference, sections 8 to 10 with their BETTER lines.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL, crypto

from tlsgate.errors import PkiError
from tlsgate.pki.certificate import Certificate, read_certificate
from tlsgate.pki.der import open_certificate
from tlsgate.pki.identity import format_name, spki_sha256
from tlsgate.pki.path import TrustAnchors
from tlsgate.pki.pem import key_matches
from tlsgate.tls.context import apply_ciphers
from tlsgate.tls.hostcheck import find_common_name, find_name_fault
from tlsgate.tls.reasons import describe_error
from tlsgate.tls.trust import TrustSet
from tlsgate.wire.names import is_ip_literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlsgate.clock import Clock
    from tlsgate.pki.pem import PemBundle, PrivateKey

__all__ = [
    "ClientCertificate",
    "ClientContextCache",
    "Fault",
    "UpstreamIdentity",
    "build_client_certificate",
    "build_client_context",
    "build_upstream_identity",
    "check_upstream",
    "find_verify_fault",
]

# Numbers of x509_vfy.h that an operator meets; the rest is shown as a number.
_REASONS = {
    2: "issuer is not known",
    7: "signature does not verify",
    9: "not valid yet",
    10: "expired",
    18: "self-signed and not trusted",
    19: "self-signed CA in the chain is not trusted",
    20: "issuer is not known",
    21: "issuer is not known",
    24: "issuer is not a CA",
    25: "path is longer than its CA allows",
    26: "not for servers",
    66: "key is too small",
    67: "key of a CA is too small",
    68: "signature algorithm is too weak",
}
_OUT_OF_TIME = (9, 10)


class ClientCertificate:
    """What we show to an upstream that asks; equal to any other of the same certificates.

    :param ders: leaf, then its chain.
    :param private_key: of the leaf.
    """

    __slots__ = ("certificate", "chain", "key", "private_key")

    def __init__(self, ders: Sequence[bytes], private_key: PrivateKey) -> None:
        self.certificate, *chain = (open_certificate(der) for der in ders)
        self.chain = tuple(chain)
        self.private_key = private_key
        self.key = hashlib.sha256(b"".join(hashlib.sha256(der).digest() for der in ders)).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientCertificate) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


class UpstreamIdentity(NamedTuple):
    """Everything that makes two connections to upstreams not interchangeable; hashable, the key of pools."""

    scheme: str
    """``https``, ``wss`` or ``tls``."""
    host: str
    """Normalised; what the certificate must be for."""
    port: int
    server_name: str
    """SNI; empty sends none (IP addresses)."""
    trust: TrustSet
    certificate: ClientCertificate | None = None
    lowest: int = 771
    highest: int = 772
    ciphers: tuple[str, ...] = ()
    verify: bool = True
    """False is ``ssl_insecure_skip_verify``: neither chain nor name; pins and the common-name check still count."""
    pins: frozenset[bytes] | None = None
    """SHA-256 of SubjectPublicKeyInfo, any may match; None where the host has no pin; an empty set matches nothing."""
    common_name: bool = False
    """``ssl_force_common_name_check``: one check more."""
    alpn: tuple[str, ...] = ("http/1.1",)


class _Settings(NamedTuple):
    """Application data of a client context."""

    trust: TrustSet
    clock: Clock


class Fault(str):
    """Why somebody is not the upstream; compares as text."""

    flag: str = "TLI"
    """Tyk's: TLE out of its time, TLM another name, TLI anything else about the certificate."""

    @classmethod
    def of(cls, text: str, flag: str) -> Fault:
        """Return a text with its flag."""
        made = cls(text)
        made.flag = flag
        return made


class _Seen:
    """Application data of a client connection: why the chain did not verify."""

    __slots__ = ("fault",)

    def __init__(self) -> None:
        self.fault = Fault()


def build_upstream_identity(
    *,
    host: str,
    port: int,
    trust: TrustSet,
    scheme: str = "https",
    client: PemBundle | None = None,
    min_version: int = 0,
    max_version: int = 0,
    ciphers: tuple[str, ...] = (),
    verify: bool = True,
    pins: frozenset[bytes] | None = None,
    check_common_name: bool = False,
    alpn: tuple[str, ...] = ("http/1.1",),
) -> UpstreamIdentity:
    """Return the identity of an upstream.

    :param host: normalised, as ``target_url`` has it; IP addresses get no SNI (RFC 6066 section 3).
    :param client: bundle of the client certificate with its key.
    :param min_version: wire number, used as given (Tyk lowers the highest to TLS 1.2); 0 is TLS 1.2.
    :param max_version: wire number; 0 is TLS 1.3.
    :param alpn: empty for raw services.
    :raises PkiError: the client certificate cannot be used.
    """
    return UpstreamIdentity(
        scheme=scheme,
        host=host,
        port=port,
        server_name="" if is_ip_literal(host) else host,
        trust=trust,
        certificate=build_client_certificate(client) if client is not None else None,
        lowest=min_version or SSL.TLS1_2_VERSION,
        highest=max_version or SSL.TLS1_3_VERSION,
        ciphers=ciphers,
        verify=verify,
        pins=pins,
        common_name=check_common_name,
        alpn=alpn,
    )


def build_client_certificate(bundle: PemBundle) -> ClientCertificate:
    """Return a client certificate for upstreams: the first certificate of the bundle, the others as its chain.

    :raises PkiError: no certificate, no key, or a key that does not fit: the request fails then, it never goes without (decisions 1.8).
    """
    if not bundle.certificates:
        raise PkiError("no certificate")
    if bundle.private_key is None:
        raise PkiError(bundle.key_fault or "no private key beside the certificate")
    if not key_matches(bundle.certificates[0], bundle.private_key):
        raise PkiError("private key does not match the first certificate")
    return ClientCertificate(bundle.certificates, bundle.private_key)


def build_client_context(identity: UpstreamIdentity, clock: Clock) -> SSL.Context:
    """Return a context for connections of an identity.

    The client certificate is offered whatever CA names the upstream announces. Renegotiation is refused.

    :param clock: for paths to CAs whose key is pinned.
    :raises PkiError: versions, suites or certificate that OpenSSL does not take.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    certificate = identity.certificate
    try:
        apply_ciphers(context, identity.ciphers, identity.lowest, identity.highest)
        if certificate is not None:
            context.use_certificate(certificate.certificate)
            context.use_privatekey(certificate.private_key)
            for issuer in certificate.chain:
                context.add_extra_chain_cert(issuer)
    except (SSL.Error, crypto.Error, ValueError) as problem:
        raise PkiError(f"no TLS context for upstream {identity.host} can be built: {describe_error(problem)}") from problem
    if identity.alpn:
        context.set_alpn_protos([protocol.encode() for protocol in identity.alpn])
    store = context.get_cert_store()
    assert store is not None
    identity.trust.fill(store)
    context.set_verify(SSL.VERIFY_PEER, _refuse_faults if _chain_decides(identity) else _note_faults)
    context.set_app_data(_Settings(identity.trust, clock))
    return context


def check_upstream(connection: SSL.Connection, identity: UpstreamIdentity) -> Fault | None:
    """Decide on the one who answered, when the handshake is over and before anything is sent.

    - Verification on: the chain was verified in the handshake; the name must match a subject alternative name.
    - Pins for the host take the place of that: the leaf's key is pinned, or the key of a CA from which a verified path leads to the leaf;
      a CA says nothing about the host, so the name is checked then. A certificate that was merely sent along counts for nothing.
    - Verification off: pins alone, where there are any.
    - ``common_name`` adds its check to all of these.

    :param connection: over a context of :func:`build_client_context`.
    :param identity: who it should be.
    :returns: None, or why this is not the upstream, for the log.
    """
    shown = connection.get_peer_certificate()
    if shown is None:
        return Fault("upstream showed no certificate")
    try:
        leaf = open_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, shown))
    except PkiError as problem:
        return Fault(problem)
    if identity.pins is not None:
        fault = _find_pin_fault(connection, identity, identity.pins, leaf)
    elif identity.verify:
        fault = find_verify_fault(connection) or _name_fault(leaf, identity.host)
    else:
        fault = None
    if fault is None and identity.common_name:
        name = find_common_name(leaf)
        if name is None or name.lower().rstrip(".") != identity.host:
            fault = Fault.of(f"certificate had CN {name!r}, expected {identity.host!r}", "TLM")
    return fault


def find_verify_fault(connection: SSL.Connection) -> Fault | None:
    """Return why the chain of an upstream did not verify, None when it did or was not looked at yet.

    For the log after a handshake that ended with OpenSSL's bare ``certificate verify failed``.
    """
    seen = connection.get_app_data()
    return seen.fault or None if isinstance(seen, _Seen) else None


class ClientContextCache:
    """Contexts shared by identities that differ in host, port, name or pins only; bounded, oldest use out first.

    :param clock: for the contexts.
    :param capacity: contexts kept.
    """

    def __init__(self, clock: Clock, *, capacity: int = 256) -> None:
        self._clock = clock
        self._capacity = capacity
        self._contexts: OrderedDict[tuple[object, ...], SSL.Context] = OrderedDict()

    def __len__(self) -> int:
        return len(self._contexts)

    def get(self, identity: UpstreamIdentity) -> SSL.Context:
        """Return the context of an identity.

        :raises PkiError: as of :func:`build_client_context`.
        """
        key = (
            identity.certificate,
            identity.trust,
            identity.lowest,
            identity.highest,
            identity.ciphers,
            identity.alpn,
            _chain_decides(identity),
        )
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = build_client_context(identity, self._clock)
            if len(self._contexts) > self._capacity:
                self._contexts.popitem(last=False)
        else:
            self._contexts.move_to_end(key)
        return context


def _chain_decides(identity: UpstreamIdentity) -> bool:
    return identity.verify and identity.pins is None


def _refuse_faults(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Verification callback: OpenSSL's answer stands, its reason is kept for the log."""
    return bool(ok) or not _note(connection, certificate, error, depth)


def _note_faults(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Verification callback: goes on whatever OpenSSL says, its first reason is kept."""
    if not ok:
        _note(connection, certificate, error, depth)
    return True


def _note(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int) -> bool:
    seen = connection.get_app_data()
    if not isinstance(seen, _Seen):
        seen = _Seen()
        connection.set_app_data(seen)
    if not seen.fault:
        try:
            subject = format_name(open_certificate(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)).subject)
        except (PkiError, ValueError):
            subject = "unreadable"
        text = f"certificate {depth} ({subject}): {_REASONS.get(error, f'error {error}')}"
        seen.fault = Fault.of(text, "TLE" if error in _OUT_OF_TIME else "TLI")
    return True


def _name_fault(leaf: x509.Certificate, host: str) -> Fault | None:
    fault = find_name_fault(leaf, host)
    return Fault.of(fault, "TLM") if fault is not None else None


def _find_pin_fault(connection: SSL.Connection, identity: UpstreamIdentity, pins: frozenset[bytes], leaf: x509.Certificate) -> Fault | None:
    der = leaf.public_bytes(Encoding.DER)
    if spki_sha256(der) in pins:
        return None
    settings = connection.get_context().get_app_data()
    assert isinstance(settings, _Settings)
    sent = [crypto.dump_certificate(crypto.FILETYPE_ASN1, entry) for entry in connection.get_peer_cert_chain() or ()]
    anchors = [*_pinned(sent, pins, der), *settings.trust.find_keys(pins)]
    if not anchors:
        return Fault("public keys do not match the pins")
    try:
        path = TrustAnchors(anchors).find_path(read_certificate(der), sent, settings.clock.now(), client_usage=False)
    except PkiError as problem:
        return Fault(problem)
    if path.anchor is None:
        return Fault(f"a CA has a pinned key, but the upstream's certificate is not under it: {path.fault}")
    if not _for_servers(leaf):
        return Fault("certificate is not for servers")
    return _name_fault(leaf, identity.host) if identity.verify else None


def _pinned(sent: Sequence[bytes], pins: frozenset[bytes], leaf: bytes) -> list[Certificate]:
    found: list[Certificate] = []
    for der in sent:
        try:
            if der != leaf and spki_sha256(der) in pins:
                found.append(read_certificate(der))
        except PkiError:
            continue
    return found


def _for_servers(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage
