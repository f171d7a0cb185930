"""Who may connect: a list of pinned leaf certificates and CAs, and its judgement on a peer; knows nothing of TLS libraries or HTTP.

Only the leaf counts, because only its key was proven. What else a peer sent is untrusted material for a path from that leaf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography import x509

from tlsgate.bounded import put
from tlsgate.errors import PkiError
from tlsgate.model.tls import PeerIdentity
from tlsgate.pki.certificate import Certificate, Roles, read_certificate, read_roles
from tlsgate.pki.der import open_certificate, read_slices
from tlsgate.pki.path import Path, TrustAnchors, authority_fault
from tlsgate.pki.pem import PemBundle

__all__ = ["AllowList", "Verdict", "build_allow_list"]

_INFINITY = float("inf")
_MAX_WARNINGS = 20
_MAX_PATHS = 1024
"""Verified paths that a list remembers, some 200 bytes each."""
_EXPIRED = "cert.expired"
_NOT_ALLOWED = "cert.not_allowed"


class Verdict(NamedTuple):
    """A judgement that may be kept while the time is below ``valid_until``."""

    refusal: str | None
    """Id of the catalogue (``cert.expired``, ``cert.not_allowed``), None when the peer may pass."""
    rule: str
    """What decided, for the log."""
    valid_until: float
    """Epoch seconds; infinity when time alone changes nothing."""


class AllowList:
    """An immutable list; made by :func:`build_allow_list`. An empty one refuses everybody.

    Memory: about 160 bytes for each pin. A judgement costs 1 us for a pin, whatever their number; for a leaf under a CA some
    100 us for each signature the first time, and 3 us when the same leaf comes again with the same chain.
    """

    __slots__ = ("_paths", "_trust", "anchors", "key", "names", "pins", "require_client_usage", "warnings")

    def __init__(
        self,
        *,
        pins: frozenset[str],
        authorities: Sequence[Certificate],
        names: tuple[bytes, ...],
        require_client_usage: bool,
        trust_unmarked: bool = False,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.pins = pins
        """Fingerprints (lower-case hex SHA-256) of the leaves, CAs included: a CA's own certificate is a client only by its pin."""
        self.anchors: tuple[x509.Certificate, ...] = tuple(authority.opened for authority in authorities)
        self.names = names
        """DER names to announce: of CAs and self-signed leaves their own, of other leaves the issuer's; without repetition."""
        self.require_client_usage = require_client_usage
        self.warnings = warnings
        """What an operator should know of the list; bounded."""
        self._trust = TrustAnchors(authorities, unmarked=trust_unmarked)
        # Only successes, so that strangers cannot push clients out; by leaf and chain, so that a client's luck never depends
        # on what another one sent before.
        self._paths: dict[tuple[str, bytes], Path] = {}
        self.key: str = _content_key(pins, authorities, require_client_usage, trust_unmarked)
        """Equal for lists of equal content, in whatever order."""

    @property
    def empty(self) -> bool:
        """Whether nobody can pass."""
        return not self.pins

    def judge(self, peer: PeerIdentity, now: float) -> Verdict:
        """Decide on a peer.

        :param peer: whose key was proven.
        :param now: epoch seconds.
        :returns: the verdict; keep it while the time is below its ``valid_until``.
        Source: mTLS reference section 5 with its BETTER lines, section 14; decisions 1.10. Tyk compares every sent certificate,
            checks server usage and skips notBefore; none of that here.
        """
        if not peer.readable:
            return Verdict(_NOT_ALLOWED, "certificate cannot be read", _INFINITY)
        pinned = peer.fingerprint in self.pins
        if pinned:
            if now > peer.not_after:
                return Verdict(_EXPIRED, "listed, but expired", _INFINITY)
            if now < peer.not_before:
                return Verdict(_NOT_ALLOWED, "listed, but not valid yet", peer.not_before)
        if peer.weakness:
            return Verdict(_NOT_ALLOWED, f"too weak: {peer.weakness}", _INFINITY)
        if self.require_client_usage and not peer.client_usage:
            return Verdict(_NOT_ALLOWED, "not for client authentication", _INFINITY)
        if pinned:
            return Verdict(None, "listed", peer.not_after)
        if peer.is_ca:
            return Verdict(_NOT_ALLOWED, "a CA certificate that is not listed itself", _INFINITY)
        if not self.anchors:
            return Verdict(_NOT_ALLOWED, "not listed" if self.pins else "the list is empty", _INFINITY)
        return self._judge_path(peer, now)

    def anchor_issued(self, certificate_der: bytes) -> bool:
        """Tell whether a CA of the list directly signed a certificate; says nothing of validity or purpose.

        :param certificate_der: a certificate of a handshake.
        :returns: True when the signature was verified with an anchor's key.
        """
        try:
            certificate = read_certificate(certificate_der)
        except PkiError:
            return False
        return self._trust.issued(certificate)

    def _judge_path(self, peer: PeerIdentity, now: float) -> Verdict:
        known_as = (peer.fingerprint, hashlib.sha256(b"".join(peer.chain)).digest())
        path = self._paths.get(known_as)
        if path is None or not path.since <= now <= path.until:
            # Read again instead of kept in the record: connections of pinned or known peers never need it.
            leaf = read_certificate(peer.der)
            path = self._trust.find_path(leaf, peer.chain, now, client_usage=self.require_client_usage)
            if path.anchor is None:
                return Verdict(_NOT_ALLOWED, f"not listed, and no path to a listed CA: {path.fault}", path.until)
            put(self._paths, known_as, path, _MAX_PATHS)
        assert path.anchor is not None
        return Verdict(None, f"issued under listed CA {hashlib.sha256(path.anchor.der).hexdigest()}", path.until)


