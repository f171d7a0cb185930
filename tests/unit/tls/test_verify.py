"""Tests of :mod:`tlsgate.tls.verify`: real handshakes, each for TLS 1.2 and 1.3."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.logger import LogLevel, globalLogPublisher

from tests.support.certs import (
    CLIENT,
    SERVER,
    Authority,
    Issued,
    key_usage,
    make_authority,
    make_self_signed,
    rekeyed,
    resign,
    swap_element,
    with_serial,
)
from tests.support.handshakes import (
    TLS12,
    VERSIONS,
    Dialogue,
    StepClock,
    bundle_of,
    client_context,
    real_now,
    shake,
)
from tlsgate.model.tls import PeerIdentity
from tlsgate.pki.acl import AllowList, Verdict, build_allow_list
from tlsgate.pki.der import open_certificate
from tlsgate.pki.identity import build_identity
from tlsgate.tls.verify import MAX_PATH, HandshakeState, RequireVerifier, accept_any, watch_path

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.parametrize("version", VERSIONS, ids=["tls12", "tls13"])

DAY = 86400.0
ROOT = make_authority("Root")
INTER = ROOT.subordinate("Intermediate")
SIBLING = ROOT.subordinate("Sibling")
FOREIGN = make_authority("Foreign")
SERVER_CERTIFICATE = make_authority("Server CA").issue("s", names=["a.test"], usages=SERVER)


def allow(*issued: Issued, require_client_usage: bool = True) -> AllowList:
    """A list of these, each referenced alone."""
    return build_allow_list([bundle_of(one, chain=False, key=False) for one in issued], require_client_usage=require_client_usage)


def server_context(callback: Any, *, watch: bool = True) -> SSL.Context:
    """A context that demands a certificate."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=2")
    context.use_certificate(SERVER_CERTIFICATE.certificate)
    context.use_privatekey(SERVER_CERTIFICATE.key)
    if watch:
        watch_path(context)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, callback)
    return context


def connect(
    allow_list: Any, issued: Issued | None, version: int, *, chain: Sequence[Issued] | None = None, clock: StepClock | None = None
) -> Dialogue:
    """One handshake against a list; ``chain`` replaces what the client sends after its leaf."""
    context = server_context(RequireVerifier(allow_list, clock or StepClock()))
    sent = None if chain is None else [one.der for one in chain]
    return shake(context, client_context(version, issued, chain=sent))


def assert_refused(dialogue: Dialogue, alert: str, words: str = "") -> None:
    """It failed, with this alert, and the log will say why."""
    assert dialogue.refused
    assert dialogue.alert == alert, dialogue
    assert words in dialogue.state.refusal
    if dialogue.state.identity is not None:
        assert dialogue.state.identity.fingerprint in dialogue.state.refusal


def assert_accepted(dialogue: Dialogue) -> None:
    """It went through with a verdict."""
    assert not dialogue.refused, dialogue
    assert dialogue.state.called
    assert dialogue.state.refusal == ""
    assert dialogue.state.verdict is not None and dialogue.state.verdict.refusal is None


# What OpenSSL does: the ground that the callback stands on.


def calls_of(issued: Issued, version: int, chain: Sequence[Issued] = ()) -> list[tuple[int, int]]:
    """Errors and depths in the order of OpenSSL's calls when everything is accepted."""
    calls: list[tuple[int, int]] = []

    def note(_connection: Any, _certificate: Any, error: int, depth: int, _ok: int) -> bool:
        calls.append((error, depth))
        return True

    dialogue = shake(server_context(note), client_context(version, issued, chain=[one.der for one in chain]))
    assert not dialogue.refused
    return calls


