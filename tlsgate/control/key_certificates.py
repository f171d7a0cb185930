"""The certificates of keys while keys are written: who has one already, and the index that leads from a certificate to its key.

The session is written after what leads to it is there, and decides: an entry that its session does not confirm means nothing, so that a
write that breaks off half way opens nothing and is mended by the next one. Source: mTLS reference, section 7; design note 0020.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tlsgate.auth.certificate_keys import ORIGIN, certificates_of, find_fingerprint, find_indexed, index_name
from tlsgate.auth.lifetime import compute_lifetime
from tlsgate.control.calls import fail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsgate.auth.lifetime import ApiLifetime
    from tlsgate.control.endpoints import ControlTools
    from tlsgate.control.key_names import StoredKey
    from tlsgate.model.session import Session

__all__ = ["KeyCertificates"]


class KeyCertificates:
    """The index of certificates, as those who write keys use it."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._naming = tools.state.naming

    async def refuse_taken(self, session: Session, id: str = "") -> None:
        """Keep a certificate from standing for two keys.

        :param id: of the key that is written again.
        :raises CallFailed: 500, as Tyk says it.
        :raises StoreUnavailable: no answer.
        """
        for certificate in certificates_of(session):
            owner = await self.find_owner(certificate)
            if owner not in ("", id):
                raise fail(500, f"Failed to create key - Key with given certificate already found:{owner}")

    async def find_owner(self, certificate: str) -> str:
        """Return the id of the key that a certificate stands for, empty when there is none."""
        view = await self._tools.state.sessions.reader(certificate[:-64], "certificate").find(certificate.encode())
        return "" if view is None else view.id

    async def name_in_key(self, certificate: str) -> None:
        """Write a certificate that has come into the key that is called by it: its id, which is public now, is no token any more.

        :raises StoreUnavailable: no answer; a PUT of the key does the same.
        """
        owner = await self.find_owner(certificate)
        sessions = self._tools.state.sessions
        session = await sessions.load(owner) if owner else None
        if session is not None and not session.certificate:
            await sessions.save(owner, msgspec.structs.replace(session, certificate=certificate), keep_lifetime=True, only_if="present")

    async def find_id(self, found: StoredKey) -> str:
        """Return the id of a key made with a certificate, also of one named by its hash; empty for any other key."""
        session = found.session
        if session is None:
            return ""
        if found.id:
            return found.id if session.origin == ORIGIN or find_fingerprint(found.id) else ""
        for certificate in certificates_of(session):
            candidates = [*self._naming.derived(certificate[:-64], certificate[-64:])]
            indexed = await find_indexed(self._tools.state.store, self._naming, certificate)
            for candidate in candidates if indexed is None else [*candidates, indexed]:
                if candidate.name == found.name:
                    return candidate.id
        return ""

    async def claim(self, session: Session, id: str, lifetimes: Iterable[ApiLifetime]) -> None:
        """Let all certificates of a key lead to it; its own name does so for the one that it was made with.

        :raises StoreUnavailable: no answer.
        """
        ttl = compute_lifetime(session, self._tools.config.keys, lifetimes, self._tools.clock.now())
        for certificate in certificates_of(session):
            if not self._leads_by_name(certificate, id):
                await self._tools.state.store.put(index_name(certificate), id.encode(), ttl_s=ttl)

    async def release(self, before: Session, id: str, after: Session | None = None) -> None:
        """Take away what leads from certificates to a key that has them no more.

        :param after: the key as it is now; None when it is gone.
        :raises StoreUnavailable: no answer; what is left opens nothing.
        """
        kept = certificates_of(after) if after is not None else ()
        for certificate in certificates_of(before):
            name = index_name(certificate)
            if certificate not in kept and await self._tools.state.store.get(name) == id.encode():
                await self._tools.state.store.delete(name)

    def _leads_by_name(self, certificate: str, id: str) -> bool:
        return any(candidate.id == id for candidate in self._naming.derived(certificate[:-64], certificate[-64:]))
