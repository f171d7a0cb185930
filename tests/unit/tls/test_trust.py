"""Tests of :mod:`tlsgate.tls.trust`."""

from __future__ import annotations

from pathlib import Path

import pytest
from OpenSSL import crypto

from tests.support.certs import SERVER, Issued, make_authority, make_self_signed, pem_of
from tlsgate.errors import PkiError
from tlsgate.pki.identity import spki_sha256
from tlsgate.pki.pem import PemBundle, parse_pem
from tlsgate.tls import trust as trust_module
from tlsgate.tls.trust import TrustSet, build_trust, load_system_trust, load_trust

ONE, TWO = make_authority("One"), make_authority("Two")


def ders(trust: TrustSet) -> set[bytes]:
    """Its members."""
    return {certificate.public_bytes(trust_module.Encoding.DER) for certificate in trust.certificates}


def verifies(trust: TrustSet, issued: Issued) -> bool:
    """Whether OpenSSL believes a certificate with its chain."""
    store = crypto.X509Store()
    trust.fill(store)
    chain = [crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in issued.chain]
    try:
        crypto.X509StoreContext(store, crypto.X509.from_cryptography(issued.certificate), chain).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def test_configured_cas_are_all_of_them_and_no_others() -> None:
    """Decisions 1.13; doubles count once, the key does not depend on order."""
    trust = load_trust([parse_pem(ONE.pem + TWO.pem), parse_pem(ONE.pem)], {"SSL_CERT_FILE": "/nonexistent"})
    assert ders(trust) == {ONE.der, TWO.der}
    assert len(trust.certificates) == 2
    other = build_trust([parse_pem(TWO.pem), parse_pem(ONE.pem)], "x")
    assert trust == other and hash(trust) == hash(other) and trust.key == other.key
    assert trust != build_trust([parse_pem(ONE.pem)], "x")
    assert trust != trust.key


@pytest.mark.parametrize("bundles", [[None], [None, parse_pem(ONE.pem)], [parse_pem(ONE.pem), None]])
def test_a_ca_that_cannot_be_resolved_is_an_error(bundles: list[PemBundle | None]) -> None:
    """Reliability reference 2a: never less, or other, trust than was asked for."""
    with pytest.raises(PkiError, match="cannot be resolved"):
        load_trust(bundles, {})


def test_a_bundle_without_certificate_is_an_error() -> None:
    """A key is no CA."""
    with pytest.raises(PkiError, match="upstream CAs: no CA certificate"):
        load_trust([parse_pem(ONE.key_pem)], {})


def test_an_intermediate_and_a_server_certificate_can_be_anchors() -> None:
    """An anchor is believed by itself, its root and its siblings are not."""
    inter = ONE.subordinate("inter")
    leaf = inter.issue("s", usages=SERVER)
    sibling = ONE.subordinate("sibling").issue("s", usages=SERVER)
    lone = make_self_signed("s", usages=SERVER)
    trust = build_trust([parse_pem(inter.pem), parse_pem(lone.pem)], "x")
    assert verifies(trust, leaf)
    assert verifies(trust, lone)
    assert not verifies(trust, sibling)
    assert not verifies(trust, ONE.issue("s", usages=SERVER))


def test_ssl_cert_file_and_dir_replace_the_distribution(tmp_path: Path) -> None:
    """OpenSSL's variables; both are read where both are set."""
    file = tmp_path / "one.pem"
    file.write_text(ONE.pem)
    folders = [tmp_path / "a", tmp_path / "b"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        (folder / f"{number}.0").write_text((TWO if number else make_authority("Three")).pem)
        (folder / "README").write_text("no certificate")
        (folder / "sub").mkdir()
    assert ders(load_system_trust({"SSL_CERT_FILE": str(file)})) == {ONE.der}
    only = load_system_trust({"SSL_CERT_DIR": str(folders[1])})
    assert ders(only) == {TWO.der}
    everything = load_system_trust({"SSL_CERT_FILE": str(file), "SSL_CERT_DIR": f"{folders[0]}:{folders[1]}"})
    assert len(everything.certificates) == 3
    assert "SSL_CERT_FILE" in everything.source and "SSL_CERT_DIR" in everything.source


def test_what_the_variables_name_must_hold_certificates(tmp_path: Path) -> None:
    """Decisions 1.13: never silently an empty store."""
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    folder = tmp_path / "folder"
    folder.mkdir()
    for environ in ({"SSL_CERT_FILE": str(empty)}, {"SSL_CERT_DIR": str(folder)}):
        with pytest.raises(PkiError, match="no CA certificate found"):
            load_system_trust(environ)
    for environ in ({"SSL_CERT_FILE": str(tmp_path / "gone")}, {"SSL_CERT_DIR": str(tmp_path / "gone")}):
        with pytest.raises(PkiError, match="cannot be read: No such file"):
            load_system_trust(environ)


def test_one_unreadable_root_costs_no_other(tmp_path: Path) -> None:
    """Distributions ship odd ones (serial zero, broken extensions)."""
    file = tmp_path / "bundle.pem"
    cut = pem_of(TWO.der[:-10])
    file.write_text(f"# comment\n{cut}{ONE.pem}-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n{TWO.pem}")
    assert ders(load_system_trust({"SSL_CERT_FILE": str(file)})) == {ONE.der, TWO.der}


def test_the_distribution_is_asked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bundle there is, else the folder, else an error; an empty variable is an unset one."""
    bundle, folder = tmp_path / "bundle.crt", tmp_path / "certs"
    folder.mkdir()
    (folder / "two.pem").write_text(TWO.pem)
    monkeypatch.setattr(trust_module, "_BUNDLES", (str(tmp_path / "none"), str(bundle)))
    monkeypatch.setattr(trust_module, "_FOLDERS", (str(tmp_path / "none"), str(folder)))
    assert ders(load_trust([], {"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""})) == {TWO.der}
    bundle.write_text(ONE.pem)
    assert ders(load_trust([], {})) == {ONE.der}
    bundle.write_text("")
    assert ders(load_trust([], {})) == {TWO.der}
    (folder / "two.pem").unlink()
    with pytest.raises(PkiError, match="the system's CA bundle: no CA certificate found"):
        load_trust([], {})


def test_cas_are_found_by_their_keys() -> None:
    """For pins: SHA-256 of the public key, all certificates of that key."""
    renewed = make_authority("One renewed", private_key=ONE.key)
    trust = build_trust([parse_pem(ONE.pem + renewed.pem + TWO.pem)], "x")
    assert {found.der for found in trust.find_keys({spki_sha256(ONE.der)})} == {ONE.der, renewed.der}
    assert trust.find_keys({b"x"}) == []
    assert [found.der for found in trust.find_keys([spki_sha256(TWO.der)])] == [TWO.der]
