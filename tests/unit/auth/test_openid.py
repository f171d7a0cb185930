"""The OpenID step: verified tokens wait for nothing, and nothing outlives token, keys, document or policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tests.support.provider import Provider
from tlsgate.auth import openid
from tlsgate.errors import CATALOGUE, ConfigError, Refusal
from tlsgate.idp.discovery import Discovery
from tlsgate.idp.key_sets import REFETCH_S, KeySets
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight
from tlsgate.model.tokens import OpenIdProvider, OpenIdSettings, ScopePolicies

ISSUER = "https://idp.test"
RIGHTS = {"api": AccessRight(api_id="api", versions=("Default",))}
POLICIES = [Policy(id=name, org_id="org", access_rights=RIGHTS) for name in ("gold", "silver")]
NOW = 1_000_000
PROVIDER = Provider()
"""For its keys; nobody connects to it."""
KEYS = dict(PROVIDER.keys)
DENIED = (401, "Key not authorised")


class World:
    """A step on a clock that the test moves; the provider is asked without sockets."""

    def __init__(self, *, base: str = "", **settings: Any) -> None:
        self.keys = Keys(POLICIES)
        self.provider = PROVIDER
        self.provider.keys = dict(KEYS)
        self.asked: list[str] = []
        sets = KeySets(self._fetch, self.keys.clock)
        self.discovery = Discovery(self._fetch, self.keys.clock, sets)
        listed = OpenIdProvider(issuer=ISSUER, clients=(("web", "gold"), ("cli", "silver"), ("bare", "")))
        api = make_api(
            org_id="org",
            keyless=False,
            auth_methods=("oidc",),
            base_identity=base,
            openid=OpenIdSettings(**{"providers": (listed,), **settings}),
        )
        self.tools = self.keys.tools._replace(key_sets=sets, discovery=self.discovery)
        self.step: Any = openid.build(api, self.keys.config, self.tools)

    async def _fetch(self, url: str) -> tuple[int, bytes, str]:
        self.asked.append(url)
        if url.endswith("/keys"):
            return (*self.provider.page("/keys"), "")
        return 200, json.dumps({"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}).encode(), ""

    def ask(self, line: str | None) -> tuple[Exchange, bool]:
        """The exchange, and whether it was settled without waiting."""
        exchange = self.keys.request(line)
        exchange.context = {}
        at_once = self.step.try_now(exchange)
        if not at_once:
            run(self.step.finish(exchange))
        return exchange, at_once

    def refusal(self, line: str | None) -> tuple[int, str]:
        with pytest.raises(Refusal) as caught:
            self.ask(line)
        entry = CATALOGUE[caught.value.id]
        return entry.status, entry.message.format(**(caught.value.fields or {}))

    def line(self, claims: dict[str, Any] | None = None, **options: Any) -> str:
        return "Bearer " + self.provider.token({"iss": ISSUER, "aud": "web", "exp": NOW + 100, **(claims or {})}, **options)


def test_the_second_request_waits_for_nothing() -> None:
    """Up to the token's end and not a moment longer."""
    world = World()
    line = world.line()
    first, at_once = world.ask(line)
    assert not at_once and first.context is not None and first.context["jwt_claims_sub"] == "alice"
    second, at_once = world.ask(line)
    assert at_once and second.session is not None and second.session_id == first.session_id
    assert second.session.alias == "web:alice" and second.session.origin == "oidc" and second.session.meta_data["ClientID"] == "web"
    world.keys.clock.time += 100
    assert world.refusal(line) == DENIED
    assert world.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


def test_the_step_asks_before_the_first_request() -> None:
    """When its generation begins to serve."""
    world = World()
    world.step.prefetch()
    assert len(world.asked) == 2
    world.ask(world.line())
    assert len(world.asked) == 2


def test_what_was_verified_goes_with_its_keys_and_its_document() -> None:
    """Dropped or replaced: the token is verified anew."""
    world = World()
    line = world.line()
    world.ask(line)
    assert world.ask(line)[1] is True
    world.discovery.drop()
    assert world.ask(line)[1] is False
    world.provider.rotate()
    world.keys.clock.time += REFETCH_S
    assert world.ask(world.line(kid="rsa2"))[0].session is not None  # an unknown id, asked for at once
    assert world.refusal(line) == DENIED


