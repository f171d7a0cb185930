"""Certification paths: what verifies, what does not, and how much work a hostile chain can cause."""

from __future__ import annotations

import datetime
import itertools
import random
import time
from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from OpenSSL import crypto

from tests.support.certs import (
    CLIENT,
    NOW,
    SERVER,
    Authority,
    Issued,
    der_element,
    distinguished_name,
    key,
    key_usage,
    make_authority,
    make_self_signed,
    resign,
    sha1_signed,
    swap_element,
)
from tlsgate.pki.certificate import read_certificate
from tlsgate.pki.path import MAX_SIGNATURES, MAX_STEPS, Path, TrustAnchors, authority_fault, signed_by

ROOT = make_authority("Root")
MIDDLE = ROOT.subordinate("Middle")
LOWER = MIDDLE.subordinate("Lower")
DAY = 86400.0
UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def find(
    leaf: Issued | bytes,
    chain: Sequence[Issued | bytes] = (),
    *,
    anchors: Sequence[Issued | bytes] = (ROOT,),
    now: float = NOW,
    usage: bool = True,
) -> Path:
    trust = TrustAnchors([read_certificate(_der(anchor)) for anchor in anchors])
    return trust.find_path(read_certificate(_der(leaf)), [_der(member) for member in chain], now, client_usage=usage)


def _der(certificate: Issued | bytes) -> bytes:
    return certificate if isinstance(certificate, bytes) else certificate.der


def test_leaf_of_the_anchor() -> None:
    """One signature, one check."""
    path = find(ROOT.issue())
    assert path.fault == ""
    assert path.anchor is not None
    assert path.anchor.der == ROOT.der
    assert path.signatures == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_intermediates_in_any_order(order: tuple[int, ...]) -> None:
    """RFC 8446 4.4.2: order of what follows the leaf is not to be relied on."""
    members = [MIDDLE, LOWER, ROOT]
    path = find(LOWER.issue(), [members[number] for number in order])
    assert (path.fault, path.signatures) == ("", 3)


def test_missing_intermediate() -> None:
    """No path without the certificates between."""
    assert find(LOWER.issue(), [LOWER]).fault == "no issuer is known"
    assert find(LOWER.issue(), [MIDDLE]).fault == "no issuer is known"
    assert find(LOWER.issue()).signatures == 0


def test_only_a_subordinate_is_trusted() -> None:
    """B3: its own leaves pass; siblings and the root's other children stay out, whatever is sent along."""
    sibling = ROOT.subordinate("Sibling")
    lower = MIDDLE.subordinate("Below")
    for leaf, chain in (
        (MIDDLE.issue(), []),
        (MIDDLE.issue(), [MIDDLE]),
        (MIDDLE.issue(), [MIDDLE, ROOT]),
        (lower.issue(), [lower]),
        (lower.issue(), [ROOT, MIDDLE, lower]),
    ):
        assert find(leaf, chain, anchors=[MIDDLE]).fault == ""
    for leaf, chain in (
        (sibling.issue(), [sibling, ROOT]),
        (sibling.issue(), [sibling, MIDDLE, ROOT]),
        (ROOT.issue(), [ROOT]),
        (ROOT.issue(), [ROOT, MIDDLE]),
        (lower.issue(), []),
    ):
        path = find(leaf, chain, anchors=[MIDDLE])
        assert path.anchor is None
        assert path.fault


def test_sibling_with_the_anchors_name_is_refused() -> None:
    """B3: the same name under the same root is still another key."""
    twin = ROOT.subordinate("Middle")
    assert find(twin.issue(), [twin, ROOT], anchors=[MIDDLE]).fault == "signature of a CA with this name does not verify"


def test_renewed_certificate_of_the_same_key_is_as_good() -> None:
    """An anchor is a name and a key; the client may send another certificate for them."""
    renewed = ROOT.subordinate("Middle", private_key=MIDDLE.key)
    assert find(MIDDLE.issue(), [renewed, ROOT], anchors=[MIDDLE]).fault == ""


