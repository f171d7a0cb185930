"""Which stored key a call means: by full id, short name, user name or hash; knows look-ups, not what is done with what was found.

Source: keys reference, sections 3 and 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tlsgate.auth.certificate_keys import bears_certificate, find_indexed, plain_id
from tlsgate.auth.go_json import UnusableRecord
from tlsgate.auth.key_ids import KEY_PREFIX, Candidate, find_id_parts, looks_like_hash
from tlsgate.auth.session_codec import read_session
from tlsgate.control.calls import fail

if TYPE_CHECKING:
    from tlsgate.control.calls import Call
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.model.session import Session

__all__ = ["KeyFinder", "StoredKey", "choose_id"]


class StoredKey(NamedTuple):
    """A key that is there."""

    id: str
    """Empty when only its hash is known."""
    name: str
    """What it is stored under, without prefix."""
    session: Session | None
    """None when what is stored is no session."""

    @property
    def shown(self) -> str:
        """Return what the key is called in an answer."""
        return self.id or self.name


class KeyFinder:
    """Finds stored keys."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._naming = tools.state.naming
        self._by_name = not tools.config.keys.disable_key_actions_by_username

    def by_hash(self, call: Call) -> bool:
        """Tell whether a call names a key by its hash.

        :raises CallFailed: it does, and keys are not hashed.
        """
        if not call.flag("hashed"):
            return False
        if not self._naming.hashes:
            raise fail(400, "Key requested by hash but key hashing is not enabled")
        return True

    def find_org(self, call: Call) -> str:
        """Return the organisation of a call's ``org_id``, or of the API of its ``api_id``; empty when it names none."""
        org = call.query.get("org_id", "")
        if not org:
            compiled = self._tools.site.generation.apis.get(call.query.get("api_id", ""))
            org = compiled.api.org_id if compiled is not None else ""
        return org

    async def find(self, call: Call, org: str = "") -> StoredKey | None:
        """Return the key that a call names, None when there is none.

        :param org: owner where the call's query names none.
        :raises CallFailed: named by hash, and keys are not hashed.
        :raises StoreUnavailable: no answer.
        """
        id = call.names["id"]
        if self.by_hash(call):
            return await self.find_name(id) if looks_like_hash(id) else None
        candidates = self._candidates(id, self.find_org(call) or org, call.query.get("username") == "true")
        weak = [candidate for candidate in candidates if candidate.weak]
        names = [candidate.key for candidate in candidates]
        entries = await self._tools.state.store.get_many(names + [candidate.check_key for candidate in weak])
        for candidate, value in zip(candidates, entries, strict=False):
            if value is None:
                continue
            check = entries[len(names) + weak.index(candidate)] if candidate.weak else None
            # Of a weak hash the check value tells whether it is this key; a key that Tyk stored has none until it is used.
            if check is None or check == candidate.check:
                return StoredKey(candidate.id, candidate.name, _read(value))
        return await self._find_by_certificate(id, self.find_org(call) or org)

    async def find_id(self, id: str) -> StoredKey | None:
        """Return the key of exactly this id, None when there is none."""
        candidate = self._naming.find_candidate(id)
        found = None if candidate is None else await self.find_name(candidate.name)
        return None if found is None else found._replace(id=id)

    async def _find_by_certificate(self, id: str, org: str) -> StoredKey | None:
        """Return the key whose certificate was replaced by that of an id: operators work the id out from the certificate."""
        certificate = plain_id(id)
        for named in dict.fromkeys((certificate, org + certificate)) if certificate else ():
            candidate = await find_indexed(self._tools.state.store, self._naming, named)
            found = None if candidate is None else await self.find_id(candidate.id)
            if found is not None and found.session is not None and bears_certificate(found.session, found.id, named[-64:]):
                return found
        return None

    async def find_name(self, name: str) -> StoredKey | None:
        """Return the key that is stored under a name: an id, or its hash."""
        value = await self._tools.state.store.get(KEY_PREFIX + name)
        return None if value is None else StoredKey("", name, _read(value))

    def _candidates(self, id: str, org: str, is_user: bool) -> list[Candidate]:
        naming = self._naming
        found: list[Candidate | None] = []
        if self._by_name:
            if is_user:
                found.append(naming.find_candidate(naming.generate(org, id)))
            found += naming.candidates(org, id)
        # An id too short for clients is still there for the operator.
        found.append(naming.find_candidate(id))
        return [candidate for candidate in dict.fromkeys(found) if candidate is not None]


def choose_id(tools: ControlTools, org: str, custom: str) -> str:
    """Return the id of a new key.

    A custom id that is a generated one of this organisation already stays as it is, so that keys can be written again under their ids.

    :param custom: empty makes a random one.
    """
    parts = find_id_parts(custom)
    if parts is not None and parts.org == org:
        return custom
    return tools.state.naming.generate(org, custom)


def _read(value: bytes) -> Session | None:
    try:
        return read_session(value)
    except UnusableRecord:
        return None
