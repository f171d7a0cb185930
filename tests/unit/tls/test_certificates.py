"""Tests of :mod:`tlsgate.tls.certificates`."""

from __future__ import annotations

import itertools

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.certs import CLIENT, NOW, SERVER, Issued, distinguished_name, key, make_authority, make_self_signed
from tests.support.handshakes import bundle_of
from tlsgate.errors import PkiError
from tlsgate.pki.pem import PemBundle, parse_pem
from tlsgate.tls.certificates import CertificateSource, CertificateTable, build_certificate_table, build_server_certificate

ROOT = make_authority()
DAY = 86400.0


def server(*names: str, kind: str = "p256", common_name: str = "server", **options: object) -> Issued:
    """A server certificate under the root."""
    return ROOT.issue(common_name, kind=kind, names=names, usages=options.pop("usages", SERVER), **options)  # type: ignore[arg-type]


def table_of(*issued: Issued, **options: object) -> CertificateTable:
    """A table without problems."""
    table, problems = build_certificate_table([CertificateSource(bundle_of(one), **options) for one in issued], NOW)  # type: ignore[arg-type]
    assert not problems
    return table


def found(table: CertificateTable, name: str | None) -> list[str]:
    """Fingerprints that serve a name."""
    chosen = table.find(name)
    return [] if chosen is None else [one.fingerprint for one in chosen.certificates]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_exact_beats_wildcard_beats_first_loaded(order: tuple[int, ...]) -> None:
    """B19: the answer does not depend on the order, only the default does."""
    issued = [server("default.test"), server("*.w.test"), server("a.w.test")]
    table = table_of(*(issued[number] for number in order))
    default = issued[order[0]].fingerprint
    assert found(table, "a.w.test") == [issued[2].fingerprint]
    assert found(table, "b.w.test") == [issued[1].fingerprint]
    assert found(table, "x.y.w.test") == found(table, "w.test") == found(table, None) == found(table, "") == [default]


def test_names_are_lower_case_without_final_dot() -> None:
    """B18: ``Foo.Example.TEST`` and ``*.Wild.Example.TEST``; names to find come normalised."""
    upper = server("Foo.Example.TEST", "*.Wild.Example.TEST")
    table = table_of(server("default.test"), upper)
    assert found(table, "foo.example.test") == found(table, "x.wild.example.test") == [upper.fingerprint]


def test_common_name_counts_only_without_san() -> None:
    """mTLS reference, section 3; B18 with a CN only."""
    named = server(common_name="Only.Common.TEST")
    both = server("san.test", common_name="cn.test")
    table = table_of(server("default.test"), named, both)
    assert found(table, "only.common.test") == [named.fingerprint]
    assert found(table, "san.test") == [both.fingerprint]
    assert found(table, "cn.test") != [both.fingerprint]


def test_common_name_of_api_certificates_counts_beside_san() -> None:
    """mTLS reference, section 3: API-level certificates are matched by CN and DNS SANs."""
    both = server("san.test", common_name="cn.test")
    table, _ = build_certificate_table(
        [CertificateSource(bundle_of(server("default.test"))), CertificateSource(bundle_of(both), common_name=True)], NOW
    )
    assert found(table, "cn.test") == found(table, "san.test") == [both.fingerprint]


def test_legacy_pairs_are_found_by_their_domain_name() -> None:
    """``http_server_options.certificates[].domain_name``, in any case, beside the certificate's own names."""
    pair = server("inside.test")
    table, _ = build_certificate_table(
        [CertificateSource(bundle_of(server("default.test"))), CertificateSource(bundle_of(pair), domain_name="Legacy.test")], NOW
    )
    assert found(table, "legacy.test") == found(table, "inside.test") == [pair.fingerprint]


def test_unusable_names_are_passed_over() -> None:
    """A company's name as common name, a wildcard in the middle, an address: no names to ask for, still a default."""
    issued = ROOT.issue("My Company Ltd.", usages=SERVER, alternative=[x509.IPAddress(__import__("ipaddress").ip_address("192.0.2.1"))])
    table, problems = build_certificate_table([CertificateSource(bundle_of(issued), "tyk.conf", "p", "v")], NOW)
    assert found(table, None) == [issued.fingerprint]
    assert [(problem.severity, problem.message) for problem in problems] == [
        ("warning", "certificate has no name that a client could ask for")
    ]


