"""``GET /tyk/keys``: all keys, streamed; knows how names are listed, not what keys are for.

A list is sent while it is read, a batch at a time, so that neither memory nor the proxy feels a million keys. Only with ``api_id`` each
session is looked into and the names are sorted: then what was found is kept until the end, for a bounded time.
Source: keys reference, section 11.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.key_ids import KEY_PREFIX, find_owner
from tlsgate.auth.policies import PolicyFault, apply_policies
from tlsgate.auth.session_codec import read_session
from tlsgate.control.calls import Answer, Call, Endpoint, fail

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools

__all__ = ["KeyLists", "stream_names"]

_SORTED_S = 60.0
"""Longest time for a list that has to be sorted before it is sent."""
_AT_ONCE = 100
"""Sessions that are read in one turn of the reactor: about 3 ms."""
_RUN = 10_000
"""Names that are sorted in one turn of the reactor: about 3 ms."""
_BATCH = 500
_BASE64_IDS = "ey"


class KeyLists:
    """The lists."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._keys = tools.config.keys
        self._hashes = tools.state.naming.hashes

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        return (Endpoint("GET", "/tyk/keys", self.list_keys),)

    async def list_keys(self, call: Call) -> Answer:
        """Return ids, or hashes where keys are hashed.

        :raises CallFailed: the listing is off, a filter is missing, or it takes too long.
        """
        if self._hashes and not self._keys.enable_hashed_keys_listing:
            raise fail(404, "Hashed key listing is disabled in config (enable_hashed_keys_listing)")
        wanted = "" if self._hashes else call.query.get("filter", "")
        api_id = call.query.get("api_id", "")
        if not api_id:
            return Answer(200, await stream_names(self._names(wanted)))
        if not self._hashes and not wanted:
            raise fail(400, "The 'filter' parameter (Org ID) is required when filtering by 'api_id' in legacy mode")
        end = self._tools.clock.monotonic() + _SORTED_S
        runs: list[list[str]] = [[]]
        async for batch in self._names(wanted):
            for start in range(0, len(batch), _AT_ONCE):
                runs[-1] += await self._opening(api_id, batch[start : start + _AT_ONCE])
                if len(runs[-1]) >= _RUN:
                    runs[-1].sort()
                    runs.append([])
                if self._tools.clock.monotonic() > end:
                    raise fail(504, "Request timeout while processing keys")
        runs[-1].sort()
        return Answer(200, await stream_names(_merged(runs)))

    async def _names(self, wanted: str) -> AsyncIterator[list[str]]:
        """Yield stored names without prefix: those that begin with a text, or whose organisation does."""
        cut = len(KEY_PREFIX)
        store = self._tools.state.store
        async for batch in store.names(KEY_PREFIX + wanted):
            yield [name[cut:] for name in batch]
        if wanted and not _BASE64_IDS.startswith(wanted):
            async for batch in store.names(KEY_PREFIX + _BASE64_IDS):
                ids = [name[cut:] for name in batch]
                yield [id for id in ids if not id.startswith(wanted) and find_owner(id).startswith(wanted)]

    async def _opening(self, api_id: str, names: Sequence[str]) -> list[str]:
        values = await self._tools.state.store.get_many([KEY_PREFIX + name for name in names])
        return [name for name, value in zip(names, values, strict=True) if value is not None and self._opens(api_id, value)]

    def _opens(self, api_id: str, value: bytes) -> bool:
        try:
            session = read_session(value)
        except UnusableRecord:
            return False
        try:
            session = apply_policies(session, self._tools.state.policies.table)
        except PolicyFault:
            pass
        return api_id in session.access_rights or (not session.access_rights and self._keys.allow_master_keys)


async def stream_names(batches: AsyncIterator[list[str]]) -> AsyncIterator[bytes]:
    """Return ``{"keys": [...]}`` in pieces; the first batch is read before this returns, so that a store that is away is still an answer.

    :raises StoreUnavailable: no answer.
    """
    first = await anext(batches, None)
    return _pieces(first, batches)


async def _pieces(first: list[str] | None, batches: AsyncIterator[list[str]]) -> AsyncIterator[bytes]:
    before = b'{"keys":['
    if first:
        yield before + msgspec.json.encode(first)[1:-1]
        before = b","
    async for batch in batches:
        if batch:
            yield before + msgspec.json.encode(batch)[1:-1]
            before = b","
    yield (b"" if before == b"," else before) + b"]}\n"


async def _merged(runs: list[list[str]]) -> AsyncIterator[list[str]]:
    """Yield the names of sorted runs in order, each once; a million sorted at once would hold the reactor up."""
    batch: list[str] = []
    last = None
    for name in heapq.merge(*runs):
        if name != last:
            batch.append(name)
            last = name
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    yield batch
