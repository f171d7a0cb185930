"""Key sets of identity providers: fetched once for all who ask, kept through outages, renewed before they are old.

Knows addresses and time; must not know tokens. Per address there is one fetch at a time; an unknown key id causes another one, at most
every ``REFETCH_S`` unless it was found; a failure is remembered for a while that doubles; a set that was good serves on for ``stale_s``
while its provider is away. A new set replaces the old one whole. Differs from Tyk in all of this. Source: JWT reference, sections 5 and 16.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.bounded import put
from tlsgate.clock import Clock
from tlsgate.errors import TlsgateError
from tlsgate.idp.client import without_login
from tlsgate.jose.jwk import KeySet, parse_key_set
from tlsgate.jose.keys import KeyFault, VerificationKey
from tlsgate.tls.failures import describe_failure

__all__ = ["REFETCH_S", "TOPIC", "Fetch", "KeySets", "KeysUnavailable"]

_log = Logger()
REFETCH_S = 10.0
"""The least time between two fetches of an address that unknown key ids cause."""
_MIN_S, _MAX_S = 30.0, 3600.0
"""What a provider's ``max-age`` may ask for."""
_RENEW = 0.8
"""Share of its life after which a set that is used is fetched anew, beside the requests."""
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 30.0
_MAX_ADDRESSES = 1000
_MAX_AGE = re.compile(r"(?:^|[,\s])max-age=\"?(\d{1,9})", re.IGNORECASE)
_UNCACHED = re.compile(r"(?:^|[,\s])no-(?:store|cache)(?:$|[,\s=])", re.IGNORECASE)

TOPIC = "jwks"
"""Of the store's change feed: addresses with blanks between them, or none for all."""

Fetch = Callable[[str], Awaitable[tuple[int, bytes, str]]]
"""Asks an address: (status, body, ``Cache-Control``); raises anything when there is no answer."""


class KeysUnavailable(TlsgateError):
    """There is no key set: it could not be fetched, and there is none from before that may still be used."""


class _Address:
    """What is known of one address."""

    __slots__ = (
        "asked_at",
        "backoff_s",
        "doubted_at",
        "fetched_at",
        "flight",
        "next_at",
        "raw",
        "renew_at",
        "set",
        "valid_until",
        "version",
    )

    def __init__(self) -> None:
        self.set: KeySet | None = None
        self.raw = b""
        self.version = 0
        """Grows with each set that differs from the one before."""
        self.fetched_at = 0.0
        self.asked_at = float("-inf")
        """When an unknown key id caused a fetch for the last time that did not find it."""
        self.doubted_at = float("-inf")
        """When a key that did not fit caused a fetch for the last time."""
        self.valid_until = 0.0
        self.renew_at = 0.0
        self.next_at = 0.0
        """Not asked before, after a failure."""
        self.backoff_s = 0.0
        self.flight: list[Deferred[None]] | None = None


