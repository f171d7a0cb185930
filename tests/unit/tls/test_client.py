"""Tests of :mod:`tlsgate.tls.client`: who is taken for an upstream, both TLS versions."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from cryptography import x509
from OpenSSL import SSL

from tests.support.certs import CLIENT, SERVER, Issued, key, make_authority, make_self_signed, with_serial
from tests.support.handshakes import TLS12, TLS13, VERSIONS, Dialogue, StepClock, bundle_of, real_now, shake, talk
from tlsgate.errors import PkiError
from tlsgate.pki.der import open_certificate
from tlsgate.pki.identity import spki_sha256
from tlsgate.pki.pem import PemBundle, parse_pem
from tlsgate.tls import client as client_module
from tlsgate.tls.client import (
    ClientContextCache,
    Fault,
    UpstreamIdentity,
    build_client_certificate,
    build_client_context,
    build_upstream_identity,
    check_upstream,
    find_verify_fault,
)
from tlsgate.tls.trust import TrustSet, build_trust

if TYPE_CHECKING:
    from collections.abc import Sequence

both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])

DAY = 86400.0
HOST = "api.up.test"
ROOT = make_authority("Upstream root")
INTER = ROOT.subordinate("Upstream intermediate")
FOREIGN = make_authority("Foreign root")
CLIENT_ROOT = make_authority("Client root")
CLOCK = StepClock()


def trust(*issued: Issued) -> TrustSet:
    """These CAs."""
    return build_trust([parse_pem(one.pem) for one in issued], "test")


TRUST = trust(ROOT)


def upstream(*names: str, authority: Any = INTER, common_name: str = "upstream", **options: Any) -> Issued:
    """A server certificate, for HOST unless said otherwise."""
    issued: Issued = authority.issue(common_name, **{"names": names or (HOST,), "usages": SERVER, **options})
    return issued


def identity(host: str = HOST, **options: Any) -> UpstreamIdentity:
    """An identity with the test's trust."""
    return build_upstream_identity(**{"host": host, "port": 443, "trust": TRUST, **options})


class Answer(NamedTuple):
    """What came of a connection."""

    dialogue: Dialogue
    fault: str | None
    """Of ``check_upstream``; None as well when the handshake failed already."""
    log: str | None
    """Of ``find_verify_fault``."""

    @property
    def accepted(self) -> bool:
        """The upstream may be used."""
        return not self.dialogue.refused and self.fault is None


def reach(
    who: UpstreamIdentity,
    issued: Issued,
    version: int = TLS13,
    *,
    chain: Sequence[bytes] | None = None,
    ask: Any = None,
    ciphers: bytes = b"ALL:@SECLEVEL=0",
) -> Answer:
    """Connect to an upstream that shows a certificate."""
    there = SSL.Context(SSL.TLS_SERVER_METHOD)
    there.set_cipher_list(ciphers)
    there.set_min_proto_version(version)
    there.set_max_proto_version(version)
    there.use_certificate(issued.certificate)
    there.use_privatekey(issued.key)
    for der in issued.chain if chain is None else chain:
        there.add_extra_chain_cert(x509.load_der_x509_certificate(der))
    if ask is not None:
        there.set_verify(SSL.VERIFY_PEER, ask)
    there.set_tlsext_servername_callback(lambda _connection: None)
    here = build_client_context(who, CLOCK)
    dialogue = shake(there, here, name=who.server_name.encode() or None)
    fault = None if dialogue.refused else check_upstream(dialogue.client, who)
    return Answer(dialogue, fault, find_verify_fault(dialogue.client))


# The ordinary case.


@both
@pytest.mark.parametrize("anchors", [(ROOT,), (INTER,), (FOREIGN, ROOT)])
def test_a_verified_chain_and_the_right_name(version: int, anchors: tuple[Issued, ...]) -> None:
    """Root or intermediate as the configured CA; the name from ``target_url`` goes out as SNI."""
    answer = reach(identity(trust=trust(*anchors)), upstream(), version)
    assert answer.accepted
    assert answer.log is None
    assert answer.dialogue.server.get_servername() == HOST.encode()


