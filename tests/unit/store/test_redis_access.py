"""Settings to what a connection needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certs import make_authority
from tests.support.stores import ManualClock
from tlsgate.config.model import StorageSettings
from tlsgate.errors import PkiError
from tlsgate.store.redis_access import load_access


def test_without_tls_no_file_is_read() -> None:
    """Address, Sentinels, credentials, database."""
    access = load_access(
        StorageSettings(type="redis", host="r", port=7, ca_file="/none", username="u", password="p", database=3), ManualClock()
    )
    assert (access.addresses, access.username, access.password, access.database, access.tls) == ((("r", 7),), "u", "p", 3, None)
    sentinels = (("a", 1), ("b", 2))
    access = load_access(StorageSettings(addresses=sentinels, master_name="m", sentinel_password="s"), ManualClock())
    assert (access.addresses, access.master_name, access.sentinel_password) == (sentinels, "m", "s")


def test_certificates_are_read_and_verified_by_the_named_ca(tmp_path: Path) -> None:
    """What is shown, and who is believed."""
    ca = make_authority("ca")
    client = ca.issue("client")
    for name, text in {"ca": ca.pem, "cert": client.pem, "key": client.key_pem}.items():
        (tmp_path / name).write_text(text)
    settings = StorageSettings(
        use_ssl=True, ca_file=str(tmp_path / "ca"), cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key"), max_version=771
    )
    tls = load_access(settings, ManualClock()).tls
    assert tls is not None and tls.identity.verify
    named, address = tls.at("redis.test", 6380).identity, tls.at("127.0.0.1", 6380).identity
    assert (named.server_name, named.port, address.server_name) == ("redis.test", 6380, "")


@pytest.mark.parametrize("broken", ["ca", "cert", "key"])
def test_a_file_that_cannot_be_used_is_an_error(tmp_path: Path, broken: str) -> None:
    """Never a connection without what was asked for."""
    ca = make_authority("ca")
    client = ca.issue("client")
    for name, text in {"ca": ca.pem, "cert": client.pem, "key": client.key_pem}.items():
        (tmp_path / name).write_text("nothing" if name == broken else text)
    settings = StorageSettings(use_ssl=True, ca_file=str(tmp_path / "ca"), cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key"))
    with pytest.raises((PkiError, ValueError)):
        load_access(settings, ManualClock())
