"""Tests of :mod:`tlsgate.tls.context`: what a context made for a policy does in handshakes."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
from OpenSSL import SSL
from twisted.logger import globalLogPublisher

from tests.support.certs import SERVER, Issued, distinguished_name, make_authority, make_self_signed
from tests.support.handshakes import TLS12, TLS13, VERSIONS, StandardClient, StepClock, bundle_of, client_context, shake, talk
from tlsgate.errors import PkiError
from tlsgate.model.tls import ClientAuth, TlsPolicy, VersionRange
from tlsgate.pki.acl import AllowList, build_allow_list
from tlsgate.pki.identity import build_identity
from tlsgate.tls.certificates import CertificateSet, CertificateSource, build_certificate_table
from tlsgate.tls.context import ContextCache, ContextSettings, NoCommonProtocol, apply_ciphers, build_server_context

if TYPE_CHECKING:
    from collections.abc import Iterator

both = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])

ROOT = make_authority("Client CA")
INTER = ROOT.subordinate("Client intermediate")
OTHER = make_authority("Other CA")
SERVER_ROOT = make_authority("Server CA")


def set_of(*issued: Issued, chain: bool = True) -> CertificateSet:
    """What serves a.test."""
    table, _ = build_certificate_table([CertificateSource(bundle_of(one, chain=chain)) for one in issued], StepClock().now())
    found = table.find("a.test")
    assert found is not None
    return found


def server(kind: str = "p256", authority: Any = SERVER_ROOT) -> Issued:
    """A certificate for a.test."""
    issued: Issued = authority.issue("s", kind=kind, names=["a.test"], usages=SERVER)
    return issued


CERTIFICATES = set_of(server())
CLOCK = StepClock()
SETTINGS = ContextSettings(CLOCK)
OPEN = TlsPolicy()


def allow(*issued: Issued) -> AllowList:
    """A list of these."""
    return build_allow_list([bundle_of(one, chain=False, key=False) for one in issued])


def require(listed: AllowList, **options: Any) -> TlsPolicy:
    """A REQUIRE policy."""
    return TlsPolicy(client_auth=ClientAuth.REQUIRE, allow_list=listed.key, **options)


def build(policy: TlsPolicy = OPEN, listed: AllowList | None = None, certificates: CertificateSet = CERTIFICATES) -> SSL.Context:
    """The context of a policy."""
    return build_server_context(policy, certificates, listed, SETTINGS)


def served(context: SSL.Context, version: int = TLS12, ciphers: bytes = b"ALL:@SECLEVEL=0") -> list[str]:
    """Subjects of what the server sends."""
    dialogue = shake(context, client_context(version, ciphers=ciphers))
    assert not dialogue.refused, dialogue
    return [one.subject.rfc4514_string() for one in dialogue.client.get_peer_cert_chain(as_cryptography=True) or ()]


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """Log events."""
    found: list[Any] = []
    globalLogPublisher.addObserver(found.append)
    yield found
    globalLogPublisher.removeObserver(found.append)


# Versions, suites, groups, renegotiation.


@pytest.mark.parametrize(
    ("lowest", "highest", "works"),
    [(771, 772, {TLS12, TLS13}), (771, 771, {TLS12}), (772, 772, {TLS13}), (769, 772, {TLS12, TLS13}), (771, 900, {TLS12, TLS13})],
)
def test_versions_are_those_of_the_policy(lowest: int, highest: int, works: set[int]) -> None:
    """Decisions 1.11: nothing below TLS 1.2, whatever is asked for."""
    context = build(TlsPolicy(versions=VersionRange(lowest=lowest, highest=highest)))
    for version in (SSL.TLS1_VERSION, SSL.TLS1_1_VERSION, TLS12, TLS13):
        assert shake(context, client_context(version)).refused == (version not in works)


@pytest.mark.parametrize(
    ("ciphers", "lowest", "highest", "message"),
    [
        ((), 772, 771, "no TLS version"),
        ((), 771, 770, "no TLS version"),
        (("TLS_NO_SUCH",), 771, 772, "unknown cipher suites: TLS_NO_SUCH"),
        (("TLS_AES_128_GCM_SHA256",), 771, 771, "none of the cipher suites works with TLS 1.2"),
    ],
)
def test_what_cannot_work_is_an_error(ciphers: tuple[str, ...], lowest: int, highest: int, message: str) -> None:
    """At load, with the reason."""
    with pytest.raises(PkiError, match=message):
        build(TlsPolicy(ciphers=ciphers, versions=VersionRange(lowest=lowest, highest=highest)))
    with pytest.raises(ValueError, match=message):
        apply_ciphers(SSL.Context(SSL.TLS_METHOD), ciphers, lowest, highest)


def test_suites_are_those_of_the_policy() -> None:
    """TLS 1.2 by Tyk's names, in the server's order; the others are not spoken."""
    context = build(TlsPolicy(ciphers=("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")))
    dialogue = shake(context, client_context(TLS12, ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"))
    assert dialogue.client.get_cipher_name() == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert shake(context, client_context(TLS12, ciphers=b"ECDHE-ECDSA-CHACHA20-POLY1305")).refused
    assert not shake(context, client_context(TLS13)).refused


def test_suites_of_tls13_alone_end_tls12() -> None:
    """A list is the whole list."""
    context = build(TlsPolicy(ciphers=("TLS_CHACHA20_POLY1305_SHA256",)))
    assert shake(context, client_context(TLS12)).refused
    assert shake(context, client_context(TLS13)).client.get_cipher_name() == "TLS_CHACHA20_POLY1305_SHA256"


@pytest.mark.parametrize("suite", [b"AES128-GCM-SHA256", b"AES256-SHA", b"ECDHE-RSA-AES128-SHA", b"DHE-RSA-AES128-GCM-SHA256"])
def test_the_default_has_no_old_suite(suite: bytes) -> None:
    """mTLS reference, section 14: static RSA, CBC and finite-field key exchange are not spoken unless asked for."""
    context = build(certificates=set_of(server("rsa-2048")))
    assert shake(context, client_context(TLS12, ciphers=suite + b":@SECLEVEL=0")).refused


def test_a_client_without_aes_hardware_gets_chacha() -> None:
    """Its list begins with ChaCha20: it is followed."""
    dialogue = shake(build(), client_context(TLS12, ciphers=b"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256"))
    assert dialogue.client.get_cipher_name() == "ECDHE-ECDSA-CHACHA20-POLY1305"
    dialogue = shake(build(), client_context(TLS12, ciphers=b"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"))
    assert dialogue.client.get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"


def test_the_hybrid_group_is_spoken() -> None:
    """X25519MLKEM768 is in the library's default list; a client without it gets X25519."""
    assert shake(build(), client_context(TLS13)).client.get_group_name() == "X25519MLKEM768"
    client, there = StandardClient(ssl.TLSVersion.TLSv1_3).run(build())
    assert client.version() == "TLSv1.3"
    assert there.get_group_name() == "x25519"


