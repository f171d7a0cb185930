"""Questions about tokens: one for all who ask at a time, bounded, remembered without the token and never for too long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.web.http_headers import Headers

from tests.support.apis import FixedClock
from tests.support.keys import begin, run
from tlsgate.errors import AnswerBroken, AnswerTooLarge, StoreUnavailable, TlsgateError
from tlsgate.idp import introspection
from tlsgate.idp.introspection import NEGATIVE_S, Introspection, IntrospectionFailed, Question
from tlsgate.model.tokens import IntrospectionSettings
from tlsgate.store.memory import MemoryStore
from tlsgate.tls.web_client import Answer, UnknownCoding

NOW = 1_000_000.0
URL = "https://as.test/introspect"


class World:
    """A server that answers at once, or when the test says so."""

    def __init__(self, *, held: bool = False, store: MemoryStore | None = None, **answer: Any) -> None:
        self.clock = FixedClock(NOW)
        self.store = store or MemoryStore(self.clock)
        self.answer: dict[str, Any] | bytes = {"active": True, "sub": "alice", **answer}
        self.status = 200
        self.error: Exception | None = None
        self.asked: list[tuple[tuple[tuple[str, str], ...], bytes]] = []
        self.held: list[Deferred[None]] | None = [] if held else None
        self.made = Introspection(self.exchange, self.sign, self.store, self.clock)

    async def exchange(self, method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Answer:
        assert (method, url) == ("POST", URL)
        self.asked.append((headers, body))
        if self.held is not None:
            waiter: Deferred[None] = Deferred()
            self.held.append(waiter)
            await waiter
        if self.error is not None:
            raise self.error
        return Answer(self.status, Headers(), self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode())

    def sign(self, client_id: str, audience: str) -> str:
        return f"assertion of {client_id} for {audience}"

    def ask(self, token: bytes = b"t", made: Question | None = None) -> Any:
        return run(self.made.ask(made or question(), token))


def question(api_id: str = "api", *, members: tuple[str, ...] = ("sub",), **fields: Any) -> Question:
    return Question.of(api_id, IntrospectionSettings(**{"url": URL, "cached": True, "cache_s": 60, **fields}), members)


def test_an_answer_is_remembered_in_front_of_the_store_and_in_it() -> None:
    """This process waits for nothing, another one asks the store only."""
    world = World()
    made = question()
    assert world.made.peek(made.name(b"t")) is None
    said = world.ask()
    assert said.active and said.members == {"sub": "alice"}
    assert world.made.peek(made.name(b"t")) == said
    other = World(store=world.store)
    assert other.ask() == said and other.asked == [] and other.made.peek(made.name(b"t")) == said
    world.clock.time += 60
    assert world.made.peek(made.name(b"t")) is None


def test_what_is_stored_says_nothing_of_the_token() -> None:
    """Neither name nor value, and only what is needed of the answer."""
    world = World(token="secret-token", scope="x", username="alice", cnf={"jkt": "k"}, realm={"id": "r", "x": 1})
    world.ask(b"secret-token", question(members=("realm.id", "sub")))

    async def read() -> dict[str, bytes]:
        found = {}
        async for names in world.store.names("introspection-"):
            for name in names:
                found[name] = await world.store.get(name) or b""
        return found

    ((name, value),) = run(read()).items()
    assert "secret-token" not in name and len(name) == len("introspection-") + 64
    members = {"sub": "alice", "cnf": {"jkt": "k"}, "realm": {"id": "r", "x": 1}}
    assert json.loads(value) == {"active": True, "members": members}


def test_answers_are_of_one_api_provider_and_client() -> None:
    """What one server said is not said by another."""
    names = {
        made.name(token)
        for token in (b"t", b"u")
        for made in (question(), question("other"), question(url=URL + "2"), question(client_id="c"), question(members=("x",)))
    }
    assert len(names) == 10
    assert question(client_secret="a").name(b"t") == question(client_secret="b").name(b"t")


@pytest.mark.parametrize(
    ("cache_s", "exp", "kept_s"),
    [
        (60, None, 60),
        (60, NOW + 20, 20),
        (60, NOW + 20.5, 20.5),
        (60, NOW + 600, 60),
        (0, NOW + 600, 600),
        (0, None, 0),
        (60, NOW, 0),
        (60, NOW - 1, 0),
        (60, "soon", 0),
        (60, 10**399, 0),
        (0, 253_402_300_800, 0),
        (60, True, 0),
        pytest.param(60, 10**350, 0, id="beyond floating point"),
        pytest.param(0, -(10**350), 0, id="far below it"),
        (0, 1e300, 0),
    ],
)
def test_how_long_an_answer_is_good(cache_s: int, exp: Any, kept_s: float) -> None:
    """Never beyond ``exp``; without one and without a time not at all."""
    world = World(**({} if exp is None else {"exp": exp}))
    made = question(cache_s=cache_s)
    name = made.name(b"t")
    world.ask(made=made)
    assert (world.made.peek(name) is not None) is (kept_s > 0)
    if kept_s:
        entry = run(world.store.get_entry("introspection-" + name))
        assert entry is not None and entry.ttl_s is not None and kept_s - 1 <= entry.ttl_s <= kept_s
        world.clock.time += kept_s
    assert world.made.peek(name) is None


@pytest.mark.parametrize(("cache_s", "kept_s"), [(0, NEGATIVE_S), (2, 2), (3600, NEGATIVE_S)])
def test_a_refusal_is_remembered_for_seconds(cache_s: int, kept_s: int) -> None:
    """The token may be of a moment from now."""
    world = World(active=False)
    made = question(cache_s=cache_s)
    assert not world.ask(made=made).active
    world.clock.time += kept_s - 0.1
    assert world.made.peek(made.name(b"t")) is not None
    world.clock.time += 0.2
    assert world.made.peek(made.name(b"t")) is None


def test_without_a_cache_each_asks() -> None:
    """But those who ask at the same time share an answer."""
    world = World(held=True)
    made = question(cached=False)
    waiting = [begin(world.made.ask(made, b"t")) for _ in range(20)]
    waiting[0][0].addErrback(lambda _: None)
    waiting[0][0].cancel()
    assert world.held is not None and len(world.asked) == 1
    world.held[0].callback(None)
    assert all(results[0].active for _, results in waiting[1:])
    world.held = None
    world.ask(made=made)
    assert len(world.asked) == 2


def test_a_failure_is_told_to_all_who_wait_and_not_remembered() -> None:
    """The next one asks anew."""
    world = World(held=True)
    world.status = 500
    waiting = [begin(world.made.ask(question(), b"t")) for _ in range(3)]
    assert world.held is not None
    world.held[0].callback(None)
    assert all(results[0].check(IntrospectionFailed) for _, results in waiting)
    world.held, world.status = None, 200
    assert world.ask().active and world.made.questions == 2


def test_a_silent_server_is_left_alone_for_a_moment() -> None:
    """Whatever the token: a storm of them is not passed on. One that answers, be it nonsense, is asked."""
    world = World()
    world.error = OSError("away")
    for number in range(50):
        with pytest.raises(IntrospectionFailed):
            world.ask(b"%d" % number)
    assert len(world.asked) == 1
    pauses = []
    for number in range(7):
        start = world.clock.time
        while len(world.asked) == number + 1:
            world.clock.time += 0.25
            with pytest.raises(IntrospectionFailed):
                world.ask()
        pauses.append(world.clock.time - start)
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8]
    world.clock.time += 8
    world.error, world.answer = None, b"nonsense"
    for _ in range(3):
        with pytest.raises(IntrospectionFailed):
            world.ask()
    assert len(world.asked) == 11


@pytest.mark.parametrize(
    "error",
    [
        AnswerTooLarge("of no use: too large"),
        AnswerBroken("of no use: closed"),
        UnknownCoding("of no use: packed"),
        DeadlinePassed("of no use: late"),
    ],
)
def test_what_a_server_does_with_one_token_silences_nobody_else(error: Exception) -> None:
    """A bearer of whom there is much to say, or whose token a firewall does not like, locks out no other one."""
    world = World()
    for _ in range(3):
        world.error = error
        for _ in range(2):
            with pytest.raises(IntrospectionFailed, match="of no use"):
                world.ask(b"long")
        world.error = None
        assert world.ask(b"short", question(cached=False)).active


@pytest.mark.parametrize("error", [AnswerBroken("closed"), DeadlinePassed("late")])
def test_a_server_that_does_so_each_time_is_left_alone(error: Exception) -> None:
    """After the third one: whoever sends such tokens, or finds such a server, asks no more for a while."""
    world = World()
    world.error = error
    for number in range(50):
        with pytest.raises(IntrospectionFailed):
            world.ask(b"%d" % number)
    assert len(world.asked) == 3
    world.clock.time += 0.5
    world.error = None
    assert world.ask().active


@pytest.mark.parametrize("error", [AnswerBroken("closed"), DeadlinePassed("late")])
def test_who_sends_tokens_that_a_firewall_does_not_like_waits_alone(error: Exception) -> None:
    """Any number of them, at any rate: other senders' tokens are asked about, and what was closed on each of those is counted alone."""
    world = World()
    world.error = error
    for number in range(50):
        for who in ("attacker", "attacker", "one")[: 3 if number < 2 else 2]:
            with pytest.raises(IntrospectionFailed):
                run(world.made.ask(question(), b"<script>%d" % number, who))
    assert len(world.asked) == 3 + 2
    world.error = None
    for who in ("one", "two", "three"):
        assert run(world.made.ask(question(), who.encode(), who)).active
    with pytest.raises(IntrospectionFailed):
        run(world.made.ask(question(), b"good", "attacker"))
    world.clock.time += 0.5
    assert run(world.made.ask(question(), b"good", "attacker")).active


