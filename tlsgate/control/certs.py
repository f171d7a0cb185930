"""``/tyk/certs``: upload, look-up, lists and removal; neither certificate nor key ever leaves by it.

Source: mTLS reference, section 2. Differs from Tyk where that page says BETTER: lists are complete, an unreadable entry is flagged, and
what names a certificate that is removed is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.logger import Logger

from tlsgate.certs.uses import Use, list_uses
from tlsgate.control.calls import Answer, Call, Endpoint, error
from tlsgate.control.key_certificates import KeyCertificates
from tlsgate.pki.describe import describe_basic, describe_full, describe_unreadable
from tlsgate.pki.stored import UploadRefused, is_store_id

if TYPE_CHECKING:
    from tlsgate.control.endpoints import ControlTools

__all__ = ["CertificateEndpoints"]

_log = Logger()
_NOT_FOUND = "Certificate with given SHA256 fingerprint not found"
_TOGETHER = 100
_NAMED = 20
"""Users of a certificate that an answer names."""
_USED_BY = b"X-Tlsgate-Used-By"
_KEY = "a key made with it"


class CertificateEndpoints:
    """The calls of one generation."""

    def __init__(self, tools: ControlTools) -> None:
        self._tools = tools
        self._certificates = KeyCertificates(tools)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the table."""
        return (
            Endpoint("POST", "/tyk/certs", self.add),
            Endpoint("POST", "/tyk/certs/{id}", self.add),
            Endpoint("GET", "/tyk/certs", self.list),
            Endpoint("GET", "/tyk/certs/{id}", self.show),
            Endpoint("DELETE", "/tyk/certs/{id}", self.remove),
        )

    async def add(self, call: Call) -> Answer:
        """Store an upload; it counts in this process when the answer goes out."""
        state = self._tools.state
        try:
            id = await state.certificates.add(call.query.get("org_id", ""), call.body)
        except UploadRefused as problem:
            _log.info(
                "an upload to the certificate store is refused: {reason}",
                event="certs.upload_refused",
                reason=problem.detail or str(problem),
            )
            return error(403, str(problem))
        await self._certificates.name_in_key(id)
        await self._settle(id)
        return Answer(200, {"id": id, "status": "ok", "message": "Certificate added"})

    async def list(self, call: Call) -> Answer:
        """List ids, or with ``mode=detailed`` what is known of each; of one organisation, or of all."""
        library = self._tools.state.certificates
        org = call.query.get("org_id", "")
        ids = await library.ids_of(org) if org else await library.all_ids()
        if not ids:
            return Answer(200, {"certs": None})
        detailed = call.query.get("mode", "") == "detailed"
        return Answer(200, self._stream(ids, detailed))

    async def show(self, call: Call) -> Answer:
        """Describe one certificate, or several whose ids stand with commas between them."""
        ids = call.names["id"].split(",")
        found = await self._tools.state.certificates.read(ids, describe_full)
        if len(ids) > 1:
            return Answer(200, [_told(id, one, full=True) for id, one in zip(ids, found, strict=True)])
        if found[0] is None:
            return error(404, _NOT_FOUND)
        return Answer(200, _told(ids[0], found[0], full=True))

    async def remove(self, call: Call) -> Answer:
        """Remove a certificate; nobody gets in with it when the answer goes out. One that is not there is removed as well."""
        id = call.names["id"]
        users = [str(use) for use in self._find_users(id)]
        if is_store_id(id) and await self._certificates.find_owner(id):
            users.append(_KEY)
        named = "; ".join(users[:_NAMED]) + (f"; and {len(users) - _NAMED} more" if len(users) > _NAMED else "")
        headers = ((_USED_BY, named.encode("ascii", "backslashreplace")),) if users else ()
        if users and self._tools.config.own.certificates.refuse_delete_in_use and not call.flag("force"):
            _log.warn("certificate {id} is kept, it is in use: {users}", event="certs.in_use", id=id, users=named)
            body = {"status": "error", "message": f"Certificate is in use: {named}"}
            return Answer(409, body, headers)
        await self._tools.state.certificates.remove(id, call.query.get("org_id"))
        if users:
            _log.warn("certificate {id} was removed although it is in use: {users}", event="certs.removed_in_use", id=id, users=named)
        await self._settle(id)
        return Answer(200, {"status": "ok", "message": "removed"}, headers)

    async def _settle(self, id: str) -> None:
        settle = self._tools.state.settle_certificates
        if settle is not None:
            await settle(id)

    def _find_users(self, id: str) -> Sequence[Use]:
        generation = self._tools.site.generation
        uses = list_uses(generation.config, (*generation.definitions, *generation.reserved))
        return list(dict.fromkeys(use for use in uses if use.reference.strip() == id))

    async def _stream(self, ids: Sequence[str], detailed: bool) -> AsyncIterator[bytes]:
        encode = msgspec.json.encode
        before = b'{"certs":['
        for start in range(0, len(ids), _TOGETHER):
            part = ids[start : start + _TOGETHER]
            told: list[Any] = list(part)
            if detailed:
                found = await self._tools.state.certificates.read(part, describe_basic)
                # One that was removed meanwhile is not told of.
                told = [_told(id, one, full=False) for id, one in zip(part, found, strict=True) if one is not None]
            if told:
                yield before + b",".join(map(encode, told))
                before = b","
        yield b"]}\n" if before == b"," else b'{"certs":null}\n'


def _told(id: str, found: Any, *, full: bool) -> Any:
    if isinstance(found, Exception):
        _log.warn("certificate {id} of the store cannot be read: {reason}", event="certs.unreadable", id=id, reason=str(found))
        return describe_unreadable(id, f"cannot be read: {found}", full=full)
    if isinstance(found, dict) and found.get("error"):
        _log.warn("certificate {id} of the store cannot be read: {reason}", event="certs.unreadable", id=id, reason=found["error"])
    return found
