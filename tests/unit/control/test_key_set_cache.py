"""``DELETE /tyk/cache/jwks``: what is cached of key sets is forgotten, of all or of one API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.control import MemoryControl, token_api
from tests.support.keys import run
from tests.support.provider import Provider
from tlsgate.control.key_set_cache import find_addresses

URLS = ("https://idp.test/one", "https://idp.test/two")
PROVIDER = Provider()


def jwt_api(api_id: str, **fields: Any) -> dict[str, Any]:
    return token_api(api_id, enable_jwt=True, jwt_signing_method="rsa", **fields)


def desk() -> MemoryControl:
    """Two APIs with key sets that are there, and one without."""
    made = MemoryControl(jwt_api("one", jwt_source=URLS[0]), jwt_api("two", jwt_jwks_uris=[{"url": URLS[1]}]), token_api("three"))

    async def fetch(url: str) -> tuple[int, bytes, str]:
        return (*PROVIDER.page("/keys"), "")

    made.state.key_sets._fetch = fetch
    for url in URLS:
        run(made.state.key_sets.load(url))
    return made


@pytest.mark.parametrize(("target", "left"), [("", ()), ("/one", URLS[1:]), ("/two", URLS[:1]), ("/three", URLS), ("/nobody", URLS)])
def test_key_sets_are_fetched_anew(target: str, left: tuple[str, ...]) -> None:
    """The same answer for an API that there is not."""
    control = desk()
    answer = control.call("DELETE", f"/tyk/cache/jwks{target}")
    assert (answer.status, answer.body) == (200, {"status": "ok", "message": "cache invalidated"})
    assert tuple(url for url in URLS if control.state.key_sets.peek(url) is not None) == left


def test_others_follow() -> None:
    """What another process says over the store counts here, too."""
    control = desk()
    control.state.key_sets.on_change("key", URLS[0])
    assert control.state.key_sets.peek(URLS[0]) is not None
    control.state.key_sets.on_change("jwks", " ".join(URLS))
    assert all(control.state.key_sets.peek(url) is None for url in URLS)


def test_the_addresses_of_an_api() -> None:
    """None of a secret."""
    provider = {"issuer": "https://idp.test/app/", "client_ids": {"d2Vi": "gold"}}
    signed = {"jwt": {"enabled": True, "signing_method": "rsa", "source": URLS[1]}}
    control = MemoryControl(
        jwt_api("one", jwt_source=URLS[0]),
        token_api("two"),
        token_api("three", use_openid=True, openid_options={"providers": [provider]}),
        token_api("four", external_oauth={"enabled": True, "providers": [signed]}),
    )
    known = control.gateway.site.generation.known
    assert find_addresses(known["one"]) == URLS[:1] and find_addresses(known["two"]) == ()
    assert find_addresses(known["three"]) == ("https://idp.test/app/.well-known/openid-configuration",)
    assert find_addresses(known["four"]) == URLS[1:]