def test_openssl_shows_the_whole_path_before_signatures(version: int) -> None:
    """The order that the module's text states; a change of OpenSSL is noticed here."""
    leaf = INTER.issue()
    assert calls_of(leaf, version) == [(20, 0), (3, 0), (21, 0), (0, 0)]
    assert calls_of(leaf, version, [INTER]) == [(20, 1), (3, 0), (3, 1), (0, 0)]
    assert calls_of(leaf, version, [INTER, ROOT]) == [(19, 2), (3, 0), (3, 1), (0, 2), (0, 1), (0, 0)]
    assert calls_of(make_self_signed(), version) == [(18, 0), (0, 0)]
    forged = FOREIGN.issue("x", issuer=INTER.certificate.subject, key_ids=False)
    assert calls_of(forged, version, [INTER]) == [(20, 1), (3, 0), (3, 1), (7, 0), (0, 0)]
    assert calls_of(INTER.issue(not_after=real_now() - DAY), version, [INTER])[-2:] == [(10, 0), (0, 0)]
    assert calls_of(INTER.issue(not_before=real_now() + DAY), version, [INTER])[-2:] == [(9, 0), (0, 0)]
    assert (26, 0) in calls_of(INTER.issue(usages=SERVER), version, [INTER])
    assert calls_of(INTER.issue(kind="rsa-1024"), version)[0] == (66, 0)


def test_openssl_stops_at_the_depth(version: int) -> None:
    """A path longer than MAX_PATH is cut there: error 22, then 20, at the same depth."""
    authorities: list[Authority] = [ROOT]
    for number in range(MAX_PATH + 4):
        authorities.append(authorities[-1].subordinate(f"L{number}"))
    leaf = authorities[-1].issue()
    calls = calls_of(leaf, version, authorities[:0:-1])
    assert calls[:2] == [(22, MAX_PATH + 1), (20, MAX_PATH + 1)]
    assert calls[2 : MAX_PATH + 4] == [(3, depth) for depth in range(MAX_PATH + 2)]


# Who gets in.


def test_no_certificate(version: int) -> None:
    """handshake_failure in TLS 1.2, certificate_required in TLS 1.3, and OpenSSL never asked the list."""
    dialogue = connect(allow(ROOT), None, version)
    assert dialogue.alert == ("handshake_failure" if version == TLS12 else "certificate_required")
    assert not dialogue.state.called


@pytest.mark.parametrize("listed", [(ROOT,), (INTER,), (ROOT, INTER), (FOREIGN, ROOT)])
def test_a_leaf_under_a_listed_ca(version: int, listed: tuple[Issued, ...]) -> None:
    """B3: root or intermediate as the anchor, with and without the certificates in between where they are not needed."""
    leaf = INTER.issue()
    assert_accepted(connect(allow(*listed), leaf, version))
    assert_accepted(connect(allow(*listed), leaf, version, chain=[INTER, ROOT]))
    assert_accepted(connect(allow(*listed), leaf, version, chain=[ROOT, INTER]))
    alone = connect(allow(*listed), leaf, version, chain=[])
    if INTER in listed:
        assert_accepted(alone)
    else:
        assert_refused(alone, "unknown_ca", "no path to a listed CA")


@pytest.mark.parametrize("kind", ["rsa-2048", "p384", "ed25519"])
def test_key_types_of_clients(version: int, kind: str) -> None:
    """What clients bring."""
    assert_accepted(connect(allow(ROOT), ROOT.issue(kind=kind), version))


def test_only_a_subordinate_is_trusted(version: int) -> None:
    """B3: siblings and the root's own children stay outside, whatever is sent along."""
    listed = allow(INTER)
    for leaf, chain in [
        (SIBLING.issue(), [SIBLING]),
        (SIBLING.issue(), [SIBLING, ROOT]),
        (SIBLING.issue(), [SIBLING, ROOT, INTER]),
        (ROOT.issue(), []),
        (ROOT.issue(), [ROOT]),
        (ROOT.issue(), [INTER, ROOT]),
    ]:
        assert_refused(connect(listed, leaf, version, chain=chain), "unknown_ca", "no path to a listed CA")


