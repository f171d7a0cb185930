"""Who may connect."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from cryptography import x509

from tests.support.certs import (
    NOW,
    SERVER,
    Authority,
    Issued,
    der_element,
    der_parts,
    distinguished_name,
    key_usage,
    make_authority,
    make_self_signed,
    pem_of,
    resign,
    sha1_signed,
    swap_element,
    with_serial,
)
from tlsgate.errors import CATALOGUE
from tlsgate.pki.acl import AllowList, Verdict, build_allow_list
from tlsgate.pki.identity import build_identity
from tlsgate.pki.pem import PemBundle, parse_pem

ROOT = make_authority("Root")
MIDDLE = ROOT.subordinate("Middle")
CLIENT_CERTIFICATE = ROOT.issue("client")
DAY = 86400.0
INFINITY = float("inf")


def allow(*certificates: Issued | bytes | None, **options: bool) -> AllowList:
    bundles = [
        None if entry is None else PemBundle(certificates=(entry if isinstance(entry, bytes) else entry.der,)) for entry in certificates
    ]
    return build_allow_list(bundles, **options)


def judge(allow_list: AllowList, leaf: Issued | bytes, chain: Sequence[Issued | bytes] = (), now: float = NOW) -> Verdict:
    der, *rest = (entry if isinstance(entry, bytes) else entry.der for entry in (leaf, *chain))
    return allow_list.judge(build_identity(der, rest), now)


def test_listed_leaf_passes_and_others_do_not() -> None:
    """mTLS reference section 5: match by fingerprint."""
    pins = allow(CLIENT_CERTIFICATE)
    assert judge(pins, CLIENT_CERTIFICATE)[:2] == (None, "listed")
    assert judge(pins, CLIENT_CERTIFICATE).valid_until == build_identity(CLIENT_CERTIFICATE.der, ()).not_after
    assert judge(pins, ROOT.issue("client")) == ("cert.not_allowed", "not listed", INFINITY)
    assert pins.pins == {CLIENT_CERTIFICATE.fingerprint}
    assert not pins.anchors


@pytest.mark.parametrize("entries", [(), (None,), (None, None)])
def test_empty_list_refuses_everybody(entries: tuple[None, ...]) -> None:
    """Decisions 1.8: unresolvable references grant nothing; none left is nobody."""
    nobody = allow(*entries)
    assert nobody.empty
    assert nobody.names == ()
    for peer in (CLIENT_CERTIFICATE, ROOT, make_self_signed()):
        assert judge(nobody, peer).refusal == "cert.not_allowed"


def test_others_of_a_list_work_beside_broken_entries() -> None:
    """Decisions 1.8."""
    broken_extension = swap_element(7, bytes.fromhex("a30d300b30090603551d1304020500"))
    broken = resign(CLIENT_CERTIFICATE.der, broken_extension, ROOT.key)
    bundles = [
        None,
        PemBundle(public_keys=(CLIENT_CERTIFICATE.spki,)),
        PemBundle(certificates=(broken,)),
        PemBundle(certificates=(CLIENT_CERTIFICATE.der,)),
    ]
    mixed = build_allow_list(bundles)
    assert mixed.pins == {CLIENT_CERTIFICATE.fingerprint}
    assert judge(mixed, CLIENT_CERTIFICATE).refusal is None
    assert judge(mixed, broken) == ("cert.not_allowed", "certificate cannot be read", INFINITY)
    assert [warning.split(":")[0] for warning in mixed.warnings] == ["entry 1", "entry 2"]


@pytest.mark.parametrize(
    ("now", "refusal", "until"),
    [
        (NOW - 1, "cert.not_allowed", NOW),
        (NOW - 0.001, "cert.not_allowed", NOW),
        (NOW, None, NOW + DAY),
        (NOW + DAY, None, NOW + DAY),
        (NOW + DAY + 0.5, "cert.expired", INFINITY),
        (NOW + DAY + 1, "cert.expired", INFINITY),
    ],
)
def test_validity_of_a_listed_leaf(now: float, refusal: str | None, until: float) -> None:
    """mTLS reference section 5, step 3, and BETTER: notBefore counts."""
    leaf = make_self_signed("client", not_before=NOW, not_after=NOW + DAY)
    verdict = judge(allow(leaf), leaf, now=now)
    assert (verdict.refusal, verdict.valid_until) == (refusal, until)


def test_refusals_are_in_the_catalogue() -> None:
    """Statuses and messages live there only."""
    leaf = make_self_signed("client", not_after=NOW - 1)
    refusals = {judge(allow(leaf), leaf).refusal, judge(allow(), leaf).refusal}
    assert refusals == {"cert.expired", "cert.not_allowed"}
    assert all(refusal in CATALOGUE for refusal in refusals if refusal)


def test_expired_leaf_that_nobody_listed_is_not_allowed() -> None:
    """mTLS reference section 5: only a listed certificate is told that it expired."""
    expired = ROOT.issue("client", not_after=NOW - 1)
    assert judge(allow(ROOT), expired) == ("cert.not_allowed", "not listed, and no path to a listed CA: expired", INFINITY)
    assert judge(allow(CLIENT_CERTIFICATE), expired).refusal == "cert.not_allowed"


def test_leaf_of_a_listed_ca() -> None:
    """mTLS reference section 5, SEED DIFFERS: clientAuth leaves pass, alone or with intermediates."""
    listed = allow(ROOT)
    assert judge(listed, CLIENT_CERTIFICATE).refusal is None
    assert judge(listed, CLIENT_CERTIFICATE, [ROOT]).refusal is None
    assert judge(listed, MIDDLE.issue(), [MIDDLE]).refusal is None
    assert judge(listed, MIDDLE.issue()).refusal == "cert.not_allowed"
    assert [anchor.subject for anchor in listed.anchors] == [ROOT.certificate.subject]


def test_period_of_a_verdict_by_path() -> None:
    """The earliest end of all members; a refusal until a member becomes valid."""
    short = ROOT.subordinate("Short", not_after=NOW + 7)
    assert judge(allow(ROOT), short.issue(), [short]).valid_until == NOW + 7
    assert judge(allow(short), short.issue()).valid_until == NOW + 7
    assert judge(allow(ROOT), ROOT.issue(not_before=NOW + 3)).valid_until == NOW + 3


def test_only_a_subordinate_is_listed() -> None:
    """B3: first two pass, siblings and the root's leaves do not, whatever they add."""
    listed = allow(MIDDLE)
    sibling = ROOT.subordinate("Sibling")
    assert judge(listed, MIDDLE.issue()).refusal is None
    assert judge(listed, MIDDLE.issue(), [MIDDLE]).refusal is None
    for leaf, chain in ((sibling.issue(), [sibling, ROOT]), (sibling.issue(), [sibling, MIDDLE, ROOT]), (ROOT.issue(), [MIDDLE, ROOT])):
        assert judge(listed, leaf, chain).refusal == "cert.not_allowed"


