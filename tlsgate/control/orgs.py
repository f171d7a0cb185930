"""``/tyk/org/keys``: the sessions of organisations, which hold the limits that all their keys share; enforces nothing.

Source: keys reference, sections 4, 9 and 11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from tlsgate.auth.go_json import UnusableRecord, cut_integer
from tlsgate.auth.session_codec import dump_session, encode_stored, read_session
from tlsgate.control.calls import Answer, Call, Endpoint, fail, success
from tlsgate.control.carried import carried
from tlsgate.control.key_checks import mask_secrets
from tlsgate.control.key_lists import stream_names
from tlsgate.control.key_writes import read_body
from tlsgate.limits.organisations import ORG_PREFIX
from tlsgate.limits.quota import fill_quotas, reset_quotas

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.model.session import Session

__all__ = ["Organisations"]


class Organisations:
    """All endpoints of organisations."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._only_known = tools.config.keys.suppress_default_org_store

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        return (
            Endpoint("GET", "/tyk/org/keys", self.list_orgs),
            Endpoint("GET", "/tyk/org/keys/{id}", self.show),
            Endpoint("POST", "/tyk/org/keys/{id}", carried(self.write)),
            Endpoint("PUT", "/tyk/org/keys/{id}", carried(self.write)),
            Endpoint("DELETE", "/tyk/org/keys/{id}", carried(self.delete)),
        )

    async def list_orgs(self, call: Call) -> Answer:
        """Return the ids of organisations that have a session; ``filter`` is the beginning of an id."""
        org = call.query.get("org_id", "")
        if self._only_known and not self._is_known(org):
            raise fail(404, "ORG not found")
        return Answer(200, await stream_names(self._names(call.query.get("filter", ""))))

    async def show(self, call: Call) -> Answer:
        """Return the session of an organisation, with what is left of its quota."""
        org = call.names["id"]
        session = await self._load(org)
        if session is None or (self._only_known and not self._is_known(org)):
            raise fail(404, "Org not found")
        session = await fill_quotas(self._tools.state.store, session, self._counter(org), self._tools.clock.now())
        return Answer(200, dump_session(mask_secrets(session, all=call.flag("mask_secrets"))))

    async def write(self, call: Call) -> Answer:
        """Write the session of an organisation; ``reset_quota=1`` starts its quota anew."""
        org = call.names["id"]
        session = await read_body(self._tools, call, 400, "Request malformed")
        if self._only_known and not self._is_known(org):
            raise fail(404, "No such organisation found in Active API list")
        now = int(self._tools.clock.now())
        if call.query.get("reset_quota") == "1":
            session = msgspec.structs.replace(session, quota_renews=cut_integer(now + session.quota_renewal_rate))
        session = msgspec.structs.replace(session, last_updated=str(now), origin="")
        store = self._tools.state.store
        await store.put(ORG_PREFIX + org, encode_stored(session))
        await store.publish("org", org)
        if call.query.get("reset_quota") == "1":
            await reset_quotas(store, session, self._counter(org))
        return success(org, "added" if call.method == "POST" else "modified")

    async def delete(self, call: Call) -> Answer:
        """Remove the session of an organisation: nothing limits it any more."""
        org = call.names["id"]
        if self._only_known and not self._is_known(org):
            raise fail(404, "Org not found")
        store = self._tools.state.store
        if await store.get(ORG_PREFIX + org) is None:
            raise fail(404, "Org not found")
        removed = await store.delete(ORG_PREFIX + org)
        await store.publish("org", org)
        if not removed:
            raise fail(400, "Failed to remove the key")
        return success(org, "deleted")

    async def _load(self, org: str) -> Session | None:
        value = await self._tools.state.store.get(ORG_PREFIX + org)
        try:
            return None if value is None else read_session(value)
        except UnusableRecord:
            return None

    async def _names(self, wanted: str) -> AsyncIterator[list[str]]:
        async for batch in self._tools.state.store.names(ORG_PREFIX + wanted):
            yield [name[len(ORG_PREFIX) :] for name in batch]

    def _counter(self, org: str) -> str:
        """Return what the counters of an organisation are named by: its id, or its hash."""
        candidate = self._tools.state.naming.find_candidate(org)
        return candidate.name if candidate is not None else org

    def _is_known(self, org: str) -> bool:
        """Tell whether a loaded API belongs to an organisation."""
        return any(api.org_id == org for api in self._tools.site.generation.definitions)
