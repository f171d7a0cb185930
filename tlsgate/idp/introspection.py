"""Asks an authorization server about tokens (RFC 7662), once for all who ask at a time, and remembers what it said; knows no sessions.

What is remembered stands in the store for all processes, and in front of it in this one, by a hash of API, provider, client and token:
never the token, never beyond its ``exp``, a refusal for some seconds only. Differs from Tyk in this, and in that a server that does not
answer is left alone for a moment. Source: RFC 7662; JWT reference, sections 13 and 16.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus, urlencode

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeadlinePassed
from twisted.logger import Logger

from tlsgate.bounded import put
from tlsgate.clock import Clock
from tlsgate.config.json_text import parse_json
from tlsgate.errors import AnswerBroken, AnswerUnusable, StoreUnavailable, TlsgateError
from tlsgate.idp.client import without_login
from tlsgate.model.tokens import IntrospectionSettings
from tlsgate.store.interface import Store
from tlsgate.tls.failures import describe_failure
from tlsgate.turns import TooMany, Turns

if TYPE_CHECKING:
    from tlsgate.tls.web_client import Answer

__all__ = ["NEGATIVE_S", "Introspection", "IntrospectionFailed", "Question", "Said"]

_log = Logger()
NEGATIVE_S = 5
"""How long it is remembered that a token is not active."""
_PREFIX = "introspection-"
_MAX_BYTES = 65536
_MAX_KEPT = 10_000
_LATEST = 253_402_300_800
"""What is beyond the year 9999 is no date (decisions 3.12)."""
_AT_ONCE = 32
"""Questions under way to one address."""
_MAX_WAITING = 1000
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.5, 8.0
_MAX_BROKEN = 2
"""So many questions of a sender may be cut off or come to no end: a firewall, or a slow look-up, may do that to certain tokens."""
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

Exchange = Callable[[str, str, tuple[tuple[str, str], ...], bytes], Awaitable["Answer"]]
"""Sends (method, address, headers, body); raises anything when there is no answer."""
Sign = Callable[[str, str], str]
"""Returns an assertion of a client (its id) for an audience; raises what says why there is none."""


class IntrospectionFailed(TlsgateError):
    """The server did not say whether the token is active."""


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server said of a token, as far as anybody here wants to know."""

    active: bool = False
    members: dict[str, Any] = {}
    """``exp``, ``cnf``, and those of :attr:`Question.members`."""


class Question(NamedTuple):
    """What one API asks of one server."""

    settings: IntrospectionSettings
    members: tuple[str, ...]
    """Of the answer that are kept, by name; of a path its first part."""
    seed: bytes
    """Stands for API, provider, client and members."""

    @classmethod
    def of(cls, api_id: str, settings: IntrospectionSettings, members: tuple[str, ...]) -> Question:
        """Return the question of an API."""
        parts = (api_id, settings.url, settings.client_id, members)
        return cls(settings, members, hashlib.sha256(msgspec.json.encode(parts)).digest())

    def name(self, token: bytes) -> str:
        """Return what the answer about a token is remembered by."""
        return hashlib.sha256(self.seed + token).hexdigest()


class _Pause:
    """Until when not to ask."""

    __slots__ = ("backoff_s", "broken", "next_at")

    def __init__(self) -> None:
        self.next_at = 0.0
        self.backoff_s = 0.0
        self.broken = 0
        """Answers that broke off, or came too late, since there was a whole one."""

    def begin(self, now: float) -> bool:
        """Begin one, twice as long as the last; tells whether none is under way."""
        if now < self.next_at:
            return False
        self.backoff_s = min(max(2 * self.backoff_s, _FIRST_BACKOFF_S), _MAX_BACKOFF_S)
        self.next_at = now + self.backoff_s
        return True


class _Address:
    """Questions to one address."""

    __slots__ = ("late", "pause", "pauses", "turns")

    def __init__(self) -> None:
        self.turns = Turns(_AT_ONCE, _MAX_WAITING)
        self.pause = _Pause()
        self.pauses: dict[str, _Pause] = {}
        """Of senders whose questions were cut off or came to no end, which says nothing of the tokens of others."""
        self.late: set[str] = set()
        """Some of those that waited in vain since there was a whole answer."""


