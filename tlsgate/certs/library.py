"""Certificates in the store: added, read, listed, removed, in Tyk's layout; knows the store's protocols and no use of a certificate.

``cert-raw-<id>`` holds the text, the set ``cert-<org>-index`` the members ``raw-<id>``, ``cert-<org>-index-migrated`` says that the index
is complete. Source: mTLS reference, section 2.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from tlsgate.clock import Clock
from tlsgate.pki.pem import PemBundle
from tlsgate.pki.sealed import SALT_BYTES, Sealer
from tlsgate.pki.stored import UploadRefused, is_store_id, open_stored, org_of, read_upload, stored_text
from tlsgate.store.interface import Store

__all__ = ["TOPIC", "Library", "Runner", "build_runner"]

_log = Logger()
T = TypeVar("T")
Runner = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Does work that takes long where it holds nobody up."""
TOPIC = "certificate"
_RAW = "cert-raw-"
_SALT = "tlsgate.certificate-salt"
_TOGETHER = 200
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"


def build_runner(reactor: Any) -> Runner:
    """Return what does slow work in a thread of the reactor's; at once where the reactor has none (tests)."""

    async def run(work: Callable[[], T]) -> T:
        if not hasattr(reactor, "getThreadPool"):
            return work()
        result: T = await deferToThreadPool(reactor, reactor.getThreadPool(), work)
        return result

    return run


class Library:
    """The certificates of one store.

    :param sealer: of this gateway's secret.
    :param runner: for parsing and deriving keys.
    """

    def __init__(self, store: Store, sealer: Sealer, clock: Clock, runner: Runner) -> None:
        self._store = store
        self._sealer = sealer
        self._clock = clock
        self._run = runner
        self._salt: bytes | None = None

    async def add(self, org: str, body: bytes) -> str:
        """Check and store an upload, and tell everybody.

        :returns: its id.
        :raises UploadRefused: with the message for the caller.
        :raises StoreUnavailable: not known whether it is stored; to upload it again is safe.
        """
        upload = await self._run(lambda: read_upload(body, org, self._clock.now()))
        if not is_store_id(upload.id):
            raise UploadRefused("the organisation id is too long or has control characters")
        salt = await self._find_salt() if upload.bundle.private_key is not None else b""
        text = await self._run(lambda: stored_text(upload, self._sealer, salt))
        written = await self._store.put(_RAW + upload.id, text.encode(), only_if="absent")
        # After it, and also when it was there: an upload that broke off between the two is mended by the next one.
        await self._store.add_to_set(_index(org), f"raw-{upload.id}")
        if not written:
            raise UploadRefused(f"Certificate with {upload.id} id already exists")
        for text in upload.warnings:
            _log.warn("certificate {id}: {reason}", event="certs.warning", id=upload.id, reason=text)
        _log.info("certificate {id} stored", event="certs.added", id=upload.id)
        await self._store.publish(TOPIC, upload.id)
        return str(upload.id)

    async def remove(self, id: str, org: str | None = None) -> bool:
        """Remove a certificate, and tell everybody, also when it was not there: others may still have it.

        :param org: as the caller names it; the index of the id's own organisation is put right in any case.
        :returns: whether there was one.
        :raises StoreUnavailable: not known whether it is gone.
        """
        removed = bool(await self._store.delete(_RAW + id)) if is_store_id(id) else False
        try:
            for owner in {org_of(id), org if org is not None else org_of(id)} if is_store_id(id) else ():
                await self._store.remove_from_set(_index(owner), f"raw-{id}")
            if await self.has(id):
                # Uploaded again in between: the upload may have written the index before we did.
                await self._store.add_to_set(_index(org_of(id)), f"raw-{id}")
        finally:
            await self._store.publish(TOPIC, id)
        if removed:
            _log.info("certificate {id} removed", event="certs.removed", id=id)
        return removed

    async def has(self, id: str) -> bool:
        """Tell whether the store holds an id."""
        return is_store_id(id) and await self._store.get(_RAW + id) is not None

    async def has_certificate(self, id: str) -> bool:
        """Tell whether the store holds an id, and a certificate under it: not a public key alone."""
        text = await self._store.get(_RAW + id) if is_store_id(id) else None
        return text is not None and _CERTIFICATE in text

    async def texts(self, ids: Sequence[str]) -> list[bytes | None]:
        """Return the stored texts in the order of the ids, None for what there is not."""
        known = [id for id in ids if is_store_id(id)]
        found: dict[str, bytes | None] = {}
        for start in range(0, len(known), _TOGETHER):
            part = known[start : start + _TOGETHER]
            found.update(zip(part, await self._store.get_many([_RAW + id for id in part]), strict=True))
        return [found.get(id) for id in ids]

    async def read(self, ids: Sequence[str], describe: Callable[[str, PemBundle], T]) -> list[T | Exception | None]:
        """Return what is made of each certificate, in the order of the ids; None for what there is not, an error for the unreadable."""
        texts = await self.texts(ids)

        def work() -> list[T | Exception | None]:
            found: list[T | Exception | None] = []
            for id, text in zip(ids, texts, strict=True):
                try:
                    found.append(None if text is None else describe(id, self.open(text)))
                except Exception as error:
                    found.append(error)
            return found

        results: list[T | Exception | None] = await self._run(work)
        return results

    def open(self, text: bytes) -> PemBundle:
        """Read a stored text; in a thread, please.

        :raises PkiError: nothing of it can be read.
        """
        return open_stored(text, self._sealer)

    async def ids_of(self, org: str) -> list[str]:
        """Return the ids of an organisation: of this one, not of those whose name begins like it."""
        index = _index(org)
        if await self._store.get(f"{index}-migrated") is None:
            found = [id async for batch in self._scan(org) for id in batch if org_of(id) == org]
            await self._store.add_to_set(index, *(f"raw-{id}" for id in found))
            await self._store.put(f"{index}-migrated", b"1")
        members = [member.removeprefix("raw-") for member in await self._store.members(index)]
        return [id for id in members if is_store_id(id) and org_of(id) == org]

    async def all_ids(self) -> list[str]:
        """Return the ids of all organisations, in order."""
        return sorted({id async for batch in self._scan("") for id in batch})

    async def holds_keys(self) -> bool:
        """Tell whether at least one private key is stored."""
        async for batch in self._scan(""):
            for text in await self.texts(batch):
                if text is not None and b"PRIVATE KEY-----" in text:
                    return True
        return False

    async def _scan(self, prefix: str) -> AsyncIterator[list[str]]:
        async for names in self._store.names(_RAW + prefix):
            ids = [name.removeprefix(_RAW) for name in names]
            yield [id for id in ids if is_store_id(id)]

    async def _find_salt(self) -> bytes:
        """Return the salt that all entries of this store share; the first to need one makes it."""
        if self._salt is None:
            await self._store.put(_SALT, os.urandom(SALT_BYTES).hex().encode(), only_if="absent")
            try:
                salt = bytes.fromhex((await self._store.get(_SALT) or b"").decode())
            except ValueError:
                salt = b""
            # Somebody took it away meanwhile, or broke it: each entry says which salt it was made with, so another one does as well.
            self._salt = salt if len(salt) == SALT_BYTES else os.urandom(SALT_BYTES)
        return self._salt


def _index(org: str) -> str:
    return f"cert-{org}-index"
