"""Which addresses are asked, and that nobody is before a generation serves."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from twisted.internet.testing import MemoryReactorClock

from tests.support.apis import make_config
from tests.support.keys import begin, run
from tlsgate.config.model import IdentityProviderSettings
from tlsgate.idp.client import AddressRefused, IdpClient


def client(**settings: Any) -> IdpClient:
    config = make_config()
    own = msgspec.structs.replace(config.own, identity_providers=IdentityProviderSettings(**settings))
    made = IdpClient(MemoryReactorClock())
    made.use(msgspec.structs.replace(config, own=own), None)
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
    with pytest.raises(AddressRefused):
        run(client(**settings).fetch(url))


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
