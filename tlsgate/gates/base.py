"""What all gates share: their type, the answer that a gate gives itself, and the paths that a closing rule has to look at.

Must not know any particular gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from tlsgate.clock import Clock
from tlsgate.config.model import GatewayConfig
from tlsgate.errors import Refusal, WireError
from tlsgate.model.api import ApiDefinition
from tlsgate.model.exchange import Exchange
from tlsgate.model.tls import PeerIdentity
from tlsgate.routing.paths import RuleSet, build_path_matcher
from tlsgate.wire.target import readings_below

if TYPE_CHECKING:
    from tlsgate.auth.base import Notify

__all__ = ["Gate", "GateTools", "JudgingList", "Reply", "Verdict", "build_answer_headers", "build_rules", "find_one", "other_readings"]

T = TypeVar("T")

Gate = Callable[[Exchange], None]
"""Looks at a request: returns, raises ``Refusal``, or raises :class:`Reply`."""


class Reply(Exception):
    """An answer that a step gives itself; no upstream is asked.

    :param headers: complete but for framing and the gateway's own additions.
    """

    def __init__(self, status: int, headers: tuple[tuple[bytes, bytes], ...] = (), body: bytes = b"") -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.body = body


class Verdict(Protocol):
    """What an allow list says of a leaf (``pki.acl.Verdict``)."""

    @property
    def refusal(self) -> str | None:
        """Catalogue id, None for welcome."""
        ...

    @property
    def rule(self) -> str:
        """The rule that decided, for the log."""
        ...

    @property
    def valid_until(self) -> float:
        """Epoch seconds until which it stands."""
        ...


class JudgingList(Protocol):
    """The part of ``pki.acl.AllowList`` that a request needs."""

    @property
    def key(self) -> str:
        """Content hash."""
        ...

    def judge(self, peer: PeerIdentity, now: float) -> Verdict:
        """Judge a leaf."""
        ...


class GateTools(NamedTuple):
    """What gates of one API are built with, beside definition and configuration."""

    clock: Clock
    allow_list: JudgingList | None = None
    """Of a static mTLS API, ``security.certificates.apis`` included; None lets nobody in."""
    notify: Notify | None = None
    """Told of events; None tells nobody."""


def build_rules(rules: Iterable[tuple[str, str, bool, T]], api: ApiDefinition, config: GatewayConfig) -> RuleSet[T] | None:
    """Return path rules compiled as an API's and the gateway's settings say, None for no rules.

    Source: API definitions reference, section 7.1.

    :param rules: (path, method or empty for all, ignore case, value).
    :raises ValueError: a path that does not compile.
    """
    http = config.http
    ignore_case = api.version.ignore_endpoint_case or config.ignore_endpoint_case
    compiled = [
        (
            build_path_matcher(
                path,
                prefix=http.enable_path_prefix_matching,
                suffix=http.enable_path_suffix_matching,
                ignore_case=own_ignore_case or ignore_case,
                listen_path=api.proxy.listen_path,
            ),
            method,
            value,
        )
        for path, method, own_ignore_case, value in rules
    ]
    return RuleSet(compiled) if compiled else None


def build_answer_headers(headers: Iterable[tuple[str, str]], body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header lines of a configured answer; a body without ``Content-Type`` is plain text."""
    lines = tuple((name.encode(), value.encode()) for name, value in headers)
    if body and not any(name.lower() == b"content-type" for name, _ in lines):
        lines += ((b"Content-Type", b"text/plain; charset=utf-8"),)
    return lines


def other_readings(exchange: Exchange) -> tuple[tuple[bytes, bytes], ...] | None:
    """Return the other readings of a path as (path below the listen path, full path); empty for ordinary paths.

    Source: decisions 2.11.

    :returns: None when a reading leaves the listen path: no rule of this API can judge it. Routing has refused it before.
    """
    readings = exchange.readings
    if readings is None:
        try:
            readings = exchange.readings = readings_below(exchange.remaining_path)
        except WireError:
            return None
    if not readings:
        return ()
    base = exchange.matched.rstrip(b"/")
    return tuple((reading, base + reading) for reading in readings)


def find_one(rules: RuleSet[T], exchange: Exchange) -> T | None:
    """Return what stands for a path, None for nothing.

    :raises Refusal: ``route.ambiguous_path``: an upstream that reads the path in another way would be asked for what another rule stands
        for (decisions 2.11).
    """
    method = exchange.method
    found = rules.find(method, exchange.remaining_path, exchange.canonical)
    readings = other_readings(exchange)
    if readings is None or any(rules.find(method, remaining, full) is not found for remaining, full in readings):
        raise Refusal("route.ambiguous_path", "another reading of the path has other limits")
    return found