@pytest.mark.parametrize("key_ids", [True, False])
@pytest.mark.parametrize("position", [0, 9, 49])
def test_same_name_anchors_are_all_tried(key_ids: bool, position: int) -> None:
    """Several CAs of one name: the answer does not depend on which one comes first, with key identifiers or without."""
    twins = [make_authority("Twin", key_ids=key_ids) for _ in range(50)]
    path = find(twins[position].issue(key_ids=key_ids), anchors=twins)
    assert path.anchor is not None
    assert path.anchor.der == twins[position].der
    assert path.signatures == (1 if key_ids else position + 1)


def test_same_name_ca_with_another_key() -> None:
    """mTLS reference section 14: refused by the signature."""
    forged = make_authority("Root")
    for chain in ([], [forged], [forged, ROOT], [ROOT, forged]):
        assert find(forged.issue(), chain).fault == "signature of a CA with this name does not verify"


def test_same_name_intermediates_are_all_tried() -> None:
    """A wrong intermediate in front of the right one does no harm."""
    decoys = [make_authority("Middle"), ROOT.subordinate("Middle"), make_self_signed("Middle")]
    for order in itertools.permutations([*decoys, MIDDLE]):
        assert find(MIDDLE.issue(), order).fault == ""


def test_wrong_key_identifiers_only_change_the_order() -> None:
    """They are hints; a renewed CA may carry another one."""
    lying = x509.AuthorityKeyIdentifier(b"x" * 20, None, None)
    leaf = ROOT.issue(key_ids=False, extensions=[(lying, False)])
    assert find(leaf, anchors=[ROOT, make_authority("Root")]).fault == ""


def test_self_signed_leaf_with_the_names_of_the_ca() -> None:
    """Subject and issuer like the anchor's, signed by its own key."""
    for options in ({}, {"ca": True}, {"ca": False}):
        fake = make_self_signed("Root", **options)
        assert find(fake, [ROOT]).fault == "signature of a CA with this name does not verify"
    assert find(make_self_signed("client"), [ROOT]).fault == "no issuer is known"


def test_foreign_certificates_after_the_own_leaf_prove_nothing() -> None:
    """mTLS reference section 14: only a path from the leaf counts."""
    attacker = make_authority("Attacker")
    good = ROOT.issue("good client")
    for chain in ([good], [ROOT], [good, ROOT], [attacker, good, ROOT], [MIDDLE, ROOT, good]):
        assert find(attacker.issue("client"), chain).anchor is None
        assert find(make_self_signed("client"), chain).anchor is None


def test_a_leaf_signs_nothing() -> None:
    """A client cannot issue for others: no CA, or CA:TRUE without keyCertSign."""
    for options in ({}, {"ca": False}, {"ca": True}, {"ca": True, "usage": key_usage("digital_signature")}):
        client = ROOT.issue("client", **options)
        forged = Authority(client.certificate, client.key, (), is_root=False).issue("admin")
        path = find(forged, [client])
        assert path.fault == "issuer is not a CA (CA:TRUE with keyCertSign)"
        assert path.signatures == 0


def test_version_1_certificates_sign_nothing() -> None:
    """Without extensions there is no CA."""
    old = resign(MIDDLE.der, lambda parts: parts[1:-1], ROOT.key)
    assert find(MIDDLE.issue(), [old]).fault == "issuer is not a CA (CA:TRUE with keyCertSign)"
    leaf = resign(ROOT.issue().der, lambda parts: parts[1:-1], ROOT.key)
    assert find(leaf).fault == ""


def test_a_ca_is_no_client() -> None:
    """Decisions 1.10: never because it verifies."""
    for certificate, anchors in ((MIDDLE, [ROOT]), (ROOT, [ROOT]), (MIDDLE, [MIDDLE])):
        path = find(certificate, [ROOT], anchors=anchors)
        assert (path.fault, path.signatures) == ("a CA certificate is no client", 0)


