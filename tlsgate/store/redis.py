"""The store of several nodes: Redis, a single server or behind Sentinel, with Tyk's key names as the caller gives them.

What must be one step is a script in ``scripts/``. Acknowledged is what Redis acknowledged: how safe that is, is its configuration.
Knows commands; must not know connections.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from typing import Any, NamedTuple

from tlsgate.errors import StoreUnavailable
from tlsgate.store.feed import Listeners
from tlsgate.store.interface import MARKS_KEPT, Count, Entry, HotCounter
from tlsgate.store.redis_connect import Connector, RedisAccess
from tlsgate.store.redis_feed import RedisFeed
from tlsgate.store.redis_link import RedisLink, UnknownScript
from tlsgate.store.rules import check_names, check_put, parse_number, sliding_bounds, ttl_of_ms

__all__ = ["RedisStore", "Script", "load_script"]

_SCAN_COUNT = 500
_AT_ONCE = 200
_PATTERN_SIGNS = re.compile(r"[\\*?\[\]^]")


class Script(NamedTuple):
    """A Lua script as servers know it."""

    digest: str
    source: str


def load_script(name: str) -> Script:
    """Return a script of ``scripts/``."""
    source = resources.files("tlsgate.store").joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
    return Script(hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest(), source)


class RedisStore:
    """A :class:`tlsgate.store.interface.Store` in Redis 6 or later.

    :param reactor: for sockets and time; expiry counts on the server's clock.
    :param prefix: before every name, and before the channel of the feed.
    :param secret: for the feed, see :mod:`tlsgate.store.redis_feed`.
    :param timeout_s: deadline of every call.
    """

    def __init__(self, reactor: Any, access: RedisAccess, *, prefix: str = "", secret: str = "", timeout_s: float = 2.0) -> None:
        self._prefix = prefix
        connector = Connector(reactor, access, timeout_s)
        self._link = RedisLink(reactor, connector, timeout_s)
        self._listeners = Listeners()
        self._feed = RedisFeed(
            # With a prefix of its own an installation does not share its names with Tyk's.
            *(reactor, connector, self._link, self._listeners, f"{prefix}tlsgate-changes", secret, timeout_s),
            with_tyk=not prefix,
        )
        self._entries = load_script("entries")
        self._put = load_script("put")
        self._replace = load_script("replace")
        self._window = load_script("count_window")
        self._sliding = load_script("count_sliding")
        self._add = load_script("set_add")
        self._remove = load_script("set_remove")
        self._members = load_script("set_members")

    @property
    def healthy(self) -> bool:
        """Whether there is a connection."""
        return self._link.healthy

    async def start(self) -> None:
        """Connect; a server that is away is tried again for ever."""
        await self._link.start()
        self._feed.start()

    async def stop(self) -> None:
        """Close all connections."""
        await self._feed.stop()
        await self._link.stop()

    async def get(self, name: str) -> bytes | None:
        """Return a value."""
        found: bytes | None = (await self._link.call("MGET", self._key(name)))[0]
        return found

    async def get_entry(self, name: str) -> Entry | None:
        """Return a value with its remaining life."""
        return (await self.get_entries((name,)))[0]

    async def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Return values in the order of the names."""
        found: list[bytes | None] = []
        keys = [self._key(name) for name in names]
        for start in range(0, len(keys), _AT_ONCE):
            found += await self._link.call("MGET", *keys[start : start + _AT_ONCE])
        return found

    async def get_entries(self, names: Sequence[str]) -> list[Entry | None]:
        """Return values with their remaining lives in the order of the names."""
        found: list[Entry | None] = []
        keys = [self._key(name) for name in names]
        for start in range(0, len(keys), _AT_ONCE):
            answer = await self._run(self._entries, keys[start : start + _AT_ONCE])
            values = iter(answer)
            found += [None if value is None else Entry(value, ttl_of_ms(left)) for value, left in zip(values, values, strict=True)]
        return found

    async def put(self, name: str, value: bytes, *, ttl_s: int | None = None, keep_ttl: bool = False, only_if: str = "") -> bool:
        """Write a value."""
        check_put(name, ttl_s, only_if)
        key = self._key(name)
        if keep_ttl and ttl_s is not None:
            return bool(await self._run(self._put, [key], value, ttl_s, only_if))
        command: list[Any] = ["SET", key, value]
        if keep_ttl:
            command.append("KEEPTTL")
        elif ttl_s is not None:
            command += ("EX", ttl_s)
        if only_if:
            command.append("XX" if only_if == "present" else "NX")
        return await self._link.call(*command) is not None

    async def replace(self, name: str, old: bytes | None, value: bytes, *, ttl_s: int | None = None) -> bool:
        """Write a value if what is there is what the caller has read."""
        check_put(name, ttl_s, "")
        was = ("absent", b"") if old is None else ("present", old)
        return bool(await self._run(self._replace, [self._key(name)], value, *was, *(() if ttl_s is None else (ttl_s,))))

    async def delete(self, *names: str) -> int:
        """Remove whatever the names hold."""
        keys = [self._key(name) for name in names]
        removed = 0
        for start in range(0, len(keys), _AT_ONCE):
            removed += await self._link.call("DEL", *keys[start : start + _AT_ONCE])
        return removed

    async def names(self, prefix: str) -> AsyncIterator[list[str]]:
        """Yield the names with a prefix; each step costs the server some 100 us, whatever it finds."""
        pattern = _PATTERN_SIGNS.sub(r"\\\g<0>", self._key(prefix).decode()).encode() + b"*"
        cut = len(self._prefix)
        losses = self._link.losses
        cursor: Any = 0
        while True:
            cursor, keys = await self._link.call("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
            if self._link.losses != losses:
                # Another server perhaps, to which our cursor means nothing.
                raise StoreUnavailable("the connection was lost in between")
            # Keys of others that are no text are none of ours.
            batch = [name[cut:] for key in dict.fromkeys(keys) if (name := _text(key)) is not None]
            if batch:
                yield batch
            if int(cursor) == 0:
                return

    async def add_to_set(self, name: str, *members: str) -> None:
        """Add members to a set, or to a list, which Tyk has some indexes in."""
        check_names(members)
        if members:
            await self._run(self._add, [self._key(name)], *members)

    async def remove_from_set(self, name: str, *members: str) -> None:
        """Remove members of a set or list."""
        check_names(members)
        if members:
            await self._run(self._remove, [self._key(name)], *members)

    async def members(self, name: str) -> list[str]:
        """Return the members of a set or list."""
        found = await self._run(self._members, [self._key(name)])
        return sorted({text for member in found if (text := _text(member)) is not None})

    async def count_window(self, name: str, window_s: float, limit: int, cost: int = 1) -> tuple[bool, Count]:
        """Quota and fixed window."""
        admitted, number, left = await self._run(self._window, [self._key(name)], round(window_s * 1000), limit, cost)
        return bool(admitted), Count(number, ttl_of_ms(left))

    def hot_counter(self, name: str) -> HotCounter | None:
        """None: the server has to be asked."""
        return None

    async def count_sliding(self, name: str, per_s: float, limit: int, now: float, *, log_refused: bool = True) -> tuple[bool, Count]:
        """Sliding log, in Tyk's form: a sorted set of nanoseconds."""
        score, out = sliding_bounds(now, per_s)
        answer = await self._run(
            self._sliding,
            [self._key(name)],
            f"{score:.0f}",
            f"{out:.0f}",
            limit,
            int(log_refused),
            max(1, round(per_s * 1000)),
            max(limit, MARKS_KEPT),
            os.urandom(6).hex(),
        )
        admitted, number, oldest = answer
        return bool(admitted), Count(number, per_s if oldest is None else (float(oldest) - out) / 1e9)

    async def read_count(self, name: str) -> Count | None:
        """Return a counter without changing it."""
        entry = await self.get_entry(name)
        try:
            return None if entry is None else Count(parse_number(entry.value), entry.ttl_s)
        except ValueError:
            return None

    async def publish(self, topic: str, payload: str) -> None:
        """Tell our own listeners at once, then all others."""
        check_names((topic, payload))
        await self._feed.publish(topic, payload)

    def tell_here(self, topic: str, payload: str) -> None:
        """Tell our own listeners alone."""
        self._listeners.tell(topic, payload)

    def subscribe(self, listener: Callable[[str, str], None]) -> None:
        """Tell a listener of every change."""
        self._listeners.add(listener)

    def _key(self, name: str) -> bytes:
        return (self._prefix + name).encode()

    async def _run(self, script: Script, keys: Sequence[bytes], *arguments: Any) -> Any:
        """Run a script by its digest; a server that has forgotten it did nothing and is told all of it."""
        try:
            return await self._link.call("EVALSHA", script.digest, len(keys), *keys, *arguments)
        except UnknownScript:
            return await self._link.call("EVAL", script.source, len(keys), *keys, *arguments)


def _text(key: bytes) -> str | None:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None