def test_a_certificate_sent_along_opens_nothing(version: int) -> None:
    """mTLS reference, section 14: somebody else's leaf, or the CA itself, behind one's own leaf."""
    friend, stranger = make_self_signed("friend"), FOREIGN.issue("stranger")
    for chain in ([friend], [ROOT], [friend, ROOT], [FOREIGN, ROOT, friend], [INTER]):
        assert_refused(connect(allow(friend, ROOT), stranger, version, chain=chain), "unknown_ca")
        assert_refused(connect(allow(friend, ROOT), make_self_signed("friend"), version, chain=chain), "unknown_ca")


@pytest.mark.parametrize("chain", [[], [INTER], [INTER, ROOT], [ROOT], [FOREIGN], [make_self_signed("junk")]])
def test_a_pinned_leaf_needs_no_issuer(version: int, chain: list[Issued]) -> None:
    """Its fingerprint is enough, whatever it sends along and whoever issued it."""
    for leaf in (INTER.issue(), make_self_signed(), FOREIGN.issue("x", issuer=INTER.certificate.subject, key_ids=False)):
        assert_accepted(connect(allow(leaf), leaf, version, chain=chain))


def test_a_pinned_certificate_of_plain_openssl_req(version: int) -> None:
    """``openssl req -x509``: CA:TRUE without keyUsage works as a leaf, and what its key signs stays outside."""
    listed = make_self_signed("req", ca=True, usages=None)
    assert_accepted(connect(allow(listed), listed, version))
    assert_refused(connect(allow(listed), listed.issue("child"), version, chain=[listed]), "unknown_ca")


def test_a_ca_as_leaf_only_by_its_pin(version: int) -> None:
    """Decisions 1.10."""
    usable = ROOT.subordinate("CA", usage=key_usage("key_cert_sign", "digital_signature"))
    assert_refused(connect(allow(ROOT), usable, version), "unknown_ca", "a CA certificate that is not listed itself")
    assert_refused(connect(allow(ROOT), usable, version, chain=[ROOT]), "unknown_ca", "a CA certificate")
    assert_accepted(connect(allow(ROOT, usable), usable, version))
    assert_accepted(connect(allow(ROOT), ROOT, version))


def test_an_empty_list_refuses_everybody(version: int) -> None:
    """Fail closed."""
    for empty in (build_allow_list([]), build_allow_list([None, None])):
        for issued in (make_self_signed(), INTER.issue()):
            assert_refused(connect(empty, issued, version), "unknown_ca", "empty")
        assert_refused(connect(empty, ROOT, version), "unknown_ca", "a CA certificate")


# Names that lie.


@pytest.mark.parametrize("key_ids", [True, False])
def test_same_name_cas_in_any_order(version: int, key_ids: bool) -> None:
    """A renewed CA beside the old one: a look-up by name must not decide."""
    old = make_authority("Same", key_ids=key_ids)
    new = make_authority("Same", key_ids=key_ids)
    for listed in ((old, new), (new, old)):
        for authority in (old, new):
            assert_accepted(connect(allow(*listed), authority.issue(key_ids=key_ids), version))
            assert_accepted(connect(allow(*listed), authority.issue(key_ids=key_ids), version, chain=[old, new]))
    assert_refused(connect(allow(old), new.issue(key_ids=key_ids), version), "unknown_ca")
    assert_refused(connect(allow(old), new.issue(key_ids=key_ids), version, chain=[new]), "unknown_ca")
    assert_refused(connect(allow(old), new.issue(key_ids=key_ids), version, chain=[old]), "unknown_ca")


