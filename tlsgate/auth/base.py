"""What authentication, access and limits share: the form of a step, and what steps are built with. Knows no particular step.

A step decides at once when it can (``try_now``); only what has to ask the store is awaited (``finish``). So a request whose session is
cached and whose limiter counts in the process never waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tlsgate.auth.absent_sessions import AbsentSessions
from tlsgate.auth.proofs import PasswordProofs
from tlsgate.auth.replays import UsedProofs
from tlsgate.auth.sessions import Sessions
from tlsgate.certs.presence import CertificatePresence
from tlsgate.certs.shelf import CertificateShelf
from tlsgate.clock import Clock
from tlsgate.errors import Refusal
from tlsgate.idp.discovery import Discovery
from tlsgate.idp.introspection import Introspection
from tlsgate.idp.key_sets import KeySets
from tlsgate.model.exchange import Exchange
from tlsgate.store.interface import Store

__all__ = ["AuthTools", "Check", "Notify", "Step", "run_steps", "store_away"]

Notify = Callable[[str, Exchange | None, Mapping[str, Any]], None]
"""Told of an event (Tyk's name), the request that it concerns if it is one, and further fields; must not raise or wait."""


class Step(Protocol):
    """One step of the pipeline."""

    def try_now(self, exchange: Exchange) -> bool:
        """Do the step without waiting.

        :returns: False when it cannot be done so: then nothing has been decided or counted, and :meth:`finish` is to be awaited.
        :raises Refusal: the request ends here.
        """
        ...

    async def finish(self, exchange: Exchange) -> None:
        """Do the step, asking the store.

        :raises Refusal: the request ends here.
        """
        ...


class Check:
    """A step that never waits.

    :param look: raises ``Refusal`` or returns.
    """

    __slots__ = ("look",)

    def __init__(self, look: Callable[[Exchange], None]) -> None:
        self.look = look

    def try_now(self, exchange: Exchange) -> bool:
        """Do the step."""
        self.look(exchange)
        return True

    async def finish(self, exchange: Exchange) -> None:
        """Never needed."""
        self.look(exchange)


class AuthTools(NamedTuple):
    """What steps of an API are built with, beside definition and configuration."""

    sessions: Sessions
    clock: Clock
    notify: Notify
    sleep: Callable[[float], Awaitable[None]]
    """Waits for some seconds (throttling)."""
    reactor: Any = None
    """Provides ``callLater`` and the thread pool."""
    shelf: CertificateShelf | None = None
    """The certificate store as far as it is loaded; None where nothing serves (tests)."""
    certificate_presence: CertificatePresence | None = None
    """Which certificates of clients the store has; None where nothing serves (tests)."""
    proofs: PasswordProofs | None = None
    """Passwords that are being verified; None where nothing serves (tests)."""
    store: Store | None = None
    """For what a method notes by itself; None where nothing serves (tests)."""
    key_sets: KeySets | None = None
    """Of identity providers; None where nothing is fetched (tests)."""
    discovery: Discovery | None = None
    """Of OpenID providers; likewise the next two."""
    introspection: Introspection | None = None
    absent_sessions: AbsentSessions | None = None
    used_proofs: UsedProofs | None = None
    """Proofs of possession that were used in this process; None where nothing serves (tests)."""


async def run_steps(steps: tuple[Step, ...], exchange: Exchange) -> None:
    """Do steps in order; waits for nothing that is known already."""
    for step in steps:
        if not step.try_now(exchange):
            await step.finish(exchange)


def store_away(reason: str) -> Refusal:
    """Return the answer where the store is needed and away (decisions 3.5): never one that speaks of the key."""
    return Refusal("store.unavailable", reason)