@pytest.mark.parametrize(
    ("begins", "ends", "fault"),
    [
        (NOW, NOW, ""),
        (NOW - DAY, NOW, ""),
        (NOW, NOW + DAY, ""),
        (NOW - DAY, NOW - 1, "expired"),
        (NOW + 1, NOW + DAY, "not valid yet"),
    ],
)
def test_validity_of_every_member(begins: float, ends: float, fault: str) -> None:
    """Both ends belong to the period (RFC 5280 4.1.2.5); one second later or earlier does not."""
    times = {"not_before": begins, "not_after": ends}
    assert find(ROOT.issue(**times)).fault == fault
    middle = ROOT.subordinate("Timed", **times)
    issuer_fault = fault and f"issuer is {fault}"
    assert find(middle.issue(), [middle]).fault == issuer_fault
    assert find(middle.issue(), anchors=[middle]).fault == issuer_fault
    assert find(middle.issue(), [middle], anchors=[make_authority("Other")]).anchor is None


def test_expired_anchor_gives_way_to_a_valid_one() -> None:
    """A renewed CA of the same name and key."""
    old = make_authority("Renewed", private_key=ROOT.key, not_after=NOW - 1)
    new = make_authority("Renewed", private_key=ROOT.key)
    for anchors in ([old, new], [new, old]):
        path = find(new.issue(), [old], anchors=anchors)
        assert path.anchor is not None
        assert path.anchor.der == new.der


def test_expired_intermediate_gives_way_to_a_valid_one() -> None:
    """Both are sent."""
    old = ROOT.subordinate("Middle", private_key=MIDDLE.key, not_after=NOW - 1)
    for chain in ([old, MIDDLE], [MIDDLE, old]):
        assert find(MIDDLE.issue(), chain).fault == ""


def test_period_of_a_verified_path() -> None:
    """It holds from the latest begin to the earliest end of all members, the anchor's included."""
    root = make_authority("Short", not_before=NOW - 50, not_after=NOW + 10)
    middle = root.subordinate("M", not_before=NOW - 40, not_after=NOW + 20)
    assert find(middle.issue(not_before=NOW - 30), [middle], anchors=[root])[2:4] == (NOW - 30, NOW + 10)
    assert find(middle.issue(not_after=NOW + 5), anchors=[middle])[2:4] == (NOW - 40, NOW + 5)


def test_period_of_a_fault() -> None:
    """Looked at again once a member that was not valid yet becomes valid."""
    assert find(ROOT.issue(not_before=NOW + 7)).until == NOW + 7
    middle = ROOT.subordinate("M", not_before=NOW + 9)
    later = ROOT.subordinate("M", not_before=NOW + 19, private_key=middle.key)
    assert find(middle.issue(), [later, middle]).until == NOW + 9
    assert find(ROOT.issue(not_after=NOW - 1)).until == float("inf")
    assert find(MIDDLE.issue()).until == float("inf")


@pytest.mark.parametrize(
    ("limit", "below", "passes"), [(0, 0, True), (0, 1, False), (1, 0, True), (1, 1, True), (1, 2, False), (2, 2, True)]
)
@pytest.mark.parametrize("anchored", [True, False])
def test_path_length(limit: int, below: int, passes: bool, anchored: bool) -> None:
    """RFC 5280 4.2.1.9: intermediates below, the leaf not counted; of anchors too."""
    top = ROOT.subordinate("Limited", path_length=limit)
    issuer = top
    for number in range(below):
        issuer = issuer.subordinate(f"Below {number}")
    path = find(issuer.issue(), (*issuer.chain, issuer.der), anchors=[top] if anchored else [ROOT])
    assert path.fault == ("" if passes else "path is longer than its CA allows")


def test_self_issued_intermediates_do_not_count() -> None:
    """RFC 5280 4.2.1.9: a CA's key change does not lengthen the path."""
    top = ROOT.subordinate("Limited", path_length=1)
    rolled = top.subordinate("Limited")
    lower = rolled.subordinate("Lower")
    assert find(lower.issue(), [lower, rolled, top]).fault == ""


def test_longest_possible_path() -> None:
    """Eight certificates after the leaf, all of them used."""
    issuer = ROOT
    for number in range(8):
        issuer = issuer.subordinate(f"Level {number}")
    chain = (issuer.der, *issuer.chain)
    assert len(chain) == 8
    path = find(issuer.issue(), chain)
    assert (path.fault, path.signatures) == ("", 9)


