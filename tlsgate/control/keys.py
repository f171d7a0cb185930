"""``/tyk/keys``: one key is shown, deleted, put under a policy, previewed; creation, update and lists stand beside.

Source: keys reference, section 11. Differs from Tyk: ``mask_secrets=1`` hides the secrets of HMAC and JWT, the policy of a key changes
without its lifetime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from twisted.logger import Logger

from tlsgate.auth.go_json import UnusableRecord, listing, parse_object, text
from tlsgate.auth.policies import PolicyFault, apply_policies
from tlsgate.auth.session_codec import dump_session
from tlsgate.control.calls import Answer, Call, Endpoint, fail, success
from tlsgate.control.carried import carried
from tlsgate.control.key_certificates import KeyCertificates
from tlsgate.control.key_checks import KeyChecks, give_secret, mask_secrets
from tlsgate.control.key_lists import KeyLists
from tlsgate.control.key_names import KeyFinder, StoredKey
from tlsgate.control.key_writes import KeyWrites, name_key, read_body
from tlsgate.limits.quota import fill_quotas, reset_quotas

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tlsgate.control.endpoints import ControlTools
    from tlsgate.model.session import Session

__all__ = ["Keys"]

_log = Logger()
_EVERYWHERE = "-1"
"""``api_id`` of a DELETE that Tyk takes for "of all APIs": its answer is ``null``."""


class Keys:
    """All endpoints of keys and basic users.

    :param find_certificate: tells whether the certificate store has an id; None where there is no such store.
    """

    def __init__(self, tools: ControlTools, find_certificate: Callable[[str], Awaitable[bool]] | None = None) -> None:
        self._tools = tools
        self._finder = KeyFinder(tools)
        self._checks = KeyChecks(tools, find_certificate)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints."""
        return (
            *KeyWrites(self._tools, self._finder, self._checks).endpoints(),
            *KeyLists(self._tools).endpoints(),
            Endpoint("GET", "/tyk/keys/{id}", self.show),
            Endpoint("DELETE", "/tyk/keys/{id}", carried(self.delete)),
            Endpoint("POST", "/tyk/keys/preview", self.preview),
            Endpoint("POST", "/tyk/keys/policy/{id}", carried(self.set_policies)),
        )

    async def show(self, call: Call) -> Answer:
        """Return a key as its policies make it, with what is left of its quotas."""
        found = await self._finder.find(call)
        if found is None or found.session is None:
            raise fail(404, "Key not found")
        session = await fill_quotas(self._tools.state.store, self._applied(found.session), found.name, self._tools.clock.now())
        return Answer(200, dump_session(mask_secrets(session, all=call.flag("mask_secrets"))))

    async def delete(self, call: Call) -> Answer:
        """Remove a key and its counters; this node refuses it when the answer comes, others within a second."""
        found = await self._finder.find(call)
        if found is None:
            raise fail(404, "There is no such key found")
        if not await self._tools.state.sessions.delete_name(found.name):
            raise fail(400, "Failed to remove the key")
        certificates = KeyCertificates(self._tools)
        made_with = await certificates.find_id(found)
        if found.session is not None and made_with:
            await certificates.release(found.session, made_with)
        await self._forget_counters(found)
        if call.query.get("api_id") == _EVERYWHERE:
            return Answer(200, None)
        if found.id:
            org = found.session.org_id if found.session is not None else ""
            self._tools.state.notify("TokenDeleted", None, {"org": org, "key": name_key(self._tools, found.id, found.name)})
        return success(found.shown, "deleted")

    async def preview(self, call: Call) -> Answer:
        """Return what a key of this body would be."""
        session = self._checks.preview(await read_body(self._tools, call, 500, "Unmarshalling failed"))
        return Answer(200, dump_session(mask_secrets(session, all=False)))

    async def set_policies(self, call: Call) -> Answer:
        """Put a key under other policies; what is left of its lifetime stays."""
        ids = _parse_policies(call.body)
        name = call.names["id"]
        candidate = self._tools.state.naming.find_candidate(name)
        found = await self._finder.find_name(name)
        if found is None and candidate is not None:
            found = await self._finder.find_name(candidate.name)
        if found is None or found.session is None:
            raise fail(404, "Key not found")
        now = str(int(self._tools.clock.now()))
        session = msgspec.structs.replace(found.session, apply_policies=ids, apply_policy_id="", last_updated=now)
        made = give_secret(self._applied(session)).hmac_string
        more = {"hmac_string": made} if made != session.hmac_string else {}
        session = msgspec.structs.replace(session, hmac_string=made)
        if not await self._tools.state.sessions.save_name(found.name, session, keep_lifetime=True):
            raise fail(500, "Could not write key data")
        id = name if name != found.name or not self._tools.state.naming.hashes else ""
        self._tools.state.notify("TokenUpdated", None, {"org": session.org_id, "key": name_key(self._tools, id, found.name)})
        return success(name, "updated", **more)

    async def _forget_counters(self, found: StoredKey) -> None:
        if found.session is not None:
            await reset_quotas(self._tools.state.store, self._applied(found.session), found.name)

    def _applied(self, session: Session) -> Session:
        try:
            return apply_policies(session, self._tools.state.policies.table)
        except PolicyFault:
            return session


def _parse_policies(body: bytes) -> tuple[str, ...]:
    """Return the policies of ``{"policy": "id"}`` or ``{"apply_policies": [...]}``.

    :raises CallFailed: 400.
    """
    try:
        tree = {name.lower(): value for name, value in parse_object(body).items()}
        ids: tuple[str, ...] = listing(text)(tree.get("apply_policies") or [])
        single = text(tree.get("policy") or "")
    except UnusableRecord as fault:
        _log.info("a body was refused: {reason}", event="control.malformed", reason=str(fault))
        raise fail(400, "Couldn't decode instruction") from None
    return ids or ((single,) if single else ())