@both
def test_a_trusted_server_certificate_is_enough(version: int) -> None:
    """A self-signed upstream, listed as its own CA."""
    lone = make_self_signed("lone", names=[HOST], usages=SERVER)
    assert reach(identity(trust=trust(lone)), lone, version).accepted
    assert not reach(identity(trust=trust(lone)), make_self_signed("lone", names=[HOST], usages=SERVER), version).accepted


@both
@pytest.mark.parametrize(
    ("issued", "log", "alert"),
    [
        (upstream(authority=FOREIGN), "certificate 0 (CN=upstream): issuer is not known", "unknown_ca"),
        (make_self_signed("own", names=[HOST], usages=SERVER), "certificate 0 (CN=own): self-signed and not trusted", "unknown_ca"),
        (upstream(not_after=real_now() - DAY), "certificate 0 (CN=upstream): expired", "certificate_expired"),
        (upstream(not_before=real_now() + DAY), "certificate 0 (CN=upstream): not valid yet", "bad_certificate"),
        (upstream(usages=CLIENT), "certificate 0 (CN=upstream): not for servers", "unsupported_certificate"),
        (upstream(kind="rsa-1024"), "certificate 0 (CN=upstream): key is too small", "bad_certificate"),
        (
            upstream(authority=ROOT.subordinate("Old", not_after=real_now() - DAY)),
            "certificate 1 (CN=Old): expired",
            "certificate_expired",
        ),
        (
            upstream(authority=make_authority("Upstream intermediate", private_key=FOREIGN.key), key_ids=False),
            "certificate 0 (CN=upstream): issuer is not known",
            "unknown_ca",
        ),
    ],
)
def test_a_chain_that_does_not_verify_is_refused_in_the_handshake(version: int, issued: Issued, log: str, alert: str) -> None:
    """With an alert to the upstream, and the reason for our log."""
    answer = reach(identity(), issued, version)
    assert answer.dialogue.client_error == "certificate verify failed"
    assert answer.dialogue.server_error.rpartition("alert ")[2].replace(" ", "_") == alert
    assert answer.log == log


@both
def test_a_missing_intermediate_is_no_trust(version: int) -> None:
    """Nothing is fetched or guessed."""
    assert reach(identity(), upstream(), version, chain=[]).log == "certificate 0 (CN=upstream): issuer is not known"


@both
def test_the_name_must_match(version: int) -> None:
    """Refused after the handshake, before our last flight."""
    answer = reach(identity(), upstream("other.test"), version)
    assert not answer.dialogue.refused
    assert answer.fault == f"certificate is for 'other.test', not for {HOST}"


@both
@pytest.mark.parametrize("host", ["my_svc.up.test", "xn--bcher-kva.up.test", "ab--cd.up.test"])
@pytest.mark.parametrize("wildcard", [True, False])
def test_names_that_twisted_would_not_take(version: int, host: str, wildcard: bool) -> None:
    """B21: underscore, A-label, two hyphens at position 3: exact and by wildcard; SNI as configured."""
    answer = reach(identity(host), upstream("*.up.test" if wildcard else host), version)
    assert answer.accepted
    assert answer.dialogue.server.get_servername() == host.encode()


@both
@pytest.mark.parametrize("host", ["192.0.2.9", "2001:db8::9"])
def test_addresses_need_their_own_kind_of_name(version: int, host: str) -> None:
    """No SNI for an address; a DNS name that looks like it does not count."""
    address = upstream(alternative=[x509.IPAddress(ipaddress.ip_address(host))], names=["other.test"])
    answer = reach(identity(host), address, version)
    assert answer.accepted
    assert answer.dialogue.server.get_servername() is None
    assert not reach(identity(host), upstream(alternative=[x509.DNSName(host)], names=["other.test"]), version).accepted


