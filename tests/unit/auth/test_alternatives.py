"""Groups of methods of which one has to pass: order, state between them, what is told, what a client gets."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.support.apis import make_api
from tests.support.keys import Keys, begin, run
from tlsgate.auth.alternatives import Alternatives, build
from tlsgate.auth.base import AuthTools, run_steps
from tlsgate.auth.identity import Identity
from tlsgate.auth.registry import build_auth_steps
from tlsgate.auth.sessions import KeyView
from tlsgate.errors import Refusal, StoreUnavailable
from tlsgate.model.credentials import CredentialSource
from tlsgate.model.exchange import Exchange
from tlsgate.model.session import Session

API = make_api(keyless=False)
GROUPS = (("basic", "token"), ("hmac",))
MISSING, BAD, AWAY = "auth.auth_field_missing", "auth.key_not_found", "store.unavailable"


class Method:
    """A method that answers as it is told: a catalogue id, or nothing to pass; ``waits`` makes it ask the store first."""

    def __init__(self, name: str, tools: AuthTools, outcome: str, *, waits: bool = False, **refusal: Any) -> None:
        self.name = name
        self.outcome = outcome
        self.waits = waits
        self.refusal = refusal
        self.judged = 0
        self.identity = Identity(API, name, tools.notify)
        self.gate: Deferred[None] | None = None

    def try_now(self, exchange: Exchange) -> bool:
        exchange.credential = self.name.encode()
        if self.waits:
            return False
        self.judge(exchange)
        return True

    async def finish(self, exchange: Exchange) -> None:
        assert exchange.credential == self.name.encode(), "the look-up goes on where it was begun"
        if self.gate is not None:
            await self.gate
        self.judge(exchange)

    def judge(self, exchange: Exchange) -> None:
        self.judged += 1
        exchange.response_headers.append((b"X-Seen", self.name.encode()))
        exchange.query = self.name.encode()
        exchange.flag = "XXX"
        if self.name == "basic":
            exchange.onward = [(b"X-User", b"basic")]
        if exchange.context is not None:
            exchange.context[self.name] = "seen"
        if self.outcome == BAD:
            raise self.identity.fail(exchange, "as told")
        if self.outcome:
            raise Refusal(self.outcome, self.name, **self.refusal)
        self.identity.accept(exchange, KeyView(self.name, self.name, Session(alias=self.name), ""))


class World:
    """The step with its methods."""

    def __init__(self, groups: tuple[tuple[str, ...], ...], waits: tuple[str, ...] = (), **outcomes: str) -> None:
        self.keys = Keys()
        self.methods: dict[str, Method] = {}

        def make(name: str, tools: AuthTools) -> Method:
            assert name not in self.methods
            self.methods[name] = Method(name, tools, outcomes.get(name, ""), waits=name in waits)
            return self.methods[name]

        step = build(groups, make, self.keys.tools, (b"authorization", b"x-key"))
        assert isinstance(step, Alternatives)
        self.step = step
        self.exchange = self.keys.request(None)
        self.exchange.context = {"path": "/"}
        self.exchange.response_headers = [(b"Vary", b"Origin")]

    def pass_through(self) -> Exchange:
        run(run_steps((self.step,), self.exchange))
        return self.exchange

    def refuse(self) -> Refusal:
        with pytest.raises(Refusal) as caught:
            self.pass_through()
        assert self.exchange.onward is None
        assert self.exchange.key is None and self.exchange.session is None and self.exchange.others == ()
        assert (self.exchange.context, self.exchange.response_headers) == ({"path": "/"}, [(b"Vary", b"Origin")])
        assert self.step._noted == {} and self.step._paused == {}
        return caught.value

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.keys.events]


EACH_WAIT = pytest.mark.parametrize("waits", [(), ("basic",), ("token",), ("hmac",), ("basic", "token", "hmac")])


def test_methods_of_groups_ask_for_keys_before_the_first_request() -> None:
    """Each once, however many groups it is in; a method that needs nothing is not asked."""

    class Asking(Method):
        def prefetch(self) -> None:
            asked.append(self.name)

    asked: list[str] = []
    groups = (("jwt", "token"), ("oidc",), ("jwt", "basic"))
    kinds = {"jwt": Asking, "oidc": Asking}
    step: Any = build(groups, lambda name, tools: kinds.get(name, Method)(name, tools, ""), Keys().tools)
    step.prefetch()
    assert asked == ["jwt", "oidc"]


@EACH_WAIT
def test_the_first_group_that_passes_counts(waits: tuple[str, ...]) -> None:
    """Its last method gives the session; later groups are not asked."""
    world = World(GROUPS, waits)
    exchange = world.pass_through()
    assert exchange.session_id == "token" and [view.id for view in exchange.others] == ["basic"]
    assert world.methods["hmac"].judged == 0 and world.events == []
    assert world.step._noted == {} and world.step._paused == {}


@EACH_WAIT
@pytest.mark.parametrize("half", ["basic", "token"])
def test_half_a_group_leaves_nothing_behind(waits: tuple[str, ...], half: str) -> None:
    """The group that passes sees the request as it was; what failed before it is told to nobody."""
    world = World(GROUPS, waits, **{half: BAD})
    exchange = world.pass_through()
    assert exchange.session_id == "hmac" and exchange.others == ()
    assert exchange.session is not None and exchange.session.alias == "hmac"
    assert exchange.context == {"path": "/", "hmac": "seen", "token": "hmac"}
    assert exchange.response_headers == [(b"Vary", b"Origin"), (b"X-Seen", b"hmac")]
    assert exchange.query == b"hmac" and exchange.credential == b"hmac"
    assert world.events == []


@EACH_WAIT
def test_half_of_each_group_never_passes(waits: tuple[str, ...]) -> None:
    """One method of one group and one of another are no group."""
    world = World((("basic", "token"), ("hmac", "jwt")), waits, token=MISSING, hmac=MISSING)
    assert world.refuse().id == MISSING
    assert world.methods["jwt"].judged == 0


@EACH_WAIT
def test_the_last_groups_refusal_is_what_a_client_gets(waits: tuple[str, ...]) -> None:
    """And a failed log-in of any group is told of once."""
    world = World(GROUPS, waits, basic=BAD, hmac=MISSING)
    refusal = world.refuse()
    assert (refusal.id, refusal.detail) == (MISSING, "hmac")
    assert world.events == ["AuthFailure"]
    world = World(GROUPS, waits, basic=MISSING, hmac=BAD)
    assert world.refuse().id == BAD
    assert world.events == ["AuthFailure"]
    world = World(GROUPS, waits, basic=MISSING, hmac=MISSING)
    world.refuse()
    assert world.events == []


def test_the_refusal_asks_for_no_particular_method() -> None:
    """No ``WWW-Authenticate``; other headers stay."""
    world = World(GROUPS, basic=MISSING, hmac=MISSING)
    headers = ((b"WWW-Authenticate", b"Basic"), (b"X-Other", b"1"))
    world.methods["hmac"].refusal = {"headers": headers, "fields": {"a": "b"}}
    refusal = world.refuse()
    assert (refusal.headers, refusal.fields, refusal.detail) == (((b"X-Other", b"1"),), {"a": "b"}, "hmac")
    assert world.methods["hmac"].refusal["headers"] == headers


@EACH_WAIT
def test_what_could_not_be_judged_is_said_only_when_nobody_else_passes(waits: tuple[str, ...]) -> None:
    """Decisions 3.5: 503, never an answer that speaks of the key."""
    assert World(GROUPS, waits, basic=AWAY).pass_through().session_id == "hmac"
    assert World(GROUPS, waits, basic=AWAY, hmac=BAD).refuse().id == AWAY
    assert World(GROUPS, waits, basic=BAD, hmac=AWAY).refuse().id == AWAY


@EACH_WAIT
def test_no_method_judges_a_request_twice(waits: tuple[str, ...]) -> None:
    """A password is not hashed again for the next group, and nothing counts twice."""
    world = World((("basic", "token"), ("basic", "hmac"), ("jwt",)), waits, basic=BAD)
    assert world.pass_through().session_id == "jwt"
    assert {name: method.judged for name, method in world.methods.items()} == {"basic": 1, "token": 0, "hmac": 0, "jwt": 1}
    world = World((("basic", "token"), ("basic", "hmac")), waits, basic=AWAY)
    assert world.refuse().id == AWAY and world.methods["basic"].judged == 1


@EACH_WAIT
def test_what_passed_in_one_group_passes_in_the_next(waits: tuple[str, ...]) -> None:
    """A signature that may be used once is not used twice; session, credential and context are as if it had been judged again."""
    world = World((("basic", "hmac"), ("hmac", "token"), ("basic", "token")), waits, hmac="", token=MISSING)
    world.methods["hmac"].outcome = BAD
    assert world.refuse().id == MISSING
    assert {name: method.judged for name, method in world.methods.items()} == {"basic": 1, "hmac": 1, "token": 1}
    world = World((("basic", "hmac"), ("basic", "token")), waits, hmac=BAD)
    exchange = world.pass_through()
    assert exchange.session_id == "token" and [view.id for view in exchange.others] == ["basic"]
    assert exchange.context == {"path": "/", "basic": "seen", "token": "token"}
    world = World((("basic", "hmac"), ("basic",)), waits, hmac=BAD)
    exchange = world.pass_through()
    assert (exchange.session_id, exchange.others, exchange.credential) == ("basic", (), b"basic")
    assert exchange.context == {"path": "/", "basic": "seen", "token": "basic"}
    assert world.methods["basic"].judged == 1 and world.events == []


def test_other_events_are_told_at_once() -> None:
    """Only failed log-ins wait; those that concern no request do not."""
    world = World(GROUPS)
    world.step.note("KeyExpired", world.exchange, {})
    world.step.note("AuthFailure", None, {})
    assert world.events == ["KeyExpired", "AuthFailure"]


def test_ignored_paths_ask_nobody() -> None:
    """As everywhere."""
    world = World(GROUPS, basic=BAD, hmac=BAD)
    world.exchange.ignored = True
    assert world.pass_through().key is None
    assert all(not method.judged for method in world.methods.values())


def test_a_repeated_credential_is_refused_whoever_else_would_pass() -> None:
    """Decisions 2.2."""
    world = World((("basic",), ("token",)), basic="auth.malformed_header")
    assert world.refuse().id == "auth.malformed_header"
    assert world.methods["token"].judged == 0
    world = World((("basic",), ("token",)))
    world.exchange.headers = [(b"X-Key", b"a"), (b"x-key", b"b")]
    world.exchange.index = {b"x-key": b"a, b"}
    assert world.refuse().id == "auth.malformed_header", "one that nobody would have asked for"
    assert world.methods["basic"].judged == 0


def test_a_failed_log_in_names_what_was_presented() -> None:
    """Not what another method of the group knows of the client, nor what a later group has looked at."""
    world = World((("basic", "token"), ("hmac",)), token=BAD, hmac=MISSING)
    seen: list[tuple[bytes, Any]] = []
    world.step._notify = lambda event, exchange, fields: seen.append((exchange.credential, exchange.key))  # type: ignore[union-attr,func-returns-value]
    assert world.refuse().id == MISSING
    assert seen == [(b"token", None)]


@EACH_WAIT
def test_a_proof_that_lacks_a_nonce_is_asked_for_it(waits: tuple[str, ...]) -> None:
    """Whatever the last group says, or could not say: a client learns nonces from this answer only, and nobody has failed to log in."""
    nonce = ((b"WWW-Authenticate", b'DPoP error="use_dpop_nonce", algs="ES256"'), (b"DPoP-Nonce", b"n"))
    for last in (MISSING, AWAY, BAD):
        world = World((("basic",), ("token",)), waits, basic="jwt.proof", token=last)
        world.methods["basic"].refusal = {"fields": {"reason": "r"}, "headers": nonce}
        refusal = world.refuse()
        assert (refusal.id, refusal.headers) == ("jwt.proof", nonce) and world.events == []
    world = World((("basic",), ("token",)), waits, basic="jwt.proof")
    world.methods["basic"].refusal = {"fields": {"reason": "r"}, "headers": nonce}
    assert world.pass_through().session_id == "token"


class Body:
    def __init__(self, length: int | None) -> None:
        self.length = length


@pytest.mark.parametrize(
    ("refusal", "length", "held", "passes"),
    [
        ("size.too_large", 10, False, True),
        ("size.too_large", None, True, True),
        ("size.too_large", None, False, False),
        ("wire.timeout", 10, False, False),
    ],
)
def test_a_body_that_broke_off_ends_the_request(refusal: str, length: int | None, held: bool, passes: bool) -> None:
    """Nothing could go upstream; one that was declared too large for a method, or that is held, is whole."""
    world = World((("basic",), ("token",)))
    world.methods["basic"].outcome = refusal
    world.methods["basic"].refusal = {"close": True}
    world.exchange.body = Body(length)  # type: ignore[assignment]
    world.exchange.held = object() if held else None
    if passes:
        assert world.pass_through().session_id == "token"
    else:
        assert world.refuse().id == refusal
        assert world.methods["token"].judged == 0


def test_requests_at_the_same_time_do_not_meet() -> None:
    """One waits for the store in its first group while another fails and a third one passes."""
    world = World((("basic",), ("token",)), ("basic",), basic=BAD)
    slow, fast = world.exchange, world.keys.request(None)
    gate: Deferred[None] = Deferred()
    world.methods["basic"].gate = gate
    _, results = begin(run_steps((world.step,), slow))
    world.methods["basic"].gate = None
    world.methods["token"].outcome = MISSING
    with pytest.raises(Refusal, match=MISSING):
        run(run_steps((world.step,), fast))
    assert world.events == ["AuthFailure"] and results == []
    world.methods["token"].outcome = ""
    gate.callback(None)
    assert results == [None] and slow.session_id == "token"
    assert world.events == ["AuthFailure"]


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    """Neither its place nor its failed log-in."""
    world = World((("basic",), ("token",)), ("token",), basic=BAD)
    world.methods["token"].gate = Deferred()
    deferred, results = begin(run_steps((world.step,), world.exchange))
    assert world.step._noted
    deferred.cancel()
    assert results and world.step._noted == {} and world.step._paused == {}
    assert world.events == []


def test_the_steps_of_an_api_with_alternatives() -> None:
    """One step for all methods, then stripping and access; a real token, cached and not, with the store away and back."""
    keys = Keys()
    api = make_api(
        keyless=False,
        org_id="org",
        auth_methods=("token",),
        alternatives=(("token",),),
        strip_auth_data=True,
        auth_sources={"authToken": CredentialSource(header_name="X-Key")},
    )
    steps = build_auth_steps(api, keys.config, keys.tools)
    assert len(steps) == 3 and isinstance(steps[0], Alternatives)
    keys.add("abc")
    for _ in range(2):
        exchange = keys.request(headers=[("X-Key", "abc")])
        run(run_steps(steps, exchange))
        assert exchange.session_id == "orgabc" and exchange.headers == []
    assert steps[0].try_now(keys.request(headers=[("X-Key", "abc")]))
    with pytest.raises(Refusal, match=MISSING):
        run(run_steps(steps, keys.request()))
    with pytest.raises(Refusal, match=BAD):
        run(run_steps(steps, keys.request(headers=[("X-Key", "other")])))
    with pytest.raises(Refusal, match="repeated"):
        run(run_steps(steps, keys.request(headers=[("X-Key", "abc"), ("x-key", "abc")])))

    async def away(names: Any) -> Any:
        raise StoreUnavailable("no answer")

    keys.store.get_entries = away  # type: ignore[method-assign]
    with pytest.raises(Refusal, match=AWAY):
        run(run_steps(steps, keys.request(headers=[("X-Key", "other")])))


@EACH_WAIT
def test_what_goes_upstream_is_of_the_group_that_passes(waits: tuple[str, ...]) -> None:
    """A failed group's headers go with it; those of a method that passes again in another group come again."""
    assert World((("basic", "token"), ("hmac",)), waits, token=BAD).pass_through().onward is None
    assert World((("basic", "token"), ("basic", "hmac")), waits, token=BAD).pass_through().onward == [(b"X-User", b"basic")]