@pytest.mark.parametrize("usages", [SERVER, (ExtendedKeyUsageOID.EMAIL_PROTECTION,)])
def test_wrong_purpose_of_any_member(usages: tuple[ObjectIdentifier, ...]) -> None:
    """clientAuth, anyExtendedKeyUsage or none, for leaf, intermediates and anchor; relaxed by setting."""
    middle = ROOT.subordinate("Purpose", usages=usages)
    cases = [
        (find(ROOT.issue(usages=usages)), "not for client authentication"),
        (find(middle.issue(), [middle]), "issuer does not allow client authentication"),
        (find(middle.issue(), anchors=[middle]), "issuer does not allow client authentication"),
    ]
    for path, fault in cases:
        assert path.fault == fault
    assert find(ROOT.issue(usages=usages), usage=False).fault == ""
    assert find(middle.issue(usages=usages), [middle], usage=False).fault == ""
    both = ROOT.subordinate("Both", usages=(*SERVER, *CLIENT))
    assert find(both.issue(), [both]).fault == ""


def test_leaf_that_may_not_sign() -> None:
    """keyEncipherment alone authenticates nobody."""
    assert find(ROOT.issue(usage=key_usage("key_encipherment"))).fault == "key usage does not allow signing a handshake"
    assert find(ROOT.issue(usage=key_usage("digital_signature"))).fault == ""


def test_unknown_critical_extension_of_any_member() -> None:
    """RFC 5280 6.1.3 and 6.1.4: refused on leaf, intermediate and anchor; passed over when not critical."""
    for critical, fine in ((True, False), (False, True)):
        options = {"extensions": [(UNKNOWN, critical)]}
        middle = ROOT.subordinate("Odd", **options)
        for path in (find(ROOT.issue(**options)), find(middle.issue(), [middle]), find(middle.issue(), anchors=[middle])):
            assert (path.fault == "") is fine
            assert fine or "unknown critical extension 1.2.3.4" in path.fault


@pytest.mark.parametrize("kind", ["p384", "p521", "ed25519", "ed448", "rsa-2048", "rsa-3072"])
def test_kinds_of_keys(kind: str) -> None:
    """ECDSA, EdDSA and RSA for anchor, intermediate and leaf."""
    root = make_authority("Kind", kind=kind)
    middle = root.subordinate("Kind lower", private_key=key(kind, "middle"))
    assert find(middle.issue(kind=kind), [middle], anchors=[root]).fault == ""


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_rsa_pss(digest: hashes.HashAlgorithm) -> None:
    """RFC 4055."""
    root = make_authority("PSS", kind="rsa-2048", pss=True, digest=digest)
    assert find(root.issue(pss=True, digest=digest), anchors=[root]).fault == ""
    forged = make_authority("PSS", private_key=key("rsa-2048", "other"))
    assert find(forged.issue(pss=True, digest=digest), anchors=[root]).anchor is None


def test_weak_keys_and_signatures_of_any_member() -> None:
    """mTLS reference section 14: RSA under 2048 bits and SHA-1 are refused below an anchor, whose own signature nobody reads."""
    assert "RSA key of 1024 bits" in find(ROOT.issue(kind="rsa-1024")).fault
    assert "sha1" in find(sha1_signed(ROOT.issue(), ROOT.key)).fault
    weak = ROOT.subordinate("Weak", kind="rsa-1024")
    assert find(weak.issue(), [weak]).fault == "issuer has a weak key (RSA key of 1024 bits)"
    assert find(weak.issue(), anchors=[weak]).fault == "issuer has a weak key (RSA key of 1024 bits)"
    old = sha1_signed(MIDDLE, ROOT.key)
    assert find(MIDDLE.issue(), [old]).fault == "intermediate is too weak: signature over sha1"
    assert find(MIDDLE.issue(), [old, MIDDLE]).fault == ""
    assert find(MIDDLE.issue(), anchors=[old]).fault == ""
    assert find(ROOT.issue(), anchors=[sha1_signed(ROOT, ROOT.key)]).fault == ""


