"""Which gateway is asked: by address, by environment, by its own configuration; and by what its certificate is judged."""

from __future__ import annotations

import argparse
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.certs import make_authority
from tlsgate.cli.faults import UsageFault
from tlsgate.cli.place import Place, find_place

SECRET = "a secret of thirty-two characters"


def options(**given: Any) -> argparse.Namespace:
    """Options as parsed."""
    names = ("url", "config", "ca", "cert", "key", "server_name", "secret_file")
    return argparse.Namespace(**{**dict.fromkeys(names), "plain": False, **given})


def find(environ: dict[str, str] | None = None, **given: Any) -> Place:
    """The place, with a secret in the environment."""
    return find_place(options(**given), {"TLSGATE_SECRET": SECRET, **(environ or {})})


def write_config(folder: Path, **fields: Any) -> str:
    """A configuration with a secret."""
    path = folder / "tyk.conf.json"
    path.write_text(json.dumps({"secret": "of the configuration, long enough", **fields}))
    return str(path)


@pytest.mark.parametrize(
    ("url", "address", "port", "tls"),
    [
        ("https://gate.test", "gate.test", 443, True),
        ("https://gate.test:8443/", "gate.test", 8443, True),
        ("gate.test:8443", "gate.test", 8443, True),
        ("http://127.0.0.1", "127.0.0.1", 80, False),
        ("https://[::1]:8443", "::1", 8443, True),
    ],
)
def test_an_address_is_taken_apart(url: str, address: str, port: int, tls: bool) -> None:
    """TLS where nothing is said."""
    place = find(url=url)
    assert (place.address, place.port, place.tls is not None, place.server_name) == (address, port, tls, address)
    assert find({"TLSGATE_URL": url})[:2] == place[:2]


@pytest.mark.parametrize(
    "url", ["ftp://a", "https://", "https://a/tyk", "https://a?x=1", "https://a:99999", "https://user:pw@a", "https://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    """Without showing what may be a password."""
    with pytest.raises(UsageFault) as fault:
        find(url=url)
    assert "HOST:PORT" in fault.value.remedy
    assert "pw" not in str(fault.value)


def test_no_gateway_is_named() -> None:
    """Both ways are told."""
    with pytest.raises(UsageFault) as fault:
        find()
    assert "--url" in fault.value.remedy and "--config" in fault.value.remedy


def test_the_secret_does_not_travel_in_clear_unless_that_is_asked_for() -> None:
    """Loopback is no network."""
    with pytest.raises(UsageFault, match="in clear"):
        find(url="http://gate.test")
    assert find(url="http://gate.test", plain=True).tls is None
    assert find(url="http://localhost:8080").tls is None


def test_the_configuration_names_address_port_and_secret(tmp_path: Path) -> None:
    """The control API's own port, or the main one; all addresses are asked at loopback."""
    config = write_config(tmp_path, listen_address="0.0.0.0", listen_port=8080)
    place = find_place(options(config=config), {})
    assert place == Place("127.0.0.1", 8080, None, "127.0.0.1", frozenset(), "of the configuration, long enough")
    config = write_config(tmp_path, listen_address="127.0.0.2", listen_port=8080, control_api_port=9000, control_api_hostname="Admin.Test")
    assert find_place(options(config=config), {})[:4] == ("127.0.0.2", 9000, None, "admin.test")
    assert find_place(options(config=config), {"TYK_GW_CONTROLAPIPORT": "9001"}).port == 9001
    assert find_place(options(config=config, url="http://127.0.0.1:7"), {}).port == 7


def test_a_port_left_to_chance_is_asked_for(tmp_path: Path) -> None:
    """The configuration does not know it."""
    with pytest.raises(UsageFault) as fault:
        find_place(options(config=write_config(tmp_path, listen_port=0)), {})
    assert "--url" in fault.value.remedy


def test_an_unusable_configuration_is_named_with_its_first_error(tmp_path: Path) -> None:
    """It is the gateway that has to live with it."""
    with pytest.raises(UsageFault) as fault:
        find_place(options(config=write_config(tmp_path, listen_port=-4)), {})
    assert "listen_port" in str(fault.value)
    assert "tlsgate check" in fault.value.remedy


def test_the_configuration_s_own_certificates_are_pinned(tmp_path: Path) -> None:
    """Leaves only: a CA in the chain vouches for nobody else here. With --ca they are not looked at."""
    root = make_authority()
    server = root.issue("gate")
    file = tmp_path / "server.pem"
    file.write_text(server.full_pem + root.pem)
    http = {"use_ssl": True, "ssl_certificates": [str(file), "0" * 64]}
    config = write_config(tmp_path, http_server_options=http)
    place = find_place(options(config=config), {})
    assert place.pins == {server.der}
    assert place.tls is not None and place.tls.verify_mode == ssl.CERT_REQUIRED
    ca = tmp_path / "ca.pem"
    ca.write_text(root.pem)
    named = find_place(options(config=config, ca=str(ca)), {})
    assert named.pins == frozenset()
    assert named.tls is not None and named.tls.check_hostname


def test_certificates_that_cannot_be_read_leave_it_to_the_system(tmp_path: Path) -> None:
    """With its check of the name."""
    http = {"use_ssl": True, "ssl_certificates": ["missing.pem"]}
    place = find_place(options(config=write_config(tmp_path, http_server_options=http)), {})
    assert place.pins == frozenset()
    assert place.tls is not None and place.tls.check_hostname


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"ca": "missing.pem"}, "CA missing.pem"),
        ({"cert": "missing.pem"}, "client certificate missing.pem"),
        ({"key": "missing.pem"}, "without its certificate"),
    ],
)
def test_files_of_tls_that_cannot_be_used_are_named(given: dict[str, str], reason: str) -> None:
    """Wrong usage: nothing was asked yet."""
    with pytest.raises(UsageFault, match=reason):
        find(url="https://gate.test", **given)


def test_a_key_with_a_passphrase_is_refused_not_asked_for(tmp_path: Path) -> None:
    """OpenSSL would wait at the terminal."""
    from cryptography.hazmat.primitives import serialization

    alice = make_authority().issue("alice")
    (tmp_path / "alice.pem").write_text(alice.pem)
    encrypted = alice.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"words")
    )
    (tmp_path / "alice.key").write_bytes(encrypted)
    with pytest.raises(UsageFault) as fault:
        find(url="https://gate.test", cert=str(tmp_path / "alice.pem"), key=str(tmp_path / "alice.key"))
    assert "encrypted" in str(fault.value)


def test_brackets_of_an_address_are_for_people() -> None:
    """``[::1]:8443``."""
    assert find(url="https://[::1]:8443").shown == "https://[::1]:8443"