@both
def test_the_common_name_is_no_host_name(version: int) -> None:
    """B22: not beside a SAN, not without one."""
    assert reach(identity(), upstream("other.test", common_name=HOST), version).fault is not None
    bare = INTER.issue(HOST, usages=SERVER)
    assert reach(identity(), bare, version).fault == "certificate has no subject alternative name (the common name does not count)"


@both
@pytest.mark.parametrize("verify", [True, False])
def test_the_common_name_check_adds_and_replaces_nothing(version: int, verify: bool) -> None:
    """B22, third part; the chain stays verified (BETTER than Tyk, where any certificate with the CN passes)."""
    who = identity(check_common_name=True, verify=verify)
    assert reach(who, upstream(common_name=HOST), version).accepted
    assert reach(who, upstream(common_name=HOST.upper()), version).accepted
    assert reach(who, upstream(common_name="x"), version).fault == f"certificate had CN 'x', expected '{HOST}'"
    assert reach(who, upstream("other.test", common_name=HOST), version).accepted is (not verify)
    lone = make_self_signed(HOST, names=[HOST], usages=SERVER)
    assert reach(who, lone, version).accepted is (not verify)
    unnamed = INTER.issue(x509.Name([]), names=[HOST], usages=SERVER)
    assert reach(who, unnamed, version).fault == f"certificate had CN None, expected '{HOST}'"


@both
def test_verification_can_be_switched_off(version: int) -> None:
    """``ssl_insecure_skip_verify``: any certificate, but still TLS."""
    who = identity(verify=False)
    for issued in (
        make_self_signed("x", names=["other.test"]),
        upstream("other.test", authority=FOREIGN, not_after=real_now() - DAY),
        upstream(usages=CLIENT),
    ):
        assert reach(who, issued, version).accepted


@both
@pytest.mark.parametrize("content", [b"\xff", b"\x00"])
def test_odd_certificates_raise_nothing(version: int, content: bytes) -> None:
    """B12's kind at an upstream."""
    plain = upstream()
    odd = Issued(open_certificate(with_serial(plain, INTER.key, content)), plain.key, plain.chain)
    answer = reach(identity(), odd, version)
    assert answer.accepted or answer.log
    assert reach(identity(pins=frozenset({spki_sha256(odd.der)})), odd, version).accepted


# Pins.


def pins(*issued: Issued) -> frozenset[bytes]:
    """Their keys."""
    return frozenset(hashlib.sha256(one.spki).digest() for one in issued)


@both
@pytest.mark.parametrize("verify", [True, False])
def test_the_proven_key_is_the_pin(version: int, verify: bool) -> None:
    """A pin takes the place of chain, name and dates (Tyk: tested there); any of a list may match."""
    lone = make_self_signed("x", names=["other.test"], not_after=real_now() - DAY, usages=CLIENT)
    assert reach(identity(pins=pins(FOREIGN, lone), verify=verify), lone, version).accepted
    other = reach(identity(pins=pins(lone), verify=verify), upstream(), version)
    assert other.fault == "public keys do not match the pins"


@both
@pytest.mark.parametrize("verify", [True, False])
def test_a_certificate_merely_sent_along_is_no_match(version: int, verify: bool) -> None:
    """BETTER (b) of the reference: ``[attacker's leaf, genuine certificate]``, and the genuine CA behind a foreign leaf."""
    genuine = upstream()
    attacker = FOREIGN.issue("upstream", names=[HOST], usages=SERVER)
    namesake = FOREIGN.issue("upstream", names=[HOST], usages=SERVER, issuer=INTER.certificate.subject, key_ids=False)
    for issued in (attacker, namesake):
        answer = reach(identity(pins=pins(genuine), verify=verify), issued, version, chain=[genuine.der, *genuine.chain])
        assert answer.fault is not None and "not under it" in answer.fault
        answer = reach(identity(pins=pins(INTER), verify=verify), issued, version, chain=[INTER.der])
        assert answer.fault is not None and "not under it" in answer.fault


