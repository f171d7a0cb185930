"""Groups of authentication methods of which one has to pass; knows no method's inside.

Groups are tried in order, each on the request as it was before; the first that passes counts, its last method gives the session. The last
group's refusal is what the client gets, without a challenge, unless a token lacks no more than a nonce in its proof. Differs from Tyk:
within a group methods run in the fixed order, what could not be judged (the store is away) is 503 when no other group passes, and failed
log-ins are told of once, when all groups have failed. Source: token reference, section 9; design note 0021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from tlsgate.auth.base import AuthTools, Step
from tlsgate.auth.identity import put_key
from tlsgate.auth.sessions import KeyView
from tlsgate.auth.sources import read_header
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.model.exchange import Exchange, HeaderList

__all__ = ["Alternatives", "build"]

_AMBIGUOUS = "auth.malformed_header"
_FAILED = "AuthFailure"
_CHALLENGE = b"www-authenticate"
_NEEDS_NONCE = b'error="use_dpop_nonce"'
_NOT_JUDGED = 500
_KEPT = (
    "key",
    "session",
    "session_id",
    "others",
    "credential",
    "headers",
    "index",
    "query",
    "flag",
    "response_headers",
    "onward",
    "token_ends",
)
"""What a group may change of a request, and the next one finds as it was."""
_look = attrgetter(*_KEPT)


def build(
    groups: tuple[tuple[str, ...], ...], make: Callable[[str, AuthTools], Step], tools: AuthTools, headers: tuple[bytes, ...] = ()
) -> Step:
    """Return the step of an API; a method that is in several groups is built once.

    :param make: builds a method by its name.
    :param headers: in which any of the methods looks for credentials, in lower case.
    """
    found = Alternatives(tools, headers)
    muted = tools._replace(notify=found.note)
    made = {name: make(name, muted) for name in dict.fromkeys(name for group in groups for name in group)}
    found.groups = tuple(tuple(made[name] for name in group) for group in groups)
    found.shared = frozenset(step for name, step in made.items() if sum(name in group for group in groups) > 1)
    return found


class Alternatives:
    """The step. Where the first group passes by what is cached it costs about 0.5 us beside its methods, a group that fails about 8 us."""

    __slots__ = ("_headers", "_noted", "_notify", "_paused", "groups", "shared")

    def __init__(self, tools: AuthTools, headers: tuple[bytes, ...]) -> None:
        self._notify = tools.notify
        self._headers = headers
        self.groups: tuple[tuple[Step, ...], ...] = ()
        self.shared: frozenset[Step] = frozenset()
        """Methods of several groups: what they say of a request is kept for the next one."""
        self._paused: dict[Exchange, _Attempt] = {}
        """Where :meth:`try_now` stopped: :meth:`finish` goes on there, so that no method judges a request twice."""
        self._noted: dict[Exchange, tuple[bytes, Mapping[str, Any]]] = {}
        """The last failed log-in of requests that are being judged: what was presented, and the event's fields."""

    def prefetch(self) -> None:
        """Let the methods ask for what they will need: the generation serves from now on."""
        for step in dict.fromkeys(step for group in self.groups for step in group):
            prefetch = getattr(step, "prefetch", None)
            if prefetch is not None:
                prefetch()

    def note(self, event: str, exchange: Exchange | None, fields: Mapping[str, Any]) -> None:
        """Hear of an event of a method: a failed log-in is kept until all groups have failed."""
        if event == _FAILED and exchange is not None:
            self._noted[exchange] = exchange.credential, fields
        else:
            self._notify(event, exchange, fields)

    def try_now(self, exchange: Exchange) -> bool:
        """Judge by what is cached.

        :raises Refusal: the last group's; that of a group that could not be judged, if there was one; a credential header stands there
            twice, also one of a group that would not be asked.
        """
        if exchange.ignored:
            return True
        for name in self._headers:
            read_header(exchange, name)
        attempt = _Attempt(exchange)
        if self._advance(exchange, attempt):
            return True
        self._paused[exchange] = attempt
        return False

    async def finish(self, exchange: Exchange) -> None:
        """Go on from the method that has to ask the store.

        :raises Refusal: as :meth:`try_now`.
        """
        attempt = self._paused.pop(exchange)
        try:
            while True:
                step = self.groups[attempt.group][attempt.step]
                try:
                    await step.finish(exchange)
                except Refusal as refusal:
                    self._fail(exchange, attempt, step, refusal)
                else:
                    attempt.passed(exchange)
                if self._advance(exchange, attempt):
                    return
        finally:
            self._noted.pop(exchange, None)

    def _advance(self, exchange: Exchange, attempt: _Attempt) -> bool:
        """Go on until a group passes; False where a method has to be awaited."""
        while True:
            group = self.groups[attempt.group]
            if attempt.step == len(group):
                self._noted.pop(exchange, None)
                return True
            step = group[attempt.step]
            if step in self.shared:
                known = attempt.refused.get(step)
                if known is not None:
                    self._fail(exchange, attempt, step, known)
                    continue
                if attempt.repeat(exchange, step):
                    continue
            try:
                if not step.try_now(exchange):
                    return False
            except Refusal as refusal:
                self._fail(exchange, attempt, step, refusal)
            else:
                attempt.passed(exchange)

    def _fail(self, exchange: Exchange, attempt: _Attempt, step: Step, refusal: Refusal) -> None:
        """Begin the next group, on the request as it was.

        :raises Refusal: there is none; the body is lost; a credential stands there twice, which no other one makes good.
        """
        attempt.refused[step] = refusal
        attempt.restore(exchange)
        attempt.group += 1
        attempt.step = 0
        final = refusal.id == _AMBIGUOUS or _has_lost_body(exchange, refusal)
        if attempt.group < len(self.groups) and not final:
            return
        said = [] if final else list(attempt.refused.values())
        attempt.refused.clear()
        noted = self._noted.pop(exchange, None)
        for other in said:
            if _asks_once_more(other):
                raise other
        if noted is not None:
            exchange.credential, fields = noted
            self._notify(_FAILED, exchange, fields)
        raise _without_challenge(next((other for other in said if _is_not_judged(other)), refusal))