def test_a_client_cannot_renegotiate() -> None:
    """TLS 1.2 only has it; the connection ends."""
    dialogue = shake(build(), client_context(TLS12))
    dialogue.client.renegotiate()
    talk(dialogue.client, dialogue.server)
    here, _ = talk(dialogue.client, dialogue.server)
    assert here == "no renegotiation"
    assert dialogue.server.total_renegotiations() == 0


def test_security_level_2_holds_for_clients() -> None:
    """A client that offers nothing above level 1."""
    assert shake(build(certificates=set_of(server("rsa-2048"))), client_context(TLS12, ciphers=b"DHE:@SECLEVEL=0")).refused


# ALPN.


@both
@pytest.mark.parametrize(
    ("offered", "chosen"),
    [((b"h2", b"http/1.1"), b"http/1.1"), ((b"http/1.1",), b"http/1.1"), ((), b""), ((b"http/1.0", b"http/1.1", b"x"), b"http/1.1")],
)
def test_alpn_is_http_1_1(version: int, offered: tuple[bytes, ...], chosen: bytes) -> None:
    """A client that offers HTTP/2 as well works (curl's default); one without ALPN too."""
    dialogue = shake(build(), client_context(version, alpn=offered))
    assert not dialogue.refused
    assert dialogue.client.get_alpn_proto_negotiated() == chosen == dialogue.server.get_alpn_proto_negotiated()