@both
@pytest.mark.parametrize("trusted", [True, False])
def test_a_ca_can_be_pinned(version: int, trusted: bool) -> None:
    """A member of a verified path: sent along, or in the trust store; the name counts then, unless verification is off."""
    where = TRUST if trusted else trust(FOREIGN)
    assert reach(identity(pins=pins(INTER), trust=where), upstream(), version).accepted
    assert reach(identity(pins=pins(ROOT), trust=where), upstream(), version, chain=[INTER.der, ROOT.der]).accepted
    assert reach(identity(pins=pins(ROOT), trust=where), upstream(), version).accepted is trusted
    elsewhere = upstream("other.test")
    assert "not for" in (reach(identity(pins=pins(INTER), trust=where), elsewhere, version).fault or "")
    assert reach(identity(pins=pins(INTER), trust=where, verify=False), elsewhere, version).accepted
    assert "expired" in (reach(identity(pins=pins(INTER), trust=where), upstream(not_after=real_now() - DAY), version).fault or "")
    assert reach(identity(pins=pins(INTER), trust=where), upstream(usages=CLIENT), version).fault == "certificate is not for servers"
    assert reach(identity(pins=pins(INTER), trust=where), upstream(usages=None), version).accepted


@both
def test_a_sibling_of_a_pinned_ca_is_outside(version: int) -> None:
    """Under the same root, with the pinned certificate in its chain."""
    sibling = upstream(authority=ROOT.subordinate("Sibling"))
    answer = reach(identity(pins=pins(INTER)), sibling, version, chain=[*sibling.chain, INTER.der, ROOT.der])
    assert answer.fault is not None and "not under it" in answer.fault


@both
def test_no_pin_that_can_match_matches_nothing(version: int) -> None:
    """An unresolvable reference: fail closed, also with verification off."""
    for verify in (True, False):
        assert reach(identity(pins=frozenset(), verify=verify), upstream(), version).fault == "public keys do not match the pins"


@both
def test_hosts_without_a_pin_are_verified(version: int) -> None:
    """BETTER (a): a pin of one host does not switch verification off for others, even over a shared cache."""
    cache = ClientContextCache(CLOCK)
    pinned, plain = identity(pins=pins(FOREIGN)), identity()
    assert cache.get(pinned) is not cache.get(plain)
    assert reach(plain, upstream(authority=FOREIGN), version).dialogue.refused


def test_identity_and_context_that_do_not_belong_together_fail_closed() -> None:
    """A context that only notes faults, used for an identity that is to be verified."""
    lax, strict = identity(verify=False), identity()
    answer = reach(lax, upstream(authority=FOREIGN))
    assert answer.accepted
    assert check_upstream(answer.dialogue.client, strict) == "certificate 0 (CN=upstream): issuer is not known"


def test_no_certificate_is_no_upstream() -> None:
    """Before a handshake there is nobody."""
    fresh = SSL.Connection(build_client_context(identity(), CLOCK), None)
    assert check_upstream(fresh, identity()) == "upstream showed no certificate"
    assert find_verify_fault(fresh) is None