@pytest.mark.parametrize("kid", ["rsa", None])
def test_a_key_in_the_place_of_another_is_found(kid: str | None) -> None:
    """At once, unless somebody's bad signature has just asked: those ask at most every ten seconds."""
    world = World()
    world.ask(world.line())
    old = world.line(header={"kid": kid})
    world.provider.rotate("rsa")
    assert world.ask(world.line(header={"kid": kid}))[0].session is not None
    for _ in range(5):
        assert world.refusal(old) == DENIED
    assert world.asked.count(f"{ISSUER}/keys") == 2
    world.keys.clock.time += REFETCH_S
    assert world.refusal(old) == DENIED
    assert world.asked.count(f"{ISSUER}/keys") == 3


@pytest.mark.parametrize("kid", ["x", "rsa", None, ""])
def test_a_storm_causes_few_fetches(kid: str | None) -> None:
    """Whatever is wrong with the tokens."""
    world = World()
    world.ask(world.line())
    for number in range(200):
        world.keys.clock.time += 0.05
        assert world.refusal(world.line({"n": number}, header={"kid": kid})[:-8] + "AAAAAAAA") == DENIED
    assert len(world.asked) <= 3


def test_policies_follow_the_present_token() -> None:
    """Two clients of one user in turn, remembered or not; without a session that counts for both."""
    world = World()
    lines = {"gold": world.line(), "silver": world.line({"aud": "cli"})}
    for policy in ("gold", "silver", "gold", "silver"):
        session = world.ask(lines[policy])[0].session
        assert session is not None and session.apply_policies == (policy,)


def test_users_by_client() -> None:
    """Two sessions, each called by both."""
    world = World(segregate_by_client=True)
    ids = {world.ask(world.line({"aud": client}))[0].session_id for client in ("web", "cli")}
    assert len(ids) == 2 and all(id and len(id) == len("org") + 64 for id in ids)


def test_scopes_are_an_own_list() -> None:
    """BETTER: none that is mapped is a refusal, for a known user too."""
    world = World(scopes=ScopePolicies(claims=("realm.roles",), policies=(("admin", "silver"), ("lost", "tin"))))
    unmapped = (403, "Key not authorized: no matching policy")
    assert world.refusal(world.line()) == unmapped
    assert world.refusal(world.line({"scope": "admin"})) == unmapped
    assert world.refusal(world.line({"realm": {"roles": ["lost"]}})) == unmapped
    session = world.ask(world.line({"aud": "bare", "realm": {"roles": ["x", "admin"]}}))[0].session
    assert session is not None and session.apply_policies == ("silver",)
    assert world.refusal(world.line({"realm": {"roles": []}})) == unmapped


def test_the_token_does_not_lengthen_the_session() -> None:
    """``exp`` is the token's affair."""
    world = World()
    session = world.ask(world.line())[0].session
    assert session is not None and session.expires == 0


def test_failures_are_events_without_the_token() -> None:
    """Each."""
    world = World()
    for line in (None, "Bearer x", "basic x", world.line({"exp": 1}), world.line({"aud": "bare"})):
        assert world.refusal(line) == DENIED
    assert [event for event, _ in world.keys.events] == ["AuthFailure"] * 5
    assert all("eyJ" not in str(fields) for _, fields in world.keys.events)


def test_another_base_identity_gets_the_session() -> None:
    """The token's own session is beside it then."""
    world = World(base="token")
    exchange, _ = world.ask(world.line())
    assert exchange.session is None and len(exchange.others) == 1


def test_a_token_that_is_bound_to_a_certificate_needs_it() -> None:
    """RFC 8705: refused here, where no certificate was shown."""
    world = World()
    status, message = world.refusal(world.line({"cnf": {"x5t#S256": "A" * 43}}))
    assert status == 401 and "certificate" in message


def test_without_anybody_to_ask_there_is_no_step() -> None:
    """The API is refused."""
    world = World()
    with pytest.raises(ConfigError):
        openid.build(make_api(auth_methods=("oidc",), keyless=False), world.keys.config, world.tools._replace(discovery=None))
