"""Which addresses are asked, and that nobody is before a generation serves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.testing import MemoryReactorClock

from tests.support.apis import make_config
from tests.support.keys import begin, run
from tlsgate.config.model import IdentityProviderSettings
from tlsgate.idp.assertion import AssertionKey
from tlsgate.idp.client import Access, AddressRefused, IdpClient, without_login


def client(access: Access | None = None, **settings: Any) -> IdpClient:
    config = make_config()
    own = msgspec.structs.replace(config.own, identity_providers=IdentityProviderSettings(**settings))
    made = IdpClient(MemoryReactorClock())
    made.use(msgspec.structs.replace(config, own=own), access or Access())
    return made


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"require_https": True}, "http://idp.test/keys"),
        ({}, "file:///etc/passwd"),
        ({}, "ftp://idp.test/"),
        ({"allowed_hosts": ("idp.test",)}, "https://other.test/keys"),
        ({"allowed_hosts": ("idp.test",)}, "https://idp.test.other.test/keys"),
        ({"allowed_hosts": ("idp.test",)}, "https://idp.test@other.test/keys"),
    ],
)
def test_addresses_that_are_not_asked(settings: dict[str, Any], url: str) -> None:
    """No connection is even tried."""
    made = client(**settings)
    with pytest.raises(AddressRefused):
        run(made.fetch(url))
    assert not made.allows(url) and made.allows("https://idp.test/keys") and not made.allows("https://[")


@pytest.mark.parametrize("url", ["http://idp.test/keys", "http://IDP.test./keys", "HTTP://idp.test/keys"])
def test_an_allowed_host_is_asked(url: str) -> None:
    """Whatever the spelling of its name: the attempt is under way."""
    deferred, results = begin(client(allowed_hosts=("idp.test",)).fetch(url))
    assert results == []
    deferred.addErrback(lambda _: None)
    deferred.cancel()


def test_nobody_is_asked_before_a_generation_serves() -> None:
    """There are no CAs and bounds before."""
    with pytest.raises(AddressRefused):
        run(IdpClient(MemoryReactorClock()).fetch("http://idp.test/keys"))


def test_nobody_is_asked_around_a_proxy() -> None:
    """The words say why."""
    with pytest.raises(AddressRefused, match="around"):
        run(client(Access(refusal="never around the proxy")).exchange("POST", "http://idp.test/introspect"))


def test_assertions_need_a_key() -> None:
    """Without one there is none, and the setting is named."""
    with pytest.raises(AddressRefused, match="assertion_key"):
        client().sign("client", "https://as.test/")
    key = AssertionKey(ec.generate_private_key(ec.SECP256R1()), "", lambda: 1000.0)
    assert client(Access(assertions=key)).sign("client", "https://as.test/").count(".") == 2


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://idp.test/keys?a=b@c", "https://idp.test/keys?a=b@c"),
        ("https://name:p%40ss@idp.test:8443/keys", "https://idp.test:8443/keys"),
        ("https://name:p@ss@idp.test?x=@", "https://idp.test?x=@"),
        ("https://name@idp.test", "https://idp.test"),
        ("no address", "no address"),
    ],
)
def test_logs_are_not_told_who_we_are(url: str, told: str) -> None:
    """What stands before the host is nobody's business."""
    assert without_login(url) == told