@both
def test_certificates_that_the_library_cannot_read(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL read them, the other parser does not: refused with a text, never an exception."""
    good, pinned = upstream(), identity(pins=pins(INTER))
    answer = reach(pinned, good, version, chain=[INTER.der, ROOT.der])
    assert answer.accepted

    def unreadable(unwanted: bytes | None, reader: Any) -> Any:
        def read(der: bytes) -> Any:
            if unwanted is None or der == unwanted:
                raise PkiError("certificate cannot be read: odd")
            return reader(der)

        return read

    for function, unwanted, fault in [
        ("open_certificate", None, "certificate cannot be read: odd"),
        ("read_certificate", good.der, "certificate cannot be read: odd"),
        ("read_certificate", INTER.der, "public keys do not match the pins"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(client_module, function, unreadable(unwanted, getattr(client_module, function)))
            where = pinned._replace(trust=trust(FOREIGN))
            assert reach(where, good, version, chain=[INTER.der, ROOT.der]).fault == fault
    monkeypatch.setattr(client_module, "open_certificate", unreadable(None, None))
    assert reach(identity(), upstream(authority=FOREIGN), version).log == "certificate 0 (unreadable): issuer is not known"


# Versions, suites, our own certificate.


@pytest.mark.parametrize(
    ("lowest", "highest", "works"),
    [(0, 0, {TLS12, TLS13}), (771, 0, {TLS12, TLS13}), (0, 772, {TLS12, TLS13}), (772, 0, {TLS13}), (0, 771, {TLS12}), (769, 771, {TLS12})],
)
def test_versions_are_used_as_given(lowest: int, highest: int, works: set[int]) -> None:
    """BETTER: Tyk turns 771..772 into TLS 1.2 only; nothing below TLS 1.2 is spoken."""
    who = identity(min_version=lowest, max_version=highest)
    for version in (SSL.TLS1_1_VERSION, *VERSIONS):
        assert (not reach(who, upstream(), version).dialogue.refused) == (version in works)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_version": 772, "max_version": 771}, "no TLS version"),
        ({"ciphers": ("TLS_X",)}, "unknown cipher suites: TLS_X"),
        ({"client": bundle_of(CLIENT_ROOT.issue(kind="rsa-1024"))}, "ee key too small"),
    ],
)
def test_what_cannot_work_is_an_error(options: dict[str, Any], message: str) -> None:
    """At load, with the host."""
    with pytest.raises(PkiError, match=f"upstream {HOST}.*{message}"):
        build_client_context(identity(**options), CLOCK)


def test_suites_are_used_as_given() -> None:
    """Tyk's names, per API."""
    who = identity(ciphers=("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",))
    assert reach(who, upstream(), TLS12).dialogue.client.get_cipher_name() == "ECDHE-ECDSA-AES128-SHA"
    assert reach(identity(), upstream(), TLS12, ciphers=b"ECDHE-ECDSA-AES128-SHA").dialogue.refused


@both
@pytest.mark.parametrize("alpn", [("http/1.1",), ()])
def test_alpn_is_offered_for_http_only(version: int, alpn: tuple[str, ...]) -> None:
    """Raw services offer none."""
    asked: list[list[bytes]] = []
    there = SSL.Context(SSL.TLS_SERVER_METHOD)
    issued = upstream()
    there.use_certificate(issued.certificate)
    there.use_privatekey(issued.key)
    there.add_extra_chain_cert(INTER.certificate)
    there.set_alpn_select_callback(lambda _connection, offered: asked.append(offered) or offered[0])
    there.set_max_proto_version(version)
    assert not shake(there, build_client_context(identity(alpn=alpn), CLOCK)).refused
    assert asked == ([[b"http/1.1"]] if alpn else [])


@both
def test_our_certificate_is_offered_with_its_chain(version: int) -> None:
    """Whatever CA names the upstream announces."""
    inter = CLIENT_ROOT.subordinate("Client intermediate")
    own = inter.issue("gateway")
    answer = reach(identity(client=bundle_of(own)), upstream(), version, ask=lambda *_: True)
    assert answer.accepted
    assert answer.dialogue.server.get_peer_certificate(as_cryptography=True) == own.certificate
    assert answer.dialogue.server.get_peer_cert_chain(as_cryptography=True) == [inter.certificate]
    bare = reach(identity(), upstream(), version, ask=lambda *_: True)
    assert bare.accepted and bare.dialogue.server.get_peer_certificate() is None


@both
def test_our_certificate_is_not_shown_to_a_stranger(version: int) -> None:
    """The chain is verified before our flight."""
    seen: list[Any] = []
    answer = reach(
        identity(client=bundle_of(CLIENT_ROOT.issue("gateway"))),
        upstream(authority=FOREIGN),
        version,
        ask=lambda *_: bool(seen.append(1)) or True,
    )
    assert answer.dialogue.refused
    assert not seen


def test_an_upstream_cannot_renegotiate() -> None:
    """``proxy_ssl_disable_renegotiation``, on by default (BETTER)."""
    dialogue = reach(identity(), upstream(), TLS12).dialogue
    dialogue.server.renegotiate()
    talk(dialogue.client, dialogue.server)
    talk(dialogue.client, dialogue.server)
    assert dialogue.client.total_renegotiations() == 0


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (PemBundle(private_key=key()), "no certificate"),
        (bundle_of(CLIENT_ROOT.issue(), key=False), "no private key"),
        (PemBundle(certificates=(CLIENT_ROOT.issue().der,), private_key=key("p256", "other")), "does not match"),
    ],
)
def test_a_client_certificate_that_cannot_be_used_is_an_error(bundle: PemBundle, message: str) -> None:
    """Decisions 1.8: it never goes without."""
    with pytest.raises(PkiError, match=message):
        build_client_certificate(bundle)
    with pytest.raises(PkiError, match=message):
        identity(client=bundle)


