"""Several lists behind one handshake."""

from __future__ import annotations

from tests.support.certs import NOW, SERVER, Issued, make_authority, make_self_signed
from tlsgate.pki.acl import AllowList, build_allow_list
from tlsgate.pki.identity import build_identity
from tlsgate.pki.pem import PemBundle
from tlsgate.pki.union import AllowListUnion, build_union

ONE = make_authority("One")
TWO = make_authority("Two")


def allow(*certificates: Issued, require_client_usage: bool = True) -> AllowList:
    return build_allow_list([PemBundle(certificates=(entry.der,)) for entry in certificates], require_client_usage=require_client_usage)


def refusal(union: AllowList | AllowListUnion, leaf: Issued) -> str | None:
    return union.judge(build_identity(leaf.der, ()), NOW).refusal


def test_whoever_one_member_lets_in_passes() -> None:
    """Decisions 1.2: the union of the lists of a name."""
    pin = make_self_signed("pin")
    union = build_union("k", [allow(ONE), allow(TWO, pin)])
    for leaf in (ONE.issue(), TWO.issue(), pin):
        assert refusal(union, leaf) is None
    assert refusal(union, make_authority("Three").issue()) == "cert.not_allowed"
    assert union.pins == {certificate.fingerprint for certificate in (ONE, TWO, pin)}
    assert len(union.anchors) == 2
    assert len(union.names) == 3
    assert union.anchor_issued(TWO.issue().der)
    assert not union.anchor_issued(pin.der)


def test_nobody_passes_without_members() -> None:
    """An empty union is an empty list."""
    for union in (build_union("k", []), build_union("k", [allow(), allow()])):
        assert union.empty
        assert refusal(union, ONE.issue()) == "cert.not_allowed"
    assert not build_union("k", [allow(), allow(ONE)]).empty


def test_expiry_is_told_whatever_the_order() -> None:
    """One member lists the expired leaf, the others do not know it."""
    old = make_self_signed("old", not_after=NOW - 1)
    for members in ([allow(old), allow(ONE)], [allow(ONE), allow(old)], [allow(old), allow(old), allow()]):
        assert refusal(build_union("k", members), old) == "cert.expired"


def test_each_member_keeps_its_own_rule_of_usage() -> None:
    """A lax member does not make a strict one lax."""
    server = ONE.issue(usages=SERVER)
    union = build_union("k", [allow(ONE), allow(TWO, require_client_usage=False)])
    assert not union.require_client_usage
    assert refusal(union, server) == "cert.not_allowed"
    assert refusal(union, TWO.issue(usages=SERVER)) is None


def test_a_single_member_stands_for_itself() -> None:
    """Under its own key; under another one it is wrapped."""
    member = allow(ONE)
    assert build_union(member.key, [member]) is member
    assert build_union("k", [member]).key == "k"
    assert len(build_union("k", [member, allow(ONE)]).anchors) == 1
