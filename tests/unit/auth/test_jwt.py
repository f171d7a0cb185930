"""The JWT step: verified tokens wait for nothing, and nothing outlives the token, its keys or its claims."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tests.support.provider import Provider, b64, sign_hmac
from tlsgate.auth import jwt
from tlsgate.errors import CATALOGUE, ConfigError, Refusal
from tlsgate.idp.key_sets import KeySets
from tlsgate.model.exchange import Exchange
from tlsgate.model.policy import Policy
from tlsgate.model.session import AccessRight
from tlsgate.model.tokens import JwtSettings, ScopePolicies

SECRET = b"0123456789abcdef0123456789abcdef"
RIGHTS = {"api": AccessRight(api_id="api", versions=("Default",))}
POLICIES = [Policy(id=name, org_id="org", access_rights=RIGHTS) for name in ("gold", "silver")]
NOW = 1_000_000
FIXED = {"family": "hmac", "source": b64(SECRET), "policy_claims": ("pol",)}


class World:
    """A step on a clock that the test moves."""

    def __init__(self, *, base: str = "", is_oas: bool = False, provider: Provider | None = None, **settings: Any) -> None:
        self.keys = Keys(POLICIES)
        self.provider = provider
        sets = KeySets(self._fetch, self.keys.clock)
        api = make_api(
            org_id="org",
            keyless=False,
            auth_methods=("jwt",),
            base_identity=base,
            is_oas=is_oas,
            jwt=JwtSettings(**({**FIXED, **settings} if not settings.get("individual") else {"family": settings["family"]})),
        )
        self.step: Any = jwt.build(api, self.keys.config, self.keys.tools._replace(key_sets=sets))

    async def _fetch(self, url: str) -> tuple[int, bytes, str]:
        assert self.provider is not None
        return (*self.provider.page("/keys"), "")

    def ask(self, token: str | bytes | None) -> tuple[Exchange, bool]:
        """The exchange, and whether it was settled without waiting."""
        exchange = self.keys.request(None if token is None else f"Bearer {token if isinstance(token, str) else token.decode()}")
        exchange.context = {}
        at_once = self.step.try_now(exchange)
        if not at_once:
            run(self.step.finish(exchange))
        return exchange, at_once

    def refusal(self, token: str | None) -> tuple[int, str]:
        with pytest.raises(Refusal) as caught:
            self.ask(token)
        entry = CATALOGUE[caught.value.id]
        return entry.status, entry.message.format(**(caught.value.fields or {}))

    def token(self, **claims: Any) -> str:
        return sign_hmac({"sub": "alice", "pol": "gold", "exp": NOW + 100, **claims}, SECRET)


def test_the_second_request_waits_for_nothing() -> None:
    """Two look-ups, no store; up to the token's end and not a moment longer."""
    world = World()
    token = world.token()
    first, at_once = world.ask(token)
    assert not at_once
    second, at_once = world.ask(token)
    assert at_once and second.session is not None and second.session_id == first.session_id and second.session.alias == "alice"
    assert second.context == {"jwt_claims_alg": "HS256", "jwt_claims_typ": "JWT", "jwt_claims_sub": "alice", "jwt_claims_pol": "gold"} | {
        "jwt_claims_exp": NOW + 100,
        "token": first.session_id,
    }
    world.keys.clock.time += 99
    assert world.ask(token)[0].session is not None
    world.keys.clock.time += 1
    assert world.refusal(token) == (401, "Key not authorized: token has expired")


def test_a_token_without_an_end_is_verified_anew_now_and_then() -> None:
    """Never for ever."""
    world = World()
    token = sign_hmac({"sub": "alice", "pol": "gold"}, SECRET)
    world.ask(token)
    assert world.step._verified
    world.keys.clock.time += 3601
    assert world.ask(token)[1] is False


def test_policies_follow_the_present_token() -> None:
    """Two tokens of one user in turn: each with its own."""
    world = World()
    gold, silver = world.token(), world.token(pol="silver")
    for token, policy in ((gold, "gold"), (silver, "silver"), (gold, "gold"), (silver, "silver")):
        session = world.ask(token)[0].session
        assert session is not None and session.apply_policies == (policy,)


def test_another_key_set_asks_for_another_verification() -> None:
    """A key that its provider took back verifies nothing any more, cached or not."""
    with Provider() as provider:
        world = World(provider=provider, family="rsa", source="https://idp.test/keys")
        token = provider.token({"pol": "gold", "exp": NOW + 10_000})
        world.ask(token)
        assert world.ask(token)[1] is True
        provider.rotate()
        world.keys.clock.time += 241
        assert world.refusal(token) == (403, "Key not authorized")
        assert world.ask(provider.token({"pol": "gold", "exp": NOW + 10_000}, kid="rsa2"))[0].session is not None


def test_the_cache_is_bounded() -> None:
    """The oldest goes."""
    world = World()
    world.step._verified._most = 3
    for number in range(5):
        world.ask(world.token(n=number))
    assert len(world.step._verified) == 3