def test_names_with_underscore_and_a_label_work() -> None:
    """B21's kind on our own side."""
    issued = server("my_svc.test", "xn--bcher-kva.test", "ab--cd.test", "*.a_b.test")
    table = table_of(issued)
    for name in ("my_svc.test", "xn--bcher-kva.test", "ab--cd.test", "x.a_b.test"):
        assert found(table, name) == [issued.fingerprint]


@pytest.mark.parametrize("first", ["p256", "rsa-2048"])
def test_key_types_of_one_name_serve_together(first: str) -> None:
    """ECDSA for those who can, RSA for the others; one of each."""
    kinds = [first, "rsa-2048" if first == "p256" else "p256", "ed25519", first]
    issued = [server("a.test", kind=kind) for kind in kinds]
    table = table_of(*issued)
    chosen = table.find("a.test")
    assert chosen is not None
    assert [one.fingerprint for one in chosen.certificates] == [one.fingerprint for one in issued[:3]]
    assert {one.key_type for one in chosen.certificates} == {"ecdsa", "rsa", "eddsa"}
    assert table.find(None) == chosen


def test_the_default_takes_other_key_types_only_with_all_its_names() -> None:
    """A client without SNI gets the first certificate's names, whatever its key can do."""
    first, partner, stranger = (
        server("a.test", "b.test"),
        server("b.test", "a.test", "c.test", kind="rsa-2048"),
        server("x.test", kind="ed25519"),
    )
    assert found(table_of(first, stranger, partner), None) == [first.fingerprint, partner.fingerprint]
    less = server("a.test", kind="rsa-2048")
    assert found(table_of(first, less), None) == [first.fingerprint]


def test_a_valid_certificate_goes_before_an_expired_one() -> None:
    """A renewed file may stand beside the old one; with nothing valid the first stays."""
    old, new = server("a.test", not_after=NOW - 1), server("a.test")
    future = server("a.test", not_before=NOW + DAY)
    for order in ((old, new), (future, new), (new, old), (new, future)):
        table, _ = build_certificate_table([CertificateSource(bundle_of(one)) for one in order], NOW)
        assert found(table, "a.test") == [new.fingerprint]
    table, _ = build_certificate_table([CertificateSource(bundle_of(one)) for one in (old, future)], NOW)
    assert found(table, "a.test") == [old.fingerprint]


def test_equal_sets_have_equal_keys() -> None:
    """Two names of one certificate share one context; another chain makes another key."""
    issued = ROOT.subordinate().issue("s", names=["a.test", "b.test", "*.c.test"], usages=SERVER)
    table = table_of(issued)
    assert table.find("a.test") is table.find("b.test") is table.find("x.c.test")
    assert table.sets() == (table.find("a.test"),)
    bare, _ = build_certificate_table([CertificateSource(bundle_of(issued, chain=False))], NOW)
    chosen, other = table.find("a.test"), bare.find("a.test")
    assert chosen is not None and other is not None
    assert chosen.key != other.key


def test_sets_lists_the_default_and_all_others_once() -> None:
    """For building contexts before traffic."""
    table = table_of(server("a.test"), server("*.b.test"), server("a.test", kind="rsa-2048"))
    assert len(table.sets()) == 2
    assert table.find("a.test") in table.sets()
    unnamed, _ = build_certificate_table([CertificateSource(bundle_of(ROOT.issue("no name", usages=SERVER)))], NOW)
    assert unnamed.sets() == (unnamed.find(None),)


def test_an_empty_table_serves_nobody() -> None:
    """The listener then answers ``unrecognized_name``."""
    table, problems = build_certificate_table([CertificateSource(None)], NOW)
    assert table.find("a.test") is None and table.find(None) is None
    assert table.sets() == () and table.certificates == () and not problems


def test_chain_is_put_into_issuing_order() -> None:
    """B11: leaf first, then who issued it, whatever the order in the file; strays stay at the end."""
    upper = ROOT.subordinate("upper")
    lower = upper.subordinate("lower")
    issued = lower.issue("s", names=["a.test"], usages=SERVER)
    stray = make_authority("stray")
    ders = [issued.der, ROOT.der, stray.der, issued.der, upper.der, lower.der]
    bundle = PemBundle(certificates=tuple(ders), private_key=issued.key)
    certificate = build_server_certificate(bundle)
    assert [one.subject for one in certificate.chain] == [one.certificate.subject for one in (lower, upper, ROOT, stray)]