@pytest.mark.parametrize("listed", [[CLIENT_CERTIFICATE], [ROOT], [CLIENT_CERTIFICATE, ROOT], [MIDDLE, CLIENT_CERTIFICATE]])
def test_foreign_certificates_in_the_chain_open_nothing(listed: list[Issued]) -> None:
    """mTLS reference section 14: an allowed client's or the CA's certificate behind the attacker's own leaf."""
    attacker = make_authority("Attacker")
    for own in (attacker.issue("client"), make_self_signed("client"), make_self_signed("Root"), attacker):
        for chain in ([CLIENT_CERTIFICATE], [ROOT], [CLIENT_CERTIFICATE, ROOT], [attacker, CLIENT_CERTIFICATE, ROOT, MIDDLE]):
            assert judge(allow(*listed), own, chain).refusal == "cert.not_allowed"


def test_wrong_usage() -> None:
    """serverAuth alone is refused, listed or not; relaxed by the API's own setting."""
    server = ROOT.issue("client", usages=SERVER)
    for entries in ((server,), (ROOT,), (ROOT, server)):
        assert judge(allow(*entries), server) == ("cert.not_allowed", "not for client authentication", INFINITY)
        assert judge(allow(*entries, require_client_usage=False), server).refusal is None
    assert "client authentication" in allow(server).warnings[0]
    assert not allow(server, require_client_usage=False).warnings