class KeySets:
    """One per process.

    :param fetch: asks an address.
    :param clock: its monotonic time counts.
    :param default_s: how long a set is used that says nothing of it (``jwks.cache.timeout``).
    :param stale_s: how long a set outlives its provider.
    :param weak_rsa: let RSA keys under 2048 bits verify.
    """

    def __init__(self, fetch: Fetch, clock: Clock, *, default_s: float = 240.0, stale_s: float = 86400.0, weak_rsa: bool = False) -> None:
        self._fetch = fetch
        self._clock = clock
        self.default_s = default_s
        self.stale_s = stale_s
        self._weak_rsa = weak_rsa
        self._addresses: dict[str, _Address] = {}
        self.fetches = 0
        """How often an address was asked, for metrics and tests."""

    def peek(self, url: str, cache_s: float = 0.0) -> KeySet | None:
        """Return the set of an address if it may be used at once; one near its end is renewed beside the request.

        :param cache_s: how long a set is used, 0 for what the answer says.
        """
        address = self._addresses.get(url)
        if address is None or address.set is None:
            return None
        now = self._clock.monotonic()
        if now >= address.renew_at and address.flight is None and now >= address.next_at:
            self._start(url, address, cache_s)
        if now < address.valid_until or (address.backoff_s and now < address.fetched_at + self.stale_s):
            return address.set
        return None

    def prefetch(self, url: str, cache_s: float = 0.0) -> None:
        """Fetch a set that is not there, beside everything else."""
        if self.peek(url, cache_s) is None:
            address = self._place(url)
            if address.flight is None and self._clock.monotonic() >= address.next_at:
                self._start(url, address, cache_s)

    def version(self, url: str, cache_s: float = 0.0) -> int:
        """Return the number of the set in use: what was verified by another one has to be verified again.

        :returns: -1 when the set is too old to be used; it is renewed as :meth:`peek` does.
        """
        address = self._addresses.get(url)
        if address is None or address.set is None:
            return 0 if address is None else address.version
        if self._clock.monotonic() < address.renew_at:
            return address.version
        return -1 if self.peek(url, cache_s) is None else address.version

    async def find(self, url: str, key_id: str | None, cache_s: float = 0.0) -> tuple[VerificationKey, ...]:
        """Return the keys of an id, empty when its provider knows none.

        :param key_id: None returns the keys without an id.
        :raises KeysUnavailable: there is no set to look into.
        """
        began = self._clock.monotonic()
        keys = (await self.load(url, cache_s)).find(key_id)
        address = self._addresses[url]
        if address.fetched_at >= began and not keys:
            return keys  # fetched for this very question
        is_mine, before = False, 0.0
        while not keys and not is_mine:
            if address.flight is None:
                now = self._clock.monotonic()
                if now < max(address.asked_at + REFETCH_S, address.next_at):
                    break
                # Whenever the set was fetched: its provider may have made the key a moment later.
                before, address.asked_at = address.asked_at, now
                is_mine = True
            await self._join(url, address, cache_s)
            keys = address.set.find(key_id) if address.set is not None else ()
        if is_mine and keys:
            # Nobody invents what its provider knows: the next new key is found at once, too.
            address.asked_at = before
        return keys

    async def renew(self, url: str, cache_s: float = 0.0) -> bool:
        """Fetch a set anew whose keys did not fit, whenever it was fetched, unless that was done less than ``REFETCH_S`` ago.

        :returns: whether there is another set now.
        """
        address = self._place(url)
        before = address.version
        now = self._clock.monotonic()
        if address.flight is not None:
            await self._join(url, address, cache_s)
        elif now >= max(address.doubted_at + REFETCH_S, address.next_at):
            address.doubted_at = now
            await self._join(url, address, cache_s)
        return address.version != before

    async def load(self, url: str, cache_s: float = 0.0) -> KeySet:
        """Return the set of an address, fetched if need be.

        :raises KeysUnavailable: it could not be had.
        """
        found = self.peek(url, cache_s)
        if found is not None:
            return found
        address = self._place(url)
        if address.flight is not None or self._clock.monotonic() >= address.next_at:
            await self._join(url, address, cache_s)
        found = self.peek(url, cache_s)
        if found is None:
            raise KeysUnavailable("its provider did not give the key set")
        return found

    def _place(self, url: str) -> _Address:
        address = self._addresses.get(url)
        if address is None:
            address = _Address()
            put(self._addresses, url, address, _MAX_ADDRESSES)
        return address

    def drop(self, urls: tuple[str, ...] | None = None) -> None:
        """Forget sets, all of them without a list (``DELETE /tyk/cache/jwks``); the next request fetches."""
        for url in tuple(self._addresses) if urls is None else urls:
            address = self._addresses.get(url)
            if address is not None:
                address.set = None
                address.raw = b""
                address.version += 1
                address.next_at = address.backoff_s = 0.0

    def keep_only(self, is_allowed: Callable[[str], bool]) -> None:
        """Forget the sets of addresses that the configuration does not allow any more: that is no outage."""
        self.drop(tuple(url for url in self._addresses if not is_allowed(url)))

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic == TOPIC:
            self.drop(tuple(payload.split()) or None)

    async def _join(self, url: str, address: _Address, cache_s: float) -> None:
        """Wait for the fetch under way, or for one that is started now; whoever gives up leaves the others their fetch."""
        if address.flight is None:
            self._start(url, address, cache_s)
        if address.flight is None:
            return  # answered at once
        waiter: Deferred[None] = Deferred()
        address.flight.append(waiter)
        await waiter

    def _start(self, url: str, address: _Address, cache_s: float) -> None:
        address.flight = []
        Deferred.fromCoroutine(self._renew(url, address, cache_s)).addErrback(
            lambda failure: _log.failure("fetching a key set failed", failure, event="jwks.error")
        )

    async def _renew(self, url: str, address: _Address, cache_s: float) -> None:
        self.fetches += 1
        try:
            status, body, control = await self._fetch(url)
            if status != 200:
                raise KeyFault(f"the answer has status {status}")
            found = parse_key_set(body, weak_rsa=self._weak_rsa)
            if not found.keys:
                raise KeyFault("the key set has no usable key" + "".join(f"; {problem}" for problem in found.problems[:3]))
        except Exception as error:
            now = self._clock.monotonic()
            address.backoff_s = min(max(2 * address.backoff_s, _FIRST_BACKOFF_S), _MAX_BACKOFF_S)
            address.next_at = now + address.backoff_s
            _log.warn(
                "key set of {url} not fetched, the next attempt is in {seconds:g} s at the earliest: {reason}",
                event="jwks.unavailable",
                url=without_login(url),
                seconds=address.backoff_s,
                reason=describe_failure(error),
            )
        else:
            self._take(url, address, found, body, control, cache_s)
        finally:
            waiting, address.flight = address.flight, None
            for waiter in waiting or ():
                if not waiter.called:
                    waiter.callback(None)

    def _take(self, url: str, address: _Address, found: KeySet, body: bytes, control: str, cache_s: float) -> None:
        now = self._clock.monotonic()
        life_s = cache_s or self._life_of(control)
        address.fetched_at = now
        address.valid_until = now + life_s
        address.renew_at = now + life_s * _RENEW
        address.backoff_s = address.next_at = 0.0
        if address.raw != body:
            address.raw = body
            address.set = found
            address.version += 1
            for problem in found.problems:
                _log.warn("key set of {url}: {reason}; this key is not used", event="jwks.bad_key", url=without_login(url), reason=problem)
        elif address.set is None:
            address.set = found

    def _life_of(self, control: str) -> float:
        if _UNCACHED.search(control):
            return _MIN_S
        found = _MAX_AGE.search(control)
        return self.default_s if found is None else min(max(float(found.group(1)), _MIN_S), _MAX_S)