@both
@pytest.mark.parametrize("offered", [(b"h2",), (b"http/1.0",), (b"HTTP/1.1",), (b"h2", b"ftp")])
def test_alpn_without_a_protocol_of_ours_is_refused(version: int, offered: tuple[bytes, ...]) -> None:
    """RFC 7301 section 3.2, as nginx does."""
    dialogue = shake(build(), client_context(version, alpn=offered))
    assert dialogue.alert == "no_application_protocol"
    assert dialogue.server_error == "no application protocol"
    assert issubclass(NoCommonProtocol, SSL.Error)


@both
def test_a_raw_service_does_not_answer_alpn(version: int) -> None:
    """Whatever the service behind speaks."""
    dialogue = shake(build(TlsPolicy(alpn=(), scope="raw:1")), client_context(version, alpn=(b"h2", b"postgresql")))
    assert not dialogue.refused
    assert dialogue.client.get_alpn_proto_negotiated() == b""


def test_alpn_follows_our_order() -> None:
    """For policies with more than one protocol."""
    context = build(TlsPolicy(alpn=("h2", "http/1.1")))
    assert shake(context, client_context(alpn=(b"http/1.1", b"h2"))).client.get_alpn_proto_negotiated() == b"h2"


# Names and certificates.


@both
@pytest.mark.parametrize("name", [None, b"a.test", b"A.Test", b"unknown.example", b"my_svc.test"])
def test_openssl_reports_the_name(version: int, name: bytes | None) -> None:
    """Decisions 1.6: as sent; the comparison with our own reading is the caller's."""
    assert shake(build(), client_context(version), name=name).server.get_servername() == name