@pytest.mark.parametrize("kind", ["p256", "rsa-2048"])
def test_a_path_beside_the_one_that_openssl_tries_is_left_open(version: int, kind: str) -> None:
    """Two certificates of one intermediate, the useless one first: no refusal before everything that was sent is judged."""
    crossed = FOREIGN.subordinate("Intermediate", private_key=INTER.key)
    leaf = INTER.issue("c", kind=kind)
    trusted = allow(ROOT)
    verifier = RequireVerifier(trusted, StepClock())
    needed = sum(len(der) + 5 for der in (leaf.der, crossed.der)) + 240 + (256 if kind == "rsa-2048" else 73)

    def connect_with(received: int, chain: list[Issued]) -> Dialogue:
        def answer(connection: SSL.Connection, *call: Any) -> bool:
            connection.get_app_data().received = received
            return verifier(connection, *call)

        return shake(server_context(answer), client_context(version, leaf, chain=[one.der for one in chain]))

    assert connect_with(needed, [crossed, INTER]).alert == "unknown_ca"
    dialogue = connect_with(needed + 1, [crossed, INTER])
    assert not dialogue.refused
    assert dialogue.state.undecided and dialogue.state.verdict is None
    sent = [certificate.public_bytes(Encoding.DER) for certificate in dialogue.server.get_peer_cert_chain(as_cryptography=True)]
    assert trusted.judge(build_identity(leaf.der, sent), real_now()).refusal is None
    assert not connect_with(0, [INTER, crossed]).state.undecided


def test_what_no_chain_can_mend_is_refused_at_once(version: int) -> None:
    """Expired, not for clients: an alert says so, however much was sent."""
    for leaf, alert in (
        (INTER.issue("c", not_after=real_now() - DAY), "certificate_expired"),
        (INTER.issue("c", usages=SERVER), "unsupported_certificate"),
    ):

        def answer(connection: SSL.Connection, *call: Any) -> bool:
            connection.get_app_data().received = 1 << 20
            return RequireVerifier(allow(FOREIGN), StepClock())(connection, *call)

        assert shake(server_context(answer), client_context(version, leaf)).alert == alert


@pytest.mark.parametrize("key_ids", [True, False])
def test_a_rolled_over_ca_of_the_same_name(version: int, key_ids: bool) -> None:
    """RFC 4210 "new with old": the new key, certified by the old one under the same name, sent by the client."""
    old = make_authority("Rollover", key_ids=key_ids)
    new = make_authority("Rollover", key_ids=key_ids)
    cross = old.subordinate("Rollover", private_key=new.key, key_ids=key_ids)
    leaf = new.issue(key_ids=key_ids)
    assert_accepted(connect(allow(old), leaf, version, chain=[cross]))
    assert_refused(connect(allow(old), leaf, version, chain=[]), "unknown_ca")


def test_self_signed_clients_of_one_template(version: int) -> None:
    """All the same subject: each by its own fingerprint, an unlisted one not."""
    clients = [make_self_signed("template", key_ids=False) for _ in range(4)]
    listed = allow(*clients[:3])
    for client in clients[:3]:
        assert_accepted(connect(listed, client, version))
    assert_refused(connect(listed, clients[3], version, chain=clients[:3]), "unknown_ca")


# Time, use, strength.


@pytest.mark.parametrize("lone", [True, False])
def test_an_expired_leaf(version: int, lone: bool) -> None:
    """certificate_expired for a pin and for a leaf under a CA; one day, one second."""
    for age in (DAY, 1.0):
        options: dict[str, Any] = {"not_after": real_now() - age}
        leaf = make_self_signed(**options) if lone else INTER.issue(**options)
        assert_refused(connect(allow(leaf), leaf, version), "certificate_expired", "expired")
        assert_refused(connect(allow(ROOT), leaf, version), "certificate_expired")
    assert_accepted(connect(allow(ROOT), INTER.issue(not_after=real_now() + 3600), version))


def test_a_leaf_that_is_not_valid_yet(version: int) -> None:
    """bad_certificate for a pin (BETTER: Tyk lets it in), unknown_ca where no path leads up."""
    for leaf in (make_self_signed(not_before=real_now() + DAY), INTER.issue(not_before=real_now() + DAY)):
        assert_refused(connect(allow(leaf), leaf, version), "bad_certificate", "not valid yet")
    assert_refused(connect(allow(ROOT), INTER.issue(not_before=real_now() + DAY), version), "unknown_ca", "not valid yet")