def test_weak_leaves_are_refused_even_when_listed() -> None:
    """mTLS reference section 14: RSA-1024 and SHA-1."""
    for leaf in (make_self_signed(kind="rsa-1024"), ROOT.issue(kind="rsa-1024"), sha1_signed(CLIENT_CERTIFICATE, ROOT.key)):
        for entries in ((leaf,), (ROOT,), (leaf, ROOT)):
            verdict = judge(allow(*entries), leaf)
            assert verdict.refusal == "cert.not_allowed"
            assert "weak" in verdict.rule


def test_ca_as_a_client_only_when_listed_itself() -> None:
    """Decisions 1.10."""
    assert judge(allow(ROOT), ROOT)[:2] == (None, "listed")
    assert judge(allow(MIDDLE), MIDDLE, [ROOT]).refusal is None
    assert judge(allow(ROOT), MIDDLE) == ("cert.not_allowed", "a CA certificate that is not listed itself", INFINITY)
    assert judge(allow(MIDDLE), ROOT).refusal == "cert.not_allowed"
    renewed = make_authority("Root", private_key=ROOT.key)
    assert judge(allow(ROOT), renewed).refusal == "cert.not_allowed"


def test_plain_self_signed_certificate_is_a_client_but_no_ca() -> None:
    """mTLS reference section 5: ``openssl req -x509`` makes CA:TRUE without keyUsage."""
    own = make_self_signed("client", ca=True, usages=None)
    listed = allow(own)
    assert judge(listed, own).refusal is None
    assert not listed.anchors
    assert judge(listed, own.issue("friend"), [own]).refusal == "cert.not_allowed"
    assert "what it signed is not trusted" in listed.warnings[0]


def test_operator_may_declare_unmarked_cas() -> None:
    """mTLS reference section 5: a warning, or keyCertSign; RFC 5280 4.2.1.3: without keyUsage a CA may sign certificates."""
    own = make_self_signed("Old CA", ca=True, usages=None)
    listed = allow(own, trust_unmarked=True)
    assert len(listed.anchors) == 1
    assert "whatever its key signed gets in" in listed.warnings[0]
    assert listed.names == (own.certificate.subject.public_bytes(),)
    assert judge(listed, own.issue("friend")).refusal is None
    assert judge(listed, own)[:2] == (None, "listed")
    between = own.subordinate("Between", usage=None)
    assert judge(listed, between.issue("x"), [between]).refusal is None
    assert judge(allow(own.subordinate("Marked")), between.issue("x"), [between]).refusal == "cert.not_allowed"
    assert listed.key != allow(own).key
    assert not allow(CLIENT_CERTIFICATE, trust_unmarked=True).anchors


def test_repeated_entries_count_once() -> None:
    """The same CA or leaf in the API's list and in the gateway's."""
    listed = allow(ROOT, CLIENT_CERTIFICATE, ROOT, CLIENT_CERTIFICATE)
    assert (len(listed.pins), len(listed.anchors), len(listed.names)) == (2, 1, 1)


def test_chain_reference_means_its_leaf() -> None:
    """mTLS reference section 5: neither the last certificate of a chain nor its CAs are let in."""
    leaf = MIDDLE.issue("client")
    listed = build_allow_list([parse_pem(leaf.pem + MIDDLE.pem + ROOT.pem)])
    assert judge(listed, leaf).refusal is None
    assert listed.pins == {leaf.fingerprint}
    assert not listed.anchors
    assert not listed.warnings
    for other in (MIDDLE, ROOT, MIDDLE.issue("other"), ROOT.issue("other")):
        assert judge(listed, other, [MIDDLE, ROOT]).refusal == "cert.not_allowed"


def test_bundle_of_cas_means_its_first_and_says_so() -> None:
    """A file with [intermediate, root] must not trust the root's other children (B3)."""
    listed = build_allow_list([parse_pem(MIDDLE.pem + ROOT.pem)])
    assert judge(listed, MIDDLE.issue()).refusal is None
    assert judge(listed, ROOT.issue()).refusal == "cert.not_allowed"
    assert "only the first one counts" in listed.warnings[0]