class Introspection:
    """One per process.

    :param exchange: sends requests.
    :param sign: makes assertions (``private_key_jwt``).
    """

    def __init__(self, exchange: Exchange, sign: Sign, store: Store, clock: Clock) -> None:
        self._exchange = exchange
        self._sign = sign
        self._store = store
        self._clock = clock
        self._kept: dict[str, tuple[Said, float]] = {}
        self._flights: dict[str, list[Deferred[Said]]] = {}
        self._addresses: dict[str, _Address] = {}
        self.questions = 0
        """How often a server was asked, for metrics and tests."""

    def peek(self, name: str) -> Said | None:
        """Return what is remembered in this process; never waits.

        :param name: of :meth:`Question.name`.
        """
        found = self._kept.get(name)
        if found is None:
            return None
        if found[1] <= self._clock.monotonic():
            del self._kept[name]
            return None
        return found[0]

    async def ask(self, question: Question, token: bytes, who: str = "") -> Said:
        """Return what the server says of a token, or said a moment ago.

        :param who: sends the token: of those who have to wait one after the other is served (:class:`tlsgate.turns.Turns`).
        :raises IntrospectionFailed: it says nothing of use.
        """
        name = question.name(token)
        waiter: Deferred[Said] = Deferred()
        waiting = self._flights.get(name)
        if waiting is not None:
            waiting.append(waiter)
        else:
            self._flights[name] = [waiter]
            # Whoever asked first may go away: the others still want to know.
            Deferred.fromCoroutine(self._find(question, name, token, who)).addBoth(self._land, name)
        return await waiter

    def _land(self, result: Any, name: str) -> None:
        for waiter in self._flights.pop(name):
            if not waiter.called:
                waiter.callback(result)

    async def _find(self, question: Question, name: str, token: bytes, who: str) -> Said:
        if question.settings.cached:
            found = await self._recall(name)
            if found is not None:
                return found
        said = await self._question(question, token, who)
        if question.settings.cached:
            await self._remember(question, name, said)
        return said

    async def _recall(self, name: str) -> Said | None:
        try:
            entry = await self._store.get_entry(_PREFIX + name)
            if entry is None or entry.ttl_s is None:
                return None
            said = msgspec.json.decode(entry.value, type=Said)
        except (StoreUnavailable, msgspec.DecodeError):
            # The server can be asked.
            return None
        self._keep(name, said, entry.ttl_s)
        return said

    async def _remember(self, question: Question, name: str, said: Said) -> None:
        ttl_s = self._life_of(said, question.settings.cache_s)
        if ttl_s < 1:
            return
        self._keep(name, said, ttl_s)
        try:
            await self._store.put(_PREFIX + name, msgspec.json.encode(said), ttl_s=int(ttl_s))
        except StoreUnavailable as error:
            _log.warn("an answer about a token was not stored: {reason}", event="introspection.not_stored", reason=str(error))

    def _life_of(self, said: Said, cache_s: int) -> float:
        """Return for how many seconds an answer is good; 0 for not at all."""
        if not said.active:
            return min(cache_s or NEGATIVE_S, NEGATIVE_S)
        expires = said.members.get("exp")
        if expires is None:
            return 0 if "exp" in said.members else cache_s
        if isinstance(expires, bool) or not isinstance(expires, (int, float)) or not 0 < expires < _LATEST:
            return 0
        left_s = expires - self._clock.now()
        return min(cache_s, left_s) if cache_s else min(left_s, 2**31)

    def _keep(self, name: str, said: Said, ttl_s: float) -> None:
        put(self._kept, name, (said, self._clock.monotonic() + ttl_s), _MAX_KEPT)

    async def _question(self, question: Question, token: bytes, who: str) -> Said:
        """Ask the server, in turn."""
        url = question.settings.url
        address = self._addresses.setdefault(url, _Address())
        self._check(address, who)
        try:
            await address.turns.take(who)
        except TooMany:
            raise IntrospectionFailed("too many questions wait for the server already") from None
        try:
            self._check(address, who)
            return await self._send(question, address, token, who)
        finally:
            address.turns.end()

    def _check(self, address: _Address, who: str) -> None:
        now = self._clock.monotonic()
        if any(pause is not None and now < pause.next_at for pause in (address.pause, address.pauses.get(who))):
            raise IntrospectionFailed("the server did not answer a moment ago")

    async def _send(self, question: Question, address: _Address, token: bytes, who: str) -> Said:
        self.questions += 1
        url = question.settings.url
        headers, body = self._form(question.settings, token)
        try:
            answer = await self._exchange("POST", url, headers, body)
        except (AnswerUnusable, DeadlinePassed) as error:
            # It is there: what it does with the tokens of one sender keeps nobody else from asking.
            _log.warn("{url} gave no answer of use: {reason}", event="introspection.unusable", url=without_login(url), reason=str(error))
            if isinstance(error, (AnswerBroken, DeadlinePassed)):
                self._blame(address, who)
            if isinstance(error, DeadlinePassed):
                self._note_late(address, who, url, error)
            raise IntrospectionFailed(str(error)) from error
        except Exception as error:
            self._step_back(address, url, error)
            raise IntrospectionFailed("the server did not answer") from error
        address.pauses.pop(who, None)
        address.late.clear()
        address.pause.backoff_s = address.pause.next_at = 0.0
        try:
            return _read(answer, question.members)
        except ValueError as error:
            _log.warn("{url} gave no answer of use: {reason}", event="introspection.unusable", url=without_login(url), reason=str(error))
            raise IntrospectionFailed(str(error)) from error

    def _blame(self, address: _Address, who: str) -> None:
        """Note that a question was cut off, or came to no end, over a token."""
        pause = address.pauses.get(who) or _Pause()
        put(address.pauses, who, pause, _MAX_WAITING)
        pause.broken += 1
        if pause.broken > _MAX_BROKEN:
            pause.begin(self._clock.monotonic())

    def _note_late(self, address: _Address, who: str, url: str, error: Exception) -> None:
        """Leave a server alone that lets the time pass whoever asks: each would wait for it in vain."""
        if len(address.late) <= _MAX_BROKEN:
            address.late.add(who)
        if len(address.late) > _MAX_BROKEN:
            self._step_back(address, url, error)

    def _step_back(self, address: _Address, url: str, error: Exception) -> None:
        """Leave a server alone for a while."""
        if not address.pause.begin(self._clock.monotonic()):
            return
        _log.warn(
            "{url} did not answer, the next question is in {seconds:g} s at the earliest: {reason}",
            event="introspection.unavailable",
            url=without_login(url),
            seconds=address.pause.backoff_s,
            reason=describe_failure(error),
        )

    def _form(self, settings: IntrospectionSettings, token: bytes) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """Return headers and body of a question.

        :raises IntrospectionFailed: the gateway has no key for its assertions.
        """
        headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
        fields: list[tuple[str, str | bytes]] = []
        way = settings.authentication
        if way == "basic":
            # RFC 6749 section 2.3.1: each part in the form encoding.
            pair = f"{quote_plus(settings.client_id)}:{quote_plus(settings.client_secret)}"
            headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
        else:
            fields.append(("client_id", settings.client_id))
            if way == "form":
                fields.append(("client_secret", settings.client_secret))
            elif way == "private_key_jwt":
                try:
                    assertion = self._sign(settings.client_id, settings.assertion_audience or without_login(settings.url))
                except TlsgateError as error:
                    raise IntrospectionFailed(str(error)) from error
                fields += [("client_assertion_type", _ASSERTION), ("client_assertion", assertion)]
        fields.append(("token", token))
        return tuple(headers), urlencode(fields).encode()