@pytest.mark.parametrize(
    ("claims", "status", "message"),
    [
        ({"exp": NOW}, 401, "Key not authorized: token has expired"),
        ({"exp": "1800000000"}, 401, "Key not authorized: token has expired"),
        ({"exp": None}, 401, "Key not authorized: token has expired"),
        ({"iat": NOW + 1}, 401, "Key not authorized: token used before issued"),
        ({"nbf": NOW + 1}, 401, "Key not authorized: token is not valid yet"),
        ({"sub": ["alice"]}, 403, "no suitable claims for user ID were found"),
        ({"sub": ""}, 403, "found an empty user ID in sub claim"),
        ({"pol": "tin"}, 403, "key not authorized: no matching policy"),
        ({"pol": ["gold"]}, 403, "key not authorized: no matching policy found"),
    ],
)
def test_claims(claims: dict[str, Any], status: int, message: str) -> None:
    """Nothing of a refused token is kept."""
    world = World()
    assert world.refusal(world.token(**claims)) == (status, message)
    assert not world.step._verified


def test_scopes() -> None:
    """Mapped scopes choose; Tyk's words for a known user differ."""
    world = World(policy_claims=(), scopes=ScopePolicies(policies=(("admin", "gold"),)))
    assert world.refusal(sign_hmac({"sub": "a", "scope": "x"}, SECRET)) == (
        403,
        "key not authorized: no matching policy found in scope claim",
    )
    assert world.refusal(sign_hmac({"sub": "a"}, SECRET)) == (403, "key not authorized: no matching policy found")
    assert world.ask(sign_hmac({"sub": "a", "scope": "x admin"}, SECRET))[0].session is not None
    assert world.refusal(sign_hmac({"sub": "a"}, SECRET)) == (403, "key not authorized: no scope or policy in token")


def test_the_policy_of_a_client() -> None:
    """The first policy of the key that a claim names, only where there is no policy claim."""
    world = World(policy_claims=(), client_claim="azp")
    key = world.keys.add("client", apply_policies=("silver",))
    session = world.ask(world.token(azp=key))[0].session
    assert session is not None and session.apply_policies == ("silver",)
    assert world.refusal(world.token(azp="nobody"))[0] == 403


def test_a_leeway_reaches_the_session() -> None:
    """BETTER: in Tyk the session ends with the token, so that the leeway is worth nothing to a new user."""
    from tlsgate.model.tokens import ClaimRules

    world = World(rules=ClaimRules(expires_at_skew_s=50))
    session = world.ask(world.token(exp=NOW - 10))[0].session
    assert session is not None and session.expires == NOW + 40


def test_failures_are_events() -> None:
    """Each, without the token."""
    world = World()
    for token in ("x", world.token(exp=1), sign_hmac({}, b"another")):
        world.refusal(token)
    assert [event for event, _ in world.keys.events] == ["AuthFailure"] * 3
    assert all("eyJ" not in str(fields) for _, fields in world.keys.events)


def test_another_base_identity_gets_the_session() -> None:
    """The token's own session is beside it then."""
    exchange, _ = (world := World(base="token")).ask(world.token())
    assert exchange.session is None and len(exchange.others) == 1


def individual(family: str = "hmac") -> World:
    world = World(individual=True, family=family)
    world.keys.add("alice", jwt_data={"secret": SECRET.decode()})
    world.keys.add("bob")
    return world


def test_secrets_of_sessions() -> None:
    """By ``kid``, else ``sub``; the session is used as it is."""
    world = individual()
    for token in (sign_hmac({}, SECRET, kid="alice"), sign_hmac({"sub": "alice"}, SECRET), sign_hmac({"sub": "x"}, SECRET, kid="orgalice")):
        assert world.ask(token)[0].session_id == "orgalice"
    assert world.ask(sign_hmac({}, SECRET, kid="alice"))[1] is True
    for token in (
        sign_hmac({}, b"", kid="bob"),
        sign_hmac({"sub": "bob"}, b""),
        sign_hmac({}, b"", kid="nobody"),
        sign_hmac({}, b"x", kid="alice"),
        sign_hmac({"sub": "alice"}, SECRET, kid="x"),
        sign_hmac({}, SECRET),
        sign_hmac({}, SECRET, kid='alice","h":"'),
    ):
        assert world.refusal(token) == (403, "Key not authorized")
    assert world.refusal(sign_hmac({"exp": 1}, SECRET, kid="alice")) == (401, "Key not authorized: token has expired")


def test_an_own_secret_without_a_method() -> None:
    """The stored secret says what it is, never the token."""
    world = individual("")
    assert world.ask(sign_hmac({}, SECRET, kid="alice"))[0].session is not None
    with Provider() as provider:
        token = provider.token({"exp": int(time.time()) + 9}, header={"kid": "alice"})
    assert world.refusal(token) == (403, "Key not authorized: Unexpected signing method")


def test_a_source_that_cannot_verify_refuses_the_api() -> None:
    """It never answers more openly than its definition says."""
    with pytest.raises(ConfigError):
        World(source="tyk123")


def test_the_secret_of_another_organisations_key_signs_nothing() -> None:
    """Who may write keys of one organisation must not sign for the APIs of another."""
    world = individual()
    world.keys.add("", id="foreign-key", org="another", jwt_data={"secret": SECRET.decode()})
    assert world.refusal(sign_hmac({"sub": "x"}, SECRET, kid="foreign-key")) == (403, "Key not authorized")