def test_name_constraints_of_every_ca_above() -> None:
    """RFC 5280 4.2.1.10: of intermediates and anchors, on all certificates below."""
    rule = x509.NameConstraints([x509.DNSName("good.test")], None)
    top = ROOT.subordinate("Constrained", extensions=[(rule, True)])
    lower = top.subordinate("Lower")
    for chain, anchors in (([top, lower], [ROOT]), ([lower], [top])):
        assert find(lower.issue(names=["a.good.test"]), chain, anchors=anchors).fault == ""
        assert find(lower.issue(), chain, anchors=anchors).fault == ""
        assert find(lower.issue(names=["a.evil.test"]), chain, anchors=anchors).fault == "name 'a.evil.test' is not permitted"
    evil = top.subordinate("Evil", names=["evil.test"])
    assert find(evil.issue(names=["a.good.test"]), [evil, top]).fault == "name 'evil.test' is not permitted"


def test_self_issued_intermediates_are_exempt_from_name_constraints() -> None:
    """RFC 5280 6.1.3 (b): a CA's key change; the leaf never is exempt."""
    rule = x509.NameConstraints(None, [x509.DirectoryName(distinguished_name("Constrained"))])
    top = ROOT.subordinate("Constrained", extensions=[(rule, False)])
    rolled = top.subordinate("Constrained")
    assert find(rolled.issue("client"), [rolled, top]).fault == ""
    assert find(rolled.issue("Constrained"), [rolled, top]).anchor is None


def test_another_path_is_taken_where_constraints_close_one() -> None:
    """The same CA, once constrained and once not."""
    rule = x509.NameConstraints([x509.DNSName("good.test")], None)
    closed = ROOT.subordinate("Middle", private_key=MIDDLE.key, extensions=[(rule, True)])
    for chain in ([closed, MIDDLE], [MIDDLE, closed]):
        assert find(MIDDLE.issue(names=["a.evil.test"]), chain).fault == ""


def test_constraints_of_strangers_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read only below an anchor: 2,000 names times 2,000 constraints of an unsigned CA are never compared."""
    compared: list[object] = []
    monkeypatch.setattr("tlsgate.pki.path.find_violation", lambda *given: compared.append(given))
    rule = x509.NameConstraints([x509.DNSName(f"x{number}.test") for number in range(2000)], None)
    stranger = make_authority("Stranger", extensions=[(rule, True)])
    leaf = stranger.issue(names=[f"n{number}.test" for number in range(2000)])
    assert find(leaf, [stranger]).anchor is None
    assert not compared
    find(leaf, [stranger], anchors=[stranger])
    assert compared


def test_tampered_octets_are_refused() -> None:
    """Each signed octet counts; one of each forty is tried."""
    leaf = ROOT.issue("client").der
    for at in range(8, len(leaf), 40):
        changed = leaf[:at] + bytes([leaf[at] ^ 1]) + leaf[at + 1 :]
        try:
            read = read_certificate(changed)
        except Exception:
            continue
        assert not signed_by(read, read_certificate(ROOT.der))


def test_inner_and_outer_algorithm_have_to_agree() -> None:
    """RFC 5280 4.1.1.2."""
    sha384 = bytes.fromhex("300a06082a8648ce3d040303")
    assert find(resign(ROOT.issue().der, swap_element(2, sha384), ROOT.key)).anchor is None


def test_unreadable_members_are_passed_over() -> None:
    """mTLS reference section 14: no crash, and the rest still counts."""
    assert find(MIDDLE.issue(), [b"", b"junk", b"\x30\x80", MIDDLE.der[:-1], MIDDLE]).fault == ""
    assert find(MIDDLE.issue(), [b"junk"]).anchor is None


def test_loops_end() -> None:
    """Two CAs that sign each other, a CA that signs itself, and repetitions."""
    one = make_authority("One")
    two = one.subordinate("Two")
    back = two.subordinate("One", private_key=one.key)
    path = find(two.issue(), [two, back, one, two, back])
    assert path.anchor is None
    assert path.signatures <= 4


def _mesh(size: int, *, one_key: bool) -> list[Authority]:
    """CAs of one name that all sign for each other as far as keys allow."""
    keys = [key("p256", ("mesh", 0 if one_key else number)) for number in range(size)]
    roots = [make_authority("Mesh", private_key=own, key_ids=False) for own in keys]
    return [roots[(number + 1) % size].subordinate("Mesh", private_key=keys[number], key_ids=False) for number in range(size)]


@pytest.mark.parametrize("one_key", [True, False])
def test_floods_of_same_name_certificates_are_bounded(one_key: bool) -> None:
    """Chains made to branch: signatures and steps stay under their limits."""
    mesh = _mesh(8, one_key=one_key)
    leaf = mesh[0].issue(key_ids=False)
    started = time.perf_counter()
    path = find(leaf, mesh)
    assert path.anchor is None
    assert path.signatures <= MAX_SIGNATURES + 1
    assert time.perf_counter() - started < 1


def test_the_budget_ends_a_proof_half_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is proven whole or not at all: n signatures suffice, n-1 do not."""
    first = ROOT.subordinate("First")
    second = first.subordinate("Second")
    leaf = second.issue()
    for spare, found in ((2, True), (1, False), (0, False)):
        monkeypatch.setattr("tlsgate.pki.path.MAX_SIGNATURES", spare)
        path = find(leaf, [second, first])
        assert (path.anchor is not None) == found
        if not found:
            assert path.fault == "too many candidate issuers"