def test_unusable_cas_are_no_anchors_and_named() -> None:
    """Weak key or unknown critical extension: still a client certificate for itself, if strong."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    odd = make_authority("Odd", extensions=[(unknown, True)])
    weak = make_authority("Weak", kind="rsa-1024")
    server_only = make_authority("Server", usages=SERVER)
    listed = allow(odd, weak, server_only)
    assert not listed.anchors
    assert len(listed.warnings) == 3
    assert all(judge(listed, ca.issue()).refusal for ca in (odd, weak, server_only))
    assert judge(allow(server_only, require_client_usage=False), server_only.issue()).refusal is None


def test_same_name_anchors_do_not_shadow_each_other() -> None:
    """mTLS reference section 14, OpenSSL notes: every candidate issuer is tried."""
    twins = [make_authority("Twin", key_ids=False) for _ in range(5)]
    for order in (twins, twins[::-1]):
        for twin in twins:
            assert judge(allow(*order), twin.issue(key_ids=False)).refusal is None
    assert judge(allow(*twins), make_authority("Twin").issue()).refusal == "cert.not_allowed"


def test_same_name_pins_do_not_shadow_each_other() -> None:
    """Self-signed clients from one template, with equal names and serials."""
    clients = [make_self_signed("client", serial=1) for _ in range(5)]
    for client in clients:
        assert judge(allow(*clients), client).refusal is None
    assert judge(allow(*clients), make_self_signed("client", serial=1)).refusal == "cert.not_allowed"


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"\x00\x80" + bytes(19), b"\x01" * 26])
def test_odd_serials(content: bytes) -> None:
    """B12: listed ones work, unlisted ones get the ordinary refusal."""
    der = with_serial(make_self_signed("client"), make_self_signed("client").key, content)
    assert judge(allow(der), der).refusal is None
    assert judge(allow(CLIENT_CERTIFICATE, ROOT), der).refusal == "cert.not_allowed"
    issued = with_serial(CLIENT_CERTIFICATE, ROOT.key, content)
    assert judge(allow(ROOT), issued).refusal is None
    assert judge(allow(MIDDLE), issued).refusal == "cert.not_allowed"


def test_announced_names() -> None:
    """mTLS reference section 4: of CAs and self-signed leaves their own, of other leaves the issuer's; each once."""
    own = make_self_signed("self")
    listed = allow(MIDDLE, own, CLIENT_CERTIFICATE, ROOT.issue("second"), MIDDLE.issue(), make_authority("Root"))
    names = [ca.certificate.subject.public_bytes() for ca in (MIDDLE, own, ROOT)]
    assert list(listed.names) == names
    plain = make_self_signed("plain", ca=True)
    assert allow(plain).names == (plain.certificate.subject.public_bytes(),)


def test_key_names_the_content() -> None:
    """Contexts are shared by it: order and repetition do not matter, everything else does."""
    one, two = make_self_signed("one"), make_self_signed("two")
    assert allow(one, two, ROOT).key == allow(ROOT, None, two, one, two).key
    keys = [allow(*entries).key for entries in ((), (one,), (two,), (one, two), (ROOT,), (one, ROOT))]
    keys += [allow(one, require_client_usage=False).key, allow(require_client_usage=False).key]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == 64 for key in keys)


def test_anchor_issued() -> None:
    """For the handshake: an anchor's signature, checked."""
    listed = allow(ROOT, make_self_signed("pin"))
    assert listed.anchor_issued(CLIENT_CERTIFICATE.der)
    assert listed.anchor_issued(MIDDLE.der)
    assert not listed.anchor_issued(MIDDLE.issue().der)
    assert not listed.anchor_issued(make_authority("Root").issue().der)
    assert not listed.anchor_issued(b"junk")