def build_allow_list(bundles: Sequence[PemBundle | None], *, require_client_usage: bool = True, trust_unmarked: bool = False) -> AllowList:
    """Build a list from resolved references; 100,000 leaves in about 2 s.

    :param bundles: one for each reference; None grants nothing. The first certificate of a bundle is meant, the rest of a chain
        is not trusted. A CA counts as anchor with CA:TRUE and keyCertSign.
    :param require_client_usage: whether leaves need EKU clientAuth, anyExtendedKeyUsage or no EKU.
    :param trust_unmarked: CA:TRUE without keyUsage makes a CA too, listed or sent. A self-signed client certificate of plain ``openssl req
        -x509`` looks the same: with True whatever its key signs gets in as well (with a warning), with False it is a client's only.
    :returns: the list, perhaps empty.
    Source: mTLS reference sections 4 and 5, BETTER lines; decisions 1.8.
    """
    warnings = _Warnings()
    pins: set[str] = set()
    authorities: dict[bytes, Certificate] = {}
    names: dict[bytes, None] = {}
    for number, bundle in enumerate(bundles):
        if bundle is None:
            continue
        der = bundle.leaf
        if der is None:
            warnings.add(number, "holds no certificate and lets nobody in")
            continue
        try:
            opened = open_certificate(der)
            slices = read_slices(der)
        except PkiError as error:
            warnings.add(number, f"{error}; it lets nobody in")
            continue
        pins.add(hashlib.sha256(der).hexdigest())
        roles = read_roles(opened)
        is_ca = roles.is_ca or (trust_unmarked and roles.unmarked_ca)
        if is_ca and roles.unmarked_ca:
            warnings.add(
                number,
                "is CA:TRUE without keyUsage and trusted as a CA: whatever its key signed gets in; if it is a client's own certificate, "
                "set client_certificates.trust_unmarked_ca to false",
            )
        if not is_ca:
            _warn_of_roles(roles, require_client_usage, number, warnings)
        elif der not in authorities:
            certificate = read_certificate(der)
            fault = authority_fault(certificate, client_usage=require_client_usage, unmarked=trust_unmarked)
            if fault:
                warnings.add(number, f"is no usable CA: {fault}")
            else:
                authorities[der] = certificate
        if len(bundle.certificates) > 1 and is_ca:
            warnings.add(number, "holds more certificates after a CA; only the first one counts, list each CA on its own")
        names[slices.subject if is_ca or slices.issuer == slices.subject else slices.issuer] = None
    return AllowList(
        pins=frozenset(pins),
        authorities=tuple(authorities.values()),
        names=tuple(names),
        require_client_usage=require_client_usage,
        trust_unmarked=trust_unmarked,
        warnings=warnings.collected(),
    )


class _Warnings:
    """Collects a bounded number of remarks on entries of a list."""

    __slots__ = ("_count", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._count = 0

    def add(self, number: int, text: str) -> None:
        self._count += 1
        if self._count <= _MAX_WARNINGS:
            self._texts.append(f"entry {number}: {text}")

    def collected(self) -> tuple[str, ...]:
        if self._count > _MAX_WARNINGS:
            return (*self._texts, f"and {self._count - _MAX_WARNINGS} more remarks")
        return tuple(self._texts)


def _warn_of_roles(roles: Roles, require_client_usage: bool, number: int, warnings: _Warnings) -> None:
    if roles.unmarked_ca:
        warnings.add(number, "is CA:TRUE without keyUsage: it works as a client certificate, and what it signed is not trusted")
    if require_client_usage and not roles.client_usage:
        warnings.add(number, "does not allow client authentication: it lets nobody in")


def _content_key(pins: Iterable[str], authorities: Iterable[Certificate], require_client_usage: bool, trust_unmarked: bool) -> str:
    digest = hashlib.sha256(b"client" if require_client_usage else b"any")
    digest.update(b"unmarked" if trust_unmarked else b"marked")
    digest.update("".join(sorted(pins)).encode())
    digest.update(b"".join(sorted(hashlib.sha256(authority.der).digest() for authority in authorities)))
    return digest.hexdigest()