@pytest.mark.parametrize("top", ["Root", "Nobody"])
def test_floods_of_cross_certificates_are_bounded(top: str) -> None:
    """Layers in which every CA has several certificates, each verifying: paths multiply, work does not.

    Under a name that leads to no anchor nothing is looked at; under a forged one only the anchor's own key is used.
    """
    keys = [key("p256", ("layer", number)) for number in range(12)]
    names = [*(f"Layer {number}" for number in range(11)), top]
    chain: list[Issued] = []
    for number in range(11):
        above = make_authority(names[number + 1], private_key=keys[number + 1], key_ids=False)
        chain += (above.subordinate(names[number], private_key=keys[number], key_ids=False) for _ in range(6))
    # Each copy of a layer is another certificate of one name and key: only one of them is ever on a path, but all are tried.
    leaf = make_authority(names[0], private_key=keys[0], key_ids=False).issue(key_ids=False)
    started = time.perf_counter()
    path = find(leaf, chain)
    assert path.anchor is None
    assert path.fault == ("too many candidate issuers" if top == "Root" else "no issuer is known")
    assert path.signatures <= (MAX_SIGNATURES if top == "Root" else 0)
    assert time.perf_counter() - started < 1


def test_costly_keys_of_strangers_are_never_used() -> None:
    """RSA keys with huge exponents, same-named CAs below the anchor's name: one check with the anchor's key for each that claims it."""
    chain = [make_authority("Root", kind="rsa-2048").subordinate("Root", kind="rsa-2048") for _ in range(4)]
    path = find(chain[0].issue(), chain)
    assert path.anchor is None
    assert path.signatures <= len(chain) + 1


def test_flood_under_a_forged_anchor_name_is_bounded() -> None:
    """Every certificate claims the anchor as issuer."""
    forged = make_authority("Root", key_ids=False)
    chain = [forged.subordinate("Root", key_ids=False) for _ in range(MAX_SIGNATURES * 2)]
    path = find(forged.issue(key_ids=False), chain, anchors=[ROOT])
    assert path.anchor is None
    assert path.signatures <= MAX_SIGNATURES + 1
    assert MAX_STEPS >= MAX_SIGNATURES


