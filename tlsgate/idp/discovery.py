"""Where an OpenID provider keeps its keys: its discovery document, fetched once for all who ask; knows neither tokens nor clients.

One fetch at a time for each issuer; a failure is remembered for a while that doubles; an answer that was good serves on while the provider
is away. Differs from Tyk in this, and in that the document has to be the issuer's own: another issuer's document, or a key set without TLS
below an issuer with it, is refused. Source: OpenID Connect Discovery 1.0, sections 3 and 4; JWT reference, sections 12 and 16.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from tlsgate.bounded import put
from tlsgate.clock import Clock
from tlsgate.config.json_text import parse_json
from tlsgate.idp.client import without_login
from tlsgate.idp.key_sets import TOPIC, Fetch, KeySets, KeysUnavailable
from tlsgate.tls.failures import describe_failure

__all__ = ["LIFE_S", "Discovery", "find_document"]

_log = Logger()
LIFE_S = 3600.0
"""How long a document is used."""
_RENEW = 0.8
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 30.0
_MAX_ISSUERS = 1000
_PATH = "/.well-known/openid-configuration"


def find_document(issuer: str) -> str:
    """Return the address of an issuer's discovery document, the same with and without a slash at its end."""
    return issuer.removesuffix("/") + _PATH


class _Issuer:
    """What is known of one issuer."""

    __slots__ = ("backoff_s", "fetched_at", "flight", "next_at", "url")

    def __init__(self) -> None:
        self.url = ""
        """Of its key set; empty when it is not known."""
        self.fetched_at = 0.0
        self.next_at = 0.0
        """Not asked before, after a failure."""
        self.backoff_s = 0.0
        self.flight: list[Deferred[None]] | None = None


class Discovery:
    """One per process.

    :param fetch: asks an address.
    :param clock: its monotonic time counts.
    :param sets: asked for the keys as soon as it is known where they are.
    :param stale_s: how long a document outlives its provider.
    """

    def __init__(self, fetch: Fetch, clock: Clock, sets: KeySets, *, stale_s: float = 86400.0) -> None:
        self._fetch = fetch
        self._clock = clock
        self._sets = sets
        self._stale_s = stale_s
        self._issuers: dict[str, _Issuer] = {}
        self.fetches = 0
        """How often a provider was asked, for metrics and tests."""

    def peek(self, issuer: str) -> str:
        """Return the address of an issuer's key set if it is at hand, else an empty text; one near its end is renewed meanwhile."""
        known = self._issuers.get(issuer)
        if known is None or not known.url:
            return ""
        now = self._clock.monotonic()
        age_s = now - known.fetched_at
        if age_s >= LIFE_S * _RENEW and known.flight is None and now >= known.next_at:
            self._start(issuer, known)
        return known.url if age_s < LIFE_S or (known.backoff_s and age_s < self._stale_s) else ""

    def prefetch(self, issuer: str) -> None:
        """Ask for document and keys that are not there, beside everything else."""
        url = self.peek(issuer)
        if url:
            self._sets.prefetch(url)
            return
        known = self._place(issuer)
        if known.flight is None and self._clock.monotonic() >= known.next_at:
            self._start(issuer, known)

    async def find(self, issuer: str) -> str:
        """Return the address of an issuer's key set, asked for if need be.

        :raises KeysUnavailable: its provider does not say, or did not a moment ago.
        """
        url = self.peek(issuer)
        if url:
            return url
        known = self._place(issuer)
        if known.flight is None and self._clock.monotonic() >= known.next_at:
            self._start(issuer, known)
        if known.flight is not None:
            waiter: Deferred[None] = Deferred()
            known.flight.append(waiter)
            await waiter
        url = self.peek(issuer)
        if not url:
            raise KeysUnavailable("its provider did not say where its keys are")
        return url

    def drop(self, addresses: tuple[str, ...] | None = None) -> None:
        """Forget documents, and the keys that they lead to (``DELETE /tyk/cache/jwks``).

        :param addresses: of documents; None is all of them.
        """
        for issuer, known in self._issuers.items():
            if addresses is None or find_document(issuer) in addresses:
                if known.url:
                    self._sets.drop((known.url,))
                known.url = ""
                known.next_at = known.backoff_s = 0.0

    def keep_only(self, is_allowed: Callable[[str], bool]) -> None:
        """Forget documents at addresses that the configuration does not allow any more, and the keys that they lead to."""
        self.drop(tuple(address for address in map(find_document, self._issuers) if not is_allowed(address)))

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic == TOPIC:
            self.drop(tuple(payload.split()) or None)

    def _place(self, issuer: str) -> _Issuer:
        known = self._issuers.get(issuer)
        if known is None:
            known = _Issuer()
            put(self._issuers, issuer, known, _MAX_ISSUERS)
        return known

    def _start(self, issuer: str, known: _Issuer) -> None:
        known.flight = []
        Deferred.fromCoroutine(self._renew(issuer, known)).addErrback(
            lambda failure: _log.failure("fetching a discovery document failed", failure, event="oidc.error")
        )

    async def _renew(self, issuer: str, known: _Issuer) -> None:
        self.fetches += 1
        try:
            status, body, _ = await self._fetch(find_document(issuer))
            if status != 200:
                raise ValueError(f"the answer has status {status}")
            url = _read(body, issuer)
        except Exception as error:
            now = self._clock.monotonic()
            known.backoff_s = min(max(2 * known.backoff_s, _FIRST_BACKOFF_S), _MAX_BACKOFF_S)
            known.next_at = now + known.backoff_s
            _log.warn(
                "discovery document of {issuer} not usable, the next attempt is in {seconds:g} s at the earliest: {reason}",
                event="oidc.unavailable",
                issuer=without_login(issuer),
                seconds=known.backoff_s,
                reason=describe_failure(error),
            )
        else:
            known.url = url
            known.fetched_at = self._clock.monotonic()
            known.backoff_s = known.next_at = 0.0
            self._sets.prefetch(url)
        finally:
            waiting, known.flight = known.flight, None
            for waiter in waiting or ():
                if not waiter.called:
                    waiter.callback(None)


def _read(body: bytes, issuer: str) -> str:
    """Return the address of the key set.

    :raises ValueError: it is not the issuer's document.
    """
    tree = parse_json(body.decode("utf-8-sig"))
    if not isinstance(tree, dict):
        raise ValueError("the document is no JSON object")
    own = tree.get("issuer")
    # Providers and configurations disagree about the last slash; what a token says is compared exactly elsewhere.
    if not isinstance(own, str) or own.removesuffix("/") != issuer.removesuffix("/"):
        raise ValueError("the document is another issuer's")
    url = tree.get("jwks_uri")
    if not isinstance(url, str) or not url.lower().startswith(("https://", "http://")):
        raise ValueError("the document names no key set (jwks_uri)")
    if issuer.lower().startswith("https://") and not url.lower().startswith("https://"):
        raise ValueError("the document names a key set without TLS")
    return url
