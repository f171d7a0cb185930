"""What the store holds of the certificates that are named somewhere: fetched before a build, read while building.

Fulfils ``pki.references.Shelf``. While the store is away what was fetched before stays; what never was is waited for (decisions 1.8).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.logger import Logger

from tlsgate.certs.library import TOPIC, Library
from tlsgate.errors import PkiError, StoreUnavailable
from tlsgate.pki.pem import PemBundle
from tlsgate.pki.references import NotInStore
from tlsgate.store.interface import GAP

__all__ = ["CertificateShelf"]

_log = Logger()


class CertificateShelf:
    """One per process; filled by the loop, read by the thread that builds."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._texts: dict[str, bytes | None] = {}
        self._opened: dict[str, PemBundle | PkiError] = {}
        self.wanted: frozenset[str] = frozenset()
        """Ids that the last fill asked for."""
        self.revision = 0
        """Another number whenever a certificate of the store may have changed, named somewhere or not."""
        self._away = False

    @property
    def waiting(self) -> bool:
        """Whether an id that is wanted was never answered by the store."""
        return any(id not in self._texts for id in self.wanted)

    def expect(self, ids: Iterable[str]) -> None:
        """Note what will be asked for, before the store is open."""
        self.wanted = frozenset(ids)

    def use_library(self, library: Library) -> None:
        """Read with another secret from now on; what was read is forgotten."""
        self._library = library
        self._opened = {}
        self.revision += 1

    async def fill(self, ids: Iterable[str]) -> bool:
        """Fetch what the store holds of these ids, and forget all others; never raises for a store that is away.

        :returns: whether anything is other than before.
        """
        before, wanted = self.wanted, frozenset(ids)
        # At once: a change that is told of while we wait must be known to concern us.
        self.wanted = wanted
        order = sorted(wanted)
        try:
            found = dict(zip(order, await self._library.texts(order), strict=True)) if order else {}
            self._away = self._away and not order
        except StoreUnavailable as problem:
            if not self._away:
                _log.warn(
                    "the certificate store cannot be asked, {count} certificates are as they were or waited for: {reason}",
                    event="certs.store_away",
                    count=len(order),
                    reason=str(problem),
                )
            self._away = True
            found = {id: text for id, text in self._texts.items() if id in wanted}
        changed = wanted != before or found != self._texts
        # Replaced, never changed: whoever reads in a thread keeps what it began with.
        self._opened = {id: opened for id, opened in self._opened.items() if id in found and self._texts.get(id) == found[id]}
        self._texts = found
        return changed

    def find(self, id: str) -> PemBundle | None:
        """Return what the store holds under an id, None when it holds nothing."""
        if id not in self._texts:
            raise NotInStore("the certificate store has not answered yet: it is waited for")
        text = self._texts[id]
        if text is None:
            return None
        opened = self._opened.get(id)
        if opened is None:
            try:
                opened = self._library.open(text)
            except PkiError as error:
                opened = PkiError(f"stored certificate cannot be read: {error}")
            self._opened[id] = opened
        if isinstance(opened, PkiError):
            raise PkiError(str(opened))
        return opened

    async def fetch(self, ids: Sequence[str]) -> PemBundle | None:
        """Return what the store holds now under the first of some ids that it has: those that keys name are in no definition.

        :raises PkiError: it cannot be read.
        :raises StoreUnavailable: no answer.
        """
        for found in await self._library.read(ids, lambda _, bundle: bundle):
            if isinstance(found, Exception):
                raise PkiError(f"stored certificate cannot be read: {found}")
            if found is not None:
                return found
        return None

    def on_change(self, topic: str, payload: str) -> None:
        """Listen to the store's changes (``ChangeFeed.subscribe``)."""
        if topic in (TOPIC, GAP):
            self.revision += 1
