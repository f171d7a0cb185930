"""The External OAuth steps: a warm request waits for nothing, a stored session counts at once, nothing outlives its end."""

from __future__ import annotations

import gc
import json
from typing import Any

import msgspec
import pytest
from twisted.web.http_headers import Headers

from tests.support.apis import make_api
from tests.support.keys import Keys, run
from tests.support.provider import Provider, b64, sign_hmac
from tlsgate.auth import external_oauth
from tlsgate.auth.absent_sessions import AbsentSessions
from tlsgate.auth.access import AccessCheck
from tlsgate.auth.base import run_steps
from tlsgate.config.model import IdentityProviderSettings
from tlsgate.errors import CATALOGUE, ConfigError, Refusal
from tlsgate.idp.introspection import Introspection
from tlsgate.idp.key_sets import KeySets
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import AccessRight
from tlsgate.model.tokens import ClaimRules, ExternalJwt, ExternalOAuthSettings, IntrospectionSettings
from tlsgate.store.interface import GAP
from tlsgate.tls.web_client import Answer

SECRET = b"0123456789abcdef0123456789abcdef"
NOW = 1_000_000
PROVIDER = Provider()
"""For its keys; nobody connects to it."""
KEYS = dict(PROVIDER.keys)
FAILED = (500, "error happened during the access token validation")


class World:
    """A step on a clock that the test moves; providers are asked without sockets."""

    def __init__(self, settings: ExternalOAuthSettings, *, base: str = "", **keys: Any) -> None:
        self.keys = Keys(**keys)
        self.provider = PROVIDER
        self.provider.keys = dict(KEYS)
        self.answers: dict[str, Any] = {}
        self.asked: list[bytes] = []
        self.status = 200
        absent = AbsentSessions(self.keys.clock.monotonic, self.keys.settings.cache_s if self.keys.settings.cache_sessions else 0)
        self.keys.store.subscribe(absent.on_change)
        self.tools = self.keys.tools._replace(
            key_sets=KeySets(self._fetch, self.keys.clock),
            introspection=Introspection(self._exchange, lambda client, audience: "", self.keys.store, self.keys.clock),
            absent_sessions=absent,
        )
        self.api = make_api(org_id="org", keyless=False, auth_methods=("external_oauth",), base_identity=base, external_oauth=settings)
        self.step: Any = external_oauth.build(self.api, self.keys.config, self.tools)

    async def _fetch(self, url: str) -> tuple[int, bytes, str]:
        return (*self.provider.page("/keys"), "")

    async def _exchange(self, method: str, url: str, headers: Any, body: bytes) -> Answer:
        self.asked.append(body)
        token = body.rpartition(b"token=")[2].decode()
        return Answer(self.status, Headers(), json.dumps(self.answers.get(token, {"active": False})).encode())

    def ask(self, token: str | None) -> tuple[Exchange, bool]:
        """The exchange, and whether it was settled without waiting."""
        exchange = self.keys.request(None if token is None else f"Bearer {token}")
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


def signed(**fields: Any) -> World:
    settings = {key: fields.pop(key) for key in ("base", "cache_sessions") if key in fields}
    return World(ExternalOAuthSettings(jwt=ExternalJwt(**{"family": "hmac", "source": b64(SECRET), **fields})), **settings)


def introspecting(**fields: Any) -> World:
    values = {"url": "https://as.test/i", "cached": True, "cache_s": 60, **fields}
    return World(ExternalOAuthSettings(introspection=IntrospectionSettings(**values)))


def token(**claims: Any) -> str:
    return sign_hmac({"sub": "alice", "exp": NOW + 100, **claims}, SECRET)


def test_the_second_request_with_a_signed_token_waits_for_nothing() -> None:
    """Though no session is stored; the store was asked once."""
    world = signed()
    text = token()
    first, at_once = world.ask(text)
    reads = world.keys.store.reads
    second, again = world.ask(text)
    assert (at_once, again) == (False, True) and second.key is first.key and world.keys.store.reads == reads
    session = second.session
    assert session is not None and (session.rate, session.per, session.alias) == (10_000, 60, "alice")
    assert set(session.access_rights) == {"api"} and session.apply_policies == () and session.expires == 0
    assert second.context is not None and not any(name.startswith("jwt_claims") for name in second.context)
    world.keys.clock.time += 100
    assert world.refusal(text) == (401, "key not authorized: token has expired")


def test_a_token_beyond_any_size_is_asked_about_nowhere() -> None:
    """A server that breaks off at such a form would be left alone by everybody for a moment."""
    world = introspecting()
    world.answers["x" * 16384] = {"active": True, "sub": "alice"}
    assert world.ask("x" * 16384)[0].session is not None
    assert world.refusal("x" * 16385) == (401, "token verification failed: longer than 16384 bytes")
    assert len(world.asked) == 1


