"""Builds and verifies certification paths from a leaf to configured anchors; knows nothing of TLS, pins or lists.

Written out instead of borrowed, because anchors may be intermediates whose root is nowhere, several CAs may share one name, and the
work that a hostile chain can cause has to be bounded: names and cheap rules first, signatures after them, from the anchor downwards and
never twice, constraints of a CA only when an anchor vouches for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from tlsgate.errors import PkiError
from tlsgate.pki.certificate import Certificate, read_certificate
from tlsgate.pki.names import find_violation

__all__ = ["MAX_SIGNATURES", "MAX_STEPS", "Path", "TrustAnchors", "authority_fault", "signed_by"]

MAX_SIGNATURES = 32
"""Signature checks of one search, beyond one for each anchor of one name (some 60 us each with P-256)."""
MAX_STEPS = 256
"""Candidate issuers looked at in one search, likewise."""
_INFINITY = float("inf")


class Path(NamedTuple):
    """Outcome of a search."""

    fault: str
    """Empty when a path verified, else why none did."""
    anchor: Certificate | None
    since: float
    """A verified path holds from here on: the latest notBefore of its members."""
    until: float
    """A verified path holds up to here: the earliest notAfter; a fault holds while the time is below this."""
    signatures: int
    """Signature checks done."""


class TrustAnchors:
    """Certificates of CAs that are believed without proof.

    :param anchors: usable as authorities (:func:`authority_fault` is empty); the others' fault would stop each path anyway.
    :param unmarked: CAs may be CA:TRUE without keyUsage.
    """

    __slots__ = ("_by_name", "_ders", "_slack", "_unmarked")

    def __init__(self, anchors: Iterable[Certificate], *, unmarked: bool = False) -> None:
        self._unmarked = unmarked
        self._by_name: dict[bytes, list[Certificate]] = {}
        self._ders: set[bytes] = set()
        for anchor in anchors:
            if anchor.der not in self._ders:
                self._ders.add(anchor.der)
                self._by_name.setdefault(anchor.subject, []).append(anchor)
        self._slack = max((len(group) for group in self._by_name.values()), default=0)

    def find_path(self, leaf: Certificate, chain: Sequence[bytes], now: float, *, client_usage: bool = True) -> Path:
        """Search for a path from a leaf over untrusted certificates to an anchor, every member of it valid now.

        :param leaf: the end of the path; the caller knows that its key was proven.
        :param chain: certificates to build with, in any order; unreadable ones are passed over.
        :param now: epoch seconds.
        :param client_usage: whether each member must allow TLS client authentication.
        :returns: the first path that verifies, or the fault that came nearest to one.
        Source: RFC 5280 section 6.1, RFC 4158.
        """
        return _Search(self._by_name, self._ders, self._slack, self._unmarked, chain, now, client_usage).run(leaf)

    def issued(self, certificate: Certificate) -> bool:
        """Tell whether an anchor directly signed a certificate; says nothing of validity or purpose."""
        if certificate.weak_signature:
            return False
        return any(signed_by(certificate, anchor) for anchor in self._by_name.get(certificate.issuer, ()))


def authority_fault(certificate: Certificate, *, client_usage: bool = True, unmarked: bool = False) -> str:
    """Tell why a certificate can never act as an issuer, whatever the time.

    :param certificate: an anchor or a member of a chain.
    :param client_usage: whether an EKU of it must allow client authentication.
    :param unmarked: CA:TRUE without keyUsage will do.
    :returns: the reason, empty when it can.
    """
    if not (certificate.roles.is_ca or (unmarked and certificate.roles.unmarked_ca)):
        return "issuer is not a CA (CA:TRUE with keyCertSign)"
    if certificate.weak_key:
        return f"issuer has a weak key ({certificate.weak_key})"
    if certificate.unknown_critical:
        return f"issuer has the unknown critical extension {certificate.unknown_critical}"
    if client_usage and not certificate.roles.client_usage:
        return "issuer does not allow client authentication"
    return ""


def signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    """Tell whether the signature on a certificate was made with an issuer's key; names are the caller's business."""
    try:
        certificate.opened.verify_directly_issued_by(issuer.opened)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


class _Search:
    """One depth-first search with a budget."""

    __slots__ = (
        "_anchor_ders",
        "_anchors",
        "_chain",
        "_checked",
        "_fault",
        "_later",
        "_now",
        "_rank",
        "_reaching",
        "_signatures",
        "_steps",
        "_unmarked",
        "_usage",
    )

    def __init__(
        self,
        anchors: dict[bytes, list[Certificate]],
        anchor_ders: set[bytes],
        slack: int,
        unmarked: bool,
        chain: Sequence[bytes],
        now: float,
        usage: bool,
    ) -> None:
        self._anchors = anchors
        self._anchor_ders = anchor_ders
        self._unmarked = unmarked
        self._now = now
        self._usage = usage
        self._signatures = MAX_SIGNATURES + slack
        self._steps = MAX_STEPS + slack
        self._checked: dict[tuple[bytes, bytes], bool] = {}
        self._later = _INFINITY
        self._fault = "no issuer is known"
        self._rank = 0
        self._chain = _by_subject(chain, anchor_ders)
        self._reaching = _reaching_names(self._anchors, self._chain)

    def run(self, leaf: Certificate) -> Path:
        budget = self._signatures
        found = self._leaf_fault(leaf) or self._climb((leaf,))
        if isinstance(found, tuple):
            since = max(member.not_before for member in found)
            until = min(member.not_after for member in found)
            return Path("", found[-1], since, until, budget - self._signatures)
        return Path(found or self._fault, None, self._now, self._later, budget - self._signatures)

    def _leaf_fault(self, leaf: Certificate) -> str:
        if leaf.roles.is_ca:
            return "a CA certificate is no client"
        if leaf.weak_key or leaf.weak_signature:
            return f"too weak: {leaf.weak_key or leaf.weak_signature}"
        if leaf.unknown_critical:
            return f"unknown critical extension {leaf.unknown_critical}"
        if self._usage and not leaf.roles.client_usage:
            return "not for client authentication"
        if not leaf.roles.may_sign_handshake:
            return "key usage does not allow signing a handshake"
        return self._time_fault(leaf)

    def _time_fault(self, certificate: Certificate) -> str:
        if self._now > certificate.not_after:
            return "expired"
        if self._now < certificate.not_before:
            self._later = min(self._later, certificate.not_before)
            return "not valid yet"
        return ""

    def _climb(self, path: tuple[Certificate, ...]) -> tuple[Certificate, ...] | None:
        """Extend a path, leaf first, by names and rules; prove it when it reaches an anchor; return it with its anchor, or None."""
        child = path[-1]
        for anchor in _likely_first(self._anchors.get(child.issuer, ()), child):
            if self._may_issue(anchor, path):
                whole = (*path, anchor)
                if self._proves(whole):
                    violation = _name_violation(whole)
                    if violation is None:
                        return whole
                    self._note(violation, 3)
        for issuer in _likely_first(self._chain.get(child.issuer, ()), child):
            if issuer.issuer not in self._reaching:
                self._note("no issuer is known", 0)
                continue
            if any(issuer.subject == member.subject and issuer.spki == member.spki for member in path):
                continue
            if issuer.weak_signature:
                self._note(f"intermediate is too weak: {issuer.weak_signature}", 2)
                continue
            if self._may_issue(issuer, path):
                found = self._climb((*path, issuer))
                if found is not None:
                    return found
        return None

    def _may_issue(self, issuer: Certificate, path: tuple[Certificate, ...]) -> bool:
        """Whether everything but the signature lets ``issuer`` stand above a path."""
        if self._steps <= 0 or self._signatures <= 0:
            self._note("too many candidate issuers", 4)
            return False
        self._steps -= 1
        fault = authority_fault(issuer, client_usage=self._usage, unmarked=self._unmarked) or self._length_fault(issuer, path)
        if not fault:
            time_fault = self._time_fault(issuer)
            fault = f"issuer is {time_fault}" if time_fault else ""
        if fault:
            self._note(fault, 2)
            return False
        return True

    def _proves(self, whole: tuple[Certificate, ...]) -> bool:
        """Verify the signatures of a path from its anchor downwards.

        In this order a stranger's keys are never used: what no anchor signed ends the proof at the anchor's own key, however costly the
        keys below are made.
        """
        for position in range(len(whole) - 1, 0, -1):
            if self._signatures <= 0:
                self._note("too many candidate issuers", 4)
                return False
            if not self._verify(whole[position - 1], whole[position]):
                self._note("signature of a CA with this name does not verify", 1)
                return False
        return True

    def _length_fault(self, issuer: Certificate, path: tuple[Certificate, ...]) -> str:
        if issuer.roles.path_length is None:
            return ""
        below = sum(1 for member in path[1:] if not member.self_issued)
        return "path is longer than its CA allows" if below > issuer.roles.path_length else ""

    def _verify(self, child: Certificate, issuer: Certificate) -> bool:
        pair = (child.der, issuer.spki)
        known = self._checked.get(pair)
        if known is None:
            self._signatures -= 1
            known = self._checked[pair] = signed_by(child, issuer)
        return known

    def _note(self, fault: str, rank: int) -> None:
        """Keep the fault that says most to the reader of the log."""
        if rank > self._rank:
            self._rank = rank
            self._fault = fault


def _by_subject(chain: Sequence[bytes], anchor_ders: set[bytes]) -> dict[bytes, list[Certificate]]:
    found: dict[bytes, list[Certificate]] = {}
    for der in dict.fromkeys(chain):
        if der in anchor_ders:
            continue
        try:
            certificate = _read_sent(der)
        except PkiError:
            continue
        found.setdefault(certificate.subject, []).append(certificate)
    return found


@lru_cache(maxsize=64)
def _read_sent(der: bytes) -> Certificate:
    """Read a certificate that was sent: several lists of one handshake look at the same ones."""
    return read_certificate(der)


def _reaching_names(anchors: dict[bytes, list[Certificate]], chain: dict[bytes, list[Certificate]]) -> set[bytes]:
    """Return the names from which an anchor can be reached: what else was sent is not worth a look."""
    names = set(anchors)
    links = [(certificate.subject, certificate.issuer) for group in chain.values() for certificate in group]
    while True:
        further = {subject for subject, issuer in links if issuer in names} - names
        if not further:
            return names
        names |= further


def _likely_first(candidates: Sequence[Certificate], child: Certificate) -> Sequence[Certificate]:
    """Key identifiers decide the order only: they are not signed for by the issuer's key and may be missing or wrong."""
    wanted = child.issuer_key_id
    if wanted is None or len(candidates) < 2:
        return candidates
    return sorted(candidates, key=lambda candidate: candidate.key_id != wanted)


def _name_violation(path: tuple[Certificate, ...]) -> str | None:
    """Check every CA's constraints on every certificate below it; self-issued intermediates are exempt (RFC 5280 6.1.3 b)."""
    for position in range(1, len(path)):
        constraints = path[position].constraints
        if constraints is None:
            continue
        for below in range(position):
            if below > 0 and path[below].self_issued:
                continue
            violation = find_violation(constraints, path[below])
            if violation is not None:
                return violation
    return None