def test_a_server_that_lets_the_time_pass_whoever_asks_is_left_alone() -> None:
    """Each new client would wait for it in vain; what only closes connections costs nobody time."""
    for error, asked in ((DeadlinePassed("late"), 3), (AnswerBroken("closed"), 50)):
        world = World()
        world.error = error
        for number in range(50):
            with pytest.raises(IntrospectionFailed):
                run(world.made.ask(question(), b"%d" % number, str(number)))
        assert len(world.asked) == asked
        world.clock.time += 0.5
        world.error = None
        for _ in range(4):
            assert world.ask(made=question(cached=False)).active


def test_questions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many at once, so many that wait; the others are told at once, and a place that is free is used."""
    monkeypatch.setattr(introspection, "_AT_ONCE", 2)
    monkeypatch.setattr(introspection, "_MAX_WAITING", 3)
    world = World(held=True)
    waiting = [begin(world.made.ask(question(), b"%d" % number)) for number in range(7)]
    assert [len(results) for _, results in waiting] == [0] * 5 + [1] * 2 and len(world.asked) == 2
    assert world.held is not None
    for at in range(5):
        world.held[at].callback(None)
    assert all(results[0].active for _, results in waiting[:5]) and len(world.asked) == 5
    begin(world.made.ask(question(), b"x"))
    begin(world.made.ask(question(), b"y"))
    assert len(world.asked) == 7


def test_who_floods_a_server_keeps_nobody_else_from_it() -> None:
    """All places taken, and all that wait are one client's: another one is the next, and has its room at the flood's cost."""
    world = World(held=True)
    made = question(cached=False)
    flood = [begin(world.made.ask(made, b"x%d" % number, "mallory")) for number in range(1032)]
    _, told = begin(world.made.ask(made, b"honest", "alice"))
    assert not told and [len(results) for _, results in flood] == [0] * 1031 + [1]
    assert world.held is not None
    world.held[0].callback(None)
    world.held[1].callback(None)
    assert b"token=honest" in world.asked[33][1] and not told
    world.held[33].callback(None)
    assert told[0].active


def test_all_who_wait_are_told_when_the_server_goes_away() -> None:
    """As many as may wait: nobody waits for ever, and afterwards there are as many places as before."""
    world = World(held=True)
    made = question(cached=False)
    waiting = [begin(world.made.ask(made, b"%d" % number)) for number in range(1032)]
    held, world.held = world.held or [], None
    world.error = OSError("gone")
    for waiter in held:
        waiter.callback(None)
    assert len(held) == len(world.asked) == 32
    assert all(results[0].check(IntrospectionFailed) for _, results in waiting)
    world.error, world.held = None, []
    world.clock.time += 60
    for number in range(40):
        begin(world.made.ask(made, b"%d" % number))
    assert len(world.asked) == 64


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"true",
        b"{",
        b"\xff",
        b'{"sub": "alice"}',
        b'{"active": true, "active": true}',
        b'{"active": true}' + b" " * 65536,
        b'{"active": true, "x": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=range(9),
)
def test_answers_of_no_use(answer: bytes) -> None:
    """A fault of the server, not of the token."""
    world = World()
    world.answer = answer
    with pytest.raises(IntrospectionFailed):
        world.ask()
    assert world.made.peek(question().name(b"t")) is None


def test_a_token_that_the_server_does_not_look_up() -> None:
    """It is not active, and remembered as such; any other refusal is a fault of the server."""
    world = World(active=True, error="unsupported_token_type")
    world.status = 400
    assert not world.ask().active
    assert world.made.peek(question().name(b"t")) is not None
    for number, (status, answer) in enumerate(
        [
            (401, b'{"error": "unsupported_token_type"}'),
            (500, b'{"error": "unsupported_token_type"}'),
            (400, b'{"error": "invalid_request", "active": false}'),
            (400, b'{"error": ["unsupported_token_type"]}'),
            (400, b'["unsupported_token_type"]'),
            (400, b"unsupported_token_type"),
            (400, b'{"error": "unsupported_token_type"}' + b" " * 65536),
            (400, b"\xff"),
        ]
    ):
        world.status, world.answer = status, answer
        with pytest.raises(IntrospectionFailed):
            world.ask(b"%d" % number)


@pytest.mark.parametrize("active", [False, None, "true", "True", 1, 1.0, [], [True], {"active": True}])
def test_only_true_is_active(active: Any) -> None:
    """RFC 7662 section 2.2."""
    assert not World(active=active).ask().active


class AwayStore(MemoryStore):
    """Answers nothing."""

    async def get_entry(self, name: str) -> Any:
        raise StoreUnavailable("away")

    async def put(self, name: str, value: bytes, **options: Any) -> bool:
        raise StoreUnavailable("away")


def test_the_store_away_is_no_reason_not_to_ask() -> None:
    """This process remembers all the same."""
    world = World(store=AwayStore(FixedClock(NOW)))
    assert world.ask().active
    assert world.made.peek(question().name(b"t")) is not None


def test_an_entry_that_cannot_be_read_is_none() -> None:
    """Neither is one without an end."""
    for value, ttl_s in ((b"nonsense", 60), (b'{"active":true,"members":{"sub":"eve"}}', None)):
        world = World()
        run(world.store.put("introspection-" + question().name(b"t"), value, ttl_s=ttl_s))
        assert world.ask().members == {"sub": "alice"} and len(world.asked) == 1


@pytest.mark.parametrize(
    ("way", "body", "login"),
    [
        ("form", b"client_id=a+b&client_secret=c%26d&token=t%2B%2F", None),
        ("basic", b"token=t%2B%2F", "Basic YStiOmMlMjZk"),
        ("tls", b"client_id=a+b&token=t%2B%2F", None),
        (
            "private_key_jwt",
            b"client_id=a+b&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
            b"&client_assertion=assertion+of+a+b+for+https%3A%2F%2Fas.test%2Fintrospect&token=t%2B%2F",
            None,
        ),
    ],
)
def test_how_the_gateway_says_who_it_is(way: str, body: bytes, login: str | None) -> None:
    """Tyk's form unless the API says otherwise."""
    world = World()
    world.ask(b"t+/", question(authentication=way, client_id="a b", client_secret="c&d"))
    ((headers, sent),) = world.asked
    assert sent == body and dict(headers).get("Authorization") == login
    assert dict(headers)["Content-Type"] == "application/x-www-form-urlencoded"


def test_without_a_key_there_is_no_assertion() -> None:
    """And nobody is asked in another way."""
    world = World()

    def sign(client_id: str, audience: str) -> str:
        raise TlsgateError("there is no key")

    world.made = Introspection(world.exchange, sign, world.store, world.clock)
    with pytest.raises(IntrospectionFailed, match="no key"):
        world.ask(made=question(authentication="private_key_jwt"))
    assert world.asked == []


def test_what_is_remembered_here_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes."""
    monkeypatch.setattr(introspection, "_MAX_KEPT", 3)
    world = World()
    for number in range(5):
        world.ask(b"%d" % number)
    assert [world.made.peek(question().name(b"%d" % number)) is not None for number in range(5)] == [False, False, True, True, True]
