"""The development certificates: who is signed by whom, for what, and who may read the keys."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsgate.devcerts import (
    DEFAULT_HOSTS,
    CertificateFile,
    build_development_certificates,
    find_reason_to_renew,
    write_certificates,
)

NOW = 1_800_000_000.0
DAY = 86_400.0


def certificates_of(files: tuple[CertificateFile, ...]) -> dict[str, x509.Certificate]:
    """The certificates of a set by file name."""
    return {file.name: x509.load_pem_x509_certificate(file.data) for file in files if file.name.endswith(".pem")}


def test_the_set_is_complete_and_keys_are_marked() -> None:
    """The files that README, samples and `make run` name."""
    files = build_development_certificates(now=NOW)
    assert {file.name for file in files if file.private} == {"ca.key", "server.pem", "alice.key", "bob.key", "mallory.key"}
    assert {file.name for file in files if not file.private} == {"ca.pem", "alice.pem", "bob.pem", "foreign-ca.pem", "mallory.pem"}
    for file in files:
        assert (b"PRIVATE KEY" in file.data) == file.private


def test_issuers_and_usages() -> None:
    """Two clients of the development CA, one of a foreign CA; each leaf is good for one purpose only."""
    found = certificates_of(build_development_certificates(now=NOW))
    for name, issuer, usage in (
        ("server.pem", "ca.pem", ExtendedKeyUsageOID.SERVER_AUTH),
        ("alice.pem", "ca.pem", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("bob.pem", "ca.pem", ExtendedKeyUsageOID.CLIENT_AUTH),
        ("mallory.pem", "foreign-ca.pem", ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        found[name].verify_directly_issued_by(found[issuer])
        assert list(found[name].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
        assert not found[name].extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    for name in ("ca.pem", "foreign-ca.pem"):
        constraints = found[name].extensions.get_extension_for_class(x509.BasicConstraints).value
        assert constraints.ca
        assert constraints.path_length == 0
        usage = found[name].extensions.get_extension_for_class(x509.KeyUsage).value
        assert usage.key_cert_sign
        assert not usage.digital_signature


def test_server_key_fits_its_certificate() -> None:
    """`server.pem` serves as it is: certificate and key in one file."""
    data = {file.name: file.data for file in build_development_certificates(now=NOW)}["server.pem"]
    key = serialization.load_pem_private_key(data, None)
    assert key.public_key() == x509.load_pem_x509_certificate(data).public_key()


def test_server_certificate_carries_the_hosts() -> None:
    """Names and addresses become the fitting kinds of subject alternative names."""
    files = build_development_certificates(now=NOW, hosts=("api.example.test", "*.example.test", "my_svc.test", "192.0.2.7", "::1"))
    names = certificates_of(files)["server.pem"].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["api.example.test", "*.example.test", "my_svc.test"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "::1"]


def test_the_development_ca_is_bound_to_its_hosts() -> None:
    """RFC 5280 4.2.1.10: whoever trusts this CA does not trust it for the rest of the world."""
    extension = certificates_of(build_development_certificates(now=NOW))["ca.pem"].extensions.get_extension_for_class(x509.NameConstraints)
    assert extension.critical
    permitted = extension.value.permitted_subtrees
    assert permitted is not None
    assert [str(name.value) for name in permitted] == ["localhost", "127.0.0.1/32", "::1/128"]


@pytest.mark.parametrize("days", [1, 30, 825])
def test_validity(days: int) -> None:
    """Backdated by an hour for clocks that differ; the end is what was asked for."""
    for certificate in certificates_of(build_development_certificates(now=NOW, days=days)).values():
        assert certificate.not_valid_before_utc.timestamp() == NOW - 3600
        assert certificate.not_valid_after_utc.timestamp() == NOW + days * DAY


@pytest.mark.parametrize("days", [0, 826])
def test_days_out_of_range_are_refused(days: int) -> None:
    """Both ends of the range."""
    with pytest.raises(ValueError, match="days"):
        build_development_certificates(now=NOW, days=days)


@pytest.mark.parametrize("hosts", [(), ("",), ("exämple.test",), ("a b",), ("a..b",), ("a/b",), ("*.*.test",), ("host:443",)])
def test_odd_hosts_are_refused(hosts: tuple[str, ...]) -> None:
    """A typing error is told before keys are made."""
    with pytest.raises(ValueError, match=r"host|DNS name"):
        build_development_certificates(now=NOW, hosts=hosts)


def test_files_and_modes(tmp_path: Path) -> None:
    """Keys are for the owner alone, also when they replace a laxer file; no temporary file stays."""
    directory = tmp_path / "deep" / "dev"
    directory.mkdir(parents=True)
    (directory / "alice.key").write_text("old")
    (directory / "alice.key").chmod(0o644)
    files = build_development_certificates(now=NOW)
    write_certificates(directory, files)
    assert {path.name for path in directory.iterdir()} == {file.name for file in files}
    for file in files:
        mode = stat.S_IMODE((directory / file.name).stat().st_mode)
        assert (directory / file.name).read_bytes() == file.data
        assert mode & 0o077 == 0 if file.private else mode & 0o444


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """Half a key file would be worse than none."""
    (tmp_path / "x.pem").mkdir()
    with pytest.raises(OSError, match=r"x\.pem"):
        write_certificates(tmp_path, [CertificateFile("x.pem", b"data", True)])
    assert [path.name for path in tmp_path.iterdir()] == ["x.pem"]


def test_openssl_accepts_the_chains(tmp_path: Path) -> None:
    """Another implementation agrees on purposes, name constraints and the foreigner."""
    write_certificates(tmp_path, build_development_certificates(now=NOW))
    for name, purpose, good in (("server", "sslserver", True), ("alice", "sslclient", True), ("mallory", "sslclient", False)):
        command = ["openssl", "verify", "-attime", str(int(NOW)), "-x509_strict", "-purpose", purpose, "-CAfile", "ca.pem", f"{name}.pem"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == good, done.stderr


def test_a_good_set_is_kept(tmp_path: Path) -> None:
    """`make run` twice uses the same certificates; a week before the end, and not a second earlier, it makes new ones."""
    write_certificates(tmp_path, build_development_certificates(now=NOW, days=30))
    assert find_reason_to_renew(tmp_path, now=NOW) is None
    assert find_reason_to_renew(tmp_path, now=NOW + 23 * DAY) is None
    assert find_reason_to_renew(tmp_path, now=NOW + 23 * DAY + 1) == "ca.pem ends in less than 7 days"


def test_a_spoiled_set_is_renewed(tmp_path: Path) -> None:
    """Missing, unreadable, and a host that was not asked for last time."""
    assert find_reason_to_renew(tmp_path / "none", now=NOW) == "ca.key is missing"
    write_certificates(tmp_path, build_development_certificates(now=NOW))
    assert find_reason_to_renew(tmp_path, now=NOW, hosts=(*DEFAULT_HOSTS, "api.test")) == "server.pem lacks api.test"
    (tmp_path / "server.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    assert find_reason_to_renew(tmp_path, now=NOW, hosts=("localhost", "::1")) == "server.pem lacks localhost, ::1"
    (tmp_path / "bob.pem").write_text("garbage")
    assert find_reason_to_renew(tmp_path, now=NOW, hosts=()) == "bob.pem is unreadable"
    (tmp_path / "bob.pem").unlink()
    assert find_reason_to_renew(tmp_path, now=NOW) == "bob.pem is missing"