def test_verified_paths_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same leaf and chain again: no signature is checked; other times, chains and leaves are judged anew."""
    searches = []
    listed = allow(ROOT)
    real = listed._trust.find_path

    class Counting:
        def find_path(self, *args: object, **options: object) -> object:
            searches.append(args)
            return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(listed, "_trust", Counting())
    leaf = MIDDLE.issue(not_before=NOW, not_after=NOW + 10)
    first = judge(listed, leaf, [MIDDLE])
    assert first.refusal is None
    assert judge(listed, leaf, [MIDDLE], NOW + 10) == first
    assert len(searches) == 1
    assert judge(listed, leaf, [MIDDLE], NOW + 11).refusal == "cert.not_allowed"
    assert judge(listed, leaf, [MIDDLE], NOW - 1).refusal == "cert.not_allowed"
    assert judge(listed, leaf).refusal == "cert.not_allowed"
    assert judge(listed, leaf, [ROOT]).refusal == "cert.not_allowed"
    assert len(searches) == 5
    assert judge(listed, leaf, [MIDDLE]) == first
    assert len(searches) == 5


def test_memory_of_paths_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """n-1, n, n+1 clients."""
    monkeypatch.setattr("tlsgate.pki.acl._MAX_PATHS", 3)
    listed = allow(ROOT)
    for number in range(1, 6):
        leaf = ROOT.issue(f"client {number}")
        assert judge(listed, leaf).refusal is None
        assert len(listed._paths) == min(number, 3)
        assert judge(listed, make_self_signed()).refusal is not None
        assert len(listed._paths) == min(number, 3)


def test_remarks_are_bounded() -> None:
    """20 are written out, the rest is counted."""
    server = [make_self_signed(f"s{number}", usages=SERVER) for number in range(22)]
    assert len(allow(*server[:19]).warnings) == 19
    assert len(allow(*server[:20]).warnings) == 20
    assert allow(*server[:21]).warnings[20] == "and 1 more remarks"
    assert allow(*server).warnings[20] == "and 2 more remarks"


def test_chain_floods_are_cheap() -> None:
    """The bound on the chain is the identity's, the bound on the work the path's."""
    forged = make_authority("Root")
    flood = [forged.subordinate("Root") for _ in range(100)]
    listed = allow(ROOT)
    started = time.perf_counter()
    for _ in range(10):
        assert judge(listed, forged.issue(), flood).refusal == "cert.not_allowed"
    assert time.perf_counter() - started < 2


def _many(number: int) -> Iterator[bytes]:
    """Self-signed look-alikes with names and serials of their own; pins do not read signatures."""
    template = make_self_signed("client", usage=key_usage("digital_signature"), ca=False, names=["client.test"]).der
    tbs, algorithm, signature = der_parts(template[4:])
    parts = der_parts(tbs[4:])
    for count in range(number):
        name = distinguished_name(f"client {count}").public_bytes()
        parts[1] = der_element(0x02, (0x1000000 + count).to_bytes(4, "big"))
        parts[3] = parts[5] = name
        yield der_element(0x30, der_element(0x30, b"".join(parts)) + algorithm + signature)


@pytest.mark.parametrize("number", [10_000, pytest.param(100_000, marks=pytest.mark.acceptance)], ids=["scaled", "full"])
def test_many_pins_load_in_seconds_and_judge_in_no_time(number: int) -> None:
    """100,000 allowed certificates: a few seconds with the parsing, and a judgement costs what it costs with ten."""
    texts = [pem_of(der) for der in _many(number)]
    started = time.perf_counter()
    bundles = [parse_pem(text) for text in texts]
    listed = build_allow_list(bundles)
    assert time.perf_counter() - started < max(5, number / 10_000)
    assert len(listed.pins) == len(listed.names) == number
    few = build_allow_list(bundles[:10])
    peers = [build_identity(bundle.certificates[0], ()) for bundle in bundles[:10]]

    def cost(chosen: AllowList) -> float:
        begin = time.perf_counter()
        for _ in range(200):
            for peer in peers:
                assert chosen.judge(peer, NOW).refusal is None
        return time.perf_counter() - begin

    assert min(cost(listed) for _ in range(5)) < 3 * min(cost(few) for _ in range(5))


def test_authority_builder_knows_its_place() -> None:
    """Leaves of a root carry no chain, leaves of an intermediate carry it."""
    assert isinstance(ROOT, Authority)
    assert ROOT.issue().chain == ()
    assert MIDDLE.issue().chain == (MIDDLE.der,)
    assert MIDDLE.subordinate("Lower").issue().chain[1:] == (MIDDLE.der,)


def test_lists_that_judge_differently_have_different_keys() -> None:
    """The key names cached verdicts, unions and contexts: a lax API's verdict must not serve a tight one."""
    keys = {allow(ROOT, require_client_usage=usage, trust_unmarked=unmarked).key for usage in (True, False) for unmarked in (True, False)}
    assert len(keys) == 4