def _read(answer: Answer, members: tuple[str, ...]) -> Said:
    """Return what an answer says.

    :raises ValueError: nothing of use.
    """
    if len(answer.body) > _MAX_BYTES:
        raise ValueError("the answer is too large")
    if answer.status != 200:
        if answer.status == 400 and _is_unsupported(answer.body):
            # It looks up no such tokens, those that it signs for instance: a fault of the token, which nobody has to be told of.
            return Said()
        raise ValueError(f"the answer has status {answer.status}")
    try:
        tree = parse_json(answer.body.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"the answer is not JSON: {type(error).__name__}") from None
    if not isinstance(tree, dict) or "active" not in tree:
        raise ValueError("the answer does not say whether the token is active")
    # "true" is not true (RFC 7662 section 2.2).
    if tree["active"] is not True:
        return Said()
    wanted = {"exp", "cnf", *members, *(name.partition(".")[0] for name in members)}
    # Some serializers write each member that they know, also where there is nothing to say.
    return Said(active=True, members={name: value for name, value in tree.items() if name in wanted and value is not None})


def _is_unsupported(body: bytes) -> bool:
    """Tell whether a refusal says that the token is of a kind that the server does not look up (``oidc-provider`` does)."""
    try:
        tree = parse_json(body.decode())
    except ValueError:
        return False
    return isinstance(tree, dict) and tree.get("error") == "unsupported_token_type"