def test_issued_asks_for_the_signature_only() -> None:
    """Used by handshakes: name and signature, no judgement of time or purpose."""
    trust = TrustAnchors([read_certificate(ROOT.der), read_certificate(ROOT.der)])
    assert trust.issued(read_certificate(ROOT.issue(not_after=NOW - 1, usages=SERVER).der))
    assert trust.issued(read_certificate(ROOT.der))
    assert trust.issued(read_certificate(MIDDLE.der))
    assert not trust.issued(read_certificate(MIDDLE.issue().der))
    assert not trust.issued(read_certificate(make_authority("Root").issue().der))
    assert not trust.issued(read_certificate(sha1_signed(ROOT.issue(), ROOT.key)))


def test_nothing_is_trusted_without_anchors() -> None:
    """An empty store refuses everybody."""
    assert find(ROOT.issue(), [ROOT], anchors=[]).anchor is None


def test_unknown_signature_algorithm_is_no_signature() -> None:
    """The library raises; the answer is no."""
    algorithm = bytes.fromhex("300506032a0304")
    leaf = ROOT.issue().der
    changed = resign(leaf, swap_element(2, algorithm), ROOT.key)
    assert not signed_by(read_certificate(changed), read_certificate(ROOT.der))
    spki = der_element(0x30, bytes.fromhex("300506032a0304") + der_element(0x03, b"\x00\x01"))
    issuer = resign(ROOT.der, swap_element(6, spki), ROOT.key)
    assert not signed_by(read_certificate(leaf), read_certificate(issuer))
    assert authority_fault(read_certificate(issuer)).startswith("issuer has a weak key")
    assert authority_fault(read_certificate(ROOT.der)) == ""


def _openssl_accepts(leaf: Issued, chain: Sequence[Issued], anchors: Sequence[Issued]) -> bool:
    store = crypto.X509Store()
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(datetime.datetime.fromtimestamp(NOW, datetime.UTC).replace(tzinfo=None))
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor.certificate))
    untrusted = [crypto.X509.from_cryptography(member.certificate) for member in chain]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(leaf.certificate), untrusted).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def test_agreement_with_openssl_on_random_hierarchies() -> None:
    """OpenSSL as the oracle: names, keys, times, path lengths, CA flags and constraints drawn at random, no purpose asked.

    Distinct names only: with several certificates of one name OpenSSL may miss the path that we find.
    """
    draw = random.Random(20270115)
    accepted = 0
    for round_number in range(250):
        authorities: list[Authority] = [make_authority(f"R{round_number}")]
        for level in range(draw.randint(0, 4)):
            options: dict[str, object] = {}
            if draw.random() < 0.15:
                options["path_length"] = draw.randint(0, 2)
            if draw.random() < 0.08:
                options["not_after"] = NOW - 1
            elif draw.random() < 0.08:
                options["not_before"] = NOW + 1
            if "path_length" not in options and draw.random() < 0.08:
                options["ca"] = False
            if draw.random() < 0.08:
                options["usage"] = key_usage("digital_signature")
            if draw.random() < 0.08:
                options["extensions"] = [(UNKNOWN, True)]
            elif draw.random() < 0.2:
                subtree = draw.choice([x509.DNSName("good.test"), x509.DNSName(".good.test"), x509.RFC822Name("good.test")])
                lists = ([subtree], None) if draw.random() < 0.6 else (None, [subtree])
                options["extensions"] = [(x509.NameConstraints(*lists), True)]
            parent = draw.choice(authorities[-2:])
            authorities.append(parent.subordinate(f"L{level}", **options))
        issuer = draw.choice(authorities[-2:])
        names = draw.sample(["good.test", "a.good.test", "evil.test"], draw.randint(0, 2))
        leaf = issuer.issue(draw.choice(["client", "a.good.test"]), names=names, not_after=NOW - 1 if draw.random() < 0.05 else NOW + DAY)
        chain = [authority for authority in authorities if draw.random() < 0.9]
        draw.shuffle(chain)
        anchors = [draw.choice(authorities)] if draw.random() < 0.3 else authorities[:1]
        if not all(read_certificate(anchor.der).roles.is_ca for anchor in anchors):
            continue
        ours = find(leaf, chain, anchors=anchors)
        assert (ours.fault == "") is _openssl_accepts(leaf, chain, anchors), (round_number, ours.fault)
        accepted += ours.fault == ""
    assert accepted > 60
