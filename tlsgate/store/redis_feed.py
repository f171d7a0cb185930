"""The change feed over Redis's pub/sub, on a connection of its own; knows how changes are written and that some may have been missed.

A message is the MAC (hex, or ``-`` without a secret), a blank, and a JSON list of origin, topic and payload. With a secret, messages
without a good MAC are passed over: who can write to Redis must not make gateways reload. Tyk's channel is heard and told beside ours
where Redis may be shared with Tyk gateways (:mod:`tlsgate.store.tyk_feed`).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from txredisapi import RedisError

from tlsgate.errors import StoreUnavailable
from tlsgate.store.feed import Listeners
from tlsgate.store.redis_connect import Connector, SubscriberConnection
from tlsgate.store.redis_link import BEAT_S, Attempts, RedisLink
from tlsgate.store.tyk_feed import CHANNEL as TYK_CHANNEL
from tlsgate.store.tyk_feed import ForgedNotification, encode_notification, parse_notification

__all__ = ["RedisFeed"]

_NO_MAC = b"-"
_log = Logger()
_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(tuple[str, str, str])


class RedisFeed:
    """Subscribes to a channel, and writes into it by the link.

    :param channel: with the key prefix, for several installations on one Redis.
    :param secret: shared by all gateways; empty: messages carry no MAC (development mode only).
    :param with_tyk: Tyk gateways may share this Redis; needs the secret.
    """

    def __init__(
        self,
        reactor: Any,
        connector: Connector,
        link: RedisLink,
        listeners: Listeners,
        channel: str,
        secret: str,
        timeout_s: float,
        *,
        with_tyk: bool = False,
    ) -> None:
        self._reactor = reactor
        self._connector = connector
        self._link = link
        self._listeners = listeners
        self._channel = channel
        self._secret = secret.encode()
        self._tyk_secret = secret if with_tyk else ""
        self._timeout_s = timeout_s
        self._origin = os.urandom(8).hex()
        self._connection: SubscriberConnection | None = None
        self._listening: Attempts | None = None
        self._beating = LoopingCall(self._beat)
        self._beating.clock = reactor
        self._down = False
        self._gap_due = False
        link.on_ready = self._tell_due_gap
        self._forged = 0
        self._unreadable = 0
        self._tyk_refused = False

    def start(self) -> None:
        """Begin to listen."""
        self._beating.start(BEAT_S, now=False)
        self._listening = Attempts(self._reactor, self._listen)

    async def stop(self) -> None:
        """Listen no more."""
        connection = self._connection
        if self._beating.running:
            self._beating.stop()
        if self._listening is not None:
            await self._listening.stop()
        if connection is not None:
            await connection.abort()

    async def publish(self, topic: str, payload: str) -> None:
        """Tell our own listeners at once, then all others.

        :raises StoreUnavailable: whether others were told is not known.
        """
        self._listeners.tell(topic, payload)
        body = _encode((self._origin, topic, payload))
        notification = encode_notification(topic, payload, self._tyk_secret) if self._tyk_secret else None
        if notification is not None:
            # Sent first, not waited for: whether Tyk gateways hear of it does not decide whether ours do.
            Deferred.fromCoroutine(self._link.call("PUBLISH", TYK_CHANNEL, notification)).addErrback(_forget)
        await self._link.call("PUBLISH", self._channel, self._mac(body) + b" " + body)

    def _mac(self, body: bytes) -> bytes:
        return hmac.new(self._secret, body, hashlib.sha256).hexdigest().encode() if self._secret else _NO_MAC

    async def _listen(self) -> None:
        """Subscribe and return when the connection is lost."""
        try:
            connection = await self._connector.open(SubscriberConnection)
            connection.messageReceived = self._receive  # type: ignore[method-assign]
            try:
                await connection.subscribe(self._channel).addTimeout(self._timeout_s, self._reactor)
                if self._tyk_secret:
                    await self._listen_to_tyk(connection)
            except Exception as error:
                await connection.abort()
                if isinstance(error, (RedisError, TimeoutError)):
                    raise StoreUnavailable(f"no subscription: {type(error).__name__}: {error}") from error
                raise
        except StoreUnavailable as error:
            self._note_down(str(error))
            raise
        self._connection = connection
        self._down = False
        # What was published before is lost to us.
        self._gap_due = True
        if self._link.healthy:
            self._tell_due_gap()
        try:
            await connection.when_lost()
        finally:
            self._connection = None

    async def _listen_to_tyk(self, connection: SubscriberConnection) -> None:
        """Subscribe to Tyk's channel too; a Redis user that may not is no reason to hear nothing at all."""
        try:
            await connection.subscribe(TYK_CHANNEL).addTimeout(self._timeout_s, self._reactor)
        except (RedisError, TimeoutError) as error:
            if not self._tyk_refused:
                self._tyk_refused = True
                _log.warn("changes that Tyk gateways tell of are not heard: {fault}", event="store.tyk_feed_refused", fault=str(error))

    def _tell_due_gap(self) -> None:
        """Tell of a gap as soon as values can be read again: before, forgetting would only turn cached keys into 503s."""
        if self._gap_due:
            self._gap_due = False
            self._listeners.tell_gap()

    def _note_down(self, fault: str) -> None:
        if self._link.healthy:
            # Values can be read while nobody tells of changes: what is cached lives from one attempt to the next only.
            self._listeners.tell_gap()
            if not self._down:
                _log.error("no change feed: {fault}", event="store.feed_away", fault=fault)
        self._down = True

    def _receive(self, pattern: bytes | None, channel: bytes, message: bytes) -> None:
        if channel == TYK_CHANNEL.encode():
            self._receive_from_tyk(message)
            return
        mac, _, body = message.partition(b" ")
        if self._secret and not hmac.compare_digest(mac, self._mac(body)):
            self._note_forged()
            return
        try:
            origin, topic, payload = _decoder.decode(body)
        except msgspec.MsgspecError:
            self._note_unreadable()
            return
        if origin != self._origin:
            self._listeners.tell(topic, payload)

    def _receive_from_tyk(self, message: bytes) -> None:
        try:
            change = parse_notification(message, self._tyk_secret)
        except ForgedNotification:
            self._note_forged()
        except ValueError:
            self._note_unreadable()
        else:
            if change is not None:
                self._listeners.tell(*change)

    def _note_forged(self) -> None:
        """Log the first, second, fourth, ...: whoever floods the channel does not flood the log."""
        self._forged += 1
        if self._forged & (self._forged - 1) == 0:
            _log.warn(
                "{count} messages of the change feed without a good signature; node_secret must be the same on every gateway",
                event="store.feed_forged",
                count=self._forged,
            )

    def _note_unreadable(self) -> None:
        self._unreadable += 1
        if self._unreadable & (self._unreadable - 1) == 0:
            _log.warn("{count} messages of the change feed cannot be read", event="store.feed_unreadable", count=self._unreadable)

    def _beat(self) -> None:
        """Ask for an answer: a connection that only listens would never notice that its peer is gone."""
        connection = self._connection
        if connection is not None:
            waiter = connection.execute_command("PING").addTimeout(self._timeout_s, self._reactor)
            waiter.addErrback(lambda failure: connection.transport.abortConnection())


def _forget(failure: object) -> None:
    """Nobody waits for this answer."""