@pytest.mark.parametrize(
    ("audience", "guest", "hosts", "is_refused"),
    [
        ("https://as.test/token", True, (), False),
        ("", True, (), False),
        ("https://other.test/token", True, (), True),
        ("https://as.test@other.test/", True, (), True),
        ("https://as.test:8443/token", True, (), True),
        ("https://[", True, (), True),
        ("urn:as", True, (), True),
        ("https://other.test/token", True, ("as.test",), False),
        ("https://other.test/token", False, (), False),
    ],
)
def test_whom_assertions_of_the_rest_api_are_for(audience: str, guest: bool, hosts: tuple[str, ...], is_refused: bool) -> None:
    """Who may write definitions there must not get an assertion for another server, and be the gateway towards that one."""
    world = introspecting(authentication="private_key_jwt", assertion_audience=audience)
    api = msgspec.structs.replace(world.api, from_rest=guest)
    own = msgspec.structs.replace(world.keys.config.own, identity_providers=IdentityProviderSettings(allowed_hosts=hosts))
    config = msgspec.structs.replace(world.keys.config, own=own)
    if is_refused:
        with pytest.raises(ConfigError, match="assertion_audience"):
            external_oauth.build(api, config, world.tools)
    else:
        external_oauth.build(api, config, world.tools)


def test_a_session_that_is_written_counts_at_once() -> None:
    """As is, with whatever it says; removed, it counts no more."""
    world = signed()
    text = token()
    id = world.ask(text)[0].session_id
    assert id is not None
    world.keys.add(id, quota_max=7)
    run(world.keys.store.publish("key", id))
    session = world.ask(text)[0].session
    assert session is not None and session.quota_max == 7
    run(world.keys.sessions.delete(id))
    session = world.ask(text)[0].session
    assert session is not None and session.quota_max == -1


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (None, ""),
        ({"access_rights": {"api": AccessRight()}, "jwt_data": {"secret": "s"}}, ""),
        ({"access_rights": {"api": AccessRight()}, "is_inactive": True}, "auth.key_inactive"),
        ({"access_rights": {"other": AccessRight()}}, "access.api"),
        ({"apply_policies": ("gone",)}, "auth.key_not_found"),
    ],
)
@pytest.mark.parametrize("topic", ["key", GAP])
def test_a_session_that_is_written_while_its_request_waits(topic: str, fields: dict[str, Any] | None, refusal: str) -> None:
    """A body may take long: the request has the session that is stored by then, or none as before."""
    world = signed()
    exchange, _ = world.ask(token())
    assert exchange.key is not None and not exchange.key.stale
    id = exchange.key.id
    if fields is not None:
        world.keys.add(id, **fields)
    run(world.keys.store.publish(topic, id))
    access = AccessCheck(world.api, world.keys.config, world.tools)
    if refusal:
        with pytest.raises(Refusal, match=refusal):
            run(run_steps((access,), exchange))
        return
    assert not access.try_now(exchange)
    run(access.finish(exchange))
    assert exchange.key is not None and exchange.key.is_stored == (fields is not None)


def test_a_step_of_a_generation_long_gone_is_told_nothing() -> None:
    """Nothing keeps it."""
    world = signed()
    absent = world.tools.absent_sessions
    assert absent is not None and len(absent._watchers) == 1
    world.step = None
    gc.collect()
    assert len(absent._watchers) == 0


def test_without_a_cache_of_keys_each_request_asks_the_store() -> None:
    """As for keys."""
    world = signed(cache_sessions=False)
    text = token()
    world.ask(text)
    assert world.ask(text)[1] is False


def test_two_tokens_of_one_bearer_share_a_session() -> None:
    """Hence its rate; bearers do not share theirs."""
    world = signed(identity_claim="user.id")
    views = [world.ask(token(user={"id": user}, n=number))[0].key for number, user in enumerate(("a", "a", "b"))]
    assert views[0] is views[1] and views[1] is not views[2]


def test_keys_that_change_ask_for_another_verification() -> None:
    """A key that its provider took back verifies nothing any more."""
    world = signed(family="rsa", source="https://as.test/keys")
    text = world.provider.token({"exp": NOW + 10_000})
    world.step.prefetch()
    world.ask(text)
    assert world.ask(text)[1] is True
    world.provider.rotate()
    world.keys.clock.time += 241
    assert world.refusal(text) == (401, "token verification failed: signature is invalid")


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        (None, 400, "authorization field missing"),
        ("", 400, "authorization field missing"),
        ("x", 401, "token verification failed: token contains an invalid number of segments"),
        (token()[:-6] + "AAAAAA", 401, "token verification failed: signature is invalid"),
        (sign_hmac({"sub": "alice"}, SECRET, "HS256", crit=["x"]), 401, None),
        (token(exp=NOW), 401, "key not authorized: token has expired"),
        (token(iat=NOW + 1), 401, "key not authorized: token used before issued"),
        (token(nbf=NOW + 1), 401, "key not authorized: token is not valid yet"),
        (token(sub=7), 401, "token verification failed: no suitable claims for user ID were found"),
        (token(sub=""), 401, "token verification failed: found an empty user ID in predefined base claim, claim: sub"),
        ("eyJhbGciOiJub25lIn0.e30.", *FAILED),
        ("eyJhbGciOiJub05lIn0.e30.", 401, "token verification failed: signature is invalid"),
    ],
)
def test_refusals_of_signed_tokens(text: str | None, status: int, message: str | None) -> None:
    """Each is an event; nothing of them is kept."""
    world = signed()
    found = world.refusal(text)
    assert found[0] == status and message in (None, found[1])
    assert [event for event, _ in world.keys.events] == ["AuthFailure"]
    assert len(world.step._verified) == 0 and world.keys.store.reads == 0


