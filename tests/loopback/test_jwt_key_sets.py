"""Key sets of a provider that lives: rotation under load without a failed request, outages, the control API; over TLS, in both forms."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from tests.support.credentials import EACH_FORM, EACH_WORLD
from tests.support.gateway import Client, StrictUpstream, wait_until
from tests.support.jwt_world import OWN, JwtWorld, jwt_api, jwt_world
from tests.support.provider import Provider

GOOD = (200, "")
NO_KEY = (403, "Key not authorized")


def api_of(form: str, upstream: int, provider: Provider, cache: str = "", login: str = "") -> dict[str, Any]:
    addresses = [{"url": f"{provider.url}/keys".replace("://", f"://{login}"), "cacheTimeout": cache}]
    return jwt_api(form, "api", upstream, {"signingMethod": "rsa", "jwksURIs": addresses, "policyFieldName": "pol"})


class Load:
    """Clients who never stop, each with a new token of the provider's present key for each request."""

    def __init__(self, world: JwtWorld, provider: Provider) -> None:
        self.kid = "rsa"
        self.answers: list[tuple[str, int]] = []
        self._world = world
        self._provider = provider
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(4)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, number: int) -> None:
        count = 0
        with Client(self._world.gateway.port, sni="localhost") as client:
            while not self._done.is_set():
                count += 1
                kid = self.kid
                token = self._provider.token({"sub": f"user{number}", "pol": "gold", "n": count}, kid=kid)
                self.answers.append((kid, client.request("GET", "/api/x", headers=[("Authorization", f"Bearer {token}")]).status))

    def wait(self, count: int) -> None:
        """Wait for further answers to the present key."""
        kid, before = self.kid, len(self.answers)
        assert wait_until(lambda: sum(1 for used, _ in self.answers[before:] if used == kid) >= count, 30)


@EACH_FORM
def test_a_rotation_under_load(tmp_path: Path, form: str) -> None:
    """The new key signs from the moment that it is published, the old one goes later: every request passes, one fetch finds the key."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", [api_of(form, upstream.port, provider)], upstream) as world,
    ):
        old = provider.keys["rsa"]
        provider.rotate()
        new = provider.keys["rsa2"]
        provider.keys = {"rsa": old}
        with Load(world, provider) as load:
            load.wait(50)
            before = provider.count("/keys")
            assert before == 1
            provider.keys = {"rsa2": new, "rsa": old}
            load.kid = "rsa2"
            load.wait(200)
            assert provider.count("/keys") == before + 1
        assert {status for _, status in load.answers} == {200}
        assert {kid for kid, _ in load.answers} == {"rsa", "rsa2"}
        # The provider takes the old key back: what its set no longer has verifies nothing once the set was fetched anew.
        token = provider.token({"pol": "gold"}, kid="rsa")
        assert world.ask("api", token) == GOOD
        provider.keys = {"rsa2": new}
        assert world.control("DELETE", "/tyk/cache/jwks/api") == (200, {"status": "ok", "message": "cache invalidated"})
        assert world.ask("api", token) == NO_KEY
        assert world.ask("api", provider.token({"pol": "gold"}, kid="rsa2")) == GOOD


@EACH_WORLD
def test_an_outage(tmp_path: Path, form: str, backend: str) -> None:
    """Sets serve on for ``stale_s``, attempts back off; then nobody gets in, remembered token or not; afterwards it mends by itself."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        own = {"identity_providers": {"stale_s": 6}}
        with jwt_world(tmp_path, backend, [api_of(form, upstream.port, provider, "1s")], upstream, own=own) as world:
            remembered = provider.token({"pol": "gold"})
            assert world.ask("api", remembered) == GOOD
            provider.pages["/keys"] = 503, b"{}"
            begun = time.monotonic()
            before = provider.count("/keys")
            served = 0
            while time.monotonic() - begun < 4:
                # Older than its life of one second, younger than the stated age.
                assert world.ask("api", remembered) == GOOD
                assert world.ask("api", provider.token({"pol": "gold", "n": served})) == GOOD
                served += 1
            assert served > 10 and provider.count("/keys") - before <= 5
            assert wait_until(lambda: world.ask("api", remembered) == NO_KEY, 15)
            assert world.ask("api", provider.token({"pol": "gold", "n": -1})) == NO_KEY
            del provider.pages["/keys"]
            assert wait_until(lambda: world.ask("api", remembered) == GOOD, 40)
            # Twelve refused requests per second of an outage were no reason to ask more.
            assert provider.count("/keys") - before <= 10


