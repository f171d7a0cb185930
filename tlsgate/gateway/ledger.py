"""The last records, bounded by number and bytes: the oldest gives way; knows nothing of what a record says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["ENTRY_BYTES", "Entry", "Ledger"]

ENTRY_BYTES = 400
"""What an entry costs beside its text: objects and the place in the table (CPython, 64 bit, rounded up)."""


class Entry(NamedTuple):
    """One record as it is kept."""

    data: bytes
    """JSON."""
    api_id: str
    status: int


class Ledger:
    """Records by id, in the order of their coming.

    :param keep: most records.
    :param max_bytes: of all together, with what keeping them costs; one record that is larger is not kept.
    """

    def __init__(self, keep: int, max_bytes: int) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._keep = keep
        self._max_bytes = max_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def configure(self, keep: int, max_bytes: int) -> None:
        """Take other bounds; what no longer fits goes."""
        self._keep, self._max_bytes = keep, max_bytes
        self._shrink()

    def add(self, id: str, entry: Entry) -> None:
        """Keep a record; one of the same id goes."""
        before = self._entries.pop(id, None)
        if before is not None:
            self.bytes -= _size(before)
        self._entries[id] = entry
        self.bytes += _size(entry)
        self._shrink()

    def find(self, id: str) -> bytes | None:
        """Return a record, None for one that is not there."""
        found = self._entries.get(id)
        return found.data if found is not None else None

    def latest(self, api_id: str = "", status: int = 0) -> Iterator[bytes]:
        """Yield records, the latest first; not to be held over a change.

        :param api_id: only of this API.
        :param status: only with this status.
        """
        for entry in reversed(self._entries.values()):
            if (not api_id or entry.api_id == api_id) and (not status or entry.status == status):
                yield entry.data

    def _shrink(self) -> None:
        while self._entries and (len(self._entries) > self._keep or self.bytes > self._max_bytes):
            _, gone = self._entries.popitem(last=False)
            self.bytes -= _size(gone)


def _size(entry: Entry) -> int:
    return len(entry.data) + ENTRY_BYTES