# Identities as keys.


def test_whatever_matters_makes_another_identity() -> None:
    """The key of pools: everything that makes two connections not interchangeable."""
    one, two = CLIENT_ROOT.issue("one"), CLIENT_ROOT.issue("two")
    variants: list[dict[str, Any]] = [
        {},
        {"host": "other.test"},
        {"port": 444},
        {"scheme": "tls"},
        {"client": bundle_of(one)},
        {"client": bundle_of(two)},
        {"trust": trust(FOREIGN)},
        {"min_version": 772},
        {"max_version": 771},
        {"ciphers": ("TLS_AES_128_GCM_SHA256",)},
        {"verify": False},
        {"pins": frozenset()},
        {"pins": pins(one)},
        {"check_common_name": True},
        {"alpn": ()},
    ]
    made = [identity(**options) for options in variants]
    assert len(set(made)) == len(made)
    again = [identity(**{**options, "trust": options.get("trust", trust(ROOT))}) for options in variants]
    assert again == made and [hash(entry) for entry in again] == [hash(entry) for entry in made]


def test_client_certificates_are_equal_by_content() -> None:
    """Chain included."""
    own = CLIENT_ROOT.subordinate("I").issue("gateway")
    whole, same, bare = (build_client_certificate(bundle_of(own, chain=chain)) for chain in (True, True, False))
    assert whole == same and hash(whole) == hash(same)
    assert whole != bare and whole != whole.key


def test_contexts_are_shared_where_only_the_target_differs() -> None:
    """Host, port, name, pins and the CN check are the connection's; the rest is the context's."""
    cache = ClientContextCache(CLOCK, capacity=3)
    first = cache.get(identity())
    assert cache.get(identity("other.test", port=1, check_common_name=True)) is first
    assert cache.get(identity(pins=pins(ROOT))) is cache.get(identity(verify=False)) is cache.get(identity(pins=frozenset(), verify=False))
    assert len(cache) == 2
    cache.get(identity(max_version=771))
    assert len(cache) == 3
    assert cache.get(identity()) is first
    cache.get(identity(min_version=772))
    assert len(cache) == 3
    assert cache.get(identity()) is first


@both
@pytest.mark.parametrize(
    ("issued", "options", "flag"),
    [
        (upstream(not_after=real_now() - DAY), {}, "TLE"),
        (upstream(not_before=real_now() + DAY), {}, "TLE"),
        (upstream(authority=FOREIGN), {}, "TLI"),
        (upstream(usages=CLIENT), {}, "TLI"),
        (upstream("other.test"), {}, "TLM"),
        (upstream(), {"pins": frozenset({b"x"})}, "TLI"),
        (upstream(), {"check_common_name": True}, "TLM"),
    ],
)
def test_faults_carry_tyks_flags(version: int, issued: Issued, options: dict[str, Any], flag: str) -> None:
    """TLE out of its time, TLM another name, TLI anything else; for the log and for ``error_overrides``."""
    answer = reach(identity(**options), issued, version)
    fault = answer.fault or answer.log
    assert isinstance(fault, Fault)
    assert fault.flag == flag
    assert str(fault)