def test_a_loop_of_issuers_ends() -> None:
    """Two CAs that certify each other."""
    one, two = make_authority("one"), make_authority("two")
    cross_one = two.issue("one", private_key=one.key, ca=True, usages=None)
    cross_two = one.issue("two", private_key=two.key, ca=True, usages=None)
    issued = one.issue("s", names=["a.test"], usages=SERVER)
    bundle = PemBundle(certificates=(issued.der, cross_one.der, cross_two.der), private_key=issued.key)
    assert len(build_server_certificate(bundle).chain) == 2


def test_key_may_stand_first() -> None:
    """mTLS reference, section 12: key-first order must be accepted."""
    issued = server("a.test")
    assert build_server_certificate(parse_pem(issued.key_pem + issued.pem)).fingerprint == issued.fingerprint


@pytest.mark.parametrize(
    ("bundle", "message"),
    [
        (PemBundle(private_key=key()), "no certificate"),
        (bundle_of(server("a.test"), key=False), "no private key"),
        (PemBundle(certificates=(server("a.test").der,), private_key=key("p256", "other")), "does not match"),
        (PemBundle(certificates=(ROOT.der, server("a.test").der), private_key=key("p256", "x")), "does not match"),
        (bundle_of(server("a.test", kind="rsa-1024")), "ee key too small"),
        (bundle_of(ROOT.subordinate("Weak", kind="rsa-1024").issue("s", names=["a.test"], usages=SERVER)), "ca key too small"),
        (PemBundle(certificates=(b"\x30\x03\x02\x01\x01",), private_key=key()), "cannot be read"),
    ],
)
def test_what_cannot_serve_is_an_error_and_the_others_serve(bundle: PemBundle, message: str) -> None:
    """Decisions 1.8; security level 2 for our own certificates too."""
    with pytest.raises(PkiError, match=message):
        build_server_certificate(bundle)
    good = server("a.test")
    table, problems = build_certificate_table(
        [CertificateSource(bundle, "tyk.conf", "ssl_certificates[0]", "x.pem"), CertificateSource(bundle_of(good))], NOW
    )
    assert found(table, None) == [good.fingerprint]
    (problem,) = problems
    assert (problem.severity, problem.file, problem.path, problem.value) == ("error", "tyk.conf", "ssl_certificates[0]", "x.pem")
    assert message in problem.message


@pytest.mark.parametrize(
    ("not_before", "not_after", "messages"),
    [
        (0.0, NOW + 30 * DAY + 1, []),
        (0.0, NOW + 30 * DAY, ["certificate expires in 30 days"]),
        (0.0, NOW + 1, ["certificate expires in 0 days"]),
        (0.0, NOW, ["certificate has expired"]),
        (NOW, NOW + 90 * DAY, []),
        (NOW + 1, NOW + 90 * DAY, ["certificate is not valid yet"]),
    ],
)
def test_expiry_is_told_before_it_breaks(not_before: float, not_after: float, messages: list[str]) -> None:
    """``certificate_expiry_monitor.warning_threshold_days``: n, n and a second, the end itself."""
    issued = server("a.test", not_before=not_before, not_after=not_after)
    table, problems = build_certificate_table([CertificateSource(bundle_of(issued))], NOW)
    assert [problem.message for problem in problems] == messages
    assert all(problem.severity == "warning" for problem in problems)
    assert found(table, "a.test") == [issued.fingerprint]


def test_a_certificate_for_clients_only_is_told() -> None:
    """It would be served, and refused by every client."""
    issued = server("a.test", usages=CLIENT)
    _, problems = build_certificate_table([CertificateSource(bundle_of(issued))], NOW)
    assert [problem.message for problem in problems] == ["certificate is not for servers (extended key usage lacks serverAuth)"]
    for usages in (None, SERVER, (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)):
        _, problems = build_certificate_table([CertificateSource(bundle_of(server("a.test", usages=usages)))], NOW)
        assert not problems


def test_a_self_signed_certificate_serves() -> None:
    """What a first try has at hand."""
    issued = make_self_signed(distinguished_name("localhost", organization_name="x"), names=["localhost"], usages=None)
    certificate = build_server_certificate(bundle_of(issued))
    assert certificate.chain == () and certificate.names == ("localhost",)
