"""The union of allow lists: whoever one of them lets in may finish a handshake; knows nothing of APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsgate.pki.acl import AllowList, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography import x509

    from tlsgate.model.tls import PeerIdentity

__all__ = ["AllowListUnion", "build_union"]


class AllowListUnion:
    """Answers like an :class:`~tlsgate.pki.acl.AllowList` for a handshake that several lists share.

    :param key: of the policy that names it.
    :param members: the lists; none refuses everybody.
    """

    __slots__ = ("_members", "anchors", "key", "names", "pins", "require_client_usage")

    def __init__(self, key: str, members: Sequence[AllowList]) -> None:
        self._members = tuple(members)
        self.key = key
        self.pins: frozenset[str] = frozenset().union(*(member.pins for member in members))
        anchors: dict[bytes, x509.Certificate] = {}
        names: dict[bytes, None] = {}
        for member in members:
            for anchor in member.anchors:
                anchors.setdefault(anchor.tbs_certificate_bytes, anchor)
            names.update(dict.fromkeys(member.names))
        self.anchors = tuple(anchors.values())
        self.names = tuple(names)
        self.require_client_usage = all(member.require_client_usage for member in members)
        """The laxest of the members: the handshake must not refuse what one of them accepts."""

    @property
    def empty(self) -> bool:
        """Whether nobody can pass."""
        return not self.pins

    def judge(self, peer: PeerIdentity, now: float) -> Verdict:
        """Decide on a peer: the first welcome, else the first refusal for expiry, else the last refusal."""
        refused = Verdict("cert.not_allowed", "the list is empty", float("inf"))
        for member in self._members:
            verdict = member.judge(peer, now)
            if verdict.refusal is None:
                return verdict
            if refused.refusal != "cert.expired":
                refused = verdict
        return refused

    def anchor_issued(self, certificate_der: bytes) -> bool:
        """Whether an anchor of some member issued this certificate."""
        return any(member.anchor_issued(certificate_der) for member in self._members)


def build_union(key: str, members: Sequence[AllowList]) -> AllowList | AllowListUnion:
    """Return one list for a policy.

    :param key: the policy's key; that of the only member when there is one.
    """
    if len(members) == 1 and members[0].key == key:
        return members[0]
    return AllowListUnion(key, members)
