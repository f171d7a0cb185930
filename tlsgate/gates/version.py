"""Expiry of an API and its path lists; knows nothing of credentials: it only notes that a path is ignored.

Source: API definitions reference, sections 4.1, 4.4, 7; decisions 2.11.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from tlsgate.config.model import GatewayConfig
from tlsgate.errors import CATALOGUE, Refusal
from tlsgate.gates.base import Gate, GateTools, Reply, build_answer_headers, build_rules, other_readings
from tlsgate.model.api import ApiDefinition, PathRule
from tlsgate.model.exchange import Exchange
from tlsgate.routing.paths import RuleSet

__all__ = ["build"]

_NEVER = float("inf")
_MESSAGE = "Attempted access to disallowed version / path."


class _State(IntEnum):
    """What the lists say of a path."""

    OPEN = 0
    IGNORED = 1
    MOCKED = 2
    CLOSED = 3


class _Action(NamedTuple):
    """``method_actions`` of a rule; status 0 is ``no_action``."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


_NO_ACTION = _Action(0, (), b"")
_Judgement = tuple[_State, _Action]
_OPEN: _Judgement = (_State.OPEN, _NO_ACTION)
_MOCKED: _Judgement = (_State.MOCKED, _NO_ACTION)
_CLOSED: _Judgement = (_State.CLOSED, _NO_ACTION)


class _Lists:
    """The compiled path lists of one API."""

    __slots__ = ("_black", "_ignored", "_internal", "_mocks", "_white")

    def __init__(self, api: ApiDefinition, config: GatewayConfig) -> None:
        version = api.version
        self._internal = _compile(version.internal, api, config)
        self._mocks = build_rules(((rule.path, rule.method, rule.ignore_case, True) for rule in version.mocks), api, config)
        self._ignored = _compile(version.ignored, api, config)
        self._black = _compile(version.black_list, api, config)
        self._white = _compile(version.white_list, api, config)

    def judge(self, method: bytes, remaining: bytes, full: bytes, *, opens: bool = True) -> _Judgement:
        """Return what the lists say; order: internal, mock, ignored, black list, white list.

        :param opens: False leaves out the ignored list.
        """
        if self._internal is not None and self._internal.find(method, remaining, full) is not None:
            return _CLOSED
        if self._mocks is not None and self._mocks.find(method, remaining, full) is not None:
            return _MOCKED
        if opens and self._ignored is not None:
            action = self._ignored.find(method, remaining, full)
            if action is not None:
                return _State.IGNORED, action
        if self._black is not None:
            action = self._black.find(method, remaining, full)
            if action is not None:
                return _State.CLOSED, action
        if self._white is not None:
            action = self._white.find(method, remaining, full)
            return _CLOSED if action is None else (_State.OPEN, action)
        return _OPEN

    def judge_all(self, exchange: Exchange) -> _Judgement:
        """Return the judgement on a path with all its readings.

        A closing rule that another reading hits refuses the request. An ignored path stays ignored only when each other reading is
        ignored too, or an encoded slash would take a request past the credentials that the path behind it asks for.
        """
        method = exchange.method
        judgement = self.judge(method, exchange.remaining_path, exchange.canonical)
        readings = other_readings(exchange)
        if readings == () or judgement[0] is _State.CLOSED:
            return judgement
        if readings is None:
            raise Refusal("route.ambiguous_path", "another reading of the path leaves the listen path")
        opens = True
        for remaining, full in readings:
            state, _ = self.judge(method, remaining, full)
            if state is _State.CLOSED:
                raise Refusal("route.ambiguous_path", "another reading of the path hits a closing rule")
            opens = opens and state is _State.IGNORED
        if judgement[0] is _State.IGNORED and not opens:
            return self.judge(method, exchange.remaining_path, exchange.canonical, opens=False)
        return judgement


def build(api: ApiDefinition, config: GatewayConfig, tools: GateTools) -> Gate | None:
    """Return the check of expiry and path lists, None for an API without either.

    Sets ``exchange.ignored``, and tells of each refusal (event VersionFailure).
    Costs about 0.5 us per kind of list, and 2 us more for a kind whose rules hold wildcards.

    :raises Refusal: (the gate) ``api.expired``, ``version.expired``, ``endpoint.forbidden``, ``route.ambiguous_path``, or the id of
        ``VersionSettings.refusal``.
    :raises Reply: (the gate) for ``action: reply``.
    :raises ValueError: a path that does not compile.
    """
    version = api.version
    has_lists = any((version.internal, version.mocks, version.ignored, version.black_list, version.white_list))
    api_end = api.expiration
    version_end = version.expires
    refusal = version.refusal
    if not has_lists and not refusal and api_end is None and version_end is None:
        return None
    lists = _Lists(api, config) if has_lists else None
    # A preflight carries no credentials and is answered by the CORS step (7.2).
    spares_preflights = api.cors is not None and not api.cors.options_passthrough
    ends = min((end for end in (api_end, version_end) if end is not None), default=_NEVER)
    now = tools.clock.now
    notify = tools.notify

    def check_version(exchange: Exchange) -> None:
        try:
            judge(exchange)
        except Refusal as refused:
            if notify is not None:
                notify("VersionFailure", exchange, {"message": _MESSAGE, "reason": CATALOGUE[refused.id].message})
            raise

    def judge(exchange: Exchange) -> None:
        if ends != _NEVER:
            moment = now()
            if moment >= ends:
                raise Refusal("api.expired" if api_end is not None and moment >= api_end else "version.expired")
        if refusal:
            raise Refusal(refusal)
        if lists is None:
            return
        if spares_preflights and exchange.method == b"OPTIONS" and b"access-control-request-method" in exchange.index:
            return
        state, action = lists.judge_all(exchange)
        if action.status:
            raise Reply(action.status, action.headers, action.body)
        if state is _State.CLOSED:
            raise Refusal("endpoint.forbidden")
        if state is _State.IGNORED:
            exchange.ignored = True

    return check_version


def _compile(rules: Iterable[PathRule], api: ApiDefinition, config: GatewayConfig) -> RuleSet[_Action] | None:
    return build_rules(((rule.path, rule.method, rule.ignore_case, _action(rule)) for rule in rules), api, config)


def _action(rule: PathRule) -> _Action:
    if rule.reply is None:
        return _NO_ACTION
    body = rule.reply.data.encode()
    return _Action(rule.reply.code, build_answer_headers(rule.reply.headers, body), body)