def test_each_key_type_comes_with_its_own_chain() -> None:
    """One context, two certificates, two chains."""
    ec_chain, rsa_chain = SERVER_ROOT.subordinate("EC inter"), SERVER_ROOT.subordinate("RSA inter").subordinate("RSA lower")
    context = build(certificates=set_of(server(authority=ec_chain), server("rsa-2048", rsa_chain)))
    assert served(context, ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256") == ["CN=s", "CN=EC inter"]
    assert served(context, ciphers=b"ECDHE-RSA-AES128-GCM-SHA256") == ["CN=s", "CN=RSA lower", "CN=RSA inter"]
    assert served(context, TLS13) == ["CN=s", "CN=EC inter"]
    client, _ = StandardClient(TLS13).run(context)
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("chained", [True, False])
def test_key_types_may_share_a_chain(chained: bool) -> None:
    """The usual case of one CA, or of none."""
    authority = SERVER_ROOT.subordinate("Inter")
    context = build(
        certificates=set_of(server("rsa-2048", authority), server("p256", authority), server("ed25519", authority), chain=chained)
    )
    chain = ["CN=Inter"] if chained else []
    assert served(context, ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256") == ["CN=s", *chain]
    assert served(context, ciphers=b"ECDHE-RSA-AES128-GCM-SHA256") == ["CN=s", *chain]


def test_a_chain_beside_none() -> None:
    """A self-signed certificate next to one of a CA: neither gets the other's chain."""
    lone = make_self_signed("lone", names=["a.test"], usages=SERVER)
    context = build(certificates=set_of(lone, server("rsa-2048", SERVER_ROOT.subordinate("Inter"))))
    assert served(context, ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256") == ["CN=lone"]
    assert served(context, ciphers=b"ECDHE-RSA-AES128-GCM-SHA256") == ["CN=s", "CN=Inter"]


def test_the_chain_is_never_completed_from_the_allow_list() -> None:
    """Client CAs are no part of what we send."""
    own = server(authority=INTER)
    listed = allow(ROOT, INTER)
    context = build(TlsPolicy(client_auth=ClientAuth.REQUEST), listed, set_of(own, chain=False))
    assert served(context) == ["CN=s"]


def test_no_file_descriptor_stays_open() -> None:
    """Chains of several key types go through a file in memory."""
    import os

    certificates = set_of(server(authority=SERVER_ROOT.subordinate("A")), server("rsa-2048", SERVER_ROOT.subordinate("B")))
    before = len(os.listdir("/proc/self/fd"))
    contexts = [build(certificates=certificates) for _ in range(5)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert len(contexts) == 5


# Client certificates.


@both
def test_none_does_not_ask(version: int) -> None:
    """No CertificateRequest, and a certificate that the client has stays at home."""
    dialogue = shake(build(), client_context(version, ROOT.issue()))
    assert not dialogue.refused and not dialogue.state.called
    assert dialogue.server.get_peer_certificate() is None


@both
@pytest.mark.parametrize("announce", [True, False])
def test_request_asks_and_judges_nobody(version: int, announce: bool) -> None:
    """With and without a certificate, listed or not."""
    policy = TlsPolicy(client_auth=ClientAuth.REQUEST, announce=announce)
    for issued in (None, ROOT.issue(), OTHER.issue()):
        dialogue = shake(build(policy), client_context(version, issued))
        assert not dialogue.refused
        assert (dialogue.server.get_peer_certificate() is None) == (issued is None)


@both
def test_request_checks_few_signatures_of_a_long_chain(version: int) -> None:
    """A stranger's chain of 60 costs OpenSSL one step: its depth is limited, what was sent is there for the judge."""
    authorities = [OTHER]
    for number in range(60):
        authorities.append(authorities[-1].subordinate(f"L{number}"))
    context = build(TlsPolicy(client_auth=ClientAuth.REQUEST))
    assert context.get_verify_depth() == 0
    dialogue = shake(context, client_context(version, authorities[-1].issue()))
    assert not dialogue.refused
    assert len(dialogue.server.get_peer_cert_chain() or ()) == 60


@both
@pytest.mark.parametrize("announce", [True, False])
def test_require_enforces_with_and_without_announcement(version: int, announce: bool) -> None:
    """``skip_client_ca_announcement`` changes what is told, not who gets in (nor the alerts)."""
    listed = allow(ROOT)
    context = build(require(listed, announce=announce), listed)
    assert not shake(context, client_context(version, INTER.issue())).refused
    assert shake(context, client_context(version, OTHER.issue())).alert == "unknown_ca"
    assert shake(context, client_context(version)).alert == ("handshake_failure" if version == TLS12 else "certificate_required")


def test_require_without_a_list_cannot_be_built() -> None:
    """A mistake of the caller, never an open door."""
    with pytest.raises(ValueError, match="needs its allow list"):
        build(TlsPolicy(client_auth=ClientAuth.REQUIRE))


@both
def test_names_are_announced_and_only_when_told(version: int) -> None:
    """Under REQUIRE the list's; under REQUEST where a list is given; none with ``announce`` off."""
    listed = allow(ROOT, OTHER, make_self_signed("client"))
    for policy, given, names in [
        (require(listed), listed, ["Client CA", "Other CA", "client"]),
        (require(listed, announce=False), listed, []),
        (TlsPolicy(client_auth=ClientAuth.REQUEST), listed, ["Client CA", "Other CA", "client"]),
        (TlsPolicy(client_auth=ClientAuth.REQUEST), None, []),
        (OPEN, listed, []),
    ]:
        dialogue = shake(build(policy, given), client_context(version, ROOT.issue()))
        assert not dialogue.refused
        assert [name.CN for name in dialogue.client.get_client_ca_list()] == names


@both
@pytest.mark.parametrize(("count", "announced"), [(30, True), (400, False)])
def test_a_long_list_of_names_is_not_announced(version: int, count: int, announced: bool, events: list[Any]) -> None:
    """B2: 400 self-signed clients with names of some 250 bytes; all of them get in, the log says what happened."""
    clients = [make_self_signed(distinguished_name(f"client {number}", organization_name="o" * 60, organizational_unit_name="u" * 60,
                                                   locality_name="l" * 64), private_key=ROOT.key) for number in range(count)]  # fmt: skip
    listed = allow(*clients)
    context = build(require(listed), listed)
    for client in (clients[0], clients[-1]):
        dialogue = shake(context, client_context(version, client))
        assert not dialogue.refused, dialogue
        assert len(dialogue.client.get_client_ca_list()) == (count if announced else 0)
    warned = [event for event in events if event.get("event") == "tls.announcement_dropped"]
    assert len(warned) == (0 if announced else 1)


# Sessions.


def resumed(client: StandardClient, first: SSL.Context, second: SSL.Context, version: int) -> bool:
    """Whether a session of one context is good in another."""
    one, _ = client.run(first)
    two, there = client.run(second, session=one.session)
    assert two.session_reused == (not there.get_app_data().called) or there.get_context().get_verify_mode() == SSL.VERIFY_NONE
    return bool(two.session_reused)


@pytest.fixture
def standard(version: int, tmp_path: Any) -> StandardClient:
    """A client with a certificate under the intermediate, sent with it."""
    issued = INTER.issue()
    path = tmp_path / "client.pem"
    path.write_text(issued.full_pem)
    client = StandardClient(version)
    client.context.load_cert_chain(path)
    return client


def policies() -> list[tuple[TlsPolicy, AllowList | None]]:
    """One of each kind that lets the client in."""
    one, two = allow(ROOT), allow(ROOT, OTHER)
    return [
        (OPEN, None),
        (TlsPolicy(scope="control"), None),
        (TlsPolicy(client_auth=ClientAuth.REQUEST), None),
        (require(one), one),
        (require(two), two),
        (require(one, scope="raw:1"), one),
        (require(one, announce=False), one),
    ]


@both
@pytest.mark.parametrize("number", range(7))
def test_a_session_is_good_inside_its_context(version: int, number: int, standard: StandardClient) -> None:
    """Resumption works with each kind of policy, and brings the leaf back."""
    policy, listed = policies()[number]
    context = build(policy, listed)
    one, _ = standard.run(context)
    two, there = standard.run(context, session=one.session)
    assert two.session_reused
    assert not there.get_app_data().called
    assert (there.get_peer_certificate() is not None) == (policy.client_auth is not ClientAuth.NONE)


@both
def test_a_session_is_good_nowhere_else(version: int, standard: StandardClient) -> None:
    """CVE-2025-23419's class: every pair of policies, and a context built anew for the same one (renewal, reload)."""
    built = [build(policy, listed) for policy, listed in policies()]
    again = [build(policy, listed) for policy, listed in policies()]
    for number, first in enumerate(built):
        for other, second in enumerate(built):
            if number != other:
                assert not resumed(standard, first, second, version), (number, other)
        assert not resumed(standard, first, again[number], version)


@both
def test_a_session_made_without_certificate_stays_without(version: int, standard: StandardClient) -> None:
    """A lax session on a strict context: a full handshake, which demands the certificate."""
    lax, listed = build(TlsPolicy(client_auth=ClientAuth.REQUEST)), allow(ROOT)
    bare = StandardClient(version)
    one, _ = bare.run(lax)
    with pytest.raises(ssl.SSLError):
        bare.run(build(require(listed), listed), session=one.session)


@both
def test_a_ticket_forgets_what_was_sent_after_the_leaf(version: int, standard: StandardClient) -> None:
    """Why path material has to be remembered: the leaf comes back from a ticket, its intermediates do not."""
    listed = allow(ROOT)
    context = build(require(listed), listed)
    one, full = standard.run(context)
    assert len(full.get_peer_cert_chain() or ()) == 1
    _, there = standard.run(context, session=one.session)
    leaf = there.get_peer_certificate(as_cryptography=True)
    assert leaf is not None
    assert not there.get_peer_cert_chain()
    assert listed.judge(build_identity(leaf.public_bytes(ssl_der()), []), CLOCK.now()).refusal == "cert.not_allowed"
    assert listed.judge(build_identity(leaf.public_bytes(ssl_der()), [INTER.der]), CLOCK.now()).refusal is None


def ssl_der() -> Any:
    """The DER encoding."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return Encoding.DER


def test_sessions_of_clients_nobody_judged_are_not_kept_by_us() -> None:
    """REQUEST: tickets only. NONE and REQUIRE also serve TLS 1.2 clients without tickets."""
    listed = allow(ROOT)
    for policy, given, kept in [
        (OPEN, None, True),
        (TlsPolicy(client_auth=ClientAuth.REQUEST), None, False),
        (require(listed), listed, True),
    ]:
        context = build(policy, given)
        client = client_context(TLS12, ROOT.issue())
        client.set_options(SSL.OP_NO_TICKET)
        first = shake(context, client)
        second = shake(context, client, session=first.client.get_session())
        assert not second.refused
        assert (second.client.master_key() == first.client.master_key()) == kept


def test_session_lifetime_is_the_setting() -> None:
    """Seconds."""
    settings = ContextSettings(CLOCK, session_lifetime_s=600)
    assert build_server_context(OPEN, CERTIFICATES, None, settings).get_timeout() == 600


def test_a_used_context_cannot_be_changed() -> None:
    """Built complete, then frozen: pyOpenSSL refuses."""
    context = build()
    shake(context, client_context())
    with pytest.raises(ValueError, match="Context has already been used"):
        context.set_verify(SSL.VERIFY_NONE)


def test_identities_may_come_from_a_cache() -> None:
    """``ContextSettings.identify`` stands in for the builder."""
    asked: list[tuple[bytes, tuple[bytes, ...]]] = []

    def identify(der: bytes, chain: tuple[bytes, ...]) -> Any:
        asked.append((der, chain))
        return build_identity(der, chain)

    listed = allow(ROOT)
    leaf = INTER.issue()
    context = build_server_context(require(listed), CERTIFICATES, listed, ContextSettings(CLOCK, identify=identify))
    assert not shake(context, client_context(TLS13, leaf)).refused
    assert asked == [(leaf.der, (INTER.der,))]


# The cache.


def test_contexts_are_shared_by_content() -> None:
    """Equal policies on equal certificates: one context, whoever asks."""
    cache = ContextCache(SETTINGS)
    listed = allow(ROOT)
    first = cache.get(require(listed), CERTIFICATES, listed)
    assert cache.get(require(allow(ROOT)), set_of_same(), allow(ROOT)) is first
    assert cache.get(OPEN, CERTIFICATES, None) is not first
    assert cache.get(require(listed), set_of(server()), listed) is not first
    assert len(cache) == 3


def set_of_same() -> CertificateSet:
    """An equal set, another object."""
    return CertificateSet(CERTIFICATES.key, CERTIFICATES.certificates)


@pytest.mark.parametrize(("age", "same"), [(86399.0, True), (86400.0, False), (86401.0, False)])
def test_contexts_are_renewed_within_a_day(age: float, same: bool) -> None:
    """Decisions 1.7: new ticket keys; n-1, n, n+1 seconds of 24 hours."""
    clock = StepClock()
    cache = ContextCache(ContextSettings(clock))
    first = cache.get(OPEN, CERTIFICATES, None)
    clock.seconds += age
    second = cache.get(OPEN, CERTIFICATES, None)
    assert (second is first) == same
    assert len(cache) == 1
    clock.seconds += 86399.0
    assert (cache.get(OPEN, CERTIFICATES, None) is second) == (not same)


def test_the_cache_is_bounded_and_drops_the_oldest_use() -> None:
    """Many policies cannot fill the memory."""
    cache = ContextCache(SETTINGS, capacity=2)
    made = {scope: cache.get(TlsPolicy(scope=scope), CERTIFICATES, None) for scope in "ab"}
    assert cache.get(TlsPolicy(scope="a"), CERTIFICATES, None) is made["a"]
    cache.get(TlsPolicy(scope="c"), CERTIFICATES, None)
    assert len(cache) == 2
    assert cache.get(TlsPolicy(scope="a"), CERTIFICATES, None) is made["a"]
    assert cache.get(TlsPolicy(scope="b"), CERTIFICATES, None) is not made["b"]
    with pytest.raises(ValueError, match="capacity"):
        ContextCache(SETTINGS, capacity=0)


def test_a_foreign_list_is_not_taken() -> None:
    """The policy names its list by content."""
    cache = ContextCache(SETTINGS)
    listed = allow(ROOT)
    for given in (None, allow(OTHER)):
        with pytest.raises(ValueError, match="do not belong together"):
            cache.get(require(listed), CERTIFICATES, given)
    assert len(cache) == 0


def test_a_failed_build_is_not_cached() -> None:
    """The next call tries again."""
    cache = ContextCache(SETTINGS)
    with pytest.raises(PkiError):
        cache.get(TlsPolicy(ciphers=("x",)), CERTIFICATES, None)
    assert len(cache) == 0


# Why contexts are chosen before OpenSSL starts: facts about the library, kept so that a change of them is noticed.


def plain(mode: int, number: int, switch: SSL.Context | None = None) -> SSL.Context:
    """A context by hand; ``switch`` is what its servername callback changes to."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    member = CERTIFICATES.certificates[0]
    context.use_certificate(member.certificate)
    context.use_privatekey(member.key)
    context.set_verify(mode, lambda *_: True)
    context.set_session_id(bytes([number]))
    if switch is not None:
        context.set_tlsext_servername_callback(lambda connection: connection.set_context(switch))
    return context


@both
def test_switching_contexts_in_the_callback_leaves_the_verify_mode_behind(version: int) -> None:
    """The strict context is in force, and nobody asked for a certificate."""
    strict = plain(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, 2)
    listening = plain(SSL.VERIFY_NONE, 1, strict)
    dialogue = shake(listening, client_context(version))
    assert not dialogue.refused
    assert dialogue.server.get_context() is strict
    assert shake(plain(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, 2), client_context(version)).refused


@both
def test_resumption_is_settled_in_the_listening_context(version: int) -> None:
    """A session of a lax name resumes under a strict one, session-id contexts notwithstanding; TLS 1.2 even reports the lax name."""
    lax, strict = plain(SSL.VERIFY_NONE, 2), plain(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, 3)
    listening = plain(SSL.VERIFY_NONE, 1)
    strict_names = [b"strict.test"]

    def choose(connection: SSL.Connection) -> None:
        wanted = strict if connection.get_servername() in strict_names else lax
        connection.set_context(wanted)
        connection.set_verify(wanted.get_verify_mode(), lambda *_: True)

    listening.set_tlsext_servername_callback(choose)
    client = StandardClient(version)
    one, _ = client.run(listening, name="lax.test")
    two, there = client.run(listening, name="strict.test", session=one.session)
    assert two.session_reused
    assert there.get_servername() == (b"lax.test" if version == TLS12 else b"strict.test")
    assert there.get_peer_certificate() is None