@pytest.mark.parametrize("how", ["signed", "introspected"])
def test_tokens_of_another_issuer_or_for_another_audience(how: str) -> None:
    """One server issues tokens for many: where the API says which are its own, no other gets in, nor one that says neither."""
    rules = ClaimRules(issuers=("https://as.test",), audiences=("orders",))
    world = signed(rules=rules) if how == "signed" else introspecting(rules=rules)
    rows: list[tuple[dict[str, Any], str]] = [
        ({"iss": "https://as.test", "aud": ["else", "orders"]}, ""),
        ({"iss": "https://as.test/", "aud": "orders"}, "invalid issuer claim: https://as.test/"),
        ({"aud": "orders"}, "issuer claim is required but not present in token"),
        ({"iss": "https://as.test", "aud": "billing"}, "no matching audience found in token: [billing]"),
        ({"iss": "https://as.test"}, "audience claim is required but not present in token"),
    ]
    for number, (claims, reason) in enumerate(rows):
        text = token(**claims) if how == "signed" else str(number)
        world.answers[text] = {"active": True, "sub": "alice", **claims}
        for _ in range(2):
            if reason:
                assert world.refusal(text) == (401, f"key not authorized: {reason}")
            else:
                world.ask(text)


def test_the_second_request_with_an_introspected_token_waits_for_nothing() -> None:
    """Until the answer is too old, or the token has ended."""
    world = introspecting()
    world.answers = {"t": {"active": True, "sub": "alice", "exp": NOW + 1000}}
    assert world.ask("t")[1] is False
    exchange, at_once = world.ask("t")
    assert at_once and exchange.session is not None and exchange.session.alias == "alice" and len(world.asked) == 1
    world.keys.clock.time += 60
    assert world.ask("t")[1] is False and len(world.asked) == 2
    world.keys.clock.time += 940
    assert world.refusal("t") == (401, "token is expired")


def test_a_remembered_refusal_costs_nothing() -> None:
    """Neither a question nor a look into the store."""
    world = introspecting()
    for _ in range(3):
        assert world.refusal("t") == (401, "access token is not valid")
    assert len(world.asked) == 1
    world.status = 500
    assert world.refusal("u") == FAILED
    assert [event for event, _ in world.keys.events] == ["AuthFailure"] * 4
    assert all("'t'" not in str(fields) and "'u'" not in str(fields) for _, fields in world.keys.events)


def test_the_identity_of_an_introspection() -> None:
    """A member by name or path, then ``sub``; odd types are passed over."""
    world = introspecting(identity_claim="user.id")
    world.answers = {
        "path": {"active": True, "sub": "s", "user": {"id": "u"}},
        "sub": {"active": True, "sub": "s", "user": {"id": 7}},
        "none": {"active": True, "sub": ["s"]},
    }
    aliases = [session.alias for name in ("path", "sub") if (session := world.ask(name)[0].session) is not None]
    assert aliases == ["u", "s"]
    assert world.refusal("none") == (401, "token verification failed: no suitable claims for user ID were found")


@pytest.mark.parametrize(
    ("settings", "status", "message"),
    [
        (ExternalOAuthSettings(has_provider=False), 404, "there should be at least one provider configured"),
        (ExternalOAuthSettings(), 500, "access token validation method is not specified"),
    ],
)
def test_definitions_that_name_no_way(settings: ExternalOAuthSettings, status: int, message: str) -> None:
    """Closed, not open."""
    world = World(settings)
    assert world.refusal("t") == (status, message)
    assert world.refusal(None) == (400, "authorization field missing")


def test_another_base_identity_gets_the_session() -> None:
    """BETTER: in Tyk this one comes first all the same."""
    exchange, _ = signed(base="token").ask(token())
    assert exchange.session is None and len(exchange.others) == 1


def test_what_cannot_verify_is_no_step() -> None:
    """A source that is no key, nobody to ask."""
    with pytest.raises(ConfigError):
        signed(source="tyk123")
    world = introspecting()
    with pytest.raises(ConfigError):
        external_oauth.build(world.api, world.keys.config, world.tools._replace(introspection=None))