def test_an_expired_ca(version: int) -> None:
    """Every member of the path counts, the anchor too."""
    old = make_authority("Old", not_after=real_now() - DAY)
    assert_refused(connect(allow(old), old.issue(), version), "unknown_ca", "expired")
    inter = ROOT.subordinate("Old inter", not_after=real_now() - DAY)
    assert_refused(connect(allow(ROOT), inter.issue(), version), "unknown_ca", "expired")


def test_the_injected_clock_decides(version: int) -> None:
    """A machine's clock that OpenSSL reads otherwise: refused all the same, if with another alert."""
    clock = StepClock()
    clock.wall += 40 * 365 * DAY
    leaf = make_self_signed()
    assert_refused(connect(allow(leaf), leaf, version, clock=clock), "internal_error", "listed, but expired")
    under = connect(allow(ROOT), INTER.issue(), version, clock=clock)
    assert under.refused and under.state.refusal


@pytest.mark.parametrize("chain", [None, [], [INTER, ROOT]])
def test_a_server_certificate_is_no_client(version: int, chain: list[Issued] | None) -> None:
    """EKU serverAuth only: unsupported_certificate, for pins as well (BETTER), unless the list allows it."""
    for leaf in (INTER.issue(usages=SERVER), ROOT.issue(usages=SERVER), make_self_signed(usages=SERVER)):
        for listed in (allow(ROOT, INTER), allow(leaf)):
            assert_refused(connect(listed, leaf, version, chain=chain), "unsupported_certificate", "not for client authentication")
        assert_accepted(connect(allow(leaf, require_client_usage=False), leaf, version, chain=chain))
    lax = allow(ROOT, INTER, require_client_usage=False)
    assert_accepted(connect(lax, INTER.issue(usages=SERVER), version, chain=chain))
    assert_accepted(connect(allow(ROOT, INTER), INTER.issue(usages=None), version, chain=chain))
    assert_accepted(connect(allow(ROOT, INTER), INTER.issue(usages=[*SERVER, *CLIENT]), version, chain=chain))