class _Proof(NamedTuple):
    """What a method has put into a request that it let pass."""

    view: KeyView | None
    credential: bytes
    context: dict[str, Any]
    onward: HeaderList | None


class _Attempt:
    """How far the judgement of a request is, and the request as it was before."""

    __slots__ = ("_before", "_begun", "_context", "_lines", "_proved", "group", "refused", "step")

    def __init__(self, exchange: Exchange) -> None:
        self.group = 0
        self.step = 0
        self.refused: dict[Step, Refusal] = {}
        """What methods have said: they judge the request, so that they say the same in every group."""
        self._proved: dict[Step, _Proof] = {}
        self._begun: tuple[Step, KeyView | None, dict[str, Any]] | None = None
        self._before: tuple[Any, ...] = _look(exchange)
        self._context = None if exchange.context is None else dict(exchange.context)
        self._lines = len(exchange.response_headers)

    def repeat(self, exchange: Exchange, step: Step) -> bool:
        """Let a method pass again that has passed in an earlier group; False for one that has yet to judge, and will be heard."""
        proof = self._proved.get(step)
        if proof is None:
            self._begun = step, exchange.key, dict(exchange.context or ())
            return False
        exchange.credential = proof.credential
        if proof.onward is not None:
            exchange.onward = proof.onward
        if proof.view is not None:
            put_key(exchange, proof.view)
        if exchange.context is not None:
            exchange.context.update(proof.context)
        self.step += 1
        return True

    def passed(self, exchange: Exchange) -> None:
        """Go on to the next method of the group."""
        self.step += 1
        if self._begun is None:
            return
        (step, key, context), self._begun = self._begun, None
        added = {name: value for name, value in (exchange.context or {}).items() if name not in context or context[name] is not value}
        self._proved[step] = _Proof(None if exchange.key is key else exchange.key, exchange.credential, added, exchange.onward)

    def restore(self, exchange: Exchange) -> None:
        """Undo what a group has done, but for a body that it has read: that one goes on from where it is held."""
        for name, value in zip(_KEPT, self._before, strict=True):
            setattr(exchange, name, value)
        del exchange.response_headers[self._lines :]
        self._begun = None
        if self._context is not None and exchange.context is not None:
            exchange.context.clear()
            exchange.context.update(self._context)


def _without_challenge(refusal: Refusal) -> Refusal:
    """Return a refusal that asks for no particular method."""
    kept = tuple(line for line in refusal.headers if line[0].lower() != _CHALLENGE)
    if len(kept) == len(refusal.headers):
        return refusal
    return Refusal(refusal.id, refusal.detail, fields=refusal.fields, headers=kept, close=refusal.close)


def _asks_once_more(refusal: Refusal) -> bool:
    """Tell whether a client that was right so far is to come again, with a nonce: without this answer it never gets in."""
    return any(_NEEDS_NONCE in value for name, value in refusal.headers if name.lower() == _CHALLENGE)


def _is_not_judged(refusal: Refusal) -> bool:
    """Tell whether a method could not say yes or no."""
    entry = CATALOGUE.get(refusal.id)
    return entry is None or entry.status >= _NOT_JUDGED


def _has_lost_body(exchange: Exchange, refusal: Refusal) -> bool:
    """Tell whether a body broke off while a method read it: nothing could go upstream, whoever else would pass.

    One that was declared larger than a method reads has not been touched; one that is held is whole.
    """
    if not refusal.close:
        return False
    untouched = exchange.body is not None and exchange.body.length is not None
    return not (refusal.id == "size.too_large" and (untouched or exchange.held is not None))