@EACH_FORM
def test_a_provider_that_comes_after_the_gateway(tmp_path: Path, form: str) -> None:
    """The gateway starts without it; requests are refused at once, not held, and pass as soon as it is there.

    The login of its address is told to the provider alone.
    """
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        provider.pages["/keys"] = 404, b"not yet"
        api = api_of(form, upstream.port, provider, login="gate:p%40ss@")
        with jwt_world(tmp_path, "sqlite", [api], upstream) as world:
            token = provider.token({"pol": "gold"})
            assert [world.ask("api", token) for _ in range(20)] == [NO_KEY] * 20
            assert provider.count("/keys") <= 3
            assert upstream.requests == []
            del provider.pages["/keys"]
            assert wait_until(lambda: world.ask("api", token) == GOOD, 20)
            assert {headers.get("authorization") for *_, headers in provider.asked} == {"Basic Z2F0ZTpwQHNz"}
            log = world.gateway.tail(400)
            assert "jwks.unavailable" in log and "p%40ss" not in log and "p@ss" not in log


@EACH_FORM
def test_two_apis_share_one_fetch(tmp_path: Path, form: str) -> None:
    """Per address, not per API; each verifies by its own family."""
    with StrictUpstream() as upstream, Provider(OWN, tmp_path) as provider:
        url = f"{provider.url}/keys"
        apis = [
            jwt_api(form, name, upstream.port, {"signingMethod": method, "source": url, "policyFieldName": "pol"})
            for name, method in (("one", "rsa"), ("two", "rsa"), ("three", "ecdsa"))
        ]
        with jwt_world(tmp_path, "sqlite", apis, upstream) as world:
            for api in ("one", "two"):
                assert world.ask(api, provider.token({"pol": "gold"})) == GOOD
            assert world.ask("three", provider.token({"pol": "gold"}, kid="ec", algorithm="ES256")) == GOOD
            assert provider.count("/keys") == 1
            # Firewalls in front of providers look at these.
            headers = provider.asked[0][3]
            assert headers["user-agent"].startswith("tlsgate/") and "application/jwk-set+json" in headers["accept"]
            assert "content-length" not in headers
            world.gateway.reload()
            assert world.ask("one", provider.token({"pol": "gold"})) == GOOD
            assert provider.count("/keys") == 1
            assert world.control("DELETE", "/tyk/cache/jwks") == (200, {"status": "ok", "message": "cache invalidated"})
            assert world.control("DELETE", "/tyk/cache/jwks/nobody") == (200, {"status": "ok", "message": "cache invalidated"})
            assert world.ask("one", provider.token({"pol": "gold"})) == GOOD
            assert provider.count("/keys") == 2


@EACH_FORM
def test_a_provider_that_a_reload_forbids(tmp_path: Path, form: str) -> None:
    """Its keys count no more, though they are at hand: that is no outage."""
    with (
        StrictUpstream() as upstream,
        Provider(OWN, tmp_path) as provider,
        jwt_world(tmp_path, "sqlite", [api_of(form, upstream.port, provider)], upstream) as world,
    ):
        token = provider.token({"pol": "gold"})
        assert world.ask("api", token) == GOOD
        gateway = world.gateway
        gateway.config["tlsgate"] = {**gateway.config.get("tlsgate", {}), "identity_providers": {"allowed_hosts": ["idp.example"]}}
        gateway.write_config()
        gateway.reload()
        assert world.ask("api", token) == NO_KEY