@pytest.mark.parametrize("chain", [None, [], [INTER, ROOT]])
def test_openssl_is_stricter_about_purpose_than_we_are(version: int, chain: list[Issued] | None) -> None:
    """anyExtendedKeyUsage is no client for OpenSSL (error 26), for us it is."""
    leaf = INTER.issue(usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    assert (26, 0) in calls_of(leaf, version, [INTER, ROOT])
    assert_accepted(connect(allow(ROOT, INTER), leaf, version, chain=chain))


def test_a_weak_key_is_refused_even_when_pinned(version: int) -> None:
    """mTLS reference, section 14: security level 2 in the handshake (Tyk lets RSA-1024 leaves in)."""
    weak = ROOT.issue(kind="rsa-1024")
    assert_refused(connect(allow(weak), weak, version), "bad_certificate", "key is below security level 2")
    assert_refused(connect(allow(ROOT), weak, version), "bad_certificate")


def test_a_weak_ca_key_is_refused(version: int) -> None:
    """RSA-1024 above a good leaf."""
    weak = make_authority("Weak", kind="rsa-1024")
    assert_refused(connect(allow(weak), weak.issue(), version), "unknown_ca")


def test_a_path_of_the_longest_kind(version: int) -> None:
    """Eight certificates after the leaf work, nine do not."""
    authorities: list[Authority] = [ROOT]
    for number in range(MAX_PATH):
        authorities.append(authorities[-1].subordinate(f"P{number}"))
    assert_accepted(connect(allow(ROOT), authorities[-1].issue(), version))
    longer = authorities[-1].subordinate("P8").issue()
    assert_refused(connect(allow(ROOT), longer, version), "unknown_ca")
    assert_accepted(connect(allow(longer), longer, version))


@pytest.mark.parametrize("content", [b"\xff", b"\x00", b"\x7f" * 26])
def test_odd_serial_numbers(version: int, content: bytes) -> None:
    """B12: negative, zero, very long: listed ones work or are refused with an alert, unlisted ones get an alert, no traceback."""
    plain = ROOT.issue()
    odd = replace(plain, certificate=open_certificate(with_serial(plain, ROOT.key, content)))
    dialogue = connect(allow(FOREIGN), odd, version)
    assert dialogue.refused and dialogue.alert == "unknown_ca"
    assert_accepted(connect(allow(odd), odd, version))
    assert_accepted(connect(allow(ROOT), odd, version))


def test_a_forged_signature(version: int) -> None:
    """The right names and key identifiers, another key's signature."""
    plain = INTER.issue()
    forged = rekeyed(plain, resign(plain.der, swap_element(1, b"\x02\x01\x05"), FOREIGN.key))
    assert_refused(connect(allow(ROOT), forged, version), "unknown_ca", "signature")
    assert_refused(connect(allow(ROOT, INTER), forged, version, chain=[]), "unknown_ca", "signature")


# One judge.


def test_handshake_and_request_agree(version: int) -> None:
    """The callback refuses nobody whom ``judge`` would accept, and accepts nobody whom it refuses."""
    now = real_now()
    pinned, expired = make_self_signed("pinned"), make_self_signed("old", not_after=now - DAY)
    leaves: list[Issued] = [
        pinned,
        expired,
        INTER.issue(),
        ROOT.issue(),
        SIBLING.issue(),
        FOREIGN.issue(),
        INTER.issue(usages=SERVER),
        INTER.issue(not_after=now - DAY),
        ROOT.subordinate("CA", usage=key_usage("key_cert_sign", "digital_signature")),
        ROOT,
    ]
    lists = [allow(), allow(ROOT), allow(INTER), allow(pinned, expired, SIBLING), allow(ROOT, require_client_usage=False), allow(FOREIGN)]
    for number, listed in enumerate(lists):
        for leaf in leaves:
            for chain in (list(leaf.chain), [], [INTER.der, ROOT.der, pinned.der]):
                context = server_context(RequireVerifier(listed, StepClock()))
                dialogue = shake(context, client_context(version, leaf, chain=chain))
                verdict = listed.judge(build_identity(leaf.der, chain), now)
                assert dialogue.refused == (verdict.refusal is not None), (number, leaf.certificate.subject, verdict)


def test_the_verdict_can_be_taken_over(version: int) -> None:
    """The state holds identity (with OpenSSL's path) and verdict, so that nothing need be judged twice."""
    leaf = INTER.issue()
    dialogue = connect(allow(ROOT), leaf, version, chain=[INTER, FOREIGN])
    assert dialogue.state.identity == build_identity(leaf.der, [INTER.der])
    assert dialogue.state.verdict is not None
    assert dialogue.state.verdict.valid_until > real_now()
    assert dialogue.state.path == {}


def test_many_pins_are_found_without_searching(version: int) -> None:
    """A pin is a set member: no certificate of the list is ever parsed or compared in the handshake."""
    client = make_self_signed()

    class Pins(frozenset[str]):
        """Counts how it is used."""

        looked = 0

        def __contains__(self, item: object) -> bool:
            Pins.looked += 1
            return super().__contains__(item)

        def __iter__(self) -> Any:
            raise AssertionError("walked over all pins")

    real = allow(client)
    pins = Pins({*real.pins, *(f"{number:064x}" for number in range(100_000))})
    huge = AllowList(pins=frozenset(pins), authorities=(), names=(), require_client_usage=True)
    huge.pins = pins
    assert_accepted(connect(huge, client, version))
    assert 1 <= Pins.looked <= 3


# When things go wrong.


class Broken:
    """A list whose judge raises."""

    key = "broken"
    names: tuple[bytes, ...] = ()
    require_client_usage = True
    pins: frozenset[str] = frozenset()

    def judge(self, peer: PeerIdentity, now: float) -> Verdict:
        """Fail."""
        raise RuntimeError("judge is broken")


@pytest.mark.parametrize("chain", [None, []])
def test_an_exception_refuses(version: int, chain: list[Issued] | None) -> None:
    """It is logged with its traceback, and neither escapes from ``do_handshake`` nor lets anybody in."""
    failures: list[Any] = []

    def observe(event: Any) -> None:
        if event.get("log_level") is LogLevel.critical:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        dialogue = connect(Broken(), INTER.issue(), version, chain=chain)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert_refused(dialogue, "unknown_ca", "error while the certificate was judged")
    assert [failure.type for failure in failures] == [RuntimeError]


def test_a_path_that_was_never_shown_whole_is_refused(version: int) -> None:
    """If OpenSSL reported success without naming the end of the path, nobody would get in."""
    state = HandshakeState()
    verifier = RequireVerifier(allow(ROOT), StepClock())

    class Connection:
        """Application data only."""

        def get_app_data(self) -> HandshakeState:
            """Return the state."""
            return state

    certificate = SSL.X509.from_cryptography(INTER.issue().certificate)
    assert verifier(Connection(), certificate, 3, 0, 0) is True  # type: ignore[arg-type]
    assert verifier(Connection(), certificate, 0, 0, 1) is False  # type: ignore[arg-type]
    assert state.refusal == "path of the client certificate is incomplete"


def test_without_crl_calls_the_decision_still_falls(version: int) -> None:
    """Were the store's flags without effect, the members would be shown too late for the alert, never too late to refuse."""
    for leaf, accepted in ((INTER.issue(), True), (FOREIGN.subordinate("F2").issue(), False)):
        context = server_context(RequireVerifier(allow(ROOT), StepClock()), watch=False)
        dialogue = shake(context, client_context(version, leaf))
        assert dialogue.refused != accepted


def test_a_certificate_that_the_library_cannot_read(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL read it, the other parser does not: unknown_ca."""
    leaf = INTER.issue(usages=SERVER)

    def unreadable(der: bytes, chain: tuple[bytes, ...]) -> PeerIdentity:
        known = build_identity(der, chain)
        return PeerIdentity(
            der=der,
            fingerprint=known.fingerprint,
            subject="",
            not_before=float("inf"),
            not_after=-float("inf"),
            is_ca=False,
            client_usage=False,
            readable=False,
        )

    for chain in ([], [INTER.der]):
        context = server_context(RequireVerifier(allow(leaf), StepClock(), unreadable))
        dialogue = shake(context, client_context(version, leaf, chain=chain))
        assert_refused(dialogue, "unknown_ca", "cannot be read")


def test_a_state_is_made_where_the_caller_set_none(version: int) -> None:
    """The verifier does not depend on who builds connections."""
    context = server_context(RequireVerifier(allow(ROOT), StepClock()))
    there = SSL.Connection(context, None)
    there.set_accept_state()
    here = SSL.Connection(client_context(version, INTER.issue()), None)
    here.set_connect_state()
    from tests.support.handshakes import talk

    assert talk(here, there) == ("", "")
    state = there.get_app_data()
    assert isinstance(state, HandshakeState) and state.called


# REQUEST.


def test_request_accepts_any_certificate(version: int) -> None:
    """Judged later: expired, foreign, for servers, too weak, a CA, none."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(SERVER_CERTIFICATE.certificate)
    context.use_privatekey(SERVER_CERTIFICATE.key)
    context.set_verify(SSL.VERIFY_PEER, accept_any)
    for issued in (
        FOREIGN.issue(not_after=real_now() - DAY),
        make_self_signed(usages=SERVER),
        ROOT.issue(kind="rsa-1024"),
        ROOT,
        FOREIGN.issue("x", issuer=INTER.certificate.subject, key_ids=False),
    ):
        dialogue = shake(context, client_context(version, issued, chain=[INTER.der]))
        assert not dialogue.refused, dialogue
        assert dialogue.state.called
        assert dialogue.server.get_peer_certificate(as_cryptography=True) == issued.certificate
    assert not shake(context, client_context(version)).refused


def test_request_does_not_need_a_state(version: int) -> None:
    """The callback is a plain function."""
    there = type("Connection", (), {"get_app_data": lambda self: None})()
    assert accept_any(there, None, 20, 0, 0)  # type: ignore[arg-type]
